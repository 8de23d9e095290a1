//! Serving one transport after another: [`ConnectionServer`] keeps count of them, and ends them all.

mod answers;
mod membership;
mod registry;

use std::iter::Sum;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use sockless_core::{CloseCode, CloseReason, Instant};

use crate::request::Permits;
use crate::runtime::{Io, Runtime};
use crate::server::service::Service;
use crate::session::engine::budget::Budget;
use registry::{Eviction, Registry};

pub(crate) use answers::{Asked, ask, too_many, unavailable, undecided};
pub(crate) use membership::{Membership, ServerDrive};
pub(crate) use registry::Begins;

/// Serves transports that the caller accepted, and can end them all.
///
/// A [`Server`](crate::Server) accepts connections itself; a host is for programs that have an accept
/// loop of their own. Clones share the service, the limits and the count.
#[derive(Clone)]
pub struct ConnectionServer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) service: Box<dyn Service>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) budget: Arc<Budget>,
    registry: Mutex<Registry>,
    /// How many connections were dropped to make room: a change has those that open look for themselves.
    evictions: AtomicU64,
    /// Both are set under the lock; what must not miss them reads them under it.
    shutting_down: AtomicBool,
    killed: AtomicBool,
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// How many connections ended within the drain time.
    pub drained: usize,
    /// How many were terminated when it had passed.
    pub terminated: usize,
    /// How many of the terminated were still there a second later, when the shutdown returned: their
    /// handlers block a thread, or compute without an `await`. They end when their handlers yield.
    pub stuck: usize,
}

/// The report of several hosts that were shut down together.
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
    /// A host of `service` on `runtime`.
    pub fn new(service: impl Service, runtime: Arc<dyn Runtime>) -> Self {
        let inner = Inner {
            service: Box::new(service),
            runtime,
            budget: Arc::default(),
            registry: Mutex::default(),
            evictions: AtomicU64::new(0),
            shutting_down: AtomicBool::new(false),
            killed: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Serves at most `count` connections, at least one, of one peer address at a time. Default: no
    /// limit.
    ///
    /// A connection counts from [`serve_connection`](Self::serve_connection) on, before TLS and its
    /// request; one beyond the limit is dropped at once, and logged at debug level. Requests of another
    /// HTTP server ([`answer`](Self::answer)) count too, and are answered with 429 beyond it. All
    /// addresses of an IPv6 network of 64 bits count as one, since one customer gets such a network.
    /// Connections without an address, as those of Unix sockets, are exempt.
    ///
    /// The address is that of the transport's other end: behind a proxy all clients share the
    /// proxy's, so limit them by what the proxy says of them instead, with a guard of the router.
    #[must_use]
    pub fn max_connections_per_peer(self, count: usize) -> Self {
        self.inner.lock().limit_per_peer(count.max(1));
        self
    }

    /// Holds at most `bytes` of unfinished messages, of messages that were not received and of what waits to be
    /// sent, for all sessions together. Default: 192 MiB.
    ///
    /// When that is passed, a session that comes to hold more than an equal share of it is ended with 1013 and
    /// [`Cause::Overloaded`](sockless_core::Cause::Overloaded); those that hold less are left alone. A message that
    /// goes to many is not counted while it is held elsewhere too. What handlers hold, what the extensions hold
    /// and TLS are not counted.
    #[must_use]
    pub fn memory_budget(self, bytes: usize) -> Self {
        self.inner.budget.set_limit(bytes);
        self
    }

    /// How many bytes the sessions hold together now, as [`memory_budget`](Self::memory_budget) counts them.
    pub fn held_bytes(&self) -> usize {
        self.inner.budget.held()
    }

    /// Serves one transport until it ends: the opening handshake, then an HTTP response or a session
    /// with its handler.
    ///
    /// It never fails: what a peer does wrong is answered, and logged at debug level. Dropping the
    /// future drops the transport and the handler.
    pub fn serve_connection(
        &self,
        transport: Box<dyn Io>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> impl Future<Output = ()> + Send + use<> {
        self.serve(move |_| std::future::ready(Some(transport)), peer, local)
    }

    /// Serves one transport of a client that comes by TLS: the TLS handshake with `acceptor`, then as
    /// [`serve_connection`](Self::serve_connection) does, all of the opening within one
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout).
    ///
    /// It never fails: a handshake that does is logged at debug level.
    #[cfg(feature = "rustls")]
    pub fn serve_tls_connection(
        &self,
        acceptor: &crate::tls::TlsAcceptor,
        transport: Box<dyn Io>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (acceptor, runtime) = (acceptor.clone(), self.inner.runtime.clone());
        let secure = move |deadline| acceptor.accept_by(deadline, transport, runtime, peer);
        self.serve(secure, peer, local)
    }

    /// Serves the transport that `prepare` makes by the deadline that it is given, if it does.
    fn serve<F, Fut>(
        &self,
        prepare: F,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> impl Future<Output = ()> + Send + use<F, Fut>
    where
        F: FnOnce(Instant) -> Fut + Send,
        Fut: Future<Output = Option<Box<dyn Io>>> + Send,
    {
        let Some(membership) = Membership::new(&self.inner, peer, Begins::Opening) else {
            tracing::debug!(?peer, "a connection beyond max_connections_per_peer was dropped");
            return Serving::Over;
        };
        Serving::Opening(Box::pin(async move {
            let (drive, held) = {
                let opening = pin!(membership.open(prepare, peer, local));
                membership.unless_dropped(opening).await.flatten()?
            };
            Some(Open { drive, _held: held, _membership: membership })
        }))
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.inner.lock().len()
    }

    /// Closes every session with 1001 (RFC 6455 §7.4.1), refuses new upgrades with 503, and gives all
    /// connections `drain` to end; those that have not are terminated, with their handlers.
    ///
    /// A handler that blocks its thread, or computes without an `await`, cannot be terminated: one
    /// second after `drain` this returns all the same, and counts it as
    /// [stuck](ShutdownReport::stuck). That needs a runtime with another thread to return on.
    ///
    /// Dropping the future leaves the sessions closing and terminates none.
    pub async fn shutdown(&self, drain: Duration) -> ShutdownReport {
        let open = self.begin_shutdown();
        self.all_gone_within(drain).await;
        let terminated = self.kill();
        self.all_gone_within(GRACE).await;
        let drained = open.saturating_sub(terminated);
        ShutdownReport { drained, terminated, stuck: self.connections().min(terminated) }
    }

    /// Waits until no connection is left, for `patience` at most.
    async fn all_gone_within(&self, patience: Duration) {
        let mut alarm = self.inner.runtime.alarm(self.inner.runtime.now() + patience);
        std::future::poll_fn(|cx| match self.poll_fewer_than(1, cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => alarm.poll_expired(cx),
        })
        .await;
    }

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

    /// Terminates what is left; gives the number of connections that were.
    fn kill(&self) -> usize {
        let (left, sessions, openings) = {
            let mut registry = self.inner.lock();
            self.inner.killed.store(true, Ordering::Release);
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
        registry.wake_when_one_goes(cx.waker());
        Poll::Pending
    }

    /// Ready once there are fewer than `count` connections, or one of them could be
    /// [dropped](Self::evict_one).
    pub(crate) fn poll_room(&self, count: usize, cx: &Context<'_>) -> Poll<()> {
        if count == usize::MAX {
            return Poll::Ready(());
        }
        let mut registry = self.inner.lock();
        if registry.len() < count || registry.can_make_room() {
            return Poll::Ready(());
        }
        registry.wake_when_one_goes(cx.waker());
        Poll::Pending
    }

    /// How many connections have ended so far.
    pub(crate) fn gone(&self) -> u64 {
        self.inner.lock().gone()
    }

    /// Ready once more than `gone` connections have ended.
    pub(crate) fn poll_gone(&self, gone: u64, cx: &Context<'_>) -> Poll<()> {
        let mut registry = self.inner.lock();
        if registry.gone() > gone {
            return Poll::Ready(());
        }
        registry.wake_when_one_goes(cx.waker());
        Poll::Pending
    }

    /// Drops the oldest connection that has not sent a whole request head, or only reads its refusal.
    /// That happens in its own task, and may be after this has returned; false when there is none.
    pub(crate) fn evict_one(&self) -> bool {
        let evicted = {
            let mut registry = self.inner.lock();
            let evicted = registry.evict_one();
            self.inner.evictions.fetch_add(1, Ordering::Release);
            evicted
        };
        let Some(Eviction(waker)) = evicted else { return false };
        tracing::debug!("the oldest connection that was still opening was dropped to make room");
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

/// How long a shutdown waits for the connections that it terminated.
const GRACE: Duration = Duration::from_secs(1);

impl std::fmt::Debug for ConnectionServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection from its opening to its end, by hand: an `async` block would keep the room that the
/// opening took, and hold the driver twice.
pub(crate) enum Serving<F> {
    Opening(Pin<Box<F>>),
    Open(Open),
    Over,
}

/// What is left of a connection once it is open, in the order in which it goes.
pub(crate) struct Open {
    pub(crate) drive: ServerDrive,
    /// What the guards gave out counts to the connection's end, whoever has its call.
    pub(crate) _held: Permits,
    pub(crate) _membership: Membership,
}

impl<F: Future<Output = Option<Open>>> Future for Serving<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Self::Opening(opening) = this {
            *this = ready!(opening.as_mut().poll(cx)).map_or(Self::Over, Self::Open);
        }
        if let Self::Open(open) = this {
            ready!(Pin::new(&mut open.drive).poll(cx));
            *this = Self::Over;
        }
        Poll::Ready(())
    }
}
