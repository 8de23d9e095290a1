//! Guards that are ready to use: credentials, and limits for each peer address.
//!
//! They are functions that make a guard for [`Router::guard`](crate::Router::guard) or that of a
//! route. A guard that is used in several places has one state in all of them when it is a clone, and
//! one in each when it is made anew.
//!
//! A limit counts what reaches it. Put it before routing with
//! [`Router::guard_all`](crate::Router::guard_all), so that it counts requests that no route takes too. A
//! connection that sends no request reaches no guard: limit those with
//! [`Server::max_connections_per_peer`](sockless_driver::Server::max_connections_per_peer).
//!
//! The limits go by [`Request::client_network`](sockless_driver::Request::client_network). Calls without an
//! address, as through a Unix socket whose peer is not
//! [trusted](crate::TrustedProxies::unix), are let through and not counted, and each guard logs one warning
//! of it. Clients that a trusted proxy hides (`unknown`) count as one.
//!
//! ```
//! use std::time::Duration;
//!
//! use sockless_driver::Session;
//! use sockless_routing::guards::{ConnectionLimit, RateLimit, bearer, limit_connections, limit_rate};
//! use sockless_routing::{Router, websocket};
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

/// The client that a limit counts a call for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    /// As [`Request::client_network`] has it.
    Network(IpAddr),
    /// Any client whose proxy hides it, or says of it what cannot be read: they count as one, or a client
    /// that garbles a header would pass every limit.
    Hidden,
}

/// Finds the client of a call, for one guard.
#[derive(Debug)]
struct PeerOf {
    guard: &'static str,
    warned: AtomicBool,
}

impl PeerOf {
    fn new(guard: &'static str) -> Self {
        Self { guard, warned: AtomicBool::new(false) }
    }

    /// `None` where nothing says who calls. Such calls must not count as one client's, which could lock
    /// all others out; that the limit does not hold for them is logged once.
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
                "calls have no peer address, so this guard lets them pass and counts none of them; \
                 behind a proxy on a Unix socket, set Router::trust(TrustedProxies::unix()\
                 .x_forwarded_for()) and have the proxy set that header; in axum or hyper, set \
                 Mount::peer_addr or Mount::with_addrs"
            );
        }
        None
    }
}
