//! Random operations on a connection of frames, legal and misused: no panic, no endless loop, one report of the
//! end, and nothing after it.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::{
    Closed, Config, Frame, Instant, Lifecycle, Opcode, Output, RawConnection, Role, Rsv, Seed,
    Staging,
};
use sockless_tests::end::peer_of;

/// More of them: `MISUSE_SEEDS=1000000 cargo test --release -p sockless-tests --test laws misuse`.
#[test]
fn any_operations_on_frames_in_any_order_end_in_one_report() {
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
    let role = if rng.bool() { Role::Server } else { Role::Client };
    let config = config(&mut rng);
    let mut world = World {
        connection: match role {
            Role::Client => RawConnection::client(Seed::new([7; 32]), config),
            Role::Server => RawConnection::server(config),
        },
        inbound: BytesMut::new(),
        now: Instant::EPOCH,
        staging: Staging::default(),
        closed: 0,
        seed,
        misuse: rng.bool(),
    };
    for _ in 0..rng.usize(1..60) {
        world.operate(&mut rng);
    }
    let ended = world.closed == 1;
    world.connection.abort(world.now);
    let is_over = (0..100).any(|_| world.turn(usize::MAX));
    assert!(is_over, "seed {seed}: the connection does not end");
    assert_eq!(world.closed, 1, "seed {seed}");
    assert_eq!(world.connection.state(), Lifecycle::Closed, "seed {seed}");
    for _ in 0..20 {
        world.operate(&mut rng);
    }
    assert_eq!(world.closed, 1, "seed {seed}");
    ended
}

fn config(rng: &mut fastrand::Rng) -> Arc<Config> {
    let mut config = Config::default().high_water(rng.usize(1..3000));
    if rng.bool() {
        config = config.max_frame_len(rng.u64(0..5000)).max_message_len(rng.u64(0..5000));
    }
    if rng.bool() {
        config = config.write_timeout(Duration::from_millis(rng.u64(0..5000)));
    }
    if rng.bool() {
        config = config.closing_timeout(Duration::from_millis(rng.u64(0..5000)));
    }
    Arc::new(config.accept_any_masking(rng.u8(0..8) == 0))
}

struct World {
    connection: RawConnection,
    inbound: BytesMut,
    now: Instant,
    staging: Staging,
    closed: u32,
    seed: u64,
    /// True if operations are drawn that the documentation forbids.
    misuse: bool,
}

impl World {
    fn operate(&mut self, rng: &mut fastrand::Rng) {
        let payload = vec![b'x'; rng.usize(0..6000) / rng.usize(1..100)];
        let (connection, now) = (&mut self.connection, self.now);
        match rng.u8(0..32) {
            0..5 => self.arrive(payload, rng),
            5..11 => {
                self.turn(rng.usize(0..2000));
            }
            11..14 => self.now = self.now + Duration::from_millis(rng.u64(0..4000)),
            14..18 => self.send(payload, rng),
            18..21 => self.take(rng),
            21 => {
                let frame = connection.poll_frame(&mut self.inbound, now);
                self.count(frame);
            }
            22 if rng.u8(0..4) == 0 => connection.close(now),
            23 if rng.u8(0..4) == 0 => connection.handle_eof(now),
            24 => connection.set_paused(rng.bool()),
            25 => connection.set_config(config(rng)),
            26 => connection.handle_timeout(now),
            27 => self.report(rng),
            28 => self.lend(rng),
            29.. if self.misuse => self.misuse(rng),
            _ => {}
        }
    }

    /// Runs a turn, and returns true at its end if the transport is to be dropped.
    fn turn(&mut self, mut room: usize) -> bool {
        for _ in 0..10_000 {
            let event = match self.connection.poll_output(&mut self.inbound, self.now) {
                Output::Event(event) => event,
                Output::Write(mut outbound) => {
                    let len = outbound.chunk().len().min(room);
                    room -= len;
                    outbound.advance(len);
                    continue;
                }
                Output::ShutdownWrite => continue,
                Output::Wait(wait) => {
                    assert_eq!(wait.write, self.connection.wants_write(), "seed {}", self.seed);
                    return false;
                }
                Output::Close => return true,
            };
            self.count(Some(event));
        }
        panic!("seed {}: a turn does not end", self.seed);
    }

    fn count(&mut self, event: Option<Result<Frame, Closed>>) {
        let Some(event) = event else { return };
        assert_eq!(self.closed, 0, "seed {}: {event:?} after the end", self.seed);
        self.closed += u32::from(event.is_err());
    }

    /// Bytes come from the peer, mostly sound.
    fn arrive(&mut self, payload: Vec<u8>, rng: &mut fastrand::Rng) {
        let peer = peer_of(self.connection.role());
        let mut bytes = match rng.u8(0..10) {
            0..6 => peer.binary(payload),
            6 => peer.ping(&payload[..payload.len().min(125)]),
            7 => peer.close(1000, ""),
            8 if rng.u8(0..4) == 0 => peer.frame(rng.u8(..), payload),
            _ => peer.text("ä text"),
        };
        if rng.u8(0..20) == 0 {
            bytes.truncate(rng.usize(0..bytes.len()));
        }
        self.inbound.extend_from_slice(&bytes);
    }

    fn send(&mut self, payload: Vec<u8>, rng: &mut fastrand::Rng) {
        let opcodes = [Opcode::Binary, Opcode::Continuation, Opcode::Ping, Opcode::Close];
        let opcode = opcodes[rng.usize(0..4)];
        let rsv = if rng.bool() { Rsv::NONE } else { Rsv::RSV1 };
        let frame = Frame { fin: rng.bool(), rsv, opcode, payload: payload.into() };
        // Refusals are legal at any time.
        let _ = self.connection.send(frame, self.now);
    }

    /// The transport takes bytes, or has sent those that it took.
    fn take(&mut self, rng: &mut fastrand::Rng) {
        let mut outbound = self.connection.outbound();
        match rng.u8(0..3) {
            0 => outbound.advance(rng.usize(0..=outbound.remaining())),
            1 => drop(outbound.pop()),
            _ => outbound.sent(rng.usize(0..=outbound.in_flight())),
        }
        self.connection.handle_blocked(self.now);
    }

    /// A report of a driver's.
    fn report(&mut self, rng: &mut fastrand::Rng) {
        match rng.u8(0..8) {
            0 => self.connection.handle_stall(self.now),
            1 => self.connection.handle_overload(self.now),
            2 => self.connection.handle_transport_error("it broke", self.now),
            _ => self.connection.accept_rsv(Rsv::RSV1),
        }
    }

    fn lend(&mut self, rng: &mut fastrand::Rng) {
        let mut outbound = self.connection.outbound();
        if rng.bool() {
            self.staging = outbound.lend(std::mem::take(&mut self.staging));
        } else if let Some(staging) = outbound.reclaim() {
            self.staging = staging;
        }
    }

    /// Operations that the documentation forbids.
    fn misuse(&mut self, rng: &mut fastrand::Rng) {
        match rng.u8(0..7) {
            0 => self.connection.outbound().advance(rng.usize(..)),
            1 => self.connection.outbound().sent(rng.usize(..)),
            2 => self.inbound.truncate(rng.usize(0..=self.inbound.len())),
            3 => self.inbound = BytesMut::from(&[0x82; 40][..rng.usize(0..40)]),
            4 => {
                let back = Duration::from_millis(rng.u64(0..9000));
                self.now = Instant::from_epoch(self.now.since_epoch().saturating_sub(back));
            }
            5 => {
                let frame = Frame::new(Opcode::Binary, vec![7; rng.usize(0..300)].into());
                self.connection.put_back([frame], &mut self.inbound);
            }
            _ => {
                let forward = Duration::from_secs(rng.u64(0..1 << 40));
                self.connection.handle_timeout(self.now + forward);
            }
        }
    }
}
