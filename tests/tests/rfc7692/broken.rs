//! Faults of peers: each has its close code, and none loops.

use sockless_core::extension::CodecError;
use sockless_core::{CloseCode, Deflate, Event, ProtocolError};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{BINARY, BINARY_BEGINS, ENDS, GOES_ON, PING, TEXT};

use crate::support::{
    Compressor, FOREIGN, RSV1, TAKEOVERS, eager, noise, prose, taking_over, with,
};

const CORRUPT: ProtocolError = failed("a message cannot be inflated");

const fn failed(what: &'static str) -> ProtocolError {
    let error = CodecError::new(CloseCode::INVALID_PAYLOAD, what);
    ProtocolError::CodecFailed { name: "permessage-deflate", error }
}

/// A fault of a message, for each role and each agreement.
fn assert_fails(payload: &[u8], expected: ProtocolError) {
    for role in BOTH {
        for takeover in TAKEOVERS {
            let mut end = End::new(role, with(taking_over(takeover)));
            let wire = end.peer.frame(BINARY | RSV1, payload);
            let events = end.receive(&wire);
            let Some(Event::Closed(closed)) = events.last() else {
                panic!("{takeover:?}: {events:?}");
            };
            assert_eq!(closed.cause(), &sockless_core::Cause::Protocol(expected), "{takeover:?}");
            assert_eq!(events.len(), 1);
            end.assert_fails_with(1007, expected, &events);
        }
    }
}

#[test]
fn a_block_of_no_type_is_corrupt() {
    assert_fails(&[0x07, 0, 0, 0], CORRUPT);
    assert_fails(&[0xFF; 100], CORRUPT);
}

#[test]
fn a_zlib_header_with_a_preset_dictionary_is_corrupt() {
    // RFC 1950 §2.2: CMF, FLG with FDICT, DICTID.
    let stream = [&[0x78, 0xBB, 1, 2, 3, 4][..], &Compressor::new().message(b"hello")].concat();
    for role in BOTH {
        let mut end = End::new(role, with(eager()));
        let wire = end.peer.frame(BINARY | RSV1, stream.clone());
        let events = end.receive(&wire);
        assert!(matches!(events[..], [Event::Closed(_)]), "{events:?}");
    }
}

#[test]
fn a_reference_to_before_the_beginning_is_corrupt() {
    let mut compressor = Compressor::new();
    compressor.message(&noise(200, 1));
    // Its context is one that this end has never had.
    assert_fails(&compressor.message(&noise(200, 1)), CORRUPT);
}

#[test]
fn a_stored_block_that_is_cut_off_is_found_at_once() {
    let stored = [&[0, 100, 0, !100, 0xFF][..], &[7; 100]].concat();
    for len in [2, 3, 4, 5, 6, 50, 104] {
        for role in BOTH {
            for takeover in TAKEOVERS {
                let mut end = End::new(role, with(taking_over(takeover)));
                let wire = end.peer.frame(BINARY | RSV1, &stored[..len]);
                let events = end.receive(&wire);
                let [Event::Closed(closed)] = &events[..] else { panic!("{len}: {events:?}") };
                assert_eq!(closed.sent().unwrap().code().unwrap().get(), 1007);
            }
        }
    }
}

#[test]
fn a_message_that_is_cut_off_anywhere_is_found_at_once() {
    for text in [prose(3000, 4), "hello".repeat(20)] {
        let whole = Compressor::new().message(text.as_bytes());
        for len in 1..whole.len() {
            for takeover in TAKEOVERS {
                let mut end = End::new(sockless_core::Role::Server, with(taking_over(takeover)));
                let wire = end.peer.frame(BINARY | RSV1, &whole[..len]);
                let events = end.receive(&wire);
                let [Event::Closed(closed)] = &events[..] else { panic!("{len}: {events:?}") };
                assert_eq!(closed.sent().unwrap().code(), Some(CloseCode::INVALID_PAYLOAD));
            }
        }
    }
}

#[test]
fn nothing_at_all_is_a_message_without_an_end() {
    // RFC 7692 §7.2.3.6 has an empty message take a byte; with the tail, none is an empty block too.
    for role in BOTH {
        let mut end = End::new(role, with(eager()));
        let wire = [end.peer.frame(BINARY | RSV1, [0]), end.peer.binary("x")].concat();
        let events = end.receive(wire);
        assert_eq!(events, [Event::Message(vec![].into()), Event::Message(vec![b'x'].into())]);
    }
}

#[test]
fn blocks_marked_as_the_last_may_be_followed_by_others() {
    // RFC 7692 §7.2.3.5: "Hello" in a final block, and the byte that makes room for the tail.
    let hello = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00];
    for role in BOTH {
        for takeover in TAKEOVERS {
            for payload in [&hello[..], &hello[..7], &[&hello[..7], &hello[..]].concat()] {
                let mut end = End::new(role, with(taking_over(takeover)));
                for _ in 0..2 {
                    let wire = end.peer.frame(TEXT | RSV1, payload);
                    let events = end.receive(&wire);
                    let expected = "Hello".repeat(payload.len().div_ceil(8));
                    assert_eq!(events, [Event::Message(expected.into())]);
                }
            }
        }
    }
}

#[test]
fn the_examples_of_the_rfc_are_understood() {
    let hello: &[u8] = &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    for role in BOTH {
        let mut end = End::new(role, with(taking_over((true, true))));
        let peer = end.peer;
        let wire = [
            // §7.2.3.1: one compressed block, then the same in two frames.
            peer.frame(TEXT | RSV1, hello),
            peer.frame(0x01 | RSV1, &hello[..3]),
            peer.frame(GOES_ON | ENDS, &hello[3..]),
            // §7.2.3.2: sharing the window.
            peer.frame(TEXT | RSV1, [0xF2, 0x00, 0x11, 0x00, 0x00]),
            // §7.2.3.3: a block without compression.
            peer.frame(
                TEXT | RSV1,
                [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            ),
            // §7.2.3.5: two blocks.
            peer.frame(
                TEXT | RSV1,
                [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
            ),
        ];
        let events = end.receive(wire.concat());
        assert_eq!(events, [const { "Hello" }; 5].map(|hello| Event::Message(hello.into())));
    }
}

#[test]
fn reserved_bits_have_their_place() {
    let hello: &[u8] = &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    assert!(!FOREIGN.intersects(sockless_core::Rsv::RSV1));
    for role in BOTH {
        for (before, first) in [
            (None, TEXT | 0x20),
            (None, TEXT | RSV1 | 0x20),
            (None, PING | RSV1),
            (Some(BINARY_BEGINS | RSV1), GOES_ON | ENDS | RSV1),
            (Some(BINARY_BEGINS), GOES_ON | ENDS | RSV1),
        ] {
            let mut end = End::new(role, with(eager()));
            if let Some(before) = before {
                let wire = end.peer.frame(before, &hello[..3]);
                assert_eq!(end.receive(&wire), []);
            }
            let wire = end.peer.frame(first, &hello[3..]);
            let events = end.receive(&wire);
            end.assert_fails_with(1002, ProtocolError::ReservedBitSet, &events);
        }
        // Without the extension no extension owns the bit.
        let mut end = End::new(role, sockless_core::Config::default());
        let wire = end.peer.frame(TEXT | RSV1, hello);
        let events = end.receive(&wire);
        end.assert_fails_with(1002, ProtocolError::ReservedBitSet, &events);
    }
}

/// Of two faults the first counts, however the bytes are cut.
#[test]
fn the_first_of_two_faults_is_reported() {
    let flushed = [Compressor::new().message(b"ok \xFF"), vec![0, 0, 0xFF, 0xFF]].concat();
    let ended = b"\x01\x04\0\xFB\xFFok \xFF".to_vec();
    let (no_type, cut_off) = (&[0x07, 0x07][..], &[0, 9, 0, 0xF6, 0xFF, b'x'][..]);
    for (text, fault) in
        [(&flushed, no_type), (&flushed, cut_off), (&ended, no_type), (&ended, cut_off)]
    {
        let payload = [text, fault].concat();
        for role in BOTH {
            for chunk in 1..=payload.len() + 20 {
                let mut end = End::new(role, with(eager()));
                let wire = end.peer.frame(TEXT | RSV1, &payload);
                let chunks = wire.chunks(chunk);
                let events: Vec<_> = chunks.flat_map(|bytes| end.receive(bytes)).collect();
                end.assert_fails_with(1007, ProtocolError::TextInvalid, &events);
            }
        }
    }
}

#[test]
fn text_is_checked_after_it_was_inflated() {
    for role in BOTH {
        let mut end = End::new(role, with(eager()));
        let wire = end.peer.frame(TEXT | RSV1, Compressor::new().message(b"ok \xFF"));
        let events = end.receive(&wire);
        end.assert_fails_with(1007, ProtocolError::TextInvalid, &events);
    }
}

#[test]
fn a_message_is_as_long_as_it_inflates_to() {
    for role in BOTH {
        for (len, max) in [(1000, 1000), (1001, 1000), (1_000_000, 1000), (1_000_000, 999_999)] {
            for recv_chunk_len in [usize::MAX, 100] {
                let config = with(eager()).max_message_len(max).recv_chunk_len(recv_chunk_len);
                let mut end = End::new(role, config);
                let wire = end.peer.frame(BINARY | RSV1, Compressor::new().message(&vec![0; len]));
                let events = end.receive(&wire);
                let closed = events.iter().find_map(|event| match event {
                    Event::Closed(closed) => Some(closed),
                    _ => None,
                });
                match closed {
                    None => assert!(len as u64 <= max),
                    Some(closed) => {
                        assert_eq!(closed.sent().unwrap().code(), Some(CloseCode::MESSAGE_TOO_BIG));
                        assert!(len as u64 > max);
                    }
                }
            }
        }
    }
}

#[test]
fn a_ratio_may_be_too_much() {
    let payload = Compressor::new().message(&vec![0; 100_000]);
    assert!(payload.len() < 1000);
    for role in BOTH {
        for (ratio, passes) in [(None, true), (Some(2000), true), (Some(50), false)] {
            let mut end = End::new(role, with(Deflate::default().max_ratio(ratio)));
            let wire = end.peer.frame(BINARY | RSV1, &payload);
            match &end.receive(&wire)[..] {
                [Event::Message(message)] => assert!(passes && message.len() == 100_000),
                [Event::Closed(closed)] => {
                    assert!(!passes);
                    let reason = closed.sent().unwrap();
                    assert_eq!(reason.code(), Some(CloseCode::MESSAGE_TOO_BIG));
                    assert!(reason.text().contains("max_ratio"), "{reason}");
                }
                events => panic!("{events:?}"),
            }
        }
    }
}

#[test]
fn short_messages_pass_at_any_ratio() {
    let payload = Compressor::new().message(&[0; 4096]);
    let mut end = End::new(sockless_core::Role::Server, with(Deflate::default().max_ratio(1)));
    let wire = end.peer.frame(BINARY | RSV1, &payload);
    assert_eq!(end.receive(&wire), [Event::Message(vec![0; 4096].into())]);
}

#[test]
fn a_limit_may_be_lowered_below_what_has_arrived() {
    let payload = Compressor::new().message(&noise(4096, 1));
    for role in BOTH {
        let mut end = End::new(role, with(eager()));
        let wire = end.peer.frame(BINARY | RSV1, &payload);
        let (first, rest) = wire.split_at(wire.len() / 2);
        assert_eq!(end.receive(first), []);
        end.connection.set_config(with(eager()).max_message_len(1000).into(), end.now);
        let events = end.receive(rest);
        let [Event::Closed(closed)] = &events[..] else { panic!("{events:?}") };
        let error = closed.cause().to_string();
        assert!(error.contains("max_message_len = 1000"), "{error}");
    }
}

/// Whatever bytes claim to be compressed, they end in messages or in an end, in bounded steps.
#[test]
fn noise_does_no_harm() {
    for seed in 0..4000 {
        let payload = noise(1 + seed as usize % 200, seed);
        for role in BOTH {
            let config = with(taking_over(TAKEOVERS[seed as usize % 4])).max_message_len(100_000);
            let mut end = End::new(role, config);
            let wire = end.peer.frame(BINARY | RSV1, &payload);
            let events = end.receive(&wire);
            assert_eq!(events.len(), 1, "{seed}");
        }
    }
}
