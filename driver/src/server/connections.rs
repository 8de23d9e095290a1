//! Serving transports with one service, counting them and ending them all: [`ConnectionServer`].

pub(super) mod opening;
mod registry;
mod responses;
mod slot;

use std::iter::Sum;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use sockless_core::{CloseCode, CloseReason, Instant};
use tracing::Instrument;

use crate::meter;
use crate::request::Permits;
use crate::runtime::{Io, Runtime};
use crate::server::proxy_protocol::ProxyProtocol;
use crate::server::service::Service;
use crate::session::Running;
use crate::session::engine::budget::Budget;
use crate::session::engine::drive::Drive;
use crate::spans::ConnectionSpan;
use opening::Ends;
use registry::{Eviction, Registry};

pub(crate) use registry::Start;
pub(crate) use responses::{RequestLog, ask, shutting_down, too_many_connections, undecided};
pub(crate) use slot::Slot;

/// Serves transports that the program accepts itself, and shuts all of them down.
///
/// A [`Server`](crate::Server) has a listener; this type is for programs with an accept loop of
/// their own, and for sessions behind another HTTP server ([`answer`](Self::answer)). Clones share
/// the service, the limits and the connections.
///
/// ```no_run
/// # async fn example(router: sockless::Router) -> std::io::Result<()> {
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use sockless::ConnectionServer;
/// use sockless::tokio::{TokioRuntime, TokioTransport};
///
/// let server = ConnectionServer::new(router, Arc::new(TokioRuntime));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// for _ in 0..100 {
///     let (stream, peer) = listener.accept().await?;
///     let transport = Box::new(TokioTransport::new(stream));
///     tokio::spawn(server.serve_connection(transport, Some(peer), None));
/// }
/// let report = server.shutdown(Duration::from_secs(10)).await;
/// println!("{} connections ended in time", report.drained);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConnectionServer {
    pub(crate) inner: Arc<Inner>,
    proxies: Option<ProxyProtocol>,
}

pub(crate) struct Inner {
    pub(crate) service: Box<dyn Service>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) budget: Arc<Budget>,
    registry: Mutex<Registry>,
    /// The number of evictions so far. A connection that is opening looks at the registry when it
    /// has changed.
    evictions: AtomicU64,
    /// This and the next are set under the registry's lock, and read under it by those that must
    /// not miss the change.
    shutting_down: AtomicBool,
    terminated: AtomicBool,
    /// Requests are answered during the shutdown too.
    answers_to_the_end: AtomicBool,
}

/// The result of a shutdown, in numbers of connections.
///
/// The reports of several servers can be added up: it implements [`Sum`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections that ended within the drain timeout.
    pub drained: usize,
    /// Connections that were terminated when it had passed.
    pub terminated: usize,
    /// Terminated connections that had not ended one second later, when the shutdown returned:
    /// their handlers block a thread, or compute without an `await`. They end when their handlers
    /// yield.
    pub stuck: usize,
}

impl Sum for ShutdownReport {
    fn sum<I: Iterator<Item = Self>>(reports: I) -> Self {
        reports.fold(Self::default(), |sum, report| Self {
            drained: sum.drained + report.drained,
            terminated: sum.terminated + report.terminated,
            stuck: sum.stuck + report.stuck,
        })
    }
}

impl ConnectionServer {
    /// Creates a server that answers requests with `service`, and runs on `runtime`.
    pub fn new(service: impl Service, runtime: Arc<dyn Runtime>) -> Self {
        let inner = Inner {
            service: Box::new(service),
            runtime,
            budget: Arc::default(),
            registry: Mutex::default(),
            evictions: AtomicU64::new(0),
            shutting_down: AtomicBool::new(false),
            terminated: AtomicBool::new(false),
            answers_to_the_end: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner), proxies: None }
    }

    /// Limits the connections of one peer address to `count` at a time, at least 1. Default: no
    /// limit.
    ///
    /// A connection counts from the call of [`serve_connection`](Self::serve_connection), before
    /// TLS and the request; one beyond the limit is dropped at once, and logged at debug level.
    /// Requests of another HTTP server ([`answer`](Self::answer)) count too, and get a 429 beyond
    /// the limit. The addresses of an IPv6 network of 64 bits count as one, since one customer gets
    /// such a network. Connections without an address, such as those of Unix sockets, are exempt; for
    /// requests of another HTTP server that lack it, a warning is logged once.
    ///
    /// The address is that of the transport's other end. Behind a proxy, all clients share the
    /// proxy's address: use a guard of the router instead, which limits them by the address that a
    /// trusted proxy forwards.
    #[must_use]
    pub fn max_connections_per_peer(self, count: usize) -> Self {
        self.inner.lock().limit_per_peer(count.max(1));
        self
    }

    /// Expects the header of the PROXY protocol on transports from `proxies`, before TLS and before
    /// the request; see [`ProxyProtocol`]. Default: from no address. Clones that exist already are
    /// not affected, nor are requests of another HTTP server.
    #[must_use]
    pub fn proxy_protocol(mut self, proxies: ProxyProtocol) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Limits the memory of all sessions together to `bytes`: unfinished messages, messages that
    /// were not received by their handler, and data that waits to be sent. Default: 192 MiB.
    ///
    /// Above the limit, a session that comes to hold more than an equal share of it is closed with
    /// 1013 and [`Cause::Overloaded`](sockless_core::Cause::Overloaded); sessions that hold less
    /// are not affected. A message that is sent to many sessions is not counted while it is held
    /// elsewhere too. The memory of handlers, extensions and TLS is not counted.
    #[must_use]
    pub fn memory_budget(self, bytes: usize) -> Self {
        self.inner.budget.set_limit(bytes);
        self
    }

    /// Returns the number of bytes that all sessions hold now, as
    /// [`memory_budget`](Self::memory_budget) counts them.
    pub fn held_bytes(&self) -> usize {
        self.inner.budget.held()
    }

    /// Returns the number of connections, from their transport to their end.
    pub fn connections(&self) -> usize {
        self.inner.lock().len()
    }

    /// Serves one transport until it ends: the opening handshake, then an HTTP response or a
    /// session with its handler.
    ///
    /// `peer` and `local` are the addresses of the transport's two ends, for
    /// [`Request::peer_addr`](crate::Request::peer_addr) and
    /// [`Request::local_addr`](crate::Request::local_addr).
    ///
    /// It does not fail: errors of the peer are answered, and logged at debug level. Dropping the
    /// future drops the transport and the handler.
    pub fn serve_connection(
        &self,
        transport: Box<dyn Io>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> impl Future<Output = ()> + Send + use<> {
        self.task(transport, peer, local)
    }

    /// As [`serve_connection`](Self::serve_connection).
    pub(crate) fn task(
        &self,
        transport: Box<dyn Io>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> ConnectionTask {
        self.serve(transport, |_, transport, _| std::future::ready(Some(transport)), peer, local)
    }

    /// Serves one transport over TLS: performs the TLS handshake with `acceptor`, then continues as
    /// [`serve_connection`](Self::serve_connection).
    ///
    /// Both handshakes together must be complete within
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout). It does not fail: a
    /// failed handshake is logged at debug level.
    #[cfg(feature = "rustls")]
    pub fn serve_tls_connection(
        &self,
        acceptor: &crate::tls::TlsAcceptor,
        transport: Box<dyn Io>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> impl Future<Output = ()> + Send + use<> {
        self.tls_task(acceptor, transport, peer, local)
    }

    /// As [`serve_tls_connection`](Self::serve_tls_connection).
    #[cfg(feature = "rustls")]
    pub(crate) fn tls_task(
        &self,
        acceptor: &crate::tls::TlsAcceptor,
        transport: Box<dyn Io>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> ConnectionTask {
        let (acceptor, runtime) = (acceptor.clone(), self.inner.runtime.clone());
        // In memory of its own, which is freed after the handshake.
        let secure = move |deadline, transport, peer| {
            Box::pin(acceptor.accept_by(deadline, transport, runtime, peer))
        };
        self.serve(transport, secure, peer, local)
    }

    /// Serves the transport that `prepare` makes of `transport`, within the deadline that it is
    /// called with.
    fn serve<F, Fut>(
        &self,
        transport: Box<dyn Io>,
        prepare: F,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> ConnectionTask
    where
        F: FnOnce(Instant, Box<dyn Io>, Option<SocketAddr>) -> Fut + Send + 'static,
        Fut: Future<Output = Option<Box<dyn Io>>> + Send + 'static,
    {
        let is_announced = self.proxies.as_ref().is_some_and(|proxies| proxies.expects(peer));
        // A client that its proxy announces counts once the header has been read.
        let counted = peer.filter(|_| !is_announced);
        let Some(slot) = Slot::new(&self.inner, counted, Start::Transport) else {
            tracing::debug!(?peer, "a connection beyond max_connections_per_peer was dropped");
            meter::rejected("connections_per_peer");
            return ConnectionTask(ServeConnection::Done);
        };
        let span = ConnectionSpan::open(peer, local);
        ConnectionTask(ServeConnection::Opening(Box::pin(async move {
            let mut ends = Ends { peer, local };
            let (drive, mut permits) = {
                let opening = pin!(slot.open(&span, transport, &mut ends, is_announced, prepare));
                slot.unless_dropped(opening).instrument(span.span()).await.flatten()?
            };
            span.hold_in(&mut permits);
            Some(OpenConnection { drive, _permits: permits, _slot: slot })
        })))
    }

    /// Shuts down: closes every session with 1001 (RFC 6455 §7.4.1), rejects new upgrades with 503,
    /// and waits up to `drain` for all connections to end. Those that have not ended then are
    /// terminated, with their handlers.
    ///
    /// A handler that blocks its thread, or computes without an `await`, cannot be terminated: one
    /// second after `drain` this method returns nevertheless, and counts its connection as
    /// [stuck](ShutdownReport::stuck). That requires a runtime with another thread.
    ///
    /// Dropping the future leaves the sessions closing, and terminates none of them.
    pub async fn shutdown(&self, drain: Duration) -> ShutdownReport {
        let open = self.begin_shutdown();
        self.wait_until_empty(drain).await;
        let terminated = self.terminate();
        self.wait_until_empty(GRACE).await;
        let drained = open.saturating_sub(terminated);
        ShutdownReport { drained, terminated, stuck: self.connections().min(terminated) }
    }

    /// Has the shutdown that follows leave connections that are opening to their handshake: their
    /// sessions are closed instead.
    pub(crate) fn answer_to_the_end(&self) {
        self.inner.answers_to_the_end.store(true, Ordering::Release);
    }

    /// Waits until there are no connections, for `timeout` at most.
    async fn wait_until_empty(&self, timeout: Duration) {
        let mut alarm = self.inner.runtime.alarm(self.inner.runtime.now() + timeout);
        let empty = std::future::poll_fn(|cx| self.poll_fewer_than(1, cx));
        let _ = crate::runtime::timeout(&mut *alarm, empty).await;
    }

    /// Closes all sessions. Returns the number of connections.
    fn begin_shutdown(&self) -> usize {
        // Counted before the first is closed: one may end while the next is being closed.
        let (open, sessions) = {
            let registry = self.inner.lock();
            self.inner.shutting_down.store(true, Ordering::Release);
            (registry.len(), registry.sessions())
        };
        for session in &sessions {
            session.close(CloseReason::new(CloseCode::GOING_AWAY, "the server is shutting down"));
        }
        open
    }

    /// Terminates the connections that are left. Returns their number.
    fn terminate(&self) -> usize {
        let (left, sessions, openings) = {
            let mut registry = self.inner.lock();
            self.inner.terminated.store(true, Ordering::Release);
            (registry.len(), registry.sessions(), registry.take_wakers())
        };
        openings.into_iter().for_each(Waker::wake);
        for session in sessions {
            session.kill();
        }
        left
    }

    /// Ready once there are fewer than `count` connections.
    pub(crate) fn poll_fewer_than(&self, count: usize, cx: &Context<'_>) -> Poll<()> {
        let mut registry = self.inner.lock();
        if registry.len() < count {
            return Poll::Ready(());
        }
        registry.wake_when_one_ends(cx.waker());
        Poll::Pending
    }

    /// Ready once there are fewer than `count` connections, or one of them can be
    /// [evicted](Self::evict_one).
    pub(crate) fn poll_room(&self, count: usize, cx: &Context<'_>) -> Poll<()> {
        if count == usize::MAX {
            return Poll::Ready(());
        }
        let mut registry = self.inner.lock();
        if registry.len() < count || registry.can_evict() {
            return Poll::Ready(());
        }
        registry.wake_when_one_ends(cx.waker());
        Poll::Pending
    }

    /// The number of connections that have ended so far.
    pub(crate) fn ended(&self) -> u64 {
        self.inner.lock().ended()
    }

    /// Ready once more than `ended` connections have ended.
    pub(crate) fn poll_ended(&self, ended: u64, cx: &Context<'_>) -> Poll<()> {
        let mut registry = self.inner.lock();
        if registry.ended() > ended {
            return Poll::Ready(());
        }
        registry.wake_when_one_ends(cx.waker());
        Poll::Pending
    }

    /// Evicts the oldest connection without a complete request head, or that only reads the
    /// response that rejected its request. Returns false if there is no such connection.
    ///
    /// The connection is dropped in its own task, perhaps after this has returned.
    pub(crate) fn evict_one(&self) -> bool {
        let evicted = {
            let mut registry = self.inner.lock();
            let evicted = registry.evict_one();
            self.inner.evictions.fetch_add(1, Ordering::Release);
            evicted
        };
        let Some(Eviction(waker)) = evicted else { return false };
        tracing::debug!("the oldest connection that was still opening was dropped to make room");
        meter::rejected("evicted");
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

/// The time for which a shutdown waits for terminated connections to end.
const GRACE: Duration = Duration::from_secs(1);

impl std::fmt::Debug for ConnectionServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionServer")
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Returns true once: see [`Registry::warns_of_missing_address`].
    pub(super) fn warns_of_missing_address(&self) -> bool {
        self.lock().warns_of_missing_address()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session with its handler.
pub(crate) type SessionDrive = Drive<Running>;

/// A connection that a server has accepted: a future that serves it until it ends, for
/// [`Spawn::spawn_connection`](crate::Spawn::spawn_connection).
///
/// Dropping it drops the transport and the handler.
#[must_use = "a connection is served while it is polled"]
pub struct ConnectionTask(ServeConnection<Opening>);

type Opening = dyn Future<Output = Option<OpenConnection>> + Send;

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl std::fmt::Debug for ConnectionTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionTask").finish_non_exhaustive()
    }
}

/// A connection from its opening to its end. Written by hand, since an `async` block would keep the
/// memory of the opening for as long as the session lasts, and hold the driver twice.
pub(crate) enum ServeConnection<F: ?Sized> {
    Opening(Pin<Box<F>>),
    Open(OpenConnection),
    Done,
}

/// A connection with a session. The fields are dropped in this order.
pub(crate) struct OpenConnection {
    pub(crate) drive: SessionDrive,
    /// The permits of the guards, which last as long as the connection, even if the request is held
    /// longer.
    pub(crate) _permits: Permits,
    pub(crate) _slot: Slot,
}

impl<F: Future<Output = Option<OpenConnection>> + ?Sized> Future for ServeConnection<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Self::Opening(opening) = this {
            *this = ready!(opening.as_mut().poll(cx)).map_or(Self::Done, Self::Open);
        }
        if let Self::Open(open) = this {
            ready!(Pin::new(&mut open.drive).poll(cx));
            *this = Self::Done;
        }
        Poll::Ready(())
    }
}
