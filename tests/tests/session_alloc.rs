//! Memory of whole sessions, counted: an echo through the driver, an idle session, a flood.
//!
//! The counts are of the whole process, so that the cases run one after the other, without libtest; the
//! peer is a buffer of bytes that were written beforehand, and costs nothing.

use std::alloc::System;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use peakmem_alloc::{PeakMemAlloc, PeakMemAllocTrait};
use sockless::{Config, Instant, Seed};
use sockless_driver::{BoxFuture, Clock, Host, Io, Runtime, Session, Spawn, Timer};
use sockless_routing::{Router, websocket};
use sockless_tests::wire::{BINARY, TEXT, Writer};
use stats_alloc::{Region, StatsAlloc};

static COUNTS: StatsAlloc<System> = StatsAlloc::system();

#[global_allocator]
static PEAK: PeakMemAlloc<&StatsAlloc<System>> = PeakMemAlloc::new(&COUNTS);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn main() {
    an_echoed_message_costs_one_allocation_at_most();
    an_idle_session_is_small();
    a_flood_that_nobody_receives_stays_under_the_ceiling();
    a_flood_of_pings_stays_under_the_ceiling();
}

fn an_echoed_message_costs_one_allocation_at_most() {
    for (first, kind) in [(BINARY, "binary"), (TEXT, "text")] {
        for len in [64, 1500, 16 << 10, 256 << 10] {
            for depth in [1, 16] {
                let mut server = Served::new(Config::default(), echo);
                let wire = Writer { masks: true }.frame(first, vec![b'x'; len]);
                server.exchange(&wire, depth, 100, len);
                let region = Region::new(&COUNTS);
                let batches = 200;
                server.exchange(&wire, depth, batches, len);
                let (change, count) = (region.change(), batches * depth);
                println!(
                    "echo of {count} {kind} messages of {len} B, {depth} deep: {} allocations, {} \
                     reallocations",
                    change.allocations, change.reallocations
                );
                assert!(change.allocations <= count, "more than the payload's own block a message");
                // Text that arrives in several reads grows, by doubling; nothing else may be moved but
                // the read buffer, in whose block the payloads stay.
                let grows = first == TEXT && len * depth > 60 << 10;
                let most = if grows { 4 * count } else { count - change.allocations };
                assert!(change.reallocations <= most, "a payload's block is moved too often");
            }
        }
    }
}

fn an_idle_session_is_small() {
    let mut server = Served::new(Config::default(), echo);
    let wire = Writer { masks: true }.binary([7; 30_000]);
    server.exchange(&wire, 4, 10, 30_000);
    // What the thread lends is not the session's, but the wire's own bytes are not either.
    *server.peer.lock() = State::default();
    let one = held();
    let others: Vec<_> = (0..100).map(|_| Served::new(Config::default(), echo)).collect();
    let each = (held() - one) / others.len();
    println!("an idle session holds {each} B");
    assert!(each < 8 << 10, "{each} bytes");
}

fn a_flood_that_nobody_receives_stays_under_the_ceiling() {
    let config = Config::default().max_message_len(64 << 10);
    let ceiling = config.memory_ceiling();
    for len in [0, 1, 100, 4_000, 5_000, 60_000] {
        let mut server = Served::new(config.clone(), async |session: Session| {
            session.closed().await;
        });
        let wire = Writer { masks: true }.binary(vec![7; len]).repeat(1 + (1 << 20) / (len + 6));
        PEAK.reset_peak_memory();
        let before = held();
        server.peer.lock().say(&wire, 20);
        let wire_len = held() - before;
        for _ in 0..1_000 {
            server.poll();
        }
        let peak = PEAK.get_peak_memory() - wire_len;
        println!("a flood of {len} B messages holds {peak} of {ceiling} B");
        assert!(peak <= ceiling);
        let left = server.peer.lock().left;
        assert!(left > 10, "it was read to the end: {left} rounds are left");
    }
}

fn a_flood_of_pings_stays_under_the_ceiling() {
    let config = Config::default().max_message_len(64 << 10);
    let ceiling = config.memory_ceiling();
    let mut server = Served::new(config, async |session: Session| {
        session.closed().await;
    });
    let wire = Writer { masks: true }.ping([7; 125]).repeat(10_000);
    server.peer.lock().reads = false;
    PEAK.reset_peak_memory();
    let before = held();
    server.peer.lock().say(&wire, 20);
    let wire_len = held() - before;
    while server.peer.lock().left > 0 {
        server.poll();
    }
    let peak = PEAK.get_peak_memory() - wire_len;
    println!("200,000 pings to a peer that does not read hold {peak} of {ceiling} B");
    assert!(peak <= ceiling);
}

async fn echo(mut session: Session) -> Result<(), sockless::Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// How many bytes the process holds.
fn held() -> usize {
    let stats = COUNTS.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// A served session, polled by hand.
struct Served {
    peer: Peer,
    serving: BoxFuture<'static, ()>,
}

impl Served {
    fn new<F, Fut>(config: Config, handler: F) -> Self
    where
        F: Fn(Session) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: sockless_driver::Outcome> + Send + 'static,
    {
        let peer = Peer::default();
        let router = Router::new().websockets(config).route("/", websocket(handler));
        let host = Host::new(router, Arc::new(Frozen));
        let serving = host.serve_connection(Box::new(peer.clone()), None, None);
        let mut served = Self { peer, serving: Box::pin(serving) };
        served.peer.lock().say(REQUEST, 1);
        served.poll();
        assert!(served.peer.lock().written > 100, "the 101");
        served
    }

    fn poll(&mut self) {
        let polled = self.serving.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }

    /// Has the server echo `depth` messages at a time, `batches` times.
    fn exchange(&mut self, message: &[u8], depth: usize, batches: usize, len: usize) {
        let header = match len {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        for _ in 0..batches {
            let target = {
                let mut peer = self.peer.lock();
                peer.say(message, depth);
                peer.written + (depth * (header + len)) as u64
            };
            while self.peer.lock().written < target {
                self.poll();
            }
            assert_eq!(self.peer.lock().written, target);
        }
    }
}

/// A peer whose bytes were written beforehand, and that counts what it gets.
#[derive(Clone, Default)]
struct Peer(Arc<Mutex<State>>);

struct State {
    wire: Vec<u8>,
    at: usize,
    /// How often the wire is still to be said.
    left: usize,
    written: u64,
    reads: bool,
}

impl Default for State {
    fn default() -> Self {
        Self { wire: Vec::new(), at: 0, left: 0, written: 0, reads: true }
    }
}

impl State {
    fn say(&mut self, wire: &[u8], times: usize) {
        assert_eq!(self.left, 0, "all was said");
        if self.wire != wire {
            self.wire = wire.to_vec();
        }
        self.left = times;
    }
}

impl Peer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Io for Peer {
    fn poll_read(
        &mut self,
        _cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let mut len = 0;
        while state.left > 0 && buffer.len() < buffer.capacity() {
            let part = (state.wire.len() - state.at).min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&state.wire[state.at..state.at + part]);
            len += part;
            state.at += part;
            if state.at == state.wire.len() {
                state.at = 0;
                state.left -= 1;
            }
        }
        if len == 0 { Poll::Pending } else { Poll::Ready(Ok(len)) }
    }

    fn poll_write(
        &mut self,
        _cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if !state.reads {
            return Poll::Pending;
        }
        let len = slices.iter().map(|slice| slice.len()).sum();
        state.written += len as u64;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A runtime in which no time passes.
struct Frozen;

struct Never;

impl Clock for Frozen {
    fn now(&self) -> Instant {
        Instant::EPOCH
    }

    fn timer(&self, _deadline: Instant) -> Box<dyn Timer> {
        Box::new(Never)
    }
}

impl Timer for Never {
    fn reset(&mut self, _deadline: Instant) {}

    fn poll_expired(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Spawn for Frozen {
    fn spawn(&self, _task: BoxFuture<'static, ()>) {
        unreachable!("a host spawns nothing");
    }
}

impl Runtime for Frozen {
    fn seed(&self) -> Seed {
        Seed::new([7; 32])
    }
}
