//! Ready-made guards: credentials, rate limits and connection limits.
//!
//! Each function creates a guard for [`Router::guard`](crate::Router::guard),
//! [`Router::guard_all`](crate::Router::guard_all) or the `guard` of a route. Clones of a guard
//! share their state; guards that are created separately do not.
//!
//! A limit counts the requests that reach it. Pass it to
//! [`Router::guard_all`](crate::Router::guard_all) to count also requests that no route accepts.
//! Connections without a request reach no guard: limit them with
//! [`Server::max_connections_per_peer`](sockless_driver::Server::max_connections_per_peer).
//!
//! The limits are per [`Request::client_network`](sockless_driver::Request::client_network).
//! Requests without an address, such as those of a Unix socket whose peer is not
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
mod peer;
mod rate;

pub use connections::{ConnectionLimit, limit_connections};
pub use credentials::{BasicUser, basic, basic_with, bearer, bearer_with, equals_secret};
pub use rate::{RateLimit, limit_rate};
