//! The laws of a WebSocket in every state of two connections with short scripts.

use std::sync::Arc;
use std::time::Duration;

use sockless_core::{Chunk, CloseCode, Config, Deflate, Instant, Role};
use sockless_sim::explore::{Coverage, Cuts, Explorer, Pair, PairStep};
use sockless_tests::end::connection;

/// Explores all pairs of `scripts`, so that each is the client's and the server's.
fn explore_all(scripts: &[Vec<PairStep>], pair: impl Fn() -> Pair) -> (usize, usize) {
    let (mut states, mut deepest) = (0, 0);
    for client in scripts {
        for server in scripts {
            let coverage = explore(pair().client(client.clone()).server(server.clone()));
            states += coverage.states();
            deepest = deepest.max(coverage.depth());
        }
    }
    println!("{states} states, depth {deepest}");
    (states, deepest)
}

#[track_caller]
fn explore(pair: Pair) -> Coverage {
    match Explorer::new().run(pair) {
        Ok(coverage) => {
            assert!(coverage.is_complete(), "{coverage}");
            coverage
        }
        Err(counterexample) => panic!("{counterexample}"),
    }
}

fn send(text: &'static str) -> PairStep {
    PairStep::Send(text.into())
}

fn chunk(text: &'static str, last: bool) -> PairStep {
    PairStep::Chunk(Chunk { data: text.into(), last })
}

fn close() -> PairStep {
    PairStep::Close(CloseCode::NORMAL.into())
}

/// Scripts of ends that obey the protocol.
fn sound() -> Vec<Vec<PairStep>> {
    vec![
        vec![],
        vec![send("one"), close()],
        vec![chunk("be", false), chunk("gun", true)],
        vec![chunk("unfinished", false), close()],
        vec![PairStep::Ping("p".into()), PairStep::Ping("q".into())],
        vec![PairStep::StopReading, send("deaf"), PairStep::Read],
        vec![send("gone"), PairStep::Abort],
        vec![send("broken"), PairStep::BreakTransport],
    ]
}

#[test]
fn pairs_of_short_scripts_obey_the_laws_in_every_state() {
    let (states, depth) = explore_all(&sound(), || Pair::new(&Config::default()).timers(1));
    assert!(states > 5000 && depth >= 10, "{states} states, depth {depth}");
}

/// Scripts of three and four steps.
#[test]
#[ignore = "takes minutes"]
fn pairs_of_longer_scripts_obey_the_laws_in_every_state() {
    let scripts = [
        vec![send("one"), send("two"), close()],
        vec![chunk("be", false), PairStep::Ping("p".into()), chunk("gun", true)],
        vec![PairStep::StopReading, send("deaf"), PairStep::Read, close()],
        vec![send("gone"), chunk("unfinished", false), PairStep::Abort],
    ];
    let (states, depth) = explore_all(&scripts, || Pair::new(&Config::default()).timers(1));
    assert!(states > 30_000 && depth >= 15, "{states} states, depth {depth}");
}

#[test]
fn keep_alive_and_idle_timeouts_obey_the_laws_in_every_state() {
    let config = Config::default()
        .ping_interval(Duration::from_secs(10))
        .ping_timeout(Duration::from_secs(3))
        .idle_timeout(Duration::from_secs(25));
    let scripts = [vec![], vec![PairStep::StopReading]];
    let (states, depth) = explore_all(&scripts, || Pair::new(&config).timers(2));
    assert!(states > 3000 && depth >= 10, "{states} states, depth {depth}");
    let scripts = [vec![], vec![close()], vec![send("one")]];
    let (states, depth) = explore_all(&scripts, || Pair::new(&config).timers(1));
    assert!(states > 500 && depth >= 8, "{states} states, depth {depth}");
}

#[test]
fn bytes_cut_anywhere_obey_the_laws_in_every_state() {
    let scripts = [vec![], vec![send("ä")], vec![close()]];
    let (states, depth) =
        explore_all(&scripts, || Pair::new(&Config::default()).cuts(Cuts::Anywhere).timers(0));
    assert!(states > 300 && depth >= 12, "{states} states, depth {depth}");
}

#[test]
fn messages_in_chunks_and_fragments_obey_the_laws_in_every_state() {
    let config = Config::default().recv_chunk_len(4).max_send_frame_len(3);
    let scripts = [vec![], vec![send("seven ä")], vec![chunk("abcdef", false), chunk("g", true)]];
    let (states, depth) = explore_all(&scripts, || Pair::new(&config).cuts(Cuts::Halves).timers(0));
    assert!(states > 1000 && depth >= 10, "{states} states, depth {depth}");
}

#[test]
fn compressed_messages_obey_the_laws_in_every_state() {
    let deflate = Deflate::default()
        .server_no_context_takeover(true)
        .client_no_context_takeover(true)
        .min_len(0);
    let config = Arc::new(Config::default().extension(deflate));
    let pair = || {
        let end = |role| connection(role, config.clone(), Instant::EPOCH);
        Pair::of(end(Role::Client), end(Role::Server)).timers(0)
    };
    let long = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let scripts = [vec![send(long), close()], vec![send(long), PairStep::Ping("p".into())], vec![]];
    let (states, depth) = explore_all(&scripts, pair);
    assert!(states > 300 && depth >= 8, "{states} states, depth {depth}");
}

/// One end breaks the protocol; the other still ends once and in bounded time.
#[test]
fn a_peer_that_breaks_the_protocol_breaks_no_law() {
    let invalid: [&'static [u8]; 5] = [
        &[0x83, 0x00],                   // a reserved opcode
        &[0x80, 0x00],                   // a continuation of nothing
        &[0x81, 0x02, 0xC3],             // a frame that is never finished
        &[0x88, 0x01, 0x03],             // a Close frame with half of a code
        &[0x89, 0x80, 1, 2, 3, 4, 0x88], // a masked ping, and the beginning of another frame
    ];
    let mut states = 0;
    for bytes in invalid {
        let bad = vec![PairStep::Write(bytes.into()), send("more")];
        for good in [vec![send("reply")], vec![chunk("unfinished", false)]] {
            let pair = || Pair::new(&Config::default()).timers(1);
            states += explore(pair().client(bad.clone()).server(good.clone())).states();
            states += explore(pair().client(good).server(bad.clone())).states();
        }
    }
    println!("{states} states");
    assert!(states > 1000, "{states} states");
}
