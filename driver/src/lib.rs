//! The async driver of sockless: sessions, servers and clients on any runtime.
//!
//! Programs add the crate `sockless`, which re-exports what they need from this one. This crate is
//! for the adapters of runtimes, for routers, and for programs with a runtime or a transport of
//! their own.
//!
//! * [`Session`], with its halves [`Sender`] and [`Receiver`], and [`RawSession`] are what a
//!   handler works with; [`Request`] is the HTTP request that opened the session. They are the same
//!   types on every runtime.
//! * A [`Service`], such as a router, answers requests. A [`Server`] accepts connections and serves
//!   them with one. A [`ConnectionServer`] serves connections that the program accepts itself, and
//!   sessions behind another HTTP server ([`ConnectionServer::answer`]).
//! * [`Connect`] opens a session as a client, and [`Reconnect`] opens it again after each end.
//! * A runtime implements [`Runtime`], [`Listen`] and [`Dial`]; its streams implement [`Io`].
//!
//! # A runtime of one's own
//!
//! A [`Runtime`] is a [`Clock`] and a [`Spawn`], with seeds from a source of random numbers. It
//! drives any transport:
//!
//! ```
//! use std::sync::Arc;
//!
//! use sockless::driver::{ConnectionServer, Io, Runtime};
//! use sockless::{Router, Session, websocket};
//!
//! /// Serves the connection that `transport` is.
//! async fn serve(transport: Box<dyn Io>, runtime: Arc<dyn Runtime>) {
//!     let hello = websocket(async |session: Session| session.send("hello").await);
//!     let router = Router::new().route("/", hello);
//!     ConnectionServer::new(router, runtime).serve_connection(transport, None, None).await;
//! }
//! ```
//!
//! # Features
//!
//! `client` and `server` are on by default, all others are off.
//!
//! * `client`: [`Connect`], [`Reconnect`] and proxies.
//! * `server`: [`Server`], [`ConnectionServer`] and [`Service`].
//! * `tls`: TLS by rustls with `ring` and `platform-verifier`.
//! * `rustls`: TLS by rustls, with a cryptography provider and trusted certificates of the
//!   program's own. The next four add to it.
//! * `ring`, `aws-lc-rs`: the cryptography provider; if both are on, aws-lc-rs.
//! * `platform-verifier`, `webpki-roots`: clients trust the certificates that the operating system
//!   trusts, or the certificate authorities of Mozilla.
//! * `json`: messages of JSON, by serde.
//! * `local`: sessions that stay on one thread, with handlers and transports that are not `Send`.
//! * `cookies`: [`CookieJar`], the cookies of clients.
//! * `metrics`: metrics of sessions, servers and clients, through the facade of the crate `metrics`.
//! * `idn`: host names beyond ASCII in the URLs of clients.
//! * `sockets`, `futures-io`, `async-io`: for adapters, the parts that several runtimes share:
//!   settings of sockets, streams that implement the traits of `futures-io`, and the sockets and
//!   timers of async-io.

// Parts of the session's engine are used by one role only. With both, the default, unused code is
// linted.
#![cfg_attr(not(all(feature = "client", feature = "server")), allow(dead_code, unused_imports))]

/// For the macros of this crate, and for adapters that do without its sessions.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "client")]
    pub use crate::client::fail_session;
    pub use crate::future::find_source;
    pub use bytes::Bytes;
    pub use http::Response;
    #[cfg(feature = "metrics")]
    pub use metrics;
    pub use sockless_core::Config;
}

#[cfg(feature = "client")]
mod client;
mod error;
mod exchange;
mod future;
#[cfg(feature = "local")]
pub mod local;
mod meter;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(any(feature = "client", feature = "server"))]
mod network;
mod request;
mod runtime;
#[cfg(feature = "server")]
mod server;
mod session;
mod spans;
#[cfg(feature = "rustls")]
pub mod tls;

#[cfg(feature = "cookies")]
pub use client::CookieJar;
#[cfg(feature = "client")]
pub use client::{
    AttemptError, Backoff, ClientConnection, Connect, ConnectError, ConnectStep, Destination, Dial,
    DialAttempt, OpenRequest, ParseProxyUrlError, Proxy, ProxyError, ProxyRules, Reconnect,
    ReconnectError, ReconnectState, ReconnectWatch, RedirectError, RequestHeaders, Retry, UrlError,
};
pub use error::Error;
pub use future::{BoxError, BoxFuture};
pub use request::{Forwarded, HostPort, ParamError, Request, ResponseHeaderError};
#[cfg(feature = "async-io")]
pub use runtime::async_io;
#[cfg(feature = "futures-io")]
pub use runtime::futures_io;
#[cfg(feature = "sockets")]
pub use runtime::sockets;
pub use runtime::{
    Accepted, Clock, Ending, HandlerEnd, Io, Listen, Runtime, Spawn, Timer, TlsInfo, TlsVersion,
    poll_read_into, round_up, timeout,
};
#[cfg(feature = "server")]
pub use server::{
    AcceptError, AdmittedRequest, Answer, ConnectionServer, ConnectionTask, GrantedUpgrade,
    IncomingUpgrade, ParseProxyProtocolError, ProxyProtocol, Reply, Server, Service,
    ShutdownReport, Upgrade,
};
#[cfg(feature = "json")]
pub use session::Json;
pub use session::{
    Decode, DecodeError, Encode, EncodeError, MessageReader, MessageSink, MessageWriter, Outcome,
    Pong, Pongs, RawSendError, RawSession, Receiver, Sender, Session, SessionTask, Sleep,
    TrySendError, WriteError, pipe, pipe_raw, release_buffers, reset_buffers,
};
