//! Memory of whole sessions, counted: an echo through the driver, an idle session, a flood.

use peakmem_alloc::PeakMemAllocTrait;
use sockless_core::Config;
use sockless_driver::Session;
use sockless_tests::handlers::echo;
use sockless_tests::served::{BROWSER_REQUEST, REQUEST, Served, State, host};
use sockless_tests::wire::{BINARY, TEXT, Writer};
use stats_alloc::Region;

use crate::{COUNTS, PEAK, held};

pub(crate) fn an_echoed_message_costs_one_allocation_at_most() {
    for (first, kind) in [(BINARY, "binary"), (TEXT, "text")] {
        for len in [64, 1500, 16 << 10, 256 << 10] {
            for depth in [1, 16] {
                let mut server = Served::new(Config::default(), echo);
                let wire = Writer { masks: true }.frame(first, vec![b'x'; len]);
                server.exchange(&wire, depth, 100, len);
                let region = Region::new(&COUNTS);
                let batches = 200;
                server.exchange(&wire, depth, batches, len);
                let (change, count) = (region.change(), batches * depth);
                println!(
                    "echo of {count} {kind} messages of {len} B, {depth} deep: {} allocations, {} \
                     reallocations",
                    change.allocations, change.reallocations
                );
                assert!(change.allocations <= count, "more than the payload's own block a message");
                // Text that arrives in several reads grows, by doubling; nothing else may be moved but
                // the read buffer, in whose block the payloads stay.
                let grows = first == TEXT && len * depth > 60 << 10;
                let most = if grows { 4 * count } else { count - change.allocations };
                assert!(change.reallocations <= most, "a payload's block is moved too often");
            }
        }
    }
}

pub(crate) fn an_idle_session_is_small() {
    let terse = [false, true].map(|is_used| an_idle_session_holds(echo, REQUEST, is_used));
    println!(
        "an idle session holds {terse:?} B, opened by a terse request, before and after it is used"
    );
    assert!(terse.iter().all(|held| *held <= 1_360), "{terse:?}");

    let usual = [false, true].map(|is_used| an_idle_session_holds(echo, BROWSER_REQUEST, is_used));
    println!(
        "an idle session holds {usual:?} B, opened by a browser's, before and after it is used"
    );
    assert!(usual.iter().all(|held| *held <= 1_665), "{usual:?}");

    let looks_up = async |session: Session| {
        let request = session.request();
        let found =
            (request.header("cookie"), request.query_param("name"), request.path(), request.host());
        assert!(matches!(found, (Some(_), Some(_), "/", Some(_))));
        echo(session).await
    };
    let besides = usual[0] - future_size(&echo);
    let found = an_idle_session_holds(looks_up, BROWSER_REQUEST, false) - future_size(&looks_up);
    assert_eq!(found, besides, "to look something up keeps nothing");

    let unpacks = async |session: Session| {
        assert_eq!(session.request().headers().len(), 17);
        echo(session).await
    };
    let unpacked = an_idle_session_holds(unpacks, BROWSER_REQUEST, false) - future_size(&unpacks);
    let unpacked = unpacked - besides;
    println!("a browser's request that was unpacked takes {unpacked} B more");
    assert!(unpacked <= 3 << 10, "{unpacked}");
    assert!(
        unpacked >= 2 << 10,
        "packing requests saves too little to be worth its code: {unpacked} B"
    );
}

fn an_idle_session_holds<F, Fut>(handler: F, request: &[u8], is_used: bool) -> usize
where
    F: Fn(Session) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: sockless_driver::Outcome> + Send + 'static,
{
    let long = Writer { masks: true }.binary([7; 64 << 10]);
    let host = host(Config::default(), handler);
    let open = |is_used| {
        let mut server = Served::opened_by(request, &host);
        if is_used {
            server.exchange(&long, 1, 1, 64 << 10);
        }
        // The peer's own bytes are not the session's.
        *server.peer() = State::default();
        server
    };
    // The thread's lent buffers, and the server's own room for connections.
    let warm: Vec<_> = (0..100).map(|_| open(true)).collect();
    let before = held();
    let others: Vec<_> = (0..1000).map(|_| open(is_used)).collect();
    let each = (held() - before) / others.len();
    drop(warm);
    each
}

/// The part of a session that belongs to its handler.
fn future_size<Fut>(_: &impl Fn(Session) -> Fut) -> usize {
    size_of::<Fut>()
}

pub(crate) fn a_flood_that_is_not_received_stays_under_the_ceiling() {
    let config = Config::default().max_message_len(64 << 10);
    let ceiling = config.memory_ceiling();
    for len in [0, 1, 100, 4_000, 5_000, 60_000] {
        let mut server = Served::new(config.clone(), async |session: Session| {
            session.closed().await;
        });
        let wire = Writer { masks: true }.binary(vec![7; len]).repeat(1 + (1 << 20) / (len + 6));
        PEAK.reset_peak_memory();
        let before = held();
        server.peer().say(&wire, 20);
        let wire_len = held() - before;
        for _ in 0..1_000 {
            server.poll();
        }
        let peak = PEAK.get_peak_memory() - wire_len;
        println!("a flood of {len} B messages holds {peak} of {ceiling} B");
        assert!(peak <= ceiling);
        let left = server.peer().left;
        assert!(left > 10, "it was read to the end: {left} rounds are left");
    }
}

pub(crate) fn a_flood_of_pings_stays_under_the_ceiling() {
    let config = Config::default().max_message_len(64 << 10);
    let ceiling = config.memory_ceiling();
    let mut server = Served::new(config, async |session: Session| {
        session.closed().await;
    });
    let wire = Writer { masks: true }.ping([7; 125]).repeat(10_000);
    server.peer().reads = false;
    PEAK.reset_peak_memory();
    let before = held();
    server.peer().say(&wire, 20);
    let wire_len = held() - before;
    while server.peer().left > 0 {
        server.poll();
    }
    let peak = PEAK.get_peak_memory() - wire_len;
    println!("200,000 pings to a peer that does not read hold {peak} of {ceiling} B");
    assert!(peak <= ceiling);
}
