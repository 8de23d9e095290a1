//! Both ends against each other, and each against a zlib that is not ours.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sockless_core::{Event, Message};
use sockless_tests::end::{BOTH, End};
use sockless_tests::operations::{Operation, assert_all_arrives};
use sockless_tests::pair::Weather;
use sockless_tests::wire::{BINARY, ENDS, GOES_ON, PING, TEXT};

use crate::support::{Compressor, Inflater, RSV1, TAKEOVERS, noise, prose, taking_over, with};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..Default::default() })]

    #[test]
    fn messages_arrive_in_the_order_in_which_they_were_sent(
        seed: u64,
        takeover in 0..4_usize,
        bits in (8..=15_u8, 8..=15_u8),
        level in 0..=9_u8,
        operations in vec((0..2_usize, operation()), 0..24),
        chunk in 1..5000_usize,
        recv_chunk_len in 4..3000_usize,
        max_send_frame_len in 1..3000_usize,
    ) {
        let deflate = taking_over(TAKEOVERS[takeover])
            .level(level)
            .server_max_window_bits(bits.0)
            .client_max_window_bits(bits.1);
        let config = with(deflate).recv_chunk_len(recv_chunk_len).max_send_frame_len(max_send_frame_len);
        let weather = Weather { chunk, delay: Duration::from_millis(5), cut: None };
        assert_all_arrives([config.clone(), config], weather, seed, operations);
    }

    #[test]
    fn messages_compressed_by_others_are_received(
        takeover in 0..4_usize,
        messages in vec(payload(), 1..6),
        cuts in vec(1..2000_usize, 1..5),
        chunk in 1..3000_usize,
        recv_chunk_len in prop_oneof![4..3000_usize, Just(usize::MAX)],
    ) {
        for role in BOTH {
            let config = with(taking_over(TAKEOVERS[takeover])).recv_chunk_len(recv_chunk_len);
            let mut end = End::new(role, config);
            let mut compressor = Compressor::new();
            let (mut events, mut expected) = (Vec::new(), Vec::new());
            for message in &messages {
                if TAKEOVERS[takeover] != (true, true) {
                    compressor = Compressor::new();
                }
                let wire = fragmented(&end, message, &compressor.message(message.as_bytes()), &cuts);
                for bytes in wire.chunks(chunk) {
                    events.extend(end.receive(bytes));
                }
                expected.push(message.clone());
            }
            prop_assert_eq!(joined(events, recv_chunk_len), expected);
        }
    }

    #[test]
    fn others_receive_the_messages_that_we_compress(
        takeover in 0..4_usize,
        level in 1..=9_u8,
        messages in vec(payload(), 1..6),
        max_send_frame_len in prop_oneof![1..3000_usize, Just(usize::MAX)],
    ) {
        for role in BOTH {
            let deflate = taking_over(TAKEOVERS[takeover]).level(level);
            let mut end = End::new(role, with(deflate).max_send_frame_len(max_send_frame_len));
            let mut inflater = Inflater::new();
            for message in &messages {
                end.connection.send(message.clone(), end.now).unwrap();
                let frames = end.sent();
                let payload: Vec<u8> =
                    frames.iter().flat_map(|frame| frame.payload.clone()).collect();
                let is_compressed = frames[0].first & RSV1 != 0;
                // The bit is set on the first frame only (RFC 7692 §6.1).
                prop_assert!(frames[1..].iter().all(|frame| frame.first & 0x70 == 0));
                let received = if is_compressed { inflater.message(&payload) } else { payload };
                prop_assert_eq!(&received, message.as_bytes());
            }
        }
    }
}

/// A compressed message in fragments, with a ping between each two.
fn fragmented(end: &End, message: &Message, payload: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut first = RSV1 | if message.is_text() { TEXT } else { BINARY } & !ENDS;
    let (mut wire, mut rest) = (Vec::new(), payload);
    for &cut in cuts {
        let (part, left) = rest.split_at(cut.min(rest.len()));
        wire.extend(end.peer.frame(first, part));
        wire.extend(end.peer.frame(PING, "?"));
        (first, rest) = (GOES_ON, left);
    }
    wire.extend(end.peer.frame(first | ENDS, rest));
    wire
}

/// The messages among these events, chunks joined; each chunk but the last is as long as it may be.
fn joined(events: Vec<Event>, recv_chunk_len: usize) -> Vec<Message> {
    let (mut messages, mut chunks) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Message(message) => {
                assert!(message.len() <= recv_chunk_len);
                messages.push(message);
            }
            Event::Chunk(chunk) => {
                let len = chunk.data.len();
                // A chunk of text does not split a character.
                let least = if chunk.data.is_text() { recv_chunk_len - 3 } else { recv_chunk_len };
                assert!(
                    len <= recv_chunk_len && (chunk.last || len >= least),
                    "{len} of {recv_chunk_len}"
                );
                chunks.extend_from_slice(chunk.data.as_bytes());
                if chunk.last {
                    assert!(chunks.len() > recv_chunk_len);
                    let whole = std::mem::take(&mut chunks);
                    messages.push(if chunk.data.is_text() {
                        String::from_utf8(whole).unwrap().into()
                    } else {
                        whole.into()
                    });
                }
            }
            Event::Ping(_) => {}
            event => panic!("{event:?}"),
        }
    }
    messages
}

fn payload() -> impl Strategy<Value = Message> {
    let len = || prop_oneof![Just(0), 0..200_usize, 0..20_000_usize];
    prop_oneof![
        (len(), any::<u64>()).prop_map(|(len, seed)| Message::from(prose(len, seed))),
        (len(), any::<u64>()).prop_map(|(len, seed)| Message::from(noise(len, seed))),
        (len(), any::<u8>()).prop_map(|(len, byte)| Message::from(vec![byte; len])),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => payload().prop_map(|message| match message {
            Message::Text(text) => Operation::SendText(text.to_string()),
            Message::Binary(bytes) => Operation::SendBinary(bytes.to_vec()),
        }),
        2 => vec(payload().prop_map(|part| part.into_bytes().to_vec()), 1..5)
            .prop_map(Operation::SendChunks),
        1 => vec(any::<u8>(), 0..125).prop_map(Operation::Ping),
        2 => Just(Operation::Turn),
    ]
}
