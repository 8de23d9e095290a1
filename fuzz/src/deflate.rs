//! permessage-deflate on arbitrary bytes and on its own output.

use std::time::Duration;

use sockless_core::{Config, Deflate, Event, Role, TransportAction};
use sockless_tests::end::End;
use sockless_tests::pair::Weather;
use sockless_tests::operations::{Operation, assert_all_arrives};
use sockless_tests::wire::{BINARY_BEGINS, ENDS, GOES_ON, PING, TEXT_BEGINS, Writer};

use crate::or;

/// Six bytes of settings, then what the peer sends, or what two ends send to each other; zero is a
/// default.
///
/// 0: bit 0, our end is a client; bit 1, the server takes over its context; bit 2, the client does;
/// bits 3 to 5, by how much the server's window is smaller than 15 bits; bit 7, there are two ends.
/// 1: bits 0 to 2, by how much the client's window is smaller; the rest, `max_ratio`. 2: `recv_chunk_len`.
/// 3: `max_message_len` in steps of 16 bytes. 4 and 5: the lengths of the chunks.
pub fn deflate(data: &[u8]) {
    let Some((&[flags, more, recv_chunk_len, message, chunk, other_chunk], rest)) =
        data.split_first_chunk()
    else {
        return;
    };
    let ratio = u32::from(more >> 3);
    let deflate = Deflate::default()
        .min_len(0)
        .server_no_context_takeover(flags & 2 == 0)
        .client_no_context_takeover(flags & 4 == 0)
        .server_max_window_bits(15 - (flags >> 3 & 7))
        .client_max_window_bits(15 - (more & 7));
    let config = Config::default().recv_chunk_len(or(recv_chunk_len, usize::MAX).max(4));
    if flags & 0x80 != 0 {
        return round_trip(config.extension(deflate), usize::from(chunk) + 1, rest);
    }
    let max = or(message, 4096_u64) * 16;
    let deflate = deflate.max_ratio((ratio > 0).then_some(ratio));
    let config = config.max_message_len(max).extension(deflate);
    let role = if flags & 1 == 0 { Role::Server } else { Role::Client };
    let bytes = frames(Writer { masks: role == Role::Server }, rest);
    let whole = play(role, &config, &bytes, &[usize::MAX]);
    assert_bounded(&whole.events, max);
    let chunks = [chunk.max(1).into(), other_chunk.max(1).into()];
    let cut = play(role, &config, &bytes, &chunks);
    assert_eq!(whole, cut);
}

/// Frames in their right order, most of them compressed: each of a byte of flags, a length and so many
/// bytes. Bit 0, it goes on; bit 1, it is of a message that is not compressed; bit 2, of text; bit 3, a
/// ping comes before it.
pub fn frames(peer: Writer, mut rest: &[u8]) -> Vec<u8> {
    let (mut bytes, mut is_inside) = (Vec::new(), false);
    while let Some((&[flags, len], after)) = rest.split_first_chunk() {
        let (payload, after) = after.split_at(usize::from(len).min(after.len()));
        rest = after;
        if flags & 8 != 0 {
            bytes.extend(peer.frame(PING, "?"));
        }
        let begins = if flags & 4 == 0 { BINARY_BEGINS } else { TEXT_BEGINS };
        let rsv = if flags & 2 == 0 { 0x40 } else { 0 };
        let first = if is_inside { GOES_ON } else { begins | rsv };
        is_inside = flags & 1 != 0;
        bytes.extend(peer.frame(if is_inside { first } else { first | ENDS }, payload));
    }
    bytes
}

/// All that an end has to show.
#[derive(Debug, PartialEq)]
struct Record {
    events: Vec<Event>,
    replies: Vec<u8>,
    transport: TransportAction,
}

fn play(role: Role, config: &Config, mut bytes: &[u8], chunks: &[usize]) -> Record {
    let mut end = End::new(role, config.clone());
    let (mut events, mut replies) = (Vec::new(), Vec::new());
    for &len in chunks.iter().cycle() {
        let (chunk, rest) = bytes.split_at(len.min(bytes.len()));
        bytes = rest;
        end.inbound.extend_from_slice(chunk);
        while let Some(event) = end.connection.poll_event(&mut end.inbound, end.now) {
            events.push(event);
            replies.extend(end.drain());
        }
        if bytes.is_empty() {
            break;
        }
    }
    events.extend(end.eof());
    replies.extend(end.drain());
    Record { events, replies, transport: end.connection.transport_action() }
}

/// No message is longer than it may be, and the session ends once, after everything else.
fn assert_bounded(events: &[Event], max: u64) {
    let mut in_chunks = 0;
    for event in events {
        let len = match event {
            Event::Message(message) => message.len() as u64,
            Event::Chunk(chunk) => {
                let len = in_chunks + chunk.data.len() as u64;
                in_chunks = if chunk.last { 0 } else { len };
                len
            }
            _ => 0,
        };
        assert!(len <= max, "{len} bytes of a message, of at most {max}");
    }
    let ends = events.iter().filter(|event| matches!(event, Event::Closed(_))).count();
    assert!(ends == 1 && matches!(events.last(), Some(Event::Closed(_))), "{events:?}");
}

/// What is sent arrives: messages, each of a byte of flags, a length, a number of times and so many
/// bytes. Bit 0, the server sends it; bits 1 and 2, how; bit 3, it arrives before the next is sent.
fn round_trip(config: Config, chunk: usize, mut rest: &[u8]) {
    let mut operations = Vec::new();
    while let Some((&[flags, len, times], after)) = rest.split_first_chunk() {
        let (part, after) = after.split_at(usize::from(len).min(after.len()));
        rest = after;
        let payload = part.repeat(usize::from(times) + 1);
        let operation = match flags >> 1 & 3 {
            0 => Operation::SendText(String::from_utf8_lossy(&payload).into_owned()),
            1 => Operation::SendChunks(
                payload.chunks(part.len() * 2 + 1).map(<[u8]>::to_vec).collect(),
            ),
            2 => Operation::Ping(payload),
            _ => Operation::SendBinary(payload),
        };
        let side = usize::from(flags & 1);
        operations.push((side, operation));
        if flags & 8 != 0 {
            operations.push((side, Operation::Turn));
        }
    }
    let weather = Weather { chunk, delay: Duration::ZERO, cut: None };
    assert_all_arrives([config.clone(), config], weather, 1, operations);
}
