//! Accepting connections: [`Server`].

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use sockless_core::Config;
#[cfg(feature = "rustls")]
use sockless_driver::tls::TlsAcceptor;
use sockless_driver::{Outcome, ProxyProtocol, Service, ShutdownReport};

use crate::handler::{Alone, Settings};
use crate::runtime::ThreadRuntime;
use crate::session::Session;
use crate::socket::SocketListener;
use crate::wait::block_on;

/// The number of connections at a time, unless it is set.
const MAX_CONNECTIONS: usize = 1024;

/// A server with a thread for each handler, from [`bind`](crate::bind) or
/// [`listen_on`](crate::listen_on).
///
/// Each connection has a thread that drives it, and a second one for its handler once its WebSocket is
/// open.
///
/// ```no_run
/// # fn example() -> std::io::Result<()> {
/// use std::thread;
/// use std::time::Duration;
///
/// use sockless::Closed;
/// use sockless::blocking::{self, Session};
///
/// fn echo(mut session: Session) -> Result<(), Closed> {
///     loop {
///         let message = session.recv()?;
///         session.send(message)?;
///     }
/// }
///
/// let server = blocking::bind("127.0.0.1:8080")?.drain_timeout(Duration::from_secs(30));
/// let shutdown = server.shutdown_handle();
/// let serving = thread::spawn(|| server.serve(echo));
///
/// // Later, such as in a handler of signals:
/// shutdown.shut_down();
/// let report = serving.join().expect("the server does not panic");
/// println!("{} connections had to be terminated", report.terminated);
/// # Ok(())
/// # }
/// ```
pub struct Server {
    server: sockless_driver::Server,
    settings: Settings,
    shutdown: ShutdownHandle,
}

impl Server {
    pub(crate) fn new(listener: SocketListener) -> Self {
        let server = sockless_driver::Server::new(listener, Arc::new(ThreadRuntime));
        Self {
            server: server.max_connections(MAX_CONNECTIONS),
            settings: Settings::default(),
            shutdown: ShutdownHandle::default(),
        }
    }

    /// Returns the address of the listener; `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.server.local_addr()
    }

    /// Replaces the settings of the connections of [`serve`](Self::serve). Default: `Config::default()`.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.settings.config = Arc::new(config);
        self
    }

    /// Adds a subprotocol that the handler of [`serve`](Self::serve) serves. Default: no subprotocol.
    ///
    /// The first of a client's list that the handler serves is selected. A client that offers none of
    /// them is accepted without one; [`Request::subprotocol`](sockless_driver::Request::subprotocol)
    /// returns which.
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.settings.subprotocols.push(name.into());
        self
    }

    /// Lets web pages of any origin open a WebSocket of [`serve`](Self::serve). Default: a request with an
    /// `Origin` is rejected with 403, since browsers send it with the user's cookies. A router's origins,
    /// for [`serve_with`](Self::serve_with), can be chosen.
    #[must_use]
    pub fn any_origin(mut self) -> Self {
        self.settings.any_origin = true;
        self
    }

    /// Limits the number of connections at a time to `count`, at least 1. Default: 1024, since each has
    /// two threads.
    ///
    /// At the limit, a new connection replaces one without a complete request; if there is
    /// no such one, it waits in the listener's own queue. See [`sockless_driver::Server::max_connections`].
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.server = self.server.max_connections(count);
        self
    }

    /// Limits the connections of one peer address to `count` at a time, at least 1. Default: no limit.
    #[must_use]
    pub fn max_connections_per_peer(mut self, count: usize) -> Self {
        self.server = self.server.max_connections_per_peer(count);
        self
    }

    /// Limits the memory of all sessions together to `bytes`. Default: 192 MiB.
    #[must_use]
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.server = self.server.memory_budget(bytes);
        self
    }

    /// Expects the header of the PROXY protocol from `proxies`, before TLS and before the request; see
    /// [`ProxyProtocol`]. Default: from no address.
    #[must_use]
    pub fn proxy_protocol(mut self, proxies: ProxyProtocol) -> Self {
        self.server = self.server.proxy_protocol(proxies);
        self
    }

    /// Sets how long a [shutdown](ShutdownHandle::shut_down) waits for connections to end before it
    /// terminates them. Default: 10 s.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.server = self.server.drain_timeout(timeout);
        self
    }

    /// Serves over TLS only. The handshake runs in the connection's own thread, within
    /// [`Config::opening_timeout`].
    #[cfg(feature = "rustls")]
    #[must_use]
    pub fn tls(mut self, acceptor: TlsAcceptor) -> Self {
        self.server = self.server.tls(acceptor);
        self
    }

    /// Returns a handle with which another thread shuts the server down.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    /// Serves each WebSocket with `handler`, in a thread of its own, on every path, until the server is
    /// [shut down](ShutdownHandle::shut_down).
    ///
    /// When the handler returns `()` or `Ok`, what it sent is flushed and the connection is closed with
    /// 1000; if it returns an error or panics, with 1011: see [`Outcome`]. A panic ends only its own
    /// session. If the system has no thread for a handler, its session is closed with 1011.
    ///
    /// Requests of web pages are rejected: see [`any_origin`](Self::any_origin).
    pub fn serve<F, O>(self, handler: F) -> ShutdownReport
    where
        F: Fn(Session) -> O + Send + Sync + 'static,
        O: Outcome + 'static,
    {
        let alone = Alone::new(handler, self.settings.clone());
        self.serve_with(alone)
    }

    /// Serves `service`, such as a router, whose blocking handlers are wrapped by
    /// [`handler`](crate::handler), until the server is [shut down](ShutdownHandle::shut_down). Settings
    /// and subprotocols are those of the service.
    ///
    /// Handlers, guards and responses that are `async` run in the connection's own thread. Futures of a
    /// runtime, such as tokio's sockets and timers, do not work in them.
    ///
    /// ```no_run
    /// use sockless::blocking::{self, Session, handler};
    /// use sockless::{Closed, Origins, Router, websocket};
    ///
    /// fn chat(mut session: Session) -> Result<(), Closed> {
    ///     let room = session.request().param_str("room").unwrap_or_default().to_owned();
    ///     session.send(format!("welcome to {room}"))?;
    ///     session.recv().map(drop)
    /// }
    ///
    /// # fn example() -> std::io::Result<()> {
    /// let router = Router::new()
    ///     .origins(Origins::same_origin())
    ///     .route("/chat/{room}", websocket(handler(chat)).protocol("chat.v2"));
    /// blocking::bind("127.0.0.1:8080")?.serve_with(router);
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve_with(self, service: impl Service) -> ShutdownReport {
        let Self { server, shutdown, .. } = self;
        block_on(server.serve_until(service, shutdown.requested()))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("server", &self.server)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Shuts a [`Server`] down, from any thread.
#[derive(Clone, Default)]
pub struct ShutdownHandle(Arc<Mutex<Shutdown>>);

#[derive(Default)]
struct Shutdown {
    is_requested: bool,
    /// Of the thread that serves.
    waker: Option<Waker>,
}

impl ShutdownHandle {
    /// Makes the server stop accepting and close every session with 1001. It returns at once; the call
    /// that serves returns when the connections have ended, at the latest one second after
    /// [`Server::drain_timeout`]. A second call does nothing.
    ///
    /// A thread cannot be ended from outside: a handler that never returns to its session keeps its
    /// thread. Each of its calls reports the end of the session.
    pub fn shut_down(&self) {
        let waker = {
            let mut shutdown = self.lock();
            shutdown.is_requested = true;
            shutdown.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn requested(self) {
        poll_fn(|cx| {
            let mut shutdown = self.lock();
            if shutdown.is_requested {
                return Poll::Ready(());
            }
            shutdown.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Shutdown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_requested = self.lock().is_requested;
        f.debug_struct("ShutdownHandle").field("is_requested", &is_requested).finish()
    }
}
