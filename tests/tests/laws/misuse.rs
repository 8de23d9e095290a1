//! Random operations on a connection, legal and misused: no panic, no endless loop, one `Closed`, and nothing
//! after it.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::{
    Chunk, CloseCode, Config, Deflate, Event, Message, Output, Priority, Role, Staging,
};
use sockless_tests::end::End;
use sockless_tests::wire::{BINARY_BEGINS, ENDS, GOES_ON, TEXT_BEGINS, Writer};

/// More of them: `MISUSE_SEEDS=1000000 cargo test --release -p sockless-tests --test laws misuse`.
#[test]
fn any_operations_in_any_order_end_in_one_report() {
    let seeds =
        std::env::var("MISUSE_SEEDS").map_or(3_000, |seeds| seeds.parse().expect("a number"));
    let mut reached = 0_u64;
    for seed in 0..seeds {
        reached += u64::from(run(seed));
    }
    // The generators reach connections that end before they are made to.
    assert!(reached > seeds / 10, "{reached} of {seeds}");
}

/// Returns true if the connection ended before it was aborted.
fn run(seed: u64) -> bool {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World {
        end: End::new(if rng.bool() { Role::Server } else { Role::Client }, config(&mut rng)),
        staging: Staging::default(),
        closed: 0,
        seed,
        misuse: rng.bool(),
    };
    for _ in 0..rng.usize(1..60) {
        world.operate(&mut rng);
    }
    let ended = world.closed == 1;
    world.end.connection.abort(world.end.now);
    let is_over = (0..100).any(|_| world.turn(usize::MAX));
    assert!(is_over, "seed {seed}: the connection does not end");
    assert_eq!(world.closed, 1, "seed {seed}");
    for _ in 0..20 {
        world.operate(&mut rng);
    }
    assert_eq!(world.closed, 1, "seed {seed}");
    ended
}

fn config(rng: &mut fastrand::Rng) -> Config {
    let mut config = Config::default().high_water(rng.usize(1..3000));
    if rng.bool() {
        config = config.recv_chunk_len(rng.usize(0..300)).max_send_frame_len(rng.usize(0..100));
    }
    if rng.bool() {
        config = config.ping_interval(Duration::from_millis(rng.u64(1..5000)));
    }
    if rng.bool() {
        config = config.idle_timeout(Duration::from_millis(rng.u64(1..9000)));
    }
    if rng.bool() {
        config = config.max_message_len(rng.u64(0..5000)).max_fragments(rng.u32(0..9));
    }
    if rng.u8(0..8) == 0 {
        config = config.extension(Deflate::default());
    }
    config
}

struct World {
    end: End,
    staging: Staging,
    closed: u32,
    seed: u64,
    /// True if operations are drawn that the documentation forbids.
    misuse: bool,
}

impl World {
    fn operate(&mut self, rng: &mut fastrand::Rng) {
        let payload = vec![b'x'; rng.usize(0..6000) / rng.usize(1..100)];
        match rng.u8(0..32) {
            0..4 => self.arrive(payload, rng),
            4..10 => {
                self.turn(rng.usize(0..2000));
            }
            10..13 => self.end.now = self.end.now + Duration::from_millis(rng.u64(0..4000)),
            13..17 => self.send(payload, rng),
            17..20 => self.take(rng),
            20 => drop(self.end.connection.ping(payload, self.end.now)),
            21 => self.end.close(CloseCode::NORMAL),
            22 if rng.u8(0..4) == 0 => self.end.connection.handle_eof(self.end.now),
            23 if rng.u8(0..4) == 0 => self.end.connection.fail(CloseCode::NORMAL, self.end.now),
            24 => {
                let mut input = &payload[..];
                let end = &mut self.end;
                let event = end.connection.poll_event_from(&mut input, &mut end.inbound, end.now);
                self.count(event.as_ref());
            }
            25 => {
                let event = self.end.connection.poll_partial(&mut self.end.inbound, self.end.now);
                self.count(event.as_ref());
            }
            26 => self.end.connection.set_config(Arc::new(config(rng)), self.end.now),
            27 => self.report(rng),
            28 => self.lend(rng),
            29.. if self.misuse => self.misuse(rng),
            _ => {}
        }
    }

    /// Runs a turn, and returns true at its end if the transport is to be dropped.
    fn turn(&mut self, mut room: usize) -> bool {
        for _ in 0..10_000 {
            let event = match self.end.connection.poll_output(&mut self.end.inbound, self.end.now) {
                Output::Event(event) => event,
                Output::Write(mut outbound) => {
                    let len = outbound.chunk().len().min(room);
                    room -= len;
                    outbound.advance(len);
                    continue;
                }
                Output::ShutdownWrite => continue,
                Output::Wait(_) => return false,
                Output::Close => return true,
            };
            self.count(Some(&event));
        }
        panic!("seed {}: a turn does not end", self.seed);
    }

    fn count(&mut self, event: Option<&Event>) {
        let Some(event) = event else { return };
        assert_eq!(self.closed, 0, "seed {}: {event:?} after the end", self.seed);
        self.closed += u32::from(matches!(event, Event::Closed(_)));
    }

    /// Bytes come from the peer, mostly sound.
    fn arrive(&mut self, payload: Vec<u8>, rng: &mut fastrand::Rng) {
        let peer: Writer = self.end.peer;
        let mut bytes = match rng.u8(0..14) {
            0..3 => peer.binary(payload),
            3 => peer.ping(&payload[..payload.len().min(125)]),
            4 => peer.frame(TEXT_BEGINS, payload),
            5 => peer.frame(BINARY_BEGINS, payload),
            6..8 => peer.frame(GOES_ON, payload),
            8..10 => peer.frame(ENDS, payload),
            10 if rng.u8(0..4) == 0 => peer.close(1000, ""),
            11 if rng.u8(0..4) == 0 => peer.frame(rng.u8(..), payload),
            _ => peer.text("ä text"),
        };
        if rng.u8(0..20) == 0 {
            bytes.truncate(rng.usize(0..bytes.len()));
        }
        self.end.inbound.extend_from_slice(&bytes);
    }

    fn send(&mut self, payload: Vec<u8>, rng: &mut fastrand::Rng) {
        let (connection, now) = (&mut self.end.connection, self.end.now);
        let message = if rng.bool() { Message::from(payload) } else { Message::from("text") };
        // Refusals are legal at any time.
        let priority = [Priority::Urgent, Priority::Normal, Priority::Bulk][rng.usize(0..3)];
        let _ = match rng.u8(0..6) {
            0 => connection.send(message, now),
            1 => connection.send(message.uncompressed(), now),
            2 => connection.send(message.latest(rng.u64(0..3)).priority(priority), now),
            3 => connection.send(message.priority(priority), now),
            4 => {
                drop(connection.cancel(rng.u64(0..3)));
                return;
            }
            _ => connection.send_chunk(Chunk { data: message, last: rng.bool() }, now),
        };
    }

    /// The transport takes bytes, or has sent those that it took.
    fn take(&mut self, rng: &mut fastrand::Rng) {
        let mut outbound = self.end.connection.outbound();
        match rng.u8(0..3) {
            0 => outbound.advance(rng.usize(0..=outbound.remaining())),
            1 => drop(outbound.pop()),
            _ => outbound.sent(rng.usize(0..=outbound.in_flight())),
        }
        self.end.connection.handle_blocked(self.end.now);
    }

    /// A report of a driver's.
    fn report(&mut self, rng: &mut fastrand::Rng) {
        let (connection, now) = (&mut self.end.connection, self.end.now);
        match rng.u8(0..17) {
            0 => connection.handle_stall(now),
            1 => connection.handle_overload(now),
            2 => connection.handle_transport_error("it broke", now),
            3 => connection.reject_message(rng.u64(..), now),
            4 => connection.set_chunk_len(rng.bool().then(|| rng.u32(0..100))),
            5 => connection.handle_delivery(now),
            6..9 => connection.set_reading(rng.bool(), now),
            9 => connection.set_paused(rng.bool()),
            _ => connection.handle_timeout(now),
        }
    }

    fn lend(&mut self, rng: &mut fastrand::Rng) {
        let mut outbound = self.end.connection.outbound();
        if rng.bool() {
            self.staging = outbound.lend(std::mem::take(&mut self.staging));
        } else if let Some(staging) = outbound.reclaim() {
            self.staging = staging;
        }
    }

    /// Operations that the documentation forbids.
    fn misuse(&mut self, rng: &mut fastrand::Rng) {
        let end = &mut self.end;
        match rng.u8(0..6) {
            0 => end.connection.outbound().advance(rng.usize(..)),
            1 => end.connection.outbound().sent(rng.usize(..)),
            2 => end.inbound.truncate(rng.usize(0..=end.inbound.len())),
            3 => end.inbound = BytesMut::from(&[0x82; 40][..rng.usize(0..40)]),
            4 => {
                let back = Duration::from_millis(rng.u64(0..9000));
                let since = end.now.since_epoch().saturating_sub(back);
                end.now = sockless_core::Instant::from_epoch(since);
            }
            _ => {
                let forward = Duration::from_secs(rng.u64(0..1 << 40));
                end.connection.handle_timeout(end.now + forward);
            }
        }
    }
}
