//! Memory, counted: how often it is asked for, and how much of it is held at once.

use std::collections::VecDeque;

use bytes::BytesMut;
use peakmem_alloc::PeakMemAllocTrait;
use sockless_core::limits::READ_LEN;
use sockless_core::{Config, Connection, Event, Instant, Message, Role};
use sockless_tests::end::{BOTH, connection, peer_of};
use sockless_tests::wire::{BINARY, BINARY_BEGINS, GOES_ON, TEXT, TEXT_BEGINS, Writer};
use stats_alloc::Region;

use crate::{COUNTS, PEAK};

/// The payload's own block, when it is not a part of the read buffer.
pub(crate) fn an_echoed_message_costs_one_allocation_at_most() {
    for first in [BINARY, TEXT] {
        for len in [64, 1500, 16 << 10, 256 << 10] {
            let mut server = Driven::new(Role::Server, Config::default());
            let wire = Writer { masks: true }.frame(first, vec![b'x'; len]);
            server.echo(&wire, 100);
            let region = Region::new(&COUNTS);
            let count = 1000;
            server.echo(&wire, count);
            let change = region.change();
            let kind = if first == TEXT { "text" } else { "binary" };
            println!(
                "echo of {count} {kind} messages of {len} B: {} allocations, {} reallocations",
                change.allocations, change.reallocations
            );
            assert!(change.allocations <= count, "more than one allocation a message");
            // Only text that arrives in several reads grows, by doubling.
            let growth = if first == TEXT && len > READ_LEN { 4 * count } else { 0 };
            assert!(change.reallocations <= growth);
        }
    }
}

pub(crate) fn a_claim_costs_nothing() {
    for role in BOTH {
        for first in [TEXT, BINARY, TEXT_BEGINS, BINARY_BEGINS] {
            for len in [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, u64::MAX >> 1] {
                let wire = [peer_of(role).header(first, len), vec![0x37]].concat();
                let mut end = Driven::new(role, Config::default());
                end.inbound.reserve(1024);
                PEAK.reset_peak_memory();
                end.inbound.extend_from_slice(&wire);
                while end.take_event().is_some() {}
                let peak = PEAK.get_peak_memory();
                // A staging block for the Close frame of those that are refused.
                assert!(peak <= 6 << 10, "{peak} bytes for a claim of {len}");
            }
        }
    }
    println!("a claim costs nothing");
}

/// Work is bytes moved: each reallocation moves all there is.
pub(crate) fn many_fragments_cost_linear_work() {
    for role in BOTH {
        for begins in [TEXT_BEGINS, BINARY_BEGINS] {
            for (count, part) in [(100_000, "x"), (100_000, ""), (100_000, "0123456789")] {
                let peer = peer_of(role);
                let parts = vec![part; count];
                let wire = peer.fragments(begins, &parts);
                for chunk in [7, 1000, READ_LEN] {
                    let mut end = Driven::new(role, Config::default());
                    end.inbound.reserve(2 * READ_LEN);
                    let region = Region::new(&COUNTS);
                    let mut messages = 0;
                    for bytes in wire.chunks(chunk) {
                        end.inbound.extend_from_slice(bytes);
                        while let Some(event) = end.take_event() {
                            assert!(matches!(event, Event::Message(_)));
                            messages += 1;
                        }
                    }
                    let change = region.change();
                    assert_eq!(messages, 1);
                    let moves = change.allocations + change.reallocations;
                    assert!(moves <= 40, "{moves} moves for {count} fragments of {part:?}");
                }
            }
        }
    }
    println!("100,000 fragments are moved 40 times at most");
}

pub(crate) fn an_idle_connection_is_small() {
    for role in BOTH {
        let config = std::sync::Arc::new(Config::default());
        PEAK.reset_peak_memory();
        let idle = connection(role, config, Instant::EPOCH);
        let (inline, heap) = (size_of_val(&idle), PEAK.get_peak_memory());
        println!("an idle {role:?}: {inline} B and {heap} B on the heap");
        assert!(inline + heap <= 1024);
    }
}

pub(crate) fn no_attack_passes_the_ceiling() {
    let small = Config::default().max_message_len(1000).read_ahead(1000).high_water(1000);
    let configs = [
        ("default", Config::default()),
        ("small", small),
        ("chunks", Config::default().max_message_len(1 << 30).recv_chunk_len(10_000)),
        ("1 MiB", Config::default().max_message_len(1 << 20).max_frame_len(100_000)),
    ];
    for (name, config) in configs {
        let ceiling = config.memory_ceiling();
        let mut worst = (0, "");
        for role in BOTH {
            for attack in attacks(peer_of(role), &config) {
                for takes in [false, true] {
                    let peak = peak_under(&attack, role, &config, takes);
                    assert!(peak <= ceiling, "{name} {role:?}: {peak} B under {}", attack.name);
                    worst = worst.max((peak, attack.name));
                }
            }
        }
        println!("{name}: {} B at most, under {}; the ceiling is {ceiling} B", worst.0, worst.1);
    }
}

/// The bytes of a peer: a beginning, and then one part over and over.
struct Attack {
    name: &'static str,
    begins: Vec<u8>,
    repeats: Vec<u8>,
    /// The total number of bytes.
    len: u64,
}

fn attacks(peer: Writer, config: &Config) -> Vec<Attack> {
    let longest = config.get_max_message_len().min(config.get_max_frame_len()).min(24 << 20);
    let long_frame = |first| peer.frame(first, vec![b'x'; longest as usize]);
    let repeat = |bytes: Vec<u8>| bytes.repeat((READ_LEN / bytes.len()).max(1));
    let more = 2 * longest + (1 << 20);
    let attack =
        |name, begins: Vec<u8>, repeats: Vec<u8>, len| Attack { name, begins, repeats, len };
    let pinning =
        [peer.binary(vec![7; 4097.min(longest as usize)]), peer.ping([7; 125]).repeat(450)];
    vec![
        attack("a long binary frame", vec![], long_frame(BINARY), more),
        attack("a long text frame", vec![], long_frame(TEXT), more),
        attack("a claim", peer.header(BINARY, longest), vec![0; READ_LEN], longest),
        attack(
            "fragments of one byte",
            peer.frame(TEXT_BEGINS, "x"),
            repeat(peer.frame(GOES_ON, "x")),
            2 << 20,
        ),
        attack(
            "fragments of nothing",
            peer.frame(BINARY_BEGINS, ""),
            repeat(peer.frame(GOES_ON, "")),
            2 << 20,
        ),
        attack(
            "fragments of 200 B, text",
            peer.frame(TEXT_BEGINS, "x"),
            repeat(peer.frame(GOES_ON, [b'x'; 200])),
            more,
        ),
        attack(
            "fragments of 200 B, binary",
            peer.frame(BINARY_BEGINS, "x"),
            repeat(peer.frame(GOES_ON, [b'x'; 200])),
            more,
        ),
        attack("pings", vec![], repeat(peer.ping([7; 125])), 4 << 20),
        attack("empty pings", vec![], repeat(peer.ping("")), 1 << 20),
        attack("messages of one byte", vec![], repeat(peer.text("x")), 1 << 20),
        attack("messages of nothing", vec![], repeat(peer.text("")), 1 << 20),
        attack("messages that share blocks", vec![], repeat(pinning.concat()), 8 << 20),
        attack("a failure and more", vec![0xFF; 2], vec![0xFF; READ_LEN], 2 << 20),
        attack("a Close frame and more", peer.close(1000, ""), vec![0xFF; READ_LEN], 2 << 20),
    ]
}

/// Plays an attack as a driver reads, while nothing is ever written; the application either takes no
/// message or takes each at once.
fn peak_under(attack: &Attack, role: Role, config: &Config, takes: bool) -> usize {
    let config = config.clone();
    PEAK.reset_peak_memory();
    let mut end = Driven::new(role, config);
    let mut kept = VecDeque::new();
    let mut cost = 0;
    let mut wire = [&attack.begins[..]].into_iter().chain(std::iter::repeat(&attack.repeats[..]));
    let mut unread: &[u8] = &[];
    let mut left = attack.len;
    while left > 0 && (kept.is_empty() || cost < end.connection.config().get_read_ahead()) {
        // Room for the rest of the payload is made as it arrives, as in the driver.
        let missing =
            usize::try_from(end.connection.bytes_needed(&end.inbound)).unwrap_or(usize::MAX);
        let room = missing.min(end.inbound.len().saturating_mul(3)).max(READ_LEN);
        end.inbound.reserve(room);
        while unread.is_empty() {
            unread = wire.next().unwrap_or_default();
        }
        let (read, rest) = unread.split_at(unread.len().min(READ_LEN));
        end.inbound.extend_from_slice(read);
        unread = rest;
        left = left.saturating_sub(read.len() as u64);
        while kept.is_empty() || cost < end.connection.config().get_read_ahead() {
            let data = match end.take_event() {
                None => break,
                Some(Event::Message(data)) => data,
                Some(Event::Chunk(chunk)) => chunk.data,
                Some(_) => continue,
            };
            if !takes {
                cost += data.len() + size_of::<Message>();
                kept.push_back(data);
            }
        }
        // The queue to the peer does not grow with its input.
        let waiting = end.connection.outbound().remaining();
        assert!(waiting <= end.connection.config().get_high_water() + 300, "{waiting} bytes wait");
    }
    PEAK.get_peak_memory()
}

/// A connection and its read buffer.
struct Driven {
    connection: Connection,
    inbound: BytesMut,
}

impl Driven {
    fn new(role: Role, config: Config) -> Self {
        Self {
            connection: connection(role, config.into(), Instant::EPOCH),
            inbound: BytesMut::new(),
        }
    }

    fn take_event(&mut self) -> Option<Event> {
        self.connection.poll_event(&mut self.inbound, Instant::EPOCH)
    }

    /// Reads the same message `count` times over, and sends each back.
    fn echo(&mut self, wire: &[u8], count: usize) {
        for _ in 0..count {
            for chunk in wire.chunks(READ_LEN) {
                self.inbound.reserve(READ_LEN);
                self.inbound.extend_from_slice(chunk);
                while let Some(event) = self.take_event() {
                    let Event::Message(message) = event else {
                        panic!("{event:?}");
                    };
                    assert_eq!(self.connection.send(message, Instant::EPOCH), Ok(()));
                }
                let mut outbound = self.connection.outbound();
                outbound.advance(outbound.remaining());
            }
        }
    }
}
