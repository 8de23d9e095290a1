//! Accepting connections: [`Server`].

mod accept;
mod accepting;
pub(crate) mod connections;
mod external;
mod proxy_protocol;
pub(crate) mod service;

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::runtime::{Accepted, Listen, Runtime};
#[cfg(feature = "rustls")]
use crate::tls::TlsAcceptor;
use accepting::Accepting;

pub use accept::{AcceptError, IncomingUpgrade};
pub use connections::{ConnectionServer, ConnectionTask, ShutdownReport};
pub use external::{AdmittedRequest, GrantedUpgrade, Reply};
pub use proxy_protocol::{ParseProxyProtocolError, ProxyProtocol};
pub use service::{Answer, Service, Upgrade};

/// A server: accepts connections from a listener, and serves each in a task of its own.
///
/// The `bind` functions of the runtimes' adapters create one. It has its settings before it serves:
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// use std::time::Duration;
///
/// use sockless::{Closed, Router, Session, websocket};
///
/// async fn echo(mut session: Session) -> Result<(), Closed> {
///     loop {
///         let message = session.recv().await?;
///         session.send(message).await?;
///     }
/// }
///
/// let router = Router::new().route("/echo", websocket(echo));
/// let server = sockless::bind("127.0.0.1:8080").await?;
/// let ctrl_c = async {
///     let _ = tokio::signal::ctrl_c().await;
/// };
/// let report = server
///     .max_connections(10_000)
///     .drain_timeout(Duration::from_secs(30))
///     .serve_until(router, ctrl_c)
///     .await;
/// println!("{} connections had to be terminated", report.terminated);
/// # Ok(())
/// # }
/// ```
pub struct Server {
    listener: Box<dyn Listen>,
    runtime: Arc<dyn Runtime>,
    max_connections: usize,
    max_per_peer: Option<usize>,
    memory_budget: Option<usize>,
    proxies: Option<ProxyProtocol>,
    drain_timeout: Duration,
    hands_over: bool,
    #[cfg(feature = "rustls")]
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Creates a server on `listener`. The adapters' `bind` and `listen_on` do this for the
    /// listeners of their runtime.
    pub fn new(listener: impl Listen, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            listener: Box::new(listener),
            runtime,
            max_connections: usize::MAX,
            max_per_peer: None,
            memory_budget: None,
            proxies: None,
            drain_timeout: Duration::from_secs(10),
            hands_over: false,
            #[cfg(feature = "rustls")]
            tls: None,
        }
    }

    /// Returns the address of the listener; `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }

    /// Limits the number of connections at a time to `count`, at least 1. Default: no limit.
    ///
    /// At the limit, a new connection replaces an old one: the oldest without a complete request
    /// head, or that only reads the response that rejected its request, is dropped, and logged at
    /// debug level. So clients that connect and send nothing cannot keep others out until
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout) passes. A session, or a
    /// request that the service has not answered yet, is never dropped for another connection: if
    /// there are only such, new connections wait in the listener's own queue.
    ///
    /// The same happens when the process has as many open files as the system allows (`EMFILE`,
    /// `ENFILE`). That is logged as a warning when it begins, and at info level with the number of
    /// failures after 10 s without one.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count.max(1);
        self
    }

    /// Limits the memory of all sessions together to `bytes`; see
    /// [`ConnectionServer::memory_budget`]. Default: 192 MiB.
    #[must_use]
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// Limits the connections of one peer address to `count` at a time, at least 1; see
    /// [`ConnectionServer::max_connections_per_peer`]. Default: no limit.
    #[must_use]
    pub fn max_connections_per_peer(mut self, count: usize) -> Self {
        self.max_per_peer = Some(count.max(1));
        self
    }

    /// Expects the header of the PROXY protocol from `proxies`, before TLS and before the request;
    /// see [`ProxyProtocol`]. Default: from no address.
    #[must_use]
    pub fn proxy_protocol(mut self, proxies: ProxyProtocol) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Sets how long [`serve_until`](Self::serve_until) waits for connections to end before it
    /// terminates them. Default: 10 s.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Sets whether the server shuts down in favour of another process that listens on the same
    /// address, so that no client fails to connect meanwhile. Default: false.
    ///
    /// Connections that were accepted before the shutdown, and those that wait in the listener's
    /// queue then, are answered as before, and their sessions are closed with 1001 at once: their
    /// clients connect again, to the other process. If false, they are rejected with 503, or reset
    /// when the listener is closed.
    ///
    /// No connection is lost if the other process has the same listener, such as one of systemd.
    /// With listeners that share a port (`ListenOptions::reuse_port`), those are reset that come
    /// between the last look at the queue and the close of the listener, unless Linux assigns them
    /// to another listener (`net.ipv4.tcp_migrate_req`).
    ///
    /// ```no_run
    /// # async fn example(router: sockless::Router, sigterm: impl Future<Output = ()>) -> std::io::Result<()> {
    /// let options = sockless::ListenOptions::default().reuse_port(true);
    /// let server = sockless::tokio::bind_with("0.0.0.0:8080", &options).await?;
    /// server.handover(true).serve_until(router, sigterm).await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn handover(mut self, hands_over: bool) -> Self {
        self.hands_over = hands_over;
        self
    }

    /// Serves over TLS only.
    ///
    /// The TLS handshake is part of the opening handshake: it runs in the connection's own task,
    /// within [`Config::opening_timeout`](sockless_core::Config::opening_timeout). A client that
    /// fails it is dropped, and logged at debug level. A clone of `acceptor` can replace the
    /// certificate while the server runs.
    ///
    /// ```no_run
    /// # async fn example(router: sockless::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// use sockless::tls::TlsAcceptor;
    ///
    /// let acceptor = TlsAcceptor::from_pem_files("chain.pem", "key.pem")?;
    /// sockless::bind("0.0.0.0:443").await?.tls(acceptor).serve(router).await;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "rustls")]
    #[must_use]
    pub fn tls(mut self, acceptor: TlsAcceptor) -> Self {
        self.tls = Some(acceptor);
        self
    }

    /// Serves until the future is dropped, which drops the listener and leaves the connections
    /// running.
    pub async fn serve(self, service: impl Service) {
        self.serve_until(service, std::future::pending()).await;
    }

    /// Serves until `shutdown` is ready, then stops accepting, closes every session with 1001 and
    /// waits up to [`drain_timeout`](Self::drain_timeout) for the connections to end. Those that
    /// have not ended then are terminated; it returns at the latest one second later, as
    /// [`ConnectionServer::shutdown`] does.
    ///
    /// Dropping the future drops the listener, and leaves the connections running.
    pub async fn serve_until(
        self,
        service: impl Service,
        shutdown: impl Future<Output = ()>,
    ) -> ShutdownReport {
        let (server, runtime) = (self.connection_server(service), self.runtime.clone());
        self.run(&server, shutdown, |task| runtime.spawn_connection(task)).await
    }

    /// Returns a server of connections with the settings of this one.
    pub(crate) fn connection_server(&self, service: impl Service) -> ConnectionServer {
        let mut server = ConnectionServer::new(service, self.runtime.clone());
        if let Some(count) = self.max_per_peer {
            server = server.max_connections_per_peer(count);
        }
        if let Some(bytes) = self.memory_budget {
            server = server.memory_budget(bytes);
        }
        if let Some(proxies) = self.proxies.clone() {
            server = server.proxy_protocol(proxies);
        }
        server
    }

    /// Accepts connections for `server` until `shutdown` is ready, and passes each to `spawn`. Then
    /// shuts `server` down.
    pub(crate) async fn run(
        mut self,
        server: &ConnectionServer,
        shutdown: impl Future<Output = ()>,
        spawn: impl Fn(ConnectionTask),
    ) -> ShutdownReport {
        let mut shutdown = pin!(shutdown);
        let mut accepting = Accepting::new(self.runtime.clone(), self.max_connections);
        poll_fn(|cx| {
            if shutdown.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            for _ in 0..ACCEPTS {
                let accepted =
                    std::task::ready!(accepting.poll_next(&mut *self.listener, server, cx));
                if let Some(accepted) = accepted {
                    spawn(self.serve_accepted(server, accepted));
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        if self.hands_over {
            server.answer_to_the_end();
            poll_fn(|cx| {
                // Those that come meanwhile too, but not an endless row of them.
                for _ in 0..MAX_WAITING {
                    let next = accepting.poll_next(&mut *self.listener, server, cx);
                    let Poll::Ready(Some(accepted)) = next else { break };
                    spawn(self.serve_accepted(server, accepted));
                }
                Poll::Ready(())
            })
            .await;
        }
        drop((self.listener, accepting));
        server.shutdown(self.drain_timeout).await
    }

    fn serve_accepted(&self, server: &ConnectionServer, accepted: Accepted) -> ConnectionTask {
        let Accepted { transport, peer_addr, local_addr } = accepted;
        #[cfg(feature = "rustls")]
        if let Some(tls) = &self.tls {
            return server.tls_task(tls, transport, peer_addr, local_addr);
        }
        server.task(transport, peer_addr, local_addr)
    }
}

/// The number of connections that one poll accepts before it looks at the shutdown and other tasks
/// run.
const ACCEPTS: usize = 64;

/// The number of connections in the listener's queue that a shutdown accepts at most.
const MAX_WAITING: usize = 1 << 16;

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr())
            .field("max_connections", &self.max_connections)
            .field("max_connections_per_peer", &self.max_per_peer)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}
