//! The length of a message on the wire: deflate makes noise longer, which does not count against it.

use sockless_core::{Cause, Config, Event, Message, ProtocolError, Role};
use sockless_tests::end::{BOTH, End, peer_of};
use sockless_tests::wire::{BINARY, BINARY_BEGINS};

use crate::support::{Compressor, RSV1, eager, noise, with};

const MAX: usize = 1 << 20;

/// A message as the peer of `role` sends it.
fn sent_to(role: Role, config: Config, message: Vec<u8>) -> Vec<u8> {
    let mut from = End::new(if role == Role::Client { Role::Server } else { Role::Client }, config);
    from.connection.send(message, from.now).unwrap();
    from.drain()
}

#[test]
fn noise_of_the_greatest_length_is_accepted_when_deflate_makes_it_longer() {
    for role in BOTH {
        for level in [0, 1, 6] {
            for max_send_frame_len in [usize::MAX, 10_000] {
                let config = with(eager().level(level)).max_send_frame_len(max_send_frame_len);
                let message = noise(MAX, 3);
                let wire = sent_to(role, config.clone(), message.clone());
                assert!(wire.len() > MAX, "level {level}: {}", wire.len());
                let mut end = End::new(role, config);
                assert_eq!(end.receive(wire), [Event::Message(Message::from(message))]);
            }
        }
    }
}

#[test]
fn a_peer_that_sends_deflated_noise_although_it_is_longer_is_held_to_the_length_of_the_message() {
    let message = noise(MAX, 3);
    let payload = Compressor::new().message(&message);
    let longer = Compressor::new().message(&noise(MAX + 1, 3));
    assert!(payload.len() > MAX, "{}", payload.len());
    for role in BOTH {
        let peer = peer_of(role);
        let fragments = |payload: &[u8]| {
            let parts: Vec<&[u8]> = payload.chunks(10_000).collect();
            peer.fragments(BINARY_BEGINS | RSV1, &parts)
        };
        for wire in [peer.frame(BINARY | RSV1, &payload), fragments(&payload)] {
            let mut end = End::new(role, with(eager()));
            assert!(end.receive(wire) == [Event::Message(message.clone().into())]);
        }
        for wire in [peer.frame(BINARY | RSV1, &longer), fragments(&longer)] {
            let mut end = End::new(role, with(eager()));
            let events = end.receive(wire);
            let [Event::Closed(closed)] = &events[..] else { panic!("{} events", events.len()) };
            let max = MAX as u64;
            let error = ProtocolError::MessageTooLong { len: max + 1, max };
            assert_eq!(closed.cause(), &Cause::Protocol(error));
        }
    }
}

#[test]
fn one_byte_more_is_refused() {
    for role in BOTH {
        for max_send_frame_len in [usize::MAX, 10_000] {
            let config = with(eager().level(1)).max_send_frame_len(max_send_frame_len);
            let wire = sent_to(role, config.clone(), noise(MAX + 1, 3));
            let mut end = End::new(role, config);
            let events = end.receive(wire);
            let [Event::Closed(closed)] = &events[..] else { panic!("{} events", events.len()) };
            let max = MAX as u64;
            let error = ProtocolError::MessageTooLong { len: max + 1, max };
            assert_eq!(closed.cause(), &Cause::Protocol(error));
            assert_eq!(
                closed.sent().and_then(|sent| sent.code()).map(|code| code.get()),
                Some(1009)
            );
        }
    }
}

#[test]
fn a_compressed_length_that_no_allowed_message_has_is_rejected_by_its_header() {
    for role in BOTH {
        let (peer, max) = (peer_of(role), MAX as u64);
        for len in [2 * max, u64::MAX >> 1] {
            for first in [BINARY | RSV1, BINARY_BEGINS | RSV1] {
                let mut end = End::new(role, with(eager()));
                let events = end.receive(peer.header(first, len));
                let error = ProtocolError::MessageTooLong { len, max };
                end.assert_fails_with(1009, error, &events);
            }
        }
        // An uncompressed message has the length that its header states.
        let mut end = End::new(role, with(eager()));
        let events = end.receive(peer.header(BINARY, max + 1));
        end.assert_fails_with(1009, ProtocolError::MessageTooLong { len: max + 1, max }, &events);
    }
}
