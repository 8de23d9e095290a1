//! Which messages are compressed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sockless_core::{Chunk, Deflate, Message, Role};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{BINARY, TEXT};

use crate::support::{Inflater, RSV1, TAIL, TAKEOVERS, eager, noise, prose, taking_over, with};

/// The first bytes of what is sent for each message.
fn firsts(end: &mut End, messages: impl IntoIterator<Item = Message>) -> Vec<u8> {
    let mut send = |message| {
        end.connection.send(message, end.now).unwrap();
        end.sent()[0].first
    };
    messages.into_iter().map(&mut send).collect()
}

#[test]
fn short_messages_are_sent_uncompressed() {
    for role in BOTH {
        let mut end = End::new(role, with(Deflate::default().min_len(100)));
        let messages = [99, 100].map(|len| Message::from("x".repeat(len)));
        assert_eq!(firsts(&mut end, messages), [TEXT, TEXT | RSV1]);
    }
}

#[test]
fn a_message_that_does_not_get_shorter_is_sent_uncompressed() {
    for role in BOTH {
        for takeover in [(false, false), (true, true)] {
            let mut end = End::new(role, with(taking_over(takeover)));
            let mut inflater = Inflater::new();
            for (message, first) in [
                (Message::from(prose(3000, 1)), TEXT | RSV1),
                (noise(3000, 2).into(), BINARY),
                (prose(3000, 1).into(), TEXT | RSV1),
                ("".into(), TEXT),
                (noise(100_000, 3).into(), BINARY),
                (prose(3000, 1).into(), TEXT | RSV1),
            ] {
                end.connection.send(message.clone(), end.now).unwrap();
                let frame = end.sent().remove(0);
                assert_eq!(frame.first, first);
                if first & RSV1 != 0 {
                    assert!(frame.payload.len() < message.len());
                    // The message that was sent uncompressed has not changed the context.
                    assert_eq!(inflater.message(&frame.payload), message.as_bytes());
                } else {
                    assert_eq!(frame.payload, message.as_bytes());
                }
            }
        }
    }
}

#[test]
fn all_conditions_must_be_met() {
    let deflate = eager()
        .compress_if(|part, _| part.is_text)
        .compress_if(|_, payload| payload.starts_with(b"aa"));
    for role in BOTH {
        let mut end = End::new(role, with(deflate.clone()));
        let messages =
            [Message::from("a".repeat(500)), "b".repeat(500).into(), vec![b'a'; 500].into()];
        assert_eq!(firsts(&mut end, messages), [TEXT | RSV1, TEXT, BINARY]);
    }
}

#[test]
fn a_message_may_ask_not_to_be_compressed() {
    for role in BOTH {
        let mut end = End::new(role, with(eager()));
        end.connection.send(Message::from("a".repeat(500)).uncompressed(), end.now).unwrap();
        assert_eq!(end.sent()[0].first, TEXT);
        end.connection.send("a".repeat(500), end.now).unwrap();
        assert_eq!(end.sent()[0].first, TEXT | RSV1);
    }
}

#[test]
fn context_that_is_taken_over_makes_the_second_message_short() {
    for (role, takeover) in [(Role::Server, (true, false)), (Role::Client, (false, true))] {
        for (takeover, expected) in [(takeover, true), ((false, false), false)] {
            let mut end = End::new(role, with(taking_over(takeover)));
            let mut lens = [0, 1].map(|_| {
                end.connection.send(noise(500, 7), end.now).unwrap();
                end.sent()[0].payload.len()
            });
            // Noise compresses only by repetition of earlier noise: the first message is sent uncompressed,
            // and the compressor does not remember it.
            assert_eq!(lens, [500, 500]);
            lens = [0, 1].map(|_| {
                end.connection.send(noise(500, 7).repeat(2), end.now).unwrap();
                end.sent()[0].payload.len()
            });
            assert_eq!(lens[1] < lens[0] / 4, expected, "{role:?} {takeover:?}: {lens:?}");
        }
    }
}

#[test]
fn chunks_can_be_inflated_as_they_come() {
    for role in BOTH {
        let mut end = End::new(role, with(eager()));
        let mut inflater = Inflater::new();
        let parts = [prose(700, 1), prose(700, 2), String::new()];
        for (i, part) in parts.iter().enumerate() {
            let chunk = Chunk { data: part.clone().into(), last: i == 2 };
            end.connection.send_chunk(chunk, end.now).unwrap();
            let frames = end.sent();
            assert_eq!(frames.len(), 1);
            assert_eq!(frames[0].first & RSV1 != 0, i == 0);
            // Each but the last ends with the empty block that only the end of a message does without.
            let payload = &frames[0].payload;
            let payload = if i == 2 { payload } else { payload.strip_suffix(TAIL).unwrap() };
            assert_eq!(inflater.message(payload), part.as_bytes());
        }
    }
}

#[test]
fn conditions_are_asked_once_a_message() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let deflate = eager().compress_if(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        true
    });
    let mut end = End::new(Role::Server, with(deflate));
    for last in [false, false, true] {
        end.connection.send_chunk(Chunk { data: "aaaa".into(), last }, end.now).unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn noise_is_sent_uncompressed_every_time() {
    for takeover in TAKEOVERS {
        for level in [1, 6] {
            let mut server = End::new(Role::Server, with(taking_over(takeover).level(level)));
            // The rest of each would fill the compressor in the end.
            for seed in 0..60 {
                let noise = noise(20_000, seed);
                server.connection.send(noise.clone(), server.now).unwrap();
                let frames = server.sent();
                assert_eq!((frames.len(), frames[0].first), (1, BINARY), "level {level}, {seed}");
                assert!(frames[0].payload == noise, "level {level}, {seed}");
            }
            let prose = prose(3000, 4);
            server.connection.send(prose.clone(), server.now).unwrap();
            let sent = server.sent();
            assert_eq!(sent[0].first, TEXT | RSV1, "level {level}");
            assert_eq!(Inflater::new().message(&sent[0].payload), prose.as_bytes());
        }
    }
}
