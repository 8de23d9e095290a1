//! The same bytes in a read buffer, in slices, and owned: the same events.

use bytes::{Bytes, BytesMut};
use sockless_core::{Config, Connection, Deflate, Event, Message, Output};
use sockless_tests::end::{BOTH, End};
use sockless_tests::wire::{BINARY_BEGINS, TEXT_BEGINS, Writer};

fn wire(peer: Writer, rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..rng.usize(1..20) {
        let payload = vec![b'x'; rng.usize(0..9_000) / rng.usize(1..200)];
        wire.extend(match rng.u8(0..14) {
            0..3 => peer.text("a \u{e4} text"),
            3..6 => peer.binary(payload),
            6 => peer.text(&"y".repeat(payload.len())),
            7 => peer.ping(&payload[..payload.len().min(125)]),
            8 => peer.fragments(TEXT_BEGINS, &["ä€".as_bytes(), &payload, "𐍈".as_bytes()]),
            9 => peer.fragments(BINARY_BEGINS, &[&payload[..], &payload[..]]),
            10 => peer.pong("p"),
            11 if rng.u8(0..9) == 0 => peer.frame(0x81, [0xFF]),
            12 if rng.u8(0..9) == 0 => peer.frame(rng.u8(..), payload),
            13 if rng.u8(0..9) == 0 => peer.close(1000, "done"),
            _ => peer.text(""),
        });
    }
    if rng.u8(0..4) == 0 {
        wire.truncate(rng.usize(0..=wire.len()));
    }
    wire
}

#[test]
fn slices_mean_the_same_as_a_read_buffer_however_they_are_cut() {
    for seed in 0..3_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        for role in BOTH {
            let mut config = Config::default();
            if rng.bool() {
                config = config.recv_chunk_len(rng.usize(0..300));
            }
            if rng.u8(0..4) == 0 {
                config = config.extension(Deflate::default());
            }
            let (mut one, mut other) = (End::new(role, config.clone()), End::new(role, config));
            let wire = wire(one.peer, &mut rng);
            let mut expected = one.receive(&wire);
            expected.extend(one.eof());

            let (mut rest, mut events) = (&wire[..], Vec::new());
            while !rest.is_empty() {
                let (mut input, after) = rest.split_at(rng.usize(1..=rest.len()));
                rest = after;
                while let Some(event) =
                    other.connection.poll_event_from(&mut input, &mut other.inbound, other.now)
                {
                    events.push(event);
                }
                assert!(input.is_empty(), "seed {seed}: what is polled until None is taken");
            }
            events.extend(other.eof());
            assert_eq!(joined(&events), joined(&expected), "seed {seed}");
            assert_eq!(one.drain().len(), other.drain().len(), "seed {seed}");
        }
    }
}

/// The events, with the chunks of each message joined: where they end depends on the cuts.
fn joined(events: &[Event]) -> Vec<Event> {
    let (mut joined, mut held) = (Vec::new(), None::<Vec<u8>>);
    for event in events {
        let Event::Chunk(chunk) = event else {
            joined.push(event.clone());
            continue;
        };
        let bytes = held.get_or_insert_default();
        bytes.extend_from_slice(chunk.data.as_bytes());
        if chunk.last {
            joined.push(Event::Message(Message::from(held.take().unwrap())));
        }
    }
    joined
}

#[test]
fn a_slice_is_taken_as_far_as_its_events_were_polled() {
    let mut end = End::new(sockless_core::Role::Server, Config::default().high_water(1));
    let bytes = [end.peer.text("one"), end.peer.text("two"), end.peer.text("three")].concat();
    let (mut input, len) = (&bytes[..], end.peer.text("one").len());
    for expected in ["one", "two"] {
        let before = input.len();
        let output = end.connection.poll_output_from(&mut input, &mut end.inbound, end.now);
        let Output::Event(event) = output else { panic!("{output:?}") };
        assert_eq!(event, Event::Message(Message::from(expected)));
        assert_eq!((before - input.len(), end.inbound.len()), (len, 0));
    }
    // No room for the answer to the third.
    end.connection.send("answer", end.now).unwrap();
    let output = end.connection.poll_output_from(&mut input, &mut end.inbound, end.now);
    assert!(matches!(output, Output::Write(_)));
    let output = end.connection.poll_output_from(&mut input, &mut end.inbound, end.now);
    assert!(matches!(output, Output::Wait(wait) if !wait.read));
    assert_eq!(input, end.peer.text("three"));
}

#[test]
fn owned_bytes_are_not_copied_if_they_are_the_first_and_the_only() {
    for bytes in [Bytes::from(vec![7; 10_000]), Bytes::from(BytesMut::from(&[7; 10_000][..]))] {
        let place = bytes.as_ptr();
        let mut inbound = BytesMut::new();
        Connection::append(&mut inbound, bytes.clone());
        assert_ne!(inbound.as_ptr(), place, "it is shared");
        let mut inbound = BytesMut::new();
        Connection::append(&mut inbound, bytes);
        assert_eq!(inbound.as_ptr(), place);
        Connection::append(&mut inbound, Bytes::from_static(b"more"));
        assert_eq!(inbound.len(), 10_004);
    }
}
