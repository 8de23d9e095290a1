//! A service of the driver as a service of tower and hyper: [`Mount`].

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, Response};
use http_body_util::Full;
use sockless_driver::{BoxFuture, ConnectionServer, Runtime, Service};

use crate::answer::answer;
use crate::fallback::Fallback;

/// A router, or any other [`Service`], as a service of `tower` and hyper.
///
/// In axum it is a `fallback_service`, a `route_service` or a `nest_service`:
///
/// ```
/// use std::sync::Arc;
///
/// use sockless::hyper::Mount;
/// use sockless::tokio::TokioRuntime;
/// use sockless::{Router, Session, websocket};
///
/// let router = Router::new()
///     .route("/hello", websocket(async |session: Session| session.send("hello").await));
/// let mount = Mount::new(router, Arc::new(TokioRuntime));
/// let app: axum::Router = axum::Router::new().fallback_service(mount);
/// ```
///
/// It does not fail, and does not read the bodies of requests. A request that does not ask for a
/// WebSocket is answered by the service too, unless there is a [`fallback`](Self::fallback).
///
/// Decide who may connect in the router's guards, or in a layer that decides before it calls the
/// mount. A layer that replaces the mount's 101 afterwards is too late: hyper may release the
/// connection to the session nevertheless.
///
/// Clones share the [server](Self::server), and with it the count of connections. Sessions run in
/// tasks of their own, so the shutdown of the HTTP server does not end those that were upgraded
/// from HTTP/1.1. Shut down both, the sessions first:
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(mount: sockless::hyper::Mount) {
/// let report = mount.server().shutdown(Duration::from_secs(10)).await;
/// println!("{} sessions ended, {} were terminated", report.drained, report.terminated);
/// # }
/// ```
#[derive(Clone)]
pub struct Mount {
    server: ConnectionServer,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    peer_of: Option<PeerOf>,
}

type PeerOf = Arc<dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync>;

/// The future response of a [`Mount`] or a [`Fallback`].
pub type Responding<T, E> = BoxFuture<'static, Result<Response<T>, E>>;

impl Mount {
    /// Mounts `service`. Its sessions run on `runtime`, which must be the runtime of the HTTP
    /// server.
    pub fn new(service: impl Service, runtime: Arc<dyn Runtime>) -> Self {
        Self::from_server(ConnectionServer::new(service, runtime))
    }

    /// Mounts the service of a [`ConnectionServer`], which has settings of its own, such as limits,
    /// and may serve other transports too.
    pub fn from_server(server: ConnectionServer) -> Self {
        Self { server, peer: None, local: None, peer_of: None }
    }

    /// Returns the server, which counts the sessions and shuts them down.
    pub fn server(&self) -> &ConnectionServer {
        &self.server
    }

    /// Sets the addresses of the connection whose requests this clone answers, for
    /// [`Request::peer_addr`](sockless_driver::Request::peer_addr) and
    /// [`Request::local_addr`](sockless_driver::Request::local_addr). Default: not known.
    ///
    /// A program that accepts the connections itself makes a clone for each.
    #[must_use]
    pub fn with_addrs(mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        self.peer = peer;
        self.local = local;
        self
    }

    /// Sets a function that finds the peer's address in the extensions of each request, where the
    /// HTTP server has put it. If it finds one, it overrides that of
    /// [`with_addrs`](Self::with_addrs).
    ///
    /// Without an address, limits per peer have no effect, which is logged as a warning once.
    ///
    /// For axum, served with `into_make_service_with_connect_info::<SocketAddr>()`:
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use axum::extract::ConnectInfo;
    ///
    /// # fn example(mount: sockless::hyper::Mount) -> sockless::hyper::Mount {
    /// mount.peer_addr(|extensions| {
    ///     extensions.get::<ConnectInfo<SocketAddr>>().map(|&ConnectInfo(addr)| addr)
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn peer_addr<F>(mut self, find: F) -> Self
    where
        F: Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    {
        self.peer_of = Some(Arc::new(find));
        self
    }

    /// Passes requests that do not ask for a WebSocket to `inner`, with their bodies. The `respond`
    /// routes of a router are not reached then.
    pub fn fallback<F>(self, inner: F) -> Fallback<F> {
        Fallback::new(self, inner)
    }

    /// Answers a request, and drops its body.
    pub(crate) fn answer<B>(
        &self,
        request: http::Request<B>,
    ) -> Responding<Full<Bytes>, Infallible> {
        let (parts, _body) = request.into_parts();
        let peer = self.peer_of.as_ref().and_then(|find| find(&parts.extensions)).or(self.peer);
        Box::pin(answer(self.server.clone(), parts, peer, self.local))
    }
}

impl<B> tower_service::Service<http::Request<B>> for Mount {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Responding<Full<Bytes>, Infallible>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.answer(request)
    }
}

impl<B> hyper::service::Service<http::Request<B>> for Mount {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Responding<Full<Bytes>, Infallible>;

    fn call(&self, request: http::Request<B>) -> Self::Future {
        self.answer(request)
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount")
            .field("server", &self.server)
            .field("peer", &self.peer)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
