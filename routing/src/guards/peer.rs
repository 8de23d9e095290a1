//! The client that a limit counts a request for: [`Peer`].

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Response;
use sockless_driver::Request;

/// The result of a guard.
pub(super) type Admission = Result<Request, Response<Bytes>>;

/// The client that a limit counts a request for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// From [`Request::client_network`].
    Network(IpAddr),
    /// A client whose proxy hides its address or reports a malformed one. All of them count as one
    /// client: otherwise a client could evade every limit with a malformed header.
    Hidden,
}

/// Finds the client of a request, for one guard.
#[derive(Debug)]
pub(super) struct PeerOf {
    guard: &'static str,
    warned: AtomicBool,
}

impl PeerOf {
    pub(super) fn new(guard: &'static str) -> Self {
        Self { guard, warned: AtomicBool::new(false) }
    }

    /// Returns `None` if the address is unknown. Such requests must not count as one client, which
    /// could lock out all others. That they are not limited is logged once.
    pub(super) fn find(&self, request: &Request) -> Option<Peer> {
        if let Some(network) = request.client_network() {
            return Some(Peer::Network(network));
        }
        if request.forwarded().is_some_and(|forwarded| forwarded.hidden) {
            return Some(Peer::Hidden);
        }
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                guard = self.guard,
                "requests without a peer address are not limited; behind a proxy on a Unix socket, set \
                 Router::trust(TrustedProxies::unix().x_forwarded_for()) and configure the proxy to \
                 send that header; in axum, serve with into_make_service_with_connect_info::<SocketAddr>(); \
                 for a Mount, set Mount::peer_addr or Mount::with_addrs"
            );
        }
        None
    }
}
