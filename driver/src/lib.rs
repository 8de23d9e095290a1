//! The one async driver of sockless, and the session API that runs unchanged on every runtime.
//!
//! Programs use it through a runtime's own crate, such as `sockless-tokio`, which fills in what the
//! driver asks for: [`Io`], [`Clock`] and [`Spawn`]. Nothing that a user touches is generic over them:
//! [`Session`] is one type everywhere.
//!
//! * [`Session`], with its halves [`Sender`] and [`Receiver`], and [`RawSession`] are what handlers
//!   work with; [`Request`] is the request behind them.
//! * [`Service`] is what answers requests; a router is one. [`Server`] and [`ConnectionServer`] serve it, the
//!   latter also behind somebody else's HTTP server: [`ConnectionServer::answer`].
//! * [`Connect`] dials, and [`Reconnect`] dials again.
//!
//! # Features
//!
//! `client` and `server` are on by default, all others are off.
//!
//! * `client`: [`Connect`], [`Reconnect`] and proxies.
//! * `server`: [`Server`], [`ConnectionServer`] and [`Service`].
//! * `tls`: TLS by rustls, ready for use: `ring` and `platform-verifier`.
//! * `rustls`: TLS with a provider and trust that the program brings; the following add to it.
//! * `ring`, `aws-lc-rs`: the cryptography; with both, aws-lc-rs.
//! * `platform-verifier`, `webpki-roots`: clients trust whom the operating system does, or Mozilla.
//! * `json`: values as JSON, through serde.
//! * `futures-io`, `async-io`, `sockets`: for runtimes' own crates, what several of them share: any
//!   stream of the futures family, what is built on async-io, and what the system's sockets want.

// Parts of the session's engine are for one role only. With both, the default, none may be unused.
#![cfg_attr(not(all(feature = "client", feature = "server")), allow(dead_code, unused_imports))]

#[cfg(feature = "client")]
mod client;
mod exchange;
mod future;
mod request;
mod runtime;
#[cfg(feature = "server")]
mod server;
mod session;
#[cfg(feature = "rustls")]
pub mod tls;

#[cfg(feature = "client")]
pub use client::{
    AttemptError, ClientConnection, Connect, ConnectError, ConnectStep, Destination, Dial,
    DialAttempt, ParseProxyUrlError, Proxy, ProxyError, ProxyRules, Reconnect, ReconnectError,
    ReconnectState, ReconnectWatch, RedirectError, UrlError,
};
pub use future::{BoxError, BoxFuture};
pub use request::{Forwarded, HostPort, ParamError, Request};
#[cfg(feature = "async-io")]
pub use runtime::async_io;
#[cfg(feature = "futures-io")]
pub use runtime::futures_io;
#[cfg(feature = "sockets")]
pub use runtime::sockets;
pub use runtime::{
    Accepted, Clock, Ending, Io, Listen, Runtime, Spawn, Timer, TlsInfo, poll_read_into, timeout,
};
#[cfg(feature = "server")]
pub use server::{
    Answer, ConnectionServer, GrantedUpgrade, Reply, Server, Service, ShutdownReport, Upgrade,
};
#[cfg(feature = "json")]
pub use session::Json;
pub use session::{
    Decode, DecodeError, Encode, EncodeError, MessageReader, MessageWriter, Outcome, RawSendError,
    RawSession, Receiver, Sender, Session, Sleep, TrySendError, WriteError,
};
