//! A service of the driver as one of tower's and of hyper's: [`Mount`].

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

/// A [`Service`] of the driver, mounted in an HTTP server: a service of tower's, and of hyper's.
///
/// In axum it is a `fallback_service`, a `route_service` or a `nest_service`. What is no upgrade is
/// answered by the service itself; with [`fallback`](Self::fallback) by another one. It never fails, and
/// bodies of requests are not read.
///
/// What decides who may come in belongs into the router's guards, or into a layer that decides before
/// it calls the mount: one that replaces the mount's 101 afterwards may find that hyper gives up the
/// connection to the session all the same, once it is done with it.
///
/// Clones share the [server](Self::server), and with it the count of sessions. Sessions run in tasks of
/// their own on the runtime: that the HTTP server shuts down does not end those that were upgraded from
/// HTTP/1.1. So shut down both, the sessions first:
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(websockets: sockless_hyper::Mount) {
/// let report = websockets.server().shutdown(Duration::from_secs(10)).await;
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

/// A response that is on its way.
pub type Responding<T, E> = BoxFuture<'static, Result<Response<T>, E>>;

impl Mount {
    /// Mounts `service`; its sessions run on `runtime`, which has to be the one that the HTTP server
    /// runs on.
    pub fn new(service: impl Service, runtime: Arc<dyn Runtime>) -> Self {
        Self::from_server(ConnectionServer::new(service, runtime))
    }

    /// Mounts the service of a [`ConnectionServer`], which may serve other transports besides.
    pub fn from_server(server: ConnectionServer) -> Self {
        Self { server, peer: None, local: None, peer_of: None }
    }

    /// The server: how many sessions there are, and how to shut them down.
    pub fn server(&self) -> &ConnectionServer {
        &self.server
    }

    /// Sets the addresses of the connection that this clone answers on, for
    /// [`Request::peer_addr`](sockless_driver::Request::peer_addr): whoever accepts connections makes a
    /// clone for each. Default: not known.
    #[must_use]
    pub fn with_addrs(mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        self.peer = peer;
        self.local = local;
        self
    }

    /// Finds the peer's address in each request, where the HTTP server put it. It goes before that of
    /// [`with_addrs`](Self::with_addrs), unless it finds none. Without an address, limits for each peer
    /// do not hold, and log one warning.
    ///
    /// For axum, served with `into_make_service_with_connect_info::<SocketAddr>()`:
    ///
    /// ```
    /// # #[derive(Clone, Copy)] struct ConnectInfo<T>(T);
    /// # use std::net::SocketAddr;
    /// # fn example(websockets: sockless_hyper::Mount) -> sockless_hyper::Mount {
    /// websockets.peer_addr(|extensions| {
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

    /// Passes on to `inner` what asks for no WebSocket, with its body. Then `inner` answers the pages
    /// and the health checks, and the service's own `respond` routes are never met.
    pub fn fallback<F>(self, inner: F) -> Fallback<F> {
        Fallback::new(self, inner)
    }

    /// Answers a request, of which the body is dropped.
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
