//! The one async driver of sockless, and the session API that runs unchanged on every runtime.
//!
//! Programs use it through a runtime's own crate, such as `sockless-tokio`, which fills in what the
//! driver asks for: [`Io`], [`Clock`] and [`Spawn`]. Nothing that a user touches is generic over them:
//! [`Session`] is one type everywhere.
//!
//! * [`Session`], with its halves [`Sender`] and [`Receiver`], and [`RawSession`] are what handlers
//!   work with; [`Call`] is the request behind them.
//! * [`Service`] is what answers requests; a router is one. [`Server`] and [`Host`] serve it, the
//!   latter also behind somebody else's HTTP server: [`Host::answer`].
//! * [`Connect`] dials, and [`Reconnect`] dials again.
//!
//! # Features
//!
//! All are off by default.
//!
//! * `tls`: TLS by rustls, ready for use: `ring` and `platform-verifier`.
//! * `rustls`: TLS with a provider and trust that the program brings; the following add to it.
//! * `ring`, `aws-lc-rs`: the cryptography; with both, aws-lc-rs.
//! * `platform-verifier`, `webpki-roots`: clients trust whom the operating system does, or Mozilla.
//! * `json`: values as JSON, through serde.
//! * `futures-io`, `async-io`, `sockets`: for runtimes' own crates, what several of them share: any
//!   stream of the futures family, what is built on async-io, and what the system's sockets want.

#[cfg(feature = "async-io")]
pub mod async_io;
mod budget;
mod buffers;
mod call;
mod client;
mod drive;
mod exchange;
mod failure;
#[cfg(feature = "futures-io")]
pub mod futures_io;
mod host;
mod io;
mod joined;
mod locked;
mod machine;
mod mounted;
mod raw_machine;
mod raw_session;
mod server;
mod service;
mod session;
mod shared;
mod sleep;
#[cfg(feature = "sockets")]
pub mod sockets;
mod stream;
#[cfg(feature = "rustls")]
pub mod tls;
mod turn;
mod typed;
mod waiters;

pub use call::{Authority, Call, Forwarded, Held, ParamError};
pub use client::{
    Attempt, AttemptEnd, Connect, ConnectError, Connected, Dial, GaveUp, Peer, Proxy, ProxyError,
    ProxyRules, ProxyUrlError, Reconnect, ReconnectState, ReconnectWatch, RedirectError, Step,
    UrlError,
};
pub use host::{Host, ShutdownReport};
pub use io::{Clock, Ending, Io, Runtime, Spawn, Timer, TlsInfo};
pub use mounted::{Granted, Reply};
pub use raw_session::{RawSendError, RawSession};
pub use server::{Accepted, Listen, Server};
pub use service::{Answer, BoxError, BoxFuture, Outcome, Service, Upgrade};
pub use session::{Receiver, Sender, Session, TrySendError};
pub use sleep::Sleep;
pub use stream::{MessageReader, MessageWriter, WriteError};
#[cfg(feature = "json")]
pub use typed::Json;
pub use typed::{Decode, DecodeError, Encode, EncodeError};
