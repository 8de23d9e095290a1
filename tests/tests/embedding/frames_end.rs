//! The end of a connection of frames: by either side, by the transport, and in time.

use std::time::Duration;

use bytes::BytesMut;
use sockless_core::{
    Cause, Closed, Config, Frame, Instant, Opcode, Party, RawConnection, Role, Seed, SendError,
    Timeout, TransportAction,
};
use sockless_tests::end::{BOTH, peer_of};

#[test]
fn close_sends_what_is_queued_then_shuts_down_and_waits_for_the_peer() {
    for role in BOTH {
        let mut raw = opened(role);
        assert_eq!(raw.send(frame("last"), at(0)), Ok(()));
        raw.close(at(0));
        assert!(!raw.is_open() && raw.has_unsent());
        assert_eq!(raw.transport_action(), TransportAction::ShutdownWrite);
        assert_eq!(raw.send(frame("late"), at(0)), Err(SendError::Closing));
        assert_eq!(end(&mut raw, at(0)), Some(closed(Party::Local, Cause::Aborted)));
        raw.close(at(1));
        assert_eq!(end(&mut raw, at(1)), None, "the end is reported once");
        raw.handle_eof(at(1));
        assert_eq!(raw.transport_action(), TransportAction::Close);
    }
}

#[test]
fn input_after_close_is_discarded_and_extends_the_time_of_the_peer() {
    for role in BOTH {
        let mut raw = opened(role);
        raw.close(at(0));
        assert_eq!(raw.poll_timeout(), Some(at(5)));
        let mut inbound = BytesMut::from(&peer_of(role).binary("late")[..]);
        assert!(matches!(raw.poll_frame(&mut inbound, at(4)), Some(Err(_))));
        assert_eq!((inbound.len(), raw.poll_timeout()), (0, Some(at(9))));
        raw.handle_timeout(at(8));
        assert_eq!(raw.transport_action(), TransportAction::ShutdownWrite);
        raw.handle_timeout(at(9));
        assert_eq!((raw.transport_action(), raw.poll_timeout()), (TransportAction::Close, None));
    }
}

#[test]
fn a_peer_that_never_stops_sending_does_not_hold_the_end_up_for_longer_than_the_cap() {
    for role in BOTH {
        let mut raw = opened(role);
        raw.close(at(0));
        for second in 1..60 {
            let _ = raw.poll_frame(&mut BytesMut::from("x"), at(second));
            raw.handle_timeout(at(second));
            assert_eq!(raw.transport_action(), TransportAction::ShutdownWrite, "{second}");
        }
        raw.handle_timeout(at(60));
        assert_eq!(raw.transport_action(), TransportAction::Close);
    }
}

#[test]
fn a_peer_that_takes_what_was_sent_before_the_end_is_given_the_time_for_it() {
    for role in BOTH {
        let mut raw = opened(role);
        assert_eq!(raw.send(frame("1234567890"), at(0)), Ok(()));
        raw.close(at(0));
        for second in [20, 40, 59] {
            raw.outbound().advance(1);
            raw.handle_blocked(at(second));
            raw.handle_timeout(at(second));
            assert!(raw.has_unsent());
        }
        raw.handle_timeout(at(60));
        assert!(!raw.has_unsent(), "12 closing timeouts have passed");
        assert_eq!(raw.transport_action(), TransportAction::Close);
    }
}

#[test]
fn a_transport_that_accepts_nothing_ends_the_connection() {
    for role in BOTH {
        let mut raw = opened(role);
        assert_eq!(raw.poll_timeout(), None);
        assert_eq!(raw.send(frame("unread"), at(7)), Ok(()));
        raw.handle_blocked(at(7));
        assert_eq!(raw.poll_timeout(), Some(at(67)));
        raw.outbound().advance(1);
        raw.handle_blocked(at(20));
        assert_eq!(raw.poll_timeout(), Some(at(80)));
        raw.handle_timeout(at(79));
        assert!(raw.is_open());
        raw.handle_timeout(at(80));
        assert_eq!(raw.transport_action(), TransportAction::Close);
        assert!(!raw.has_unsent());
        let expected = closed(Party::Local, Cause::Timeout(Timeout::Write));
        assert_eq!(end(&mut raw, at(80)), Some(expected));
    }
}

#[test]
fn frames_before_the_end_of_the_transport_are_received_first() {
    for role in BOTH {
        let mut raw = opened(role);
        let mut inbound = BytesMut::from(&peer_of(role).binary("last")[..]);
        raw.handle_eof(at(1));
        assert!(matches!(raw.poll_frame(&mut inbound, at(1)), Some(Ok(_))));
        assert_eq!(end(&mut raw, at(1)), Some(closed(Party::Peer, Cause::Eof)));
        assert_eq!(raw.transport_action(), TransportAction::Close);
    }
}

#[test]
fn each_sudden_end_drops_what_is_queued_and_is_reported() {
    type Ends = fn(&mut RawConnection);
    let cases: [(Ends, Party, Cause); 3] = [
        (|raw| raw.abort(at(1)), Party::Local, Cause::Aborted),
        (|raw| raw.handle_overload(at(1)), Party::Local, Cause::Overloaded),
        (
            |raw| raw.handle_transport_error("reset", at(1)),
            Party::Peer,
            Cause::Transport("reset".into()),
        ),
    ];
    for role in BOTH {
        for (ends, by, cause) in &cases {
            let mut raw = opened(role);
            assert_eq!(raw.send(frame("lost"), at(0)), Ok(()));
            ends(&mut raw);
            assert!(!raw.has_unsent() && !raw.is_open());
            assert_eq!(raw.transport_action(), TransportAction::Close);
            assert_eq!(end(&mut raw, at(1)), Some(closed(*by, cause.clone())));
            assert_eq!(raw.poll_timeout(), None);
        }
    }
}

fn opened(role: Role) -> RawConnection {
    let config = Config::default().into();
    match role {
        Role::Client => RawConnection::client(Seed::new([7; 32]), config),
        Role::Server => RawConnection::server(config),
    }
}

fn at(seconds: u64) -> Instant {
    Instant::EPOCH + Duration::from_secs(seconds)
}

fn frame(payload: &'static str) -> Frame {
    Frame::new(Opcode::Binary, payload.into())
}

fn closed(by: Party, cause: Cause) -> Closed {
    Closed::new(by, cause, None, None)
}

/// The report of the end, if there is one.
fn end(raw: &mut RawConnection, now: Instant) -> Option<Closed> {
    raw.poll_frame(&mut BytesMut::new(), now).map(|polled| polled.expect_err("a frame"))
}
