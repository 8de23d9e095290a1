//! permessage-deflate and memory, counted: what compressors take, what an idle session holds, bombs.

use bytes::BytesMut;
use peakmem_alloc::PeakMemAllocTrait;
use sockless_core::{Config, Connection, Deflate, Event, Instant};
use sockless_driver::Session;
use sockless_tests::end::connection;
use sockless_tests::handlers::echo;
use sockless_tests::served::{BROWSER_REQUEST as REQUEST, Served, State, host};
use sockless_tests::wire::{BINARY, BINARY_BEGINS, ENDS, GOES_ON, Writer};

use crate::{PEAK, held};

const PEER: Writer = Writer { masks: true };
const RSV1: u8 = 0x40;

/// The numbers in the documentation of `Deflate`, and what `memory_ceiling` counts.
pub(crate) fn compressors_take_what_is_written() {
    let forgetful = Config::default().memory_ceiling();
    let ceiling = Config::default().extension(Deflate::default()).memory_ceiling() - forgetful;
    for (bits, most) in [(9, 252_000), (12, 266_000), (15, 381_000)] {
        let deflate = Deflate::default()
            .server_no_context_takeover(false)
            .client_no_context_takeover(false)
            .server_max_window_bits(bits);
        let config = std::sync::Arc::new(Config::default().extension(deflate));
        let mut server = connection(sockless_core::Role::Server, config, Instant::EPOCH);
        let before = held();
        send(&mut server);
        let compressor = held() - before;
        receive(&mut server);
        let inflater = held() - before - compressor;
        println!("{bits} bits: a compressor takes {compressor} B, an inflater {inflater} B");
        assert!(compressor < most && compressor > most - 4_000, "{compressor}");
        assert!(inflater < 49_000, "{inflater}");
        assert!(compressor + inflater < ceiling);
    }
}

fn send(server: &mut Connection) {
    server.send("x".repeat(1000), Instant::EPOCH).unwrap();
    let mut outbound = server.outbound();
    outbound.advance(outbound.remaining());
    // The room that its frames were staged in is not the compressor's.
    drop(outbound.reclaim());
}

fn receive(server: &mut Connection) {
    let mut inbound = BytesMut::from(&PEER.frame(BINARY | RSV1, [0x4A, 4, 0])[..]);
    let event = server.poll_event(&mut inbound, Instant::EPOCH);
    assert!(event.is_some());
}

pub(crate) fn an_idle_session_holds_neither_compressor_nor_inflater() {
    let text = "x".repeat(1024);
    let message = PEER.text(&text);
    // A client that may remember and does not compress costs nothing either.
    let settings = [None, Some(Deflate::default()), Some(Deflate::for_any_client())];
    let each = settings.map(|deflate| {
        let deflated = deflate.is_some();
        let config = match deflate {
            Some(deflate) => Config::default().extension(deflate),
            None => Config::default(),
        };
        let host = host(config, echo);
        let open = || {
            let mut server = Served::opened_by(REQUEST, &host);
            let before = server.peer().written;
            server.peer().say(&message, 1);
            server.poll();
            let written = server.peer().written - before;
            assert_eq!(written < 200, deflated, "{written}");
            // The peer's own bytes are not the session's.
            *server.peer() = State::default();
            server
        };
        let warm = open();
        let before = held();
        let others: Vec<_> = (0..100).map(|_| open()).collect();
        let each = (held() - before) / others.len();
        drop((warm, others));
        each
    });
    println!("an idle session holds {} B, with permessage-deflate {} B", each[0], each[1]);
    assert!(each[1] - each[0] <= 300);
    assert!(each[2] - each[0] <= 300, "for any client: {} B", each[2]);
}

pub(crate) fn a_bomb_stops_at_the_limit() {
    let payload = bomb();
    assert_eq!(
        inflated_len(&payload[payload.len() - 1000..]),
        None,
        "it makes sense from its beginning only"
    );
    assert!(inflated_len(&payload).is_some_and(|len| len > 1 << 30));
    println!("the bomb has {} B", payload.len());
    for max in [64 << 10, 1 << 20, 16 << 20] {
        for ratio in [None, Some(100)] {
            for recv_chunk_len in [usize::MAX, 10_000] {
                for wire in [whole(&payload), fragmented(&payload)] {
                    let deflate = Deflate::default().max_ratio(ratio);
                    let config = Config::default()
                        .extension(deflate)
                        .max_message_len(max)
                        .recv_chunk_len(recv_chunk_len);
                    explode(config, &wire);
                }
            }
        }
    }
}

/// The length of a message whose chunks are dropped as they arrive.
fn inflated_len(payload: &[u8]) -> Option<u64> {
    let config = Config::default()
        .extension(Deflate::default())
        .max_message_len(u64::MAX)
        .recv_chunk_len(1 << 20);
    let mut server = connection(sockless_core::Role::Server, config.into(), Instant::EPOCH);
    let mut inbound = BytesMut::from(&whole(payload)[..]);
    let mut len = 0;
    loop {
        match server.poll_event(&mut inbound, Instant::EPOCH)? {
            Event::Chunk(chunk) => {
                len += chunk.data.len() as u64;
                if chunk.last {
                    return Some(len);
                }
            }
            _ => return None,
        }
    }
}

/// No task receives: the output of the bomb must not be held before it is detected.
fn explode(config: Config, wire: &[u8]) {
    let ceiling = config.memory_ceiling();
    let (max, recv_chunk_len) = (config.get_max_message_len(), config.get_recv_chunk_len());
    let waits = async |session: Session| {
        session.closed().await;
    };
    let mut server = Served::opened_by(REQUEST, &host(config, waits));
    let before = server.peer().written;
    server.peer().say(wire, 1);
    PEAK.reset_peak_memory();
    for _ in 0..2_000 {
        server.poll();
    }
    let peak = PEAK.get_peak_memory();
    println!("a bomb at {max} B in chunks of {recv_chunk_len} holds {peak} of {ceiling} B");
    assert!(peak <= ceiling);
    // In chunks it may wait for the handler, and holds no more than is read ahead.
    if recv_chunk_len == usize::MAX {
        assert!(server.peer().written > before, "it was not answered by a Close frame");
    }
}

fn whole(payload: &[u8]) -> Vec<u8> {
    PEER.frame(BINARY | RSV1, payload)
}

fn fragmented(payload: &[u8]) -> Vec<u8> {
    let chunks: Vec<_> = payload.chunks(1000).collect();
    let mut wire = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        let opcode = if i == 0 { BINARY_BEGINS | RSV1 } else { GOES_ON };
        let fin = if i + 1 == chunks.len() { ENDS } else { 0 };
        wire.extend(PEER.frame(opcode | fin, chunk));
    }
    wire
}

/// A MiB that inflates to a GiB: a block whose tables (RFC 1951 §3.2.7) give a match of 258 bytes one bit,
/// and its distance another.
fn bomb() -> Vec<u8> {
    let mut bits = Bits::default();
    // Not the last block; with tables of its own.
    bits.push(&[0, 0, 1]);
    // 286 codes for literals and lengths, 1 for distances, 18 for the lengths of these codes: of them 18
    // takes one bit, 2 and 1 take two.
    bits.push(&[1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
    for len in [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2] {
        bits.push(&[len & 1, len >> 1, 0]);
    }
    // Literal 0 takes two bits; 138 and 117 others do not come.
    bits.push(&[1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1]);
    // The end of the block takes two bits, 28 lengths do not come, 258 takes one; distance 1 takes one.
    bits.push(&[1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0]);
    // Literal 0; then a match in each two zeros.
    bits.push(&[1, 0]);
    while bits.bytes.len() < (1 << 20) - 16 {
        bits.push(&[0, 0]);
    }
    // The end of the block, and the beginning of the empty one that ends the message.
    bits.push(&[1, 1, 0, 0, 0]);
    bits.bytes
}

/// Bits in the order of RFC 1951 §3.1.1.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, bits: &[u8]) {
        for bit in bits {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= bit << (self.used % 8);
            self.used = (self.used + 1) % 8;
        }
    }
}
