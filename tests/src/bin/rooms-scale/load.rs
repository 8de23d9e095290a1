//! Clients without a WebSocket library, which take as little as they can: [`Load`].
//!
//! All messages have one length, so that frames are counted by their bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep, timeout};

/// The longest wait for deliveries.
const LIMIT: Duration = Duration::from_secs(120);

/// Members of rooms, one after the other in turn.
pub(crate) struct Load {
    writers: Vec<OwnedWriteHalf>,
    rooms: usize,
    len: usize,
    seen: Arc<Seen>,
    /// The number of deliveries that are due.
    due: u64,
}

struct Seen {
    begun: Instant,
    deliveries: AtomicU64,
    /// The latencies in microseconds, while they are measured.
    latencies: Mutex<Option<Vec<u32>>>,
}

/// The result of an open loop.
pub(crate) struct Figures {
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Load {
    /// Opens connections to all servers in turn. The messages have `len` bytes, at most 125.
    pub(crate) async fn open(
        addrs: &[SocketAddr],
        members: usize,
        rooms: usize,
        len: usize,
    ) -> io::Result<Self> {
        let (begun, latencies) = (Instant::now(), Mutex::default());
        let seen = Arc::new(Seen { begun, deliveries: AtomicU64::new(0), latencies });
        let mut writers = Vec::new();
        for member in 0..members {
            // So that each room has members on all servers.
            let addr = addrs[member / rooms % addrs.len()];
            let (reader, writer) = connect(addr, member % rooms).await?.into_split();
            tokio::spawn(read(reader, len, seen.clone()));
            writers.push(writer);
        }
        // Until all have joined.
        sleep(Duration::from_millis(500)).await;
        Ok(Self { writers, rooms, len, seen, due: 0 })
    }

    /// The first member publishes so many messages at once, and waits for all deliveries, again and again. Returns the
    /// number of deliveries.
    pub(crate) async fn windows(&mut self, rounds: usize, depth: usize) -> u64 {
        for _ in 0..rounds {
            self.publish(0, depth).await;
            self.wait(0).await;
        }
        (rounds * depth * self.writers.len() / self.rooms) as u64
    }

    /// Every member publishes a message, again and again. Returns the number of deliveries.
    pub(crate) async fn everyone(&mut self, rounds: usize) -> u64 {
        for _ in 0..rounds {
            for member in 0..self.writers.len() {
                self.publish(member, 1).await;
            }
            self.wait(0).await;
        }
        (rounds * self.writers.len() * self.writers.len() / self.rooms) as u64
    }

    /// One member of each room publishes, with so many messages of each in flight. Returns the deliveries a second,
    /// and their number.
    pub(crate) async fn closed(&mut self, time: Duration, depth: usize) -> (f64, u64) {
        let (begun, before) = (Instant::now(), self.seen.deliveries.load(Relaxed));
        let window = (depth * self.writers.len()) as u64;
        while begun.elapsed() < time {
            for room in 0..self.rooms {
                self.publish(room, 1).await;
            }
            self.wait(window).await;
        }
        let elapsed = begun.elapsed().as_secs_f64();
        let rate = (self.seen.deliveries.load(Relaxed) - before) as f64 / elapsed;
        self.wait(0).await;
        (rate, self.seen.deliveries.load(Relaxed) - before)
    }

    /// Publishes so many messages a second, whether they arrive or not.
    pub(crate) async fn open_loop(&mut self, time: Duration, rate: f64) -> Figures {
        *self.seen.latencies.lock().unwrap() = Some(Vec::new());
        let begun = Instant::now();
        let mut published = 0_usize;
        while begun.elapsed() < time {
            while (published as f64) < rate * begun.elapsed().as_secs_f64() {
                self.publish(published % self.rooms, 1).await;
                published += 1;
            }
            sleep(Duration::from_millis(1)).await;
        }
        self.wait(0).await;
        let elapsed = begun.elapsed().as_secs_f64();
        let mut latencies = self.seen.latencies.lock().unwrap().take().unwrap_or_default();
        latencies.sort_unstable();
        let at = |part: f64| {
            let at = (latencies.len() as f64 * part) as usize;
            Duration::from_micros(latencies.get(at).copied().unwrap_or(0).into())
        };
        Figures { rate: latencies.len() as f64 / elapsed, p50: at(0.5), p99: at(0.99) }
    }

    /// Sends messages of a member in one write. Each has the time at its beginning.
    async fn publish(&mut self, member: usize, count: usize) {
        let now = self.seen.begun.elapsed().as_micros() as u64;
        let mut payload = vec![0; self.len];
        payload[..8].copy_from_slice(&now.to_be_bytes());
        // Masked with zeroes.
        let head = [0x82, 0x80 | self.len as u8, 0, 0, 0, 0];
        let frames = [&head[..], &payload].concat().repeat(count);
        self.writers[member].write_all(&frames).await.expect("an open connection");
        self.due += (count * self.writers.len() / self.rooms) as u64;
    }

    /// Waits until at most so many deliveries are missing.
    async fn wait(&self, missing: u64) {
        let waiting = async {
            while self.seen.deliveries.load(Relaxed) + missing < self.due {
                sleep(Duration::from_micros(100)).await;
            }
        };
        timeout(LIMIT, waiting).await.expect("all deliveries");
    }
}

async fn connect(addr: SocketAddr, room: usize) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /{room} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(stream),
        false => Err(io::Error::other("the server rejected the handshake")),
    }
}

/// Counts the frames, which have a head of two bytes.
async fn read(mut reader: OwnedReadHalf, len: usize, seen: Arc<Seen>) {
    let frame = len + 2;
    let (mut bytes, mut held) = (vec![0; 64 << 10], 0);
    while let Ok(read) = reader.read(&mut bytes[held..]).await
        && read > 0
    {
        held += read;
        let whole = held / frame * frame;
        if let Some(latencies) = &mut *seen.latencies.lock().unwrap() {
            let now = seen.begun.elapsed().as_micros() as u64;
            latencies.extend(bytes[..whole].chunks(frame).map(|frame| {
                let sent = frame[2..10].try_into().map_or(now, u64::from_be_bytes);
                now.saturating_sub(sent) as u32
            }));
        }
        seen.deliveries.fetch_add((whole / frame) as u64, Relaxed);
        bytes.copy_within(whole..held, 0);
        held -= whole;
    }
}
