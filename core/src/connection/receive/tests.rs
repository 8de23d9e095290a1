//! A message that is one frame means the same at once and by steps, whatever its header says and
//! whatever came before.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::config::Config;
use crate::connection::Negotiated;
use crate::extension::{Agreed, Codec, Extension, Params};
use crate::role::Role;
use crate::seed::Seed;

const BOTH: [Role; 2] = [Role::Client, Role::Server];
const NOW: Instant = Instant::EPOCH;

/// Bytes after the first two of a header: lengths that are minimal or too long, a length of 300,
/// text, and bytes that are not UTF-8.
const TAILS: [&[u8]; 5] =
    [&[0, 126], &[0, 125, 0xC3, 0xA4], &[1, 44], &[b'a'; 6], &[0xFF, 0xFF, 1, 2, 0xC3, 0x28]];

#[test]
fn every_pair_of_first_bytes_means_the_same() {
    for role in BOTH {
        let config = Arc::new(Config::default());
        for pair in 0..=u16::MAX {
            let wire = wire(&pair.to_be_bytes(), TAILS[usize::from(pair) % TAILS.len()]);
            assert_same(|| connection(role, config.clone()), &wire);
        }
    }
}

#[test]
fn every_cut_means_the_same() {
    for role in BOTH {
        let config = Arc::new(Config::default());
        for first in [0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0xC1] {
            for second in (0..=u8::MAX).step_by(25).chain([3, 126, 131, 254]) {
                for tail in TAILS {
                    let wire = wire(&[first, second], tail);
                    for cut in (0..20).chain([120, 137, 303, 304, 307, 308]) {
                        assert_same(|| connection(role, config.clone()), &wire[..cut]);
                    }
                }
            }
        }
    }
}

#[test]
fn every_limit_and_state_means_the_same() {
    let limits = [
        Config::default().max_message_len(3),
        Config::default().max_frame_len(3),
        Config::default().max_fragments(0),
        Config::default().recv_chunk_len(4),
        Config::default().accept_any_masking(true),
    ];
    for role in BOTH {
        for config in limits.clone().into_iter().chain([Config::default()]) {
            let config = Arc::new(config);
            for state in STATES {
                for first in [0x01, 0x80, 0x81, 0x82, 0x89] {
                    for second in [0, 3, 4, 126].into_iter().flat_map(|len| [len, len | 0x80]) {
                        for tail in TAILS {
                            let begin = || {
                                let mut connection = connection(role, config.clone());
                                state(&mut connection);
                                connection
                            };
                            assert_same(begin, &wire(&[first, second], tail));
                        }
                    }
                }
            }
        }
    }
}

/// The states that a connection may be in before.
const STATES: [fn(&mut Connection); 6] = [
    |_| {},
    |connection| connection.close(CloseCode::NORMAL, NOW),
    |connection| connection.abort(NOW),
    |connection| {
        let _ = connection.raw.fail(ProtocolError::TextInvalid);
    },
    |connection| receive(connection, false, Opcode::Text, "ab", 0),
    |connection| receive(connection, true, Opcode::Binary, "abc", 2),
];

/// Has a frame arrive but for its last bytes.
fn receive(connection: &mut Connection, fin: bool, opcode: Opcode, payload: &str, lacks: usize) {
    let mask = (connection.role() == Role::Server).then_some([0; 4]);
    let mut inbound = BytesMut::new();
    FrameHead { fin, rsv: Rsv::NONE, opcode, mask, len: payload.len() as u64 }.put(&mut inbound);
    inbound.extend_from_slice(payload.as_bytes());
    inbound.truncate(inbound.len() - lacks);
    connection.next_event_by_steps(&mut inbound, NOW);
}

#[test]
fn an_extension_sees_every_frame() {
    for role in BOTH {
        for first in [0x81, 0x82, 0xC1, 0xC2, 0xE1] {
            let seen = Arc::new(AtomicUsize::new(0));
            let begin = || {
                let agreed = Agreed::new(&Watch, Params::new("x-watch"), Box::new(seen.clone()));
                let negotiated =
                    Negotiated { extensions: Vec::from([agreed]), ..Negotiated::default() };
                Connection::from_raw(connection(role, Arc::default()).raw, negotiated, NOW)
            };
            let masked = if role == Role::Server { 0x80 } else { 0 };
            assert_same(begin, &wire(&[first, masked | 3], TAILS[3]));
            let frames = seen.load(Ordering::Relaxed);
            assert!(first == 0xE1 || frames >= 2, "{frames} frames");
        }
    }
}

/// Owns a bit, and counts the frames.
#[derive(Debug)]
struct Watch;

impl Extension for Watch {
    fn name(&self) -> &'static str {
        "x-watch"
    }

    fn rsv(&self) -> Rsv {
        Rsv::RSV1
    }

    fn answer(&self, _: &Params) -> Option<(Params, Box<dyn Codec>)> {
        None
    }

    fn confirm(&self, _: &Params) -> Option<Box<dyn Codec>> {
        None
    }
}

impl Codec for Arc<AtomicUsize> {
    fn observe(&mut self, direction: Direction, _: &FrameHead) {
        if direction == Direction::Incoming {
            self.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A header's first bytes, and 400 bytes that begin with `tail`.
fn wire(first: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut wire = [first, tail].concat();
    wire.resize(first.len() + 400, b'a');
    wire
}

fn connection(role: Role, config: Arc<Config>) -> Connection {
    match role {
        Role::Client => Connection::client(Negotiated::default(), Seed::new([7; 32]), config, NOW),
        Role::Server => Connection::server(Negotiated::default(), config, NOW),
    }
}

fn assert_same(begin: impl Fn() -> Connection, wire: &[u8]) {
    let (mut one, mut other) = (begin(), begin());
    let (mut inbound, mut by_steps) = (BytesMut::from(wire), BytesMut::from(wire));
    // The bytes after the first message do not begin with a valid header.
    for _ in 0..3 {
        let event = one.next_event(&mut inbound, NOW);
        assert_eq!(event, other.next_event_by_steps(&mut by_steps, NOW), "{wire:x?}");
        assert_eq!(inbound, by_steps, "{wire:x?}");
        assert_eq!(one.transport_action(), other.transport_action());
        assert_eq!(one.poll_timeout(), other.poll_timeout());
        assert_eq!(sent(&mut one), sent(&mut other));
    }
}

fn sent(connection: &mut Connection) -> Bytes {
    let mut outbound = connection.outbound();
    outbound.copy_to_bytes(outbound.remaining())
}
