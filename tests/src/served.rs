//! A served session whose peer costs nothing, for tests that count: it is polled by hand, and its peer is
//! a buffer of bytes that were written beforehand.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::BytesMut;
use sockless_core::{Config, Instant, Seed};
use sockless_driver::{BoxFuture, Clock, ConnectionServer, Io, Runtime, Session, Spawn, Timer};
use sockless_routing::{Origins, Router, websocket};

/// A request that asks for no extension.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A browser's request: 17 headers, among them an offer of permessage-deflate.
pub const BROWSER_REQUEST: &[u8] = b"GET /?name=ada HTTP/1.1\r\n\
    Host: chat.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0\r\n\
    Accept: */*\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Origin: http://chat.example.com\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Connection: keep-alive, Upgrade\r\n\
    Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark\r\n\
    Sec-Fetch-Dest: websocket\r\n\
    Sec-Fetch-Mode: websocket\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    Upgrade: websocket\r\n\r\n";

/// A served session, polled by hand.
pub struct Served {
    peer: ScriptedIo,
    serving: BoxFuture<'static, ()>,
    waker: Waker,
    woken: Arc<Woken>,
}

/// Whether the task was woken: who polls by hand need not be. Not `Waker::noop`, whose clones do not
/// always know each other.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A host that serves every session with `handler`.
pub fn host<F, Fut>(config: Config, handler: F) -> ConnectionServer
where
    F: Fn(Session) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: sockless_driver::Outcome> + Send + 'static,
{
    let router = Router::new()
        .websockets(config)
        .origins(Origins::same_origin())
        .route("/", websocket(handler));
    ConnectionServer::new(router, Arc::new(Frozen(|_| unreachable!("a host spawns nothing"))))
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Served {
    /// A session that was opened by [`REQUEST`].
    pub fn new<F, Fut>(config: Config, handler: F) -> Self
    where
        F: Fn(Session) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: sockless_driver::Outcome> + Send + 'static,
    {
        Self::opened_by(REQUEST, &host(config, handler))
    }

    /// A session of `host` that was opened by this request.
    ///
    /// # Panics
    ///
    /// When the host refuses it.
    pub fn opened_by(request: &[u8], host: &ConnectionServer) -> Self {
        let peer = ScriptedIo::default();
        let serving = host.serve_connection(Box::new(peer.clone()), None, None);
        let woken = Arc::new(Woken::default());
        let mut served =
            Self { peer, serving: Box::pin(serving), waker: woken.clone().into(), woken };
        served.peer.lock().say(request, 1);
        served.poll();
        assert!(served.peer.lock().upgraded, "the 101");
        served
    }

    /// The peer's end.
    pub fn peer(&self) -> MutexGuard<'_, State> {
        self.peer.lock()
    }

    /// Has the server do all that it can in one turn; whether it asked for another.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn poll(&mut self) -> bool {
        self.woken.0.store(false, Ordering::Relaxed);
        let polled = self.serving.as_mut().poll(&mut Context::from_waker(&self.waker));
        assert!(polled.is_pending());
        self.woken.0.load(Ordering::Relaxed)
    }

    /// Has the server echo `depth` messages at a time, `batches` times.
    ///
    /// # Panics
    ///
    /// When it sends more than that.
    pub fn exchange(&mut self, message: &[u8], depth: usize, batches: usize, len: usize) {
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
#[derive(Clone, Debug, Default)]
struct ScriptedIo(Arc<Mutex<State>>);

/// The bytes that the peer sends and has received.
#[derive(Debug)]
pub struct State {
    wire: Vec<u8>,
    at: usize,
    /// The number of times that the wire is still repeated.
    pub left: usize,
    /// The number of bytes that the server has written.
    pub written: u64,
    /// True if the first bytes received were a 101.
    pub upgraded: bool,
    /// True if the peer reads.
    pub reads: bool,
}

impl Default for State {
    fn default() -> Self {
        Self { wire: Vec::new(), at: 0, left: 0, written: 0, upgraded: false, reads: true }
    }
}

impl State {
    /// Says `wire` over and over.
    ///
    /// # Panics
    ///
    /// When not all has been said that was to be.
    pub fn say(&mut self, wire: &[u8], times: usize) {
        assert_eq!(self.left, 0, "all was said");
        if self.wire != wire {
            self.wire = wire.to_vec();
        }
        self.left = times;
    }
}

impl ScriptedIo {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Io for ScriptedIo {
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
        state.upgraded |= state.written == 0 && slices[0].starts_with(b"HTTP/1.1 101 ");
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

/// A runtime in which no time passes, and that runs a task only on request.
#[derive(Debug)]
pub struct Frozen(pub fn(BoxFuture<'static, ()>));

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
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0(task);
    }
}

impl Runtime for Frozen {
    fn seed(&self) -> Seed {
        Seed::new([7; 32])
    }
}
