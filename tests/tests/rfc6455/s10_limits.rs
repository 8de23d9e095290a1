//! RFC 6455 §10.4: limits, enforced as soon as a header shows that they are exceeded.

use bytes::BytesMut;
use sockless_core::{Config, Event, ProtocolError};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{BINARY, BINARY_BEGINS, ENDS, GOES_ON, PING, TEXT, TEXT_BEGINS};

#[test]
fn a_message_of_the_greatest_length_arrives_and_one_byte_more_fails() {
    for role in BOTH {
        for first in [TEXT, BINARY] {
            let mut end = End::new(role, Config::default().max_message_len(1000));
            let bytes = end.peer.frame(first, [b'x'; 1000]);
            assert_eq!(end.receive(bytes).len(), 1);
            // The header is enough.
            let events = end.receive(end.peer.header(first, 1001));
            let error = ProtocolError::MessageTooLong { len: 1001, max: 1000 };
            end.assert_fails_with(1009, error, &events);
        }
    }
}

#[test]
fn fragments_count_together() {
    for role in BOTH {
        for begins in [TEXT_BEGINS, BINARY_BEGINS] {
            let mut end = End::new(role, Config::default().max_message_len(1000));
            let half = [b'x'; 500];
            let whole = end.peer.fragments(begins, &[half, half]);
            assert_eq!(end.receive(whole).len(), 1);
            assert_eq!(end.receive(end.peer.frame(begins, half)), []);
            assert_eq!(end.receive(end.peer.frame(GOES_ON, half)), []);
            let events = end.receive(end.peer.header(ENDS, 1));
            let error = ProtocolError::MessageTooLong { len: 1001, max: 1000 };
            end.assert_fails_with(1009, error, &events);
        }
    }
}

#[test]
fn a_frame_has_a_limit_of_its_own() {
    for role in BOTH {
        for first in [TEXT, BINARY, TEXT_BEGINS, BINARY_BEGINS] {
            let mut end = End::new(role, Config::default().max_frame_len(100));
            let events = end.receive(end.peer.header(first, 101));
            let error = ProtocolError::FrameTooLong { len: 101, max: 100 };
            end.assert_fails_with(1009, error, &events);
        }
        let mut end = End::new(role, Config::default().max_frame_len(10));
        let bytes = end.peer.fragments(TEXT_BEGINS, &["0123456789"; 50]);
        assert_eq!(end.receive(bytes), [Event::Message("0123456789".repeat(50).into())]);
        let events = end.receive(end.peer.header(PING, 11));
        end.assert_fails_with(1009, ProtocolError::FrameTooLong { len: 11, max: 10 }, &events);
    }
}

#[test]
fn no_limit_is_passed_by_lengths_that_sum_past_the_end_of_numbers() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        assert_eq!(end.receive(end.peer.frame(BINARY_BEGINS, "x")), []);
        let len = u64::MAX >> 1;
        let events = end.receive(end.peer.header(GOES_ON, len));
        let error = ProtocolError::MessageTooLong { len: len + 1, max: 1 << 20 };
        end.assert_fails_with(1009, error, &events);
    }
}

#[test]
fn the_longest_frame_that_can_be_said_arrives_in_chunks() {
    for role in BOTH {
        let config = Config::default().max_message_len(u64::MAX).recv_chunk_len(4);
        let mut end = End::new(role, config.max_fragments(u32::MAX));
        let (len, zeros) = (u64::MAX >> 1, [0; 64]);
        assert_eq!(end.receive(end.peer.header(BINARY_BEGINS, len)), []);
        assert_eq!(end.receive(zeros).len(), 16);
        assert!(end.connection.is_open());
        assert_eq!(end.connection.bytes_needed(&end.inbound), 0);
    }
}

#[test]
fn a_claim_makes_no_room() {
    for role in BOTH {
        for first in [TEXT, BINARY, TEXT_BEGINS, BINARY_BEGINS] {
            let mut end = End::new(role, Config::default());
            end.inbound = BytesMut::with_capacity(64);
            assert_eq!(end.receive(end.peer.header(first, 1 << 20)), []);
            // Unmasked or not, it is a character.
            assert_eq!(end.receive([0x37]), []);
            assert!(end.inbound.capacity() <= 64);
        }
    }
}

#[test]
fn a_connection_that_failed_misses_nothing() {
    for role in BOTH {
        let mut end = End::new(role, Config::default().max_message_len(10));
        end.receive(end.peer.header(BINARY, 1 << 40));
        assert_eq!(end.connection.bytes_needed(&end.inbound), 0);
    }
}

#[test]
fn changed_limits_hold_for_the_next_frame() {
    for role in BOTH {
        let mut end = End::new(role, Config::default());
        assert_eq!(end.receive(end.peer.frame(TEXT_BEGINS, "12345")), []);
        let config = Config::default().max_message_len(8).into();
        end.connection.set_config(config, end.now);
        let events = end.receive(end.peer.header(ENDS, 4));
        let error = ProtocolError::MessageTooLong { len: 9, max: 8 };
        end.assert_fails_with(1009, error, &events);
    }
}
