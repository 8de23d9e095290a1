//! WebSockets in hyper and axum: the handlers of a router over HTTP/1.1 and HTTP/2, beside
//! everything else that an HTTP server serves.
//!
//! Programs add the crate `sockless` with its feature `hyper` or `axum`, in which this crate is the
//! module `sockless::hyper`. A [`Mount`] makes a `tower` service, which is also a service of hyper,
//! of a router:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use axum::routing::get;
//! use sockless::hyper::Mount;
//! use sockless::tokio::TokioRuntime;
//! use sockless::{Closed, Router, Session, websocket};
//!
//! async fn echo(mut session: Session) -> Result<(), Closed> {
//!     loop {
//!         let message = session.recv().await?;
//!         session.send(message).await?;
//!     }
//! }
//!
//! # async fn example() -> std::io::Result<()> {
//! let router = Router::new().route("/echo", websocket(echo));
//! let mount = Mount::new(router, Arc::new(TokioRuntime));
//! let app = axum::Router::new().route("/", get("a page")).fallback_service(mount);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! # Versions of HTTP
//!
//! * **HTTP/1.1** (RFC 6455): the server must serve connections with upgrades, as `axum::serve`
//!   does; in hyper that is `with_upgrades()`, in hyper-util `serve_connection_with_upgrades`.
//! * **HTTP/2** (RFC 8441): the server must announce extended CONNECT, as `axum::serve` does; in
//!   hyper that is `enable_connect_protocol()`. Then many WebSockets share one connection, 200
//!   unless `max_concurrent_streams` is set. Each is a stream: its END_STREAM is the end of the
//!   transport, and its RST_STREAM is a failure, except that the codes NO_ERROR and CANCEL are an
//!   end too. A session that ends without a Close frame reports that in its
//!   [`Closed`](sockless_core::Closed).
//! * **Both on one port**: hyper-util's `server::conn::auto` distinguishes them; over TLS, offer
//!   `h2` and `http/1.1` by ALPN.
//! * **Clients**: `connect`, with the feature `client`, opens WebSockets over an HTTP/2 connection
//!   of the program's own.
//!
//! # Sockets
//!
//! The settings of the sockets are those of the HTTP server. The servers of this project's adapters
//! set `TCP_NODELAY`, keep-alive and `TCP_NOTSENT_LOWAT` as
//! [`sockless_driver::sockets`](sockless_driver) describes; behind hyper and axum the program can
//! do so, in axum by `ListenerExt::tap_io`. Without keep-alive, only a [ping
//! interval](sockless_core::Config::ping_interval) notices a client that has vanished.
//!
//! A session whose handler does not receive stops reading once it holds
//! [`read_ahead`](sockless_core::Config::read_ahead) bytes. It still notices the end of its client:
//!
//! * over HTTP/1.1 on a `TcpStream` or `UnixStream` of tokio in hyper-util's `TokioIo`, as
//!   `axum::serve` uses it, with or without `server::conn::auto`. That needs the feature `tokio`, which
//!   `sockless` enables together with its own feature `tokio`;
//! * over HTTP/2, if the stream is reset or the connection ends.
//!
//! It does not notice it over TLS with HTTP/1.1, on other streams, or if an END_STREAM follows
//! unread data. In these cases [`Config::stall_timeout`](sockless_core::Config::stall_timeout) ends
//! the session.
//!
//! # Other requests
//!
//! A request that does not ask for a WebSocket is answered by the router (404, 405, 426, or one of
//! its `respond` routes), or by another service: [`Mount::fallback`].

mod answer;
#[cfg(feature = "client")]
mod connect;
mod fallback;
mod io;
mod mount;
#[cfg(feature = "tokio")]
mod socket;
#[cfg(all(test, feature = "client", feature = "tokio", target_os = "linux"))]
mod tests;

pub use answer::{PendingUpgrade, asks_for_websocket, cannot_upgrade, for_version};
#[cfg(feature = "client")]
pub use connect::connect;
pub use fallback::{Fallback, FallbackBody};
pub use mount::{Mount, Responding};
