//! Guards that are ready to use: credentials, and limits for each peer address.
//!
//! They are functions that make a guard for [`Router::guard`](crate::Router::guard) or that of a
//! route. A guard that is used in several places has one state in all of them when it is a clone, and
//! one in each when it is made anew.
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
//!     .guard(limit_rate(RateLimit::new(10, Duration::from_secs(60))))
//!     .guard(limit_connections(ConnectionLimit::new().per_peer(4)))
//!     .nest("/admin", Router::new().guard(bearer(["s3cret"])).route("/log", websocket(log)));
//! ```

mod connections;
mod credentials;
mod rate;

use std::net::{IpAddr, Ipv6Addr};

use bytes::Bytes;
use http::Response;
use sockless_driver::Call;

pub use connections::{ConnectionLimit, limit_connections};
pub use credentials::{BasicUser, basic, basic_with, bearer, bearer_with, equals_secret};
pub use rate::{RateLimit, limit_rate};

type Admission = Result<Call, Response<Bytes>>;

/// Whom a limit counts a call for: its client's address, with all of an IPv6 network of 64 bits
/// counting as one, since such a network is what a single customer gets. Calls whose client is not
/// known count as one client's.
fn peer_of(call: &Call) -> Option<IpAddr> {
    call.client_ip().map(|ip| match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    })
}
