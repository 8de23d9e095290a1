//! sockless in hyper and axum: the handlers of a router, over HTTP/1.1 and HTTP/2, beside everything
//! else that a server answers.
//!
//! A [`Mount`] makes a `tower` service (and one of hyper's own) of any [`Service`] of the driver, such
//! as a router of `sockless-routing`, on any [`Runtime`] of the driver, such as `TokioRuntime` of
//! `sockless-tokio`:
//!
//! ```
//! use std::sync::Arc;
//!
//! use sockless_hyper::Mount;
//! # use sockless_driver::{Runtime, Service};
//! # fn example(router: impl Service, runtime: Arc<dyn Runtime>) {
//! let websockets = Mount::new(router, runtime);
//! let host = websockets.server().clone(); // for a graceful shutdown
//! # let _: &dyn Send = &websockets;
//! # drop(host);
//! // axum::Router::new().route("/", get(page)).fallback_service(websockets)
//! # }
//! ```
//!
//! * **HTTP/1.1** (RFC 6455): serve with upgrades, as `axum::serve` does; with hyper itself that is
//!   `with_upgrades()` or `serve_connection_with_upgrades`.
//! * **HTTP/2** (RFC 8441): the server has to announce extended CONNECT, with
//!   `enable_connect_protocol()` on hyper's builder, as `axum::serve` does. Then many WebSockets share
//!   one connection, 200 unless `max_concurrent_streams` says otherwise: each is a stream, whose
//!   END_STREAM is the end of the transport, and whose RST_STREAM is its failure. A reset of the codes
//!   NO_ERROR and CANCEL is read as an end; either way a session without a Close frame says so in its
//!   [`Closed`](sockless_core::Closed).
//! * **Both on one port**: hyper-util's `server::conn::auto` tells them apart, and TLS offers `h2` and
//!   `http/1.1` by ALPN.
//! * **A client** opens WebSockets over an HTTP/2 connection that it has: [`connect`].
//!
//! # Sockets
//!
//! The sockets are the HTTP server's: so are their settings. An own server of `sockless-tokio` switches
//! on `TCP_NODELAY`, keep-alive (60 s idle, then 4 probes, 15 s apart) and a short queue of what is unsent
//! (`TCP_NOTSENT_LOWAT`, 128 KiB); behind hyper and axum that is up to the program, such as in
//! `ListenerExt::tap_io` of axum. Without keep-alive, only a [ping
//! interval](sockless_core::Config::ping_interval) notices a client that vanished without a word.
//!
//! A session whose handler does not receive does not read either, once it holds `read_ahead` bytes. It
//! still sees that its client has gone:
//!
//! * over HTTP/1.1 on a `TcpStream` or `UnixStream` of tokio, in hyper-util's `TokioIo`, as `axum::serve`
//!   has it, with or without `server::conn::auto`: that takes the feature `tokio`, which is on by default;
//! * over HTTP/2, when the stream is reset or the connection ends.
//!
//! Not over TLS with HTTP/1.1 or on other streams, and not at an orderly END_STREAM behind what is unread:
//! there [`Config::stall_timeout`](sockless_core::Config::stall_timeout) holds.
//!
//! The same handlers, [`Request`](sockless_driver::Request) and answers as everywhere: what is no upgrade is
//! answered by the router (404, 405, 426, its `respond` routes), or passed on:
//! [`Mount::fallback`].

mod answer;
#[cfg(feature = "client")]
mod connect;
mod fallback;
mod io;
mod mount;
#[cfg(feature = "tokio")]
mod socket;
#[cfg(all(test, feature = "tokio", target_os = "linux"))]
mod tests;

#[cfg(feature = "client")]
pub use connect::{Connect, ConnectError, connect};
pub use fallback::{Fallback, FallbackBody};
pub use mount::{Mount, Responding};
