//! How often each byte of a message is copied on its way, by the memory that the copies are allocated in. The
//! guide to porting shows the same table.

use bytes::{Bytes, BytesMut};
use sockless_core::{Config, Connection, Event, Message, Role};
use sockless_tests::end::End;
use sockless_tests::wire::{BINARY_BEGINS, Writer};
use stats_alloc::Region;

use crate::COUNTS;

/// The payload of each message.
const LEN: usize = 64 << 10;

/// Measures what `work` allocates, in messages.
fn copies<T>(len: usize, work: impl FnOnce() -> T) -> usize {
    let region = Region::new(&COUNTS);
    let result = work();
    let allocated = region.change().bytes_allocated;
    drop(result);
    (allocated + len / 2) / len
}

fn receive(wire: Vec<u8>, len: usize, take: impl FnOnce(&mut End, Vec<u8>) -> Message) -> usize {
    let mut end = End::new(Role::Server, Config::default());
    copies(len, || {
        let message = take(&mut end, wire);
        assert_eq!(message.len(), len);
        (message, end)
    })
}

fn message(event: Option<Event>) -> Message {
    let Some(Event::Message(message)) = event else { panic!("{event:?}") };
    message
}

/// The bytes are in the read buffer, where the transport has put them.
fn in_place(end: &mut End, wire: Vec<u8>) -> Message {
    // Not a copy of this test's: the vector becomes the buffer.
    Connection::append(&mut end.inbound, wire);
    message(end.connection.poll_event(&mut end.inbound, end.now))
}

fn shared(end: &mut End, wire: Vec<u8>) -> Message {
    let wire = Bytes::from(wire);
    Connection::append(&mut end.inbound, wire.clone());
    message(end.connection.poll_event(&mut end.inbound, end.now))
}

fn slice(end: &mut End, wire: Vec<u8>) -> Message {
    message(end.connection.poll_event_from(&mut &wire[..], &mut end.inbound, end.now))
}

fn two_slices(end: &mut End, wire: Vec<u8>) -> Message {
    // What is not whole is kept in the buffer, which has room.
    let (mut first, mut second) = wire.split_at(wire.len() / 2);
    assert_eq!(end.connection.poll_event_from(&mut first, &mut end.inbound, end.now), None);
    message(end.connection.poll_event_from(&mut second, &mut end.inbound, end.now))
}

fn send(role: Role, payload: Bytes) -> usize {
    let mut end = End::new(role, Config::default());
    copies(payload.len(), || {
        end.connection.send(payload, end.now).unwrap();
        let mut sent = BytesMut::new();
        while let Some(bytes) = end.connection.outbound().pop() {
            std::hint::black_box(&bytes);
            sent = BytesMut::new();
        }
        sent
    })
}

/// Sends a message of 1 MiB, and takes it with `take`. Returns the allocations, and how many bytes they are.
fn output_of_a_mebibyte(take: impl FnOnce(&mut End) -> usize) -> (usize, usize) {
    let mut end = End::new(Role::Server, Config::default());
    end.connection.send(vec![7; 1 << 20], end.now).unwrap();
    let region = Region::new(&COUNTS);
    assert_eq!(take(&mut end), (1 << 20) + 10);
    let change = region.change();
    assert!(!end.connection.wants_write());
    (change.allocations + change.reallocations, change.bytes_allocated)
}

pub(crate) fn owned_output_costs_what_lent_output_costs() {
    let lent = output_of_a_mebibyte(|end| {
        let mut outbound = end.connection.outbound();
        let mut len = 0;
        while outbound.has_remaining() {
            let chunk = std::hint::black_box(outbound.chunk()).len();
            len += chunk;
            outbound.advance(chunk);
        }
        len
    });
    let owned = output_of_a_mebibyte(|end| {
        let mut outbound = end.connection.outbound();
        let mut len = 0;
        while let Some(chunk) = outbound.pop() {
            len += std::hint::black_box(chunk).len();
        }
        outbound.sent(len);
        len
    });
    println!("output of 1 MiB, in allocations and bytes: lent {lent:?}, owned {owned:?}");
    assert_eq!(lent, (0, 0));
    // The memory of the header is shared once its chunk is given away: no bytes are copied.
    assert!(owned.0 <= 1 && owned.1 < 64, "{owned:?}");
}

pub(crate) fn each_path_copies_what_the_guide_states() {
    let peer = Writer { masks: true };
    let text = "x".repeat(LEN);
    let (binary, text) = (peer.binary(vec![7; LEN]), peer.text(&text));
    let halves = peer.fragments(BINARY_BEGINS, &[vec![7; LEN / 2], vec![7; LEN / 2]]);
    let short = peer.binary(vec![7; 4096]);
    let payload = || Bytes::from(vec![7; LEN]);
    let kept = payload();
    let rows = [
        (
            "received in a `BytesMut`, or owned and appended: binary",
            receive(binary.clone(), LEN, in_place),
        ),
        ("the same: binary of at most 4 KiB", receive(short.clone(), 4096, in_place)),
        ("the same: text", receive(text.clone(), LEN, in_place)),
        ("the same: in fragments", receive(halves.clone(), LEN, in_place)),
        ("received owned, but held by others too: binary", receive(binary.clone(), LEN, shared)),
        ("received in a slice: one frame", receive(binary.clone(), LEN, slice)),
        ("the same: one frame of text", receive(text.clone(), LEN, slice)),
        ("the same: one frame in two slices", receive(binary, LEN, two_slices)),
        ("the same: one frame of text in two slices", receive(text, LEN, two_slices)),
        ("the same: in fragments", receive(halves, LEN, slice)),
        ("sent by a server: more than 4 KiB, lent or popped", send(Role::Server, payload())),
        ("sent by a client: more than 4 KiB, held by nothing else", send(Role::Client, payload())),
        ("the same: held by others too", send(Role::Client, kept.clone())),
        ("sent by either: at most 4 KiB", send(Role::Server, Bytes::from(vec![7; 4096]))),
    ];
    drop(kept);
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../sockless/src/guide/porting.md");
    let guide = std::fs::read_to_string(guide).expect("it is there");
    let mut missing = Vec::new();
    for (path, copies) in rows {
        let row = format!("| {path} | {copies} |");
        println!("{row}");
        if !guide.contains(&row) {
            missing.push(row);
        }
    }
    assert!(missing.is_empty(), "the guide differs: {missing:#?}");
}
