//! Serving on one thread: [`LocalConnectionServer`], and [`Server::serve_local`].

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use send_wrapper::SendWrapper;

use super::service::{Confined, LocalService};
use super::{LocalBoxFuture, LocalIo};
use crate::runtime::{Io, Runtime};
use crate::server::{ConnectionServer, Server, ShutdownReport};

/// A [`ConnectionServer`] that stays on one thread, with its service, its handlers and its
/// transports.
///
/// Clones share the service, the limits and the connections.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::sync::Arc;
///
/// use sockless::Session;
/// use sockless::local::{LocalConnectionServer, LocalRouter, websocket_local};
/// use sockless::tokio::{TokioRuntime, TokioTransport};
///
/// /// Serves `streams`, and sends each visitor the number of visits.
/// async fn serve(streams: Vec<tokio::io::DuplexStream>) {
///     let visits = Rc::new(Cell::new(0));
///     let router = LocalRouter::new().route("/", websocket_local(move |session: Session| {
///         let visits = visits.clone();
///         async move {
///             visits.set(visits.get() + 1);
///             session.send(visits.get().to_string()).await
///         }
///     }));
///     let server = LocalConnectionServer::new(router, Arc::new(TokioRuntime));
///     for stream in streams {
///         let transport = TokioTransport::new(stream);
///         tokio::task::spawn_local(server.serve_connection(transport, None, None));
///     }
/// }
/// ```
#[derive(Clone)]
pub struct LocalConnectionServer {
    server: ConnectionServer,
    /// It is not `Send`: its service is wrapped in a [`SendWrapper`].
    confined: PhantomData<Rc<()>>,
}

impl LocalConnectionServer {
    /// Creates a server that answers requests with `service`, and has the clock and the random
    /// numbers of `runtime`.
    ///
    /// Connections are not spawned on `runtime`. Only what a handler
    /// [spawns](crate::Session::spawn) is.
    pub fn new(service: impl LocalService, runtime: Arc<dyn Runtime>) -> Self {
        Self::of(ConnectionServer::new(Confined::new(service), runtime))
    }

    fn of(server: ConnectionServer) -> Self {
        Self { server, confined: PhantomData }
    }

    /// As [`ConnectionServer::max_connections_per_peer`]. Default: no limit.
    #[must_use]
    pub fn max_connections_per_peer(self, count: usize) -> Self {
        Self::of(self.server.max_connections_per_peer(count))
    }

    /// As [`ConnectionServer::memory_budget`]. Default: 192 MiB.
    #[must_use]
    pub fn memory_budget(self, bytes: usize) -> Self {
        Self::of(self.server.memory_budget(bytes))
    }

    /// As [`ConnectionServer::held_bytes`].
    pub fn held_bytes(&self) -> usize {
        self.server.held_bytes()
    }

    /// Returns the number of connections, from their transport to their end.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Serves one transport until it ends, as [`ConnectionServer::serve_connection`] does.
    ///
    /// Dropping the future drops the transport and the handler.
    pub fn serve_connection(
        &self,
        transport: impl LocalIo,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> LocalBoxFuture<'static, ()> {
        Box::pin(self.server.serve_connection(confined(transport), peer, local))
    }

    /// Serves one transport over TLS, as [`ConnectionServer::serve_tls_connection`] does.
    #[cfg(feature = "rustls")]
    pub fn serve_tls_connection(
        &self,
        acceptor: &crate::tls::TlsAcceptor,
        transport: impl LocalIo,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> LocalBoxFuture<'static, ()> {
        Box::pin(self.server.serve_tls_connection(acceptor, confined(transport), peer, local))
    }

    /// Shuts down, as [`ConnectionServer::shutdown`] does.
    ///
    /// A handler that blocks the thread delays it: there is no other thread that could go on.
    ///
    /// Dropping the future leaves the sessions closing, and terminates none of them.
    pub async fn shutdown(&self, drain: Duration) -> ShutdownReport {
        self.server.shutdown(drain).await
    }
}

impl fmt::Debug for LocalConnectionServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalConnectionServer")
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

fn confined(transport: impl LocalIo) -> Box<dyn Io> {
    Box::new(SendWrapper::new(transport))
}

impl Server {
    /// Serves on this thread, with handlers that do not have to be `Send`, until the future is
    /// dropped. That drops the listener and leaves the connections running.
    ///
    /// Each connection is passed to `spawn`, which starts it as a task of this thread.
    ///
    /// ```no_run
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// use sockless::Session;
    /// use sockless::local::{LocalRouter, websocket_local};
    /// use tokio::task::{LocalSet, spawn_local};
    ///
    /// # async fn example() -> std::io::Result<()> {
    /// let visits = Rc::new(Cell::new(0));
    /// let router = LocalRouter::new().route("/", websocket_local(move |session: Session| {
    ///     let visits = visits.clone();
    ///     async move {
    ///         visits.set(visits.get() + 1);
    ///         session.send(visits.get().to_string()).await
    ///     }
    /// }));
    /// let server = sockless::bind("127.0.0.1:8080").await?;
    /// LocalSet::new().run_until(server.serve_local(router, |task| drop(spawn_local(task)))).await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn serve_local(
        self,
        service: impl LocalService,
        spawn: impl Fn(LocalBoxFuture<'static, ()>),
    ) {
        self.serve_local_until(service, std::future::pending(), spawn).await;
    }

    /// Serves on this thread, as [`serve_local`](Self::serve_local) does, until `shutdown` is
    /// ready, then shuts down as [`serve_until`](Self::serve_until) does.
    ///
    /// A handler that blocks the thread delays the shutdown: there is no other thread that could go
    /// on.
    ///
    /// Dropping the future drops the listener, and leaves the connections running.
    pub async fn serve_local_until(
        self,
        service: impl LocalService,
        shutdown: impl Future<Output = ()>,
        spawn: impl Fn(LocalBoxFuture<'static, ()>),
    ) -> ShutdownReport {
        let server = LocalConnectionServer::of(self.connection_server(Confined::new(service)));
        // The future holds `server`, so that it is not `Send` either.
        self.run(&server.server, shutdown, |task| spawn(Box::pin(task))).await
    }
}
