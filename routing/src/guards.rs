//! Ready-made guards: credentials, rate limits and connection limits.
//!
//! Each function creates a guard for [`Router::guard`](crate::Router::guard),
//! [`Router::guard_all`](crate::Router::guard_all) or the `guard` of a route. Clones of a guard share
//! their state; guards that are created separately do not.
//!
//! A limit counts the requests that reach it. Pass it to
//! [`Router::guard_all`](crate::Router::guard_all) to count also requests that no route accepts. Connections
//! without a request reach no guard: limit them with
//! [`Server::max_connections_per_peer`](sockless_driver::Server::max_connections_per_peer).
//!
//! The limits are per [`Request::client_network`](sockless_driver::Request::client_network). Requests
//! without an address, such as those of a Unix socket whose peer is not
//! [trusted](crate::TrustedProxies::unix), are neither limited nor counted, and each guard logs one
//! warning about it. Clients whose address a trusted proxy hides (`unknown`) count as one client.
//!
//! ```
//! use std::time::Duration;
//!
//! use sockless::guards::{ConnectionLimit, RateLimit, bearer, limit_connections, limit_rate};
//! use sockless::{Router, Session, websocket};
//!
//! async fn log(session: Session) {}
//!
//! let router = Router::new()
//!     .guard_all(limit_rate(RateLimit::new(10, Duration::from_secs(60))))
//!     .guard(limit_connections(ConnectionLimit::new().per_peer(4)))
//!     .nest("/admin", Router::new().guard(bearer(["s3cret"])).route("/log", websocket(log)));
//! ```

mod connections;
mod credentials;
mod rate;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Response;
use sockless_driver::Request;

pub use connections::{ConnectionLimit, limit_connections};
pub use credentials::{BasicUser, basic, basic_with, bearer, bearer_with, equals_secret};
pub use rate::{RateLimit, limit_rate};

type Admission = Result<Request, Response<Bytes>>;

/// The client that a limit counts a request for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    /// From [`Request::client_network`].
    Network(IpAddr),
    /// A client whose proxy hides its address or reports a malformed one. All of them count as one client:
    /// otherwise a client could evade every limit with a malformed header.
    Hidden,
}

/// Finds the client of a request, for one guard.
#[derive(Debug)]
struct PeerOf {
    guard: &'static str,
    warned: AtomicBool,
}

impl PeerOf {
    fn new(guard: &'static str) -> Self {
        Self { guard, warned: AtomicBool::new(false) }
    }

    /// Returns `None` if the address is unknown. Such requests must not count as one client, which could
    /// lock out all others. That they are not limited is logged once.
    fn find(&self, request: &Request) -> Option<Peer> {
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
                 send that header; in axum or hyper, set Mount::peer_addr or Mount::with_addrs"
            );
        }
        None
    }
}
