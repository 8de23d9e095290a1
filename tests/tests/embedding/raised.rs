//! Messages on top of frames, where a frame is half received or the frames have failed.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::{
    Cause, Config, Connection, Event, Instant, Negotiated, ProtocolError, RawConnection, Role, Rsv,
    Seed, Timeout, TransportAction,
};
use sockless_tests::end::{BOTH, End, broken_rule, peer_of};
use sockless_tests::wire::{BINARY, CLOSE, ENDS, GOES_ON, PING, TEXT, TEXT_BEGINS};

fn raw(role: Role, config: &Config) -> RawConnection {
    let config = Arc::new(config.clone());
    match role {
        Role::Client => RawConnection::client(Seed::new([7; 32]), config),
        Role::Server => RawConnection::server(config),
    }
}

/// Messages on top of a raw connection that has taken the header out of `begun`.
fn raised(role: Role, config: &Config, begun: &[u8]) -> End {
    let mut raw = raw(role, config);
    let mut inbound = BytesMut::from(begun);
    assert_eq!(raw.poll_frame(&mut inbound, Instant::EPOCH), None);
    assert!(inbound.len() < begun.len(), "the header was taken");
    over(raw, inbound)
}

fn over(raw: RawConnection, inbound: BytesMut) -> End {
    let (role, now) = (raw.role(), Instant::EPOCH);
    let connection = Connection::from_raw(raw, Negotiated::default(), now);
    End { connection, inbound, now, peer: peer_of(role) }
}

#[test]
fn a_frame_half_received_goes_on_as_a_message() {
    for role in BOTH {
        let peer = peer_of(role);
        for (frame, reported) in [
            (peer.text("hello"), Event::Message("hello".into())),
            (peer.binary("hello"), Event::Message(b"hello".to_vec().into())),
            (peer.ping("hello"), Event::Ping("hello".into())),
        ] {
            let header_len = frame.len() - 5;
            for cut in header_len..frame.len() {
                let mut end = raised(role, &Config::default(), &frame[..cut]);
                assert_eq!(end.poll(), []);
                assert_eq!(end.receive(&frame[cut..]), std::slice::from_ref(&reported));
                // Everything that follows is checked as usual.
                let next = end.peer.text("next");
                assert_eq!(end.receive(next), [Event::Message("next".into())]);
            }
        }
    }
}

#[test]
fn a_frame_half_received_begins_a_message_of_more() {
    for role in BOTH {
        let peer = peer_of(role);
        let begun = peer.frame(TEXT_BEGINS, "hello");
        let (begun, rest) = begun.split_at(begun.len() - 3);
        let mut end = raised(role, &Config::default(), begun);
        assert_eq!(end.receive(rest), []);
        assert_eq!(end.receive(peer.frame(ENDS, "!")), [Event::Message("hello!".into())]);
    }
}

#[test]
fn a_frame_half_received_keeps_the_order_of_frames() {
    for role in BOTH {
        let peer = peer_of(role);
        for first in [GOES_ON, ENDS] {
            let mut end = raised(role, &Config::default(), &peer.header(first, 5));
            let events = end.poll();
            end.assert_fails_with(1002, ProtocolError::ContinuationUnexpected, &events);
        }
    }
}

#[test]
fn a_frame_half_received_keeps_the_limits() {
    for role in BOTH {
        let wide = Config::default();
        let begun = |first| peer_of(role).header(first, 100);
        // The raw connection accepted it: the settings have changed since.
        let mut end = raised(role, &wide, &begun(BINARY));
        end.connection.set_config(wide.clone().max_message_len(99).into(), end.now);
        let events = end.poll();
        let error = ProtocolError::MessageTooLong { len: 100, max: 99 };
        end.assert_fails_with(1009, error, &events);

        let mut end = raised(role, &wide, &begun(PING));
        end.connection.set_config(wide.clone().max_frame_len(99).into(), end.now);
        let events = end.poll();
        end.assert_fails_with(1009, ProtocolError::FrameTooLong { len: 100, max: 99 }, &events);

        let mut end = raised(role, &wide.clone().max_fragments(0), &begun(TEXT));
        let events = end.poll();
        end.assert_fails_with(1008, ProtocolError::TooManyFragments { max: 0 }, &events);
    }
}

#[test]
fn a_frame_half_received_counts_with_the_frames_after_it() {
    for role in BOTH {
        let (peer, config) = (peer_of(role), Config::default().max_message_len(8).max_fragments(2));
        let begun = peer.frame(TEXT_BEGINS, "hello");
        let (begun, rest) = begun.split_at(begun.len() - 3);
        let mut end = raised(role, &config, begun);
        assert_eq!(end.receive(rest), []);
        let events = end.receive(peer.header(ENDS, 4));
        let error = ProtocolError::MessageTooLong { len: 9, max: 8 };
        end.assert_fails_with(1009, error, &events);

        let mut end = raised(role, &config, begun);
        assert_eq!(end.receive(rest), []);
        assert_eq!(end.receive(peer.frame(GOES_ON, "1")), []);
        let events = end.receive(peer.header(ENDS, 1));
        end.assert_fails_with(1008, ProtocolError::TooManyFragments { max: 2 }, &events);
    }
}

#[test]
fn a_frame_half_received_takes_time_like_a_message() {
    for role in BOTH {
        let config = Config::default().message_timeout(Duration::from_secs(10));
        for first in [TEXT, BINARY, PING] {
            let mut end = raised(role, &config, &peer_of(role).header(first, 100));
            assert_eq!(end.poll(), []);
            assert_eq!(end.wait(Duration::from_secs(9)), []);
            assert!(end.connection.is_open());
            let events = end.wait(Duration::from_secs(1));
            assert!(!end.connection.is_open(), "{first:#x}");
            let [Event::Closed(closed)] = &events[..] else { panic!("{events:?}") };
            assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Message));
        }
    }
}

#[test]
fn reserved_bits_without_an_owner_are_rejected() {
    for role in BOTH {
        let mut raw = raw(role, &Config::default());
        raw.accept_rsv(Rsv::RSV2);
        let mut inbound = BytesMut::from(&peer_of(role).header(TEXT | 0x20, 5)[..]);
        assert_eq!(raw.poll_frame(&mut inbound, Instant::EPOCH), None);
        let mut end = over(raw, inbound);
        let events = end.poll();
        end.assert_fails_with(1002, ProtocolError::ReservedBitSet, &events);
    }
}

#[test]
fn over_frames_that_have_failed_nothing_is_left_but_the_end() {
    for role in BOTH {
        for polled in [false, true] {
            let mut raw = raw(role, &Config::default());
            let mut inbound = BytesMut::from(&peer_of(role).frame(0x83, "reserved")[..]);
            let error = ProtocolError::OpcodeReserved(3);
            let closed = raw
                .poll_frame(&mut inbound, Instant::EPOCH)
                .expect("an end")
                .expect_err("no frame");
            assert_eq!(broken_rule(closed), error);
            inbound.extend_from_slice(&peer_of(role).text("late"));
            if polled {
                assert_eq!(raw.poll_frame(&mut inbound, Instant::EPOCH), None);
            }
            let mut end = over(raw, inbound);
            assert!(!end.connection.is_open());
            assert!(end.connection.send("late", end.now).is_err());
            assert_eq!(end.connection.transport_action(), TransportAction::ShutdownWrite);
            let events = end.poll();
            end.assert_fails_with(1002, error, &events);
        }
    }
}

#[test]
fn over_frames_that_have_failed_the_transport_ends_by_the_closing_timeout() {
    for role in BOTH {
        let mut raw = raw(role, &Config::default());
        let mut inbound = BytesMut::from(&peer_of(role).frame(0x83, "reserved")[..]);
        assert!(raw.poll_frame(&mut inbound, Instant::EPOCH).is_some());
        let mut end = over(raw, inbound);
        assert!(matches!(end.poll()[..], [Event::Closed(_)]));
        assert_eq!(end.sent().iter().map(|frame| frame.first).collect::<Vec<_>>(), [CLOSE]);
        assert_eq!(end.wait(Duration::from_secs(5)), []);
        assert_eq!(end.connection.transport_action(), TransportAction::Close);
    }
}
