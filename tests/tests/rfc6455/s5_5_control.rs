//! RFC 6455 §5.5: pings, pongs, and what no control frame may be.

use std::sync::Arc;

use sockless_core::{CloseReason, Config, Event, ProtocolError, SendError};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{PING, PONG};

#[test]
fn a_ping_is_answered_with_its_payload() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        for payload in [&b""[..], b"are you there?", &[0xFF; 125]] {
            let ping = end.peer.ping(payload);
            assert_eq!(end.receive(ping), [Event::Ping(payload.to_vec().into())]);
            let sent = end.sent();
            assert_eq!((sent.len(), sent[0].first, &sent[0].payload[..]), (1, PONG, payload));
        }
    }
}

#[test]
fn a_pong_is_reported_and_not_answered() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let pong = end.peer.pong("unasked for");
        assert_eq!(end.receive(pong), [Event::Pong("unasked for".into())]);
        assert_eq!(end.sent(), []);
    }
}

#[test]
fn pings_are_sent() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        assert_eq!(end.connection.ping("hello", end.now), Ok(()));
        assert_eq!(end.connection.ping(vec![0; 125], end.now), Ok(()));
        let too_long = SendError::ControlTooLong { len: 126 };
        assert_eq!(end.connection.ping(vec![0; 126], end.now), Err(too_long));
        let sent = end.sent();
        assert_eq!(sent.len(), 2);
        assert_eq!((sent[0].first, &sent[0].payload[..]), (PING, &b"hello"[..]));
        end.close(CloseReason::EMPTY);
        assert_eq!(end.connection.ping("hello", end.now), Err(SendError::Closing));
    }
}

#[test]
fn fragmented_control_frames_fail() {
    for role in BOTH {
        for opcode in [0x08, 0x09, 0x0A] {
            let mut end = End::new(role, Config::default());
            let events = end.receive(end.peer.frame(opcode, ""));
            end.assert_fails_with(1002, ProtocolError::ControlFragmented, &events);
        }
    }
}

#[test]
fn long_control_frames_fail() {
    for role in BOTH {
        for first in [0x88, 0x89, 0x8A] {
            let mut end = End::new(role, Config::default());
            // The length's own bytes are not waited for.
            let events = end.receive(&end.peer.header(first, 126)[..2]);
            end.assert_fails_with(1002, ProtocolError::ControlTooLong, &events);
        }
    }
}

#[test]
fn one_pong_waits_while_the_peer_does_not_read_and_it_is_the_newest() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().high_water(100));
        assert_eq!(end.connection.send(vec![1; 200], end.now), Ok(()));
        assert!(!end.connection.is_writable());
        let waiting = end.connection.outbound().remaining();
        for count in 0..10_000_u32 {
            let ping = end.peer.ping(count.to_be_bytes());
            assert_eq!(end.receive(ping).len(), 1);
            assert_eq!(end.connection.outbound().remaining(), waiting);
        }
        let long = waiting - 50;
        end.connection.outbound().advance(long);
        let sent = end.drain();
        let frames = sockless_tests::wire::read_all(&sent[50..]);
        assert_eq!(frames.len(), 1, "one answer is enough");
        assert_eq!(frames[0].payload, 9_999_u32.to_be_bytes());
    }
}

#[test]
fn pings_that_find_room_are_all_answered() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        let pings: Vec<u8> = (0..50_u8).flat_map(|count| end.peer.ping([count])).collect();
        assert_eq!(end.receive(pings).len(), 50);
        let answered: Vec<u8> = end.sent().iter().map(|frame| frame.payload[0]).collect();
        assert_eq!(answered, (0..50).collect::<Vec<u8>>());
    }
}

#[test]
fn a_pong_that_waits_is_dropped_for_a_close_frame() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().high_water(1));
        assert_eq!(end.connection.send("x", end.now), Ok(()));
        assert_eq!(end.receive(end.peer.ping("?")).len(), 1);
        end.close(CloseReason::EMPTY);
        let firsts: Vec<u8> = end.sent().iter().map(|frame| frame.first).collect();
        assert_eq!(firsts, [0x81, 0x88], "nothing follows a Close frame");
        assert_eq!(end.receive(end.peer.ping("?")), [Event::Ping("?".into())]);
        assert_eq!(end.sent(), [], "nothing follows a Close frame");
    }
}

#[test]
fn a_pong_that_waits_is_dropped_with_all_that_waits() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().high_water(1));
        assert_eq!(end.connection.send("x", end.now), Ok(()));
        assert_eq!(end.receive(end.peer.ping("?")).len(), 1);
        end.connection.abort(end.now);
        assert_eq!(end.sent(), []);
    }
}

#[test]
fn at_least_one_byte_may_wait() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().high_water(0));
        assert!(end.connection.is_writable());
        assert_eq!(end.receive(end.peer.ping("?")).len(), 1);
        assert_eq!(end.sent().len(), 1);
        let config = Arc::new(Config::default().high_water(1000));
        end.connection.set_config(config.clone(), end.now);
        assert_eq!(end.connection.config(), &config);
        assert_eq!(end.connection.send(vec![0; 500], end.now), Ok(()));
        assert!(end.connection.is_writable());
        assert_eq!(end.connection.send(vec![0; 500], end.now), Ok(()));
        assert!(!end.connection.is_writable());
    }
}
