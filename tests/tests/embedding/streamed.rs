//! Messages longer than may be held, which are accepted in chunks.

use sockless_core::{Chunk, Config, Deflate, Event, ProtocolError};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{BINARY, BINARY_BEGINS, ENDS, GOES_ON, TEXT};

fn config() -> Config {
    Config::default().max_message_len(100).max_streamed_len(1_000)
}

/// The lengths of the chunks; the last one is marked.
fn lens(events: &[Event]) -> Vec<usize> {
    let lens = events.iter().enumerate().map(|(i, event)| {
        let Event::Chunk(Chunk { data, last }) = event else { panic!("{event:?}") };
        assert_eq!(*last, i + 1 == events.len());
        data.len()
    });
    lens.collect()
}

#[test]
fn a_message_beyond_max_message_len_arrives_in_chunks_of_that_length() {
    for role in BOTH {
        let mut end = End::new(role, config());
        for first in [TEXT, BINARY] {
            let whole = end.peer.frame(first, [b'x'; 100]);
            assert!(matches!(end.receive(whole)[..], [Event::Message(_)]));
            let longer = end.peer.frame(first, [b'x'; 101]);
            assert_eq!(lens(&end.receive(longer)), [100, 1]);
            let longest = end.peer.frame(first, [b'x'; 1_000]);
            assert_eq!(lens(&end.receive(longest)), [100; 10]);
        }
        let fragments = end.peer.fragments(BINARY_BEGINS, &[[7; 250]; 4]);
        assert_eq!(lens(&end.receive(fragments)), [100; 10]);
    }
}

#[test]
fn one_byte_more_fails_with_1009_and_names_the_setting() {
    for role in BOTH {
        let error = ProtocolError::StreamTooLong { len: 1_001, max: 1_000 };
        assert!(error.to_string().contains("max_streamed_len = 1000"));
        let mut end = End::new(role, config());
        let events = end.receive(end.peer.header(BINARY, 1_001));
        end.assert_fails_with(1009, error, &events);

        let mut end = End::new(role, config());
        end.receive(end.peer.frame(BINARY_BEGINS, [7; 500]));
        end.receive(end.peer.frame(GOES_ON, [7; 500]));
        let events = end.receive(end.peer.header(ENDS, 1));
        end.assert_fails_with(1009, error, &events);
    }
}

#[test]
fn by_default_nothing_longer_than_may_be_held_is_accepted() {
    for role in BOTH {
        for config in [
            Config::default().max_message_len(100),
            Config::default().max_message_len(100).max_streamed_len(99),
        ] {
            let mut end = End::new(role, config);
            let events = end.receive(end.peer.header(BINARY, 101));
            let error = ProtocolError::MessageTooLong { len: 101, max: 100 };
            assert!(error.to_string().contains("max_message_len = 100"));
            end.assert_fails_with(1009, error, &events);
        }
    }
}

#[test]
fn a_driver_that_joins_chunks_rejects_a_message_over_its_limit() {
    for role in BOTH {
        let mut end = End::new(role, config());
        let events = end.receive(end.peer.frame(BINARY_BEGINS, [7; 150]));
        assert!(matches!(events[..], [Event::Chunk(_)]));
        end.connection.reject_message(150, end.now);
        let events = end.poll();
        let error = ProtocolError::MessageTooLong { len: 150, max: 100 };
        end.assert_fails_with(1009, error, &events);
    }
}

#[test]
fn the_limits_hold_after_our_close_frame() {
    for role in BOTH {
        let mut end = End::new(role, config());
        end.close(sockless_core::CloseReason::EMPTY);
        let events = end.receive(end.peer.frame(BINARY_BEGINS, [7; 150]));
        assert!(matches!(events[..], [Event::Chunk(_)]));
        end.connection.reject_message(150, end.now);
        let events = end.poll();
        let [Event::Closed(closed)] = &events[..] else { panic!("{events:?}") };
        let error = ProtocolError::MessageTooLong { len: 150, max: 100 };
        assert_eq!(closed.cause(), &sockless_core::Cause::Protocol(error));
    }
}

#[test]
fn inflated_messages_have_the_same_limits() {
    for role in BOTH {
        let config = config().extension(Deflate::default().min_len(0));
        let peer = if role == BOTH[0] { BOTH[1] } else { BOTH[0] };
        for (len, accepted) in [(100, true), (101, true), (1_000, true), (1_001, false)] {
            let mut from = End::new(peer, config.clone());
            from.connection.send(vec![7; len], from.now).unwrap();
            let wire = from.drain();
            assert!(wire.len() < 100);
            let mut end = End::new(role, config.clone());
            let mut events = end.receive(wire);
            if !accepted {
                let error = ProtocolError::StreamTooLong { len: 1_001, max: 1_000 };
                let Some(Event::Closed(closed)) = events.pop() else { panic!("{events:?}") };
                assert_eq!(closed.cause(), &sockless_core::Cause::Protocol(error));
                continue;
            }
            let received: usize = events
                .iter()
                .map(|event| match event {
                    Event::Message(message) => message.len(),
                    Event::Chunk(chunk) => chunk.data.len().min(101),
                    other => panic!("{other:?}"),
                })
                .sum();
            assert_eq!(received, len);
            let longest = |event: &Event| match event {
                Event::Message(data) | Event::Chunk(Chunk { data, .. }) => data.len(),
                _ => 0,
            };
            assert!(events.iter().map(longest).max() <= Some(100));
        }
    }
}
