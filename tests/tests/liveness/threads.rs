//! A search for lost wake-ups with real threads: senders, a receiver and the driver on a thread each, over
//! a transport in memory.
//!
//! A model checker would have to replace the driver's `Mutex` and its wakers, and with them what is
//! shipped. So each round is a race of threads that sleep until they are woken. Random choices are drawn
//! from the round's seed, each round has a time limit, and one that is stuck is reported with its seed.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sockless_core::handshake::UpgradeRequest;
use sockless_core::{Closed, Config};
use sockless_driver::{
    Answer, BoxFuture, ClientConnection, ConnectionServer, Io, Request, Sender, Service, Session,
    Upgrade,
};
use sockless_tests::served::Frozen;

const ROUNDS: u64 = 300;
const SENDERS: u64 = 3;
const MESSAGES: u64 = 40;

#[test]
fn no_wake_up_is_lost_between_senders_receiver_and_driver() {
    for seed in 0..ROUNDS {
        round(seed);
    }
}

/// A client's session whose driver, receiver and senders are threads; the server, another one, echoes.
fn round(seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    let capacity = chance.usize(1..600);
    let config =
        Config::default().high_water(chance.usize(1..400)).read_ahead(chance.usize(0..400));
    let (near, far) = pipe(capacity);
    let serving = {
        let host = ConnectionServer::new(Echo(Arc::new(config.clone())), Arc::new(THREADS));
        run(seed, host.serve_connection(Box::new(far), None, None))
    };
    let upgrade = http::Request::get("ws://server/").body(()).unwrap();
    let connecting =
        ClientConnection::handshake(Box::new(near), upgrade, Arc::new(config), Arc::new(THREADS));
    let connected = run(seed, connecting).join().unwrap().unwrap();
    // The runtime below spawns a thread for the driver.
    let (sender, mut receiver) = connected.spawn().split();
    let senders: Vec<_> = (0..SENDERS)
        .map(|name| {
            let sender = sender.clone();
            run(seed, async move { send_all(&sender, name, seed).await })
        })
        .collect();
    let receiving = run(seed, async move {
        let mut next = [0; SENDERS as usize];
        for _ in 0..SENDERS * MESSAGES {
            let message = receiver.recv().await.expect("an echo");
            let (name, i) = (message.as_bytes()[0], message.as_bytes()[1]);
            assert_eq!(i, next[usize::from(name)], "seed {seed}: in order, none lost");
            next[usize::from(name)] += 1;
        }
    });
    for sending in senders {
        sending.join().unwrap().expect("all is sent");
    }
    receiving.join().unwrap();
    drop(sender);
    serving.join().unwrap();
}

async fn send_all(sender: &Sender, name: u64, seed: u64) -> Result<(), Closed> {
    let mut chance = fastrand::Rng::with_seed(seed ^ name << 32);
    for i in 0..MESSAGES {
        let mut payload = vec![name as u8, i as u8];
        payload.resize(2 + chance.usize(0..60), 7);
        sender.send(payload).await?;
        if chance.u8(0..8) == 0 {
            sender.flush().await?;
        }
        if chance.u8(0..4) == 0 {
            thread::yield_now();
        }
    }
    Ok(())
}

struct Echo(Arc<Config>);

impl Service for Echo {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        let upgrade = UpgradeRequest::from_request(request.as_http()).unwrap();
        let echo = async |mut session: Session| {
            loop {
                let message = session.recv().await?;
                session.send(message).await?;
            }
            #[expect(unreachable_code, reason = "it names the error")]
            Ok::<(), Closed>(())
        };
        let upgrade = Upgrade::websocket(request, upgrade, self.config(), echo);
        Box::pin(async { Answer::Upgrade(upgrade) })
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.0)
    }
}

/// Runs a future on a thread of its own, which sleeps until it is woken.
fn run<F>(seed: u64, future: F) -> thread::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    thread::spawn(move || block_on(seed, future))
}

/// A round takes milliseconds: a task that sleeps this often for a second is stuck.
const STUCK: u32 = 30;

fn block_on<F: Future>(seed: u64, future: F) -> F::Output {
    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(true) });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut future = pin!(future);
    let mut slept = 0;
    loop {
        if unpark.woken.swap(false, Ordering::AcqRel) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            slept = 0;
            continue;
        }
        thread::park_timeout(Duration::from_secs(1));
        slept += 1;
        assert!(slept < STUCK, "seed {seed}: a task is not woken");
    }
}

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// A pipe in memory: two lanes of bytes with their waiting tasks.
fn pipe(capacity: usize) -> (End, End) {
    let lane = || Arc::new(Mutex::new(Lane { capacity, ..Lane::default() }));
    let (there, back) = (lane(), lane());
    let near = End { reads: Arc::clone(&back), writes: Arc::clone(&there) };
    (near, End { reads: there, writes: back })
}

#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    capacity: usize,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct End {
    reads: Arc<Mutex<Lane>>,
    writes: Arc<Mutex<Lane>>,
}

impl Io for End {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut lane = self.reads.lock().unwrap();
        let len = lane.bytes.len().min(buffer.capacity() - buffer.len());
        if len == 0 && !lane.ended {
            lane.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes: Bytes = lane.bytes.drain(..len).collect();
        buffer.extend_from_slice(&bytes);
        if let Some(writer) = lane.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(len))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut lane = self.writes.lock().unwrap();
        let room = lane.capacity - lane.bytes.len();
        if room == 0 {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = lane.bytes.len();
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied()).take(room);
        lane.bytes.extend(bytes);
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(lane.bytes.len() - before))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lane = self.writes.lock().unwrap();
        lane.ended = true;
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut lane = self.writes.lock().unwrap();
        lane.ended = true;
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
    }
}

/// Threads in which no time passes: what needs a timer to go on is stuck.
const THREADS: Frozen = Frozen(|task| drop(run(u64::MAX, task)));
