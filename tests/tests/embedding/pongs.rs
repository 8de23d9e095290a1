//! The pong that waits for room, and the pings of our own that do not: neither outlives the connection.

use std::time::Duration;

use sockless_core::{CloseReason, Config, Event};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{CLOSE, GOES_ON, PING, PONG, TEXT, TEXT_BEGINS};

const SECOND: Duration = Duration::from_secs(1);

/// The ways in which a connection comes to its end.
const ENDS: [fn(&mut End) -> Vec<Event>; 9] = [
    |end| end.receive(end.peer.close(1000, "")),
    |end| {
        end.close(CloseReason::EMPTY);
        end.receive(end.peer.close(1000, ""))
    },
    |end| {
        end.close(CloseReason::EMPTY);
        end.wait(SECOND * 1000)
    },
    |end| end.eof(),
    |end| {
        end.connection.abort(end.now);
        end.poll()
    },
    |end| {
        end.connection.handle_transport_error("broken", end.now);
        end.poll()
    },
    |end| end.receive(end.peer.frame(GOES_ON, "stray")),
    |end| {
        end.connection.handle_stall(end.now);
        end.poll()
    },
    |end| {
        // Nothing of what waits is taken.
        end.wait(SECOND * 1000)
    },
];

/// An end whose queue is full, and that has pings to answer.
fn flooded(role: sockless_core::Role, rng: &mut fastrand::Rng) -> End {
    let config =
        Config::default().high_water(100).write_timeout(SECOND * 30).idle_timeout(SECOND * 500);
    let mut end = End::new(role, config);
    end.connection.send("x".repeat(rng.usize(100..300)), end.now).unwrap();
    for _ in 0..rng.usize(1..50) {
        let payload = vec![b'?'; rng.usize(0..126)];
        let ping = end.peer.ping(payload);
        assert!(matches!(end.receive(ping)[..], [Event::Ping(_)]));
    }
    end
}

#[test]
fn a_flood_of_pings_queues_nothing_that_outlives_the_end() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        for role in BOTH {
            for (way, finish) in ENDS.iter().enumerate() {
                let mut end = flooded(role, &mut rng);
                let taken = rng.usize(0..400).min(end.connection.outbound().remaining());
                end.connection.outbound().advance(taken);
                let events = finish(&mut end);
                let ended = events.iter().any(|event| matches!(event, Event::Closed(_)));
                assert!(ended, "way {way}: {events:?}");
                // Whatever is written makes room, which nothing fills any more.
                let mut waiting = end.connection.outbound().remaining();
                while waiting > 0 {
                    let ping = end.peer.ping("late");
                    assert_eq!(end.receive(ping), []);
                    assert_eq!(end.connection.outbound().remaining(), waiting, "way {way}");
                    let step = rng.usize(1..=waiting);
                    end.connection.outbound().advance(step);
                    waiting -= step;
                    assert_eq!(end.connection.outbound().remaining(), waiting, "way {way}");
                }
                end.assert_silent();
            }
        }
    }
}

#[test]
fn the_newest_ping_is_answered_once_there_is_room_and_not_behind_a_close_frame() {
    for role in BOTH {
        let flooded = || {
            let mut end = End::new(role, Config::default().high_water(10));
            end.connection.send("0123456789", end.now).unwrap();
            for payload in ["old", "new"] {
                end.receive(end.peer.ping(payload));
            }
            end
        };
        let mut end = flooded();
        let sent = end.sent();
        assert_eq!(sent.iter().map(|frame| frame.first).collect::<Vec<_>>(), [TEXT, PONG]);
        assert_eq!(sent[1].payload, b"new");
        let mut end = flooded();
        end.close(CloseReason::EMPTY);
        assert_eq!(end.sent().iter().map(|frame| frame.first).collect::<Vec<_>>(), [TEXT, CLOSE]);
    }
}

#[test]
fn a_pong_that_waits_when_the_peer_closes_goes_before_the_answer_or_nowhere() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().high_water(10));
        let chunk = |data: &'static str, last| sockless_core::Chunk { data: data.into(), last };
        end.connection.send_chunk(chunk("0123456789", false), end.now).unwrap();
        end.receive(end.peer.ping("?"));
        end.receive(end.peer.close(1000, ""));
        end.connection.send_chunk(chunk("end", true), end.now).unwrap();
        let sent: Vec<u8> = end.sent().iter().map(|frame| frame.first).collect();
        assert_eq!(sent, [TEXT_BEGINS, 0x80, CLOSE]);
    }
}

#[test]
fn no_ping_of_our_own_is_queued_behind_more_than_enough() {
    for role in BOTH {
        let config = Config::default().high_water(10).ping_interval(SECOND * 10);
        // The peer does not time out by any of these.
        let mut end = End::new(role, config.ping_timeout(SECOND * 100_000).write_timeout(None));
        end.connection.send("0123456789", end.now).unwrap();
        let waiting = end.connection.outbound().remaining();
        for _ in 0..100 {
            assert_eq!(end.wait(SECOND * 10), []);
            assert_eq!(end.connection.outbound().remaining(), waiting);
            end.receive(end.peer.pong("alive"));
        }
        assert_eq!(end.sent().iter().map(|frame| frame.first).collect::<Vec<_>>(), [TEXT]);
        end.receive(end.peer.pong("alive"));
        end.wait(SECOND * 10);
        assert_eq!(end.sent().iter().map(|frame| frame.first).collect::<Vec<_>>(), [PING]);
    }
}
