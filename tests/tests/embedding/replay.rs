//! Same inputs, same outputs, byte for byte.

use std::time::Duration;

use sockless_core::{CloseCode, Config, Connection, Event, Instant, Negotiated, Role, Seed};
use sockless_tests::end::{BOTH, End};
use sockless_tests::pair::{Pair, Weather};
use sockless_tests::wire::read_all;

#[test]
fn the_same_session_is_the_same_session() {
    for seed in 0..20 {
        let (first, second) = (session(seed), session(seed));
        assert_eq!(first, second);
    }
    assert_ne!(session(1).1, session(2).1);
}

#[test]
fn a_fork_goes_on_as_its_original_does() {
    for role in BOTH {
        let config = Config::default().ping_interval(Duration::from_secs(1)).recv_chunk_len(10);
        let mut original = End::new(role, config);
        assert_eq!(original.connection.send("before", original.now), Ok(()));
        let bytes = original.peer.text("a message that is cut by the fork");
        original.receive(&bytes[..25]);
        let mut fork = original.clone();
        for end in [&mut original, &mut fork] {
            assert_eq!(end.connection.send("after", end.now), Ok(()));
            assert_eq!(end.connection.send(vec![1; 10_000], end.now), Ok(()));
        }
        assert_eq!(original.receive(&bytes[25..]), fork.receive(&bytes[25..]));
        let while_apart = Duration::from_secs(30);
        assert_eq!(original.wait(while_apart), fork.wait(while_apart));
        assert_eq!(original.drain(), fork.drain());
    }
}

#[test]
fn the_seed_makes_the_keys_and_nothing_else() {
    let keys = |seed: u8| {
        let config = Config::default().into();
        let negotiated = Negotiated::default();
        let seed = Seed::new([seed; 32]);
        let mut client = Connection::client(negotiated, seed, config, Instant::EPOCH);
        assert_eq!(client.send("hello", Instant::EPOCH), Ok(()));
        let frames = read_all(&sockless_tests::end::drain(&mut client));
        assert_eq!(frames[0].payload, b"hello");
        frames[0].key
    };
    assert_eq!(keys(1), keys(1));
    assert_ne!(keys(1), keys(2));
}

#[test]
fn how_secret_the_seed_is_depends_on_nothing_that_is_shown() {
    let shown = format!("{:?}", End::new(Role::Client, Config::default()).connection);
    assert!(shown.contains("MaskKeys(..)"));
    assert!(!shown.contains("7, 7"));
    assert_eq!(format!("{:?}", Seed::new([7; 32])), "Seed(..)");
}

/// The events of both ends with their times, the end, and the bytes that were sent.
fn session(seed: u64) -> ([Vec<Event>; 2], Vec<Vec<u8>>, Instant) {
    let config = Config::default().ping_interval(Duration::from_millis(700)).recv_chunk_len(100);
    let delay = Duration::from_millis(300);
    let weather = Weather { chunk: 50, delay, cut: None };
    let mut pair = Pair::new([config.clone(), config], weather, seed);
    let mut sent = Vec::new();
    for turn in 0..30_u32 {
        let side = turn as usize % 2;
        assert_eq!(
            pair.ends[side]
                .connection
                .send(vec![turn as u8; turn as usize * 9], pair.ends[side].now),
            Ok(())
        );
        sent.push(pair.ends[side].clone().drain());
        pair.turn();
        pair.leap();
    }
    pair.ends[0].close((CloseCode::NORMAL, "done"));
    pair.run();
    (pair.events, sent, pair.now)
}
