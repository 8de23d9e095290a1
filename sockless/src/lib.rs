#![doc = include_str!("../README.md")]
#![doc = include_str!("items.md")]
// The code is in the crates behind this one: everything here is a re-export, and the guide is text. Only the marks of the
// simulator have a form that does nothing without it, and the metrics of several crates are described by one function.

pub mod guide;
#[cfg(not(feature = "sim"))]
mod marks;
#[cfg(feature = "metrics")]
pub mod metrics;

pub use bytes;
pub use bytestring;
pub use http;

// Sessions and messages.
#[doc(inline)]
pub use sockless_core::{
    Broadcast, Chunk, CloseCode, CloseReason, Instant, IntoOutgoing, Message, OutgoingMessage,
    Priority, SendError,
};
#[cfg(feature = "json")]
#[doc(inline)]
pub use sockless_driver::Json;
#[doc(inline)]
pub use sockless_driver::{
    BoxError, BoxFuture, Decode, DecodeError, Encode, EncodeError, Error, MessageReader,
    MessageSink, MessageWriter, Outcome, Pong, Pongs, Receiver, Sender, Session, SessionTask,
    Sleep, TrySendError, WriteError, pipe, pipe_raw,
};

// The end of a session.
#[doc(inline)]
pub use sockless_core::{Cause, Closed, Escaped, Party, ProtocolError, Timeout};

// Settings.
#[doc(inline)]
pub use sockless_core::{Config, Masking, MessageRate, Overflow, Seed};
#[cfg(feature = "deflate")]
#[doc(inline)]
pub use sockless_core::{Deflate, ParseDeflateError};

// Counters and records.
#[cfg(feature = "record")]
#[doc(inline)]
pub use sockless_core::record;
#[doc(inline)]
pub use sockless_core::{Observer, Role, StateChange, Stats, Traffic, trace};

// Extensions of the protocol.
#[doc(inline)]
pub use sockless_core::extension;

// Sessions of frames.
#[doc(inline)]
pub use sockless_core::{Frame, FrameHead, Opcode, Rsv};
#[doc(inline)]
pub use sockless_driver::{RawSendError, RawSession};

// The request behind a session.
#[doc(inline)]
pub use sockless_driver::{
    Forwarded, HostPort, ParamError, Request, ResponseHeaderError, TlsInfo, TlsVersion,
};

// Servers.
#[cfg(feature = "server")]
#[doc(inline)]
pub use sockless_core::handshake::{HeadError, UpgradeError};
#[cfg(any(feature = "async-std", feature = "compio", feature = "smol", feature = "tokio"))]
#[doc(inline)]
pub use sockless_driver::sockets::ListenOptions;
#[cfg(feature = "server")]
#[doc(inline)]
pub use sockless_driver::{
    AcceptError, ConnectionServer, IncomingUpgrade, ParseProxyProtocolError, ProxyProtocol, Server,
    Service, ShutdownReport,
};

// Routes.
#[cfg(feature = "routing")]
#[doc(inline)]
pub use sockless_routing::{
    Origins, ParseOriginError, ParseTrustedProxyError, RespondRoute, Route, RouteError, RouteInfo,
    RouteKind, Router, Selector, TrustedProxies, WebSocketRoute, guards, respond, respond_async,
    text_response, websocket, websocket_raw,
};

// Rooms.
#[cfg(feature = "rooms")]
#[doc(inline)]
pub use sockless_rooms as rooms;

/// Sessions that stay on one thread, with handlers, services and transports that are not `Send`.
///
/// See [the guide](crate::guide::local).
#[cfg(feature = "local")]
pub mod local {
    #[doc(inline)]
    pub use sockless_driver::local::*;
    #[cfg(feature = "routing")]
    #[doc(inline)]
    pub use sockless_routing::local::*;
}

// Clients.
#[cfg(feature = "client")]
#[doc(inline)]
pub use sockless_core::handshake::{ClientRequestError, HandshakeError};
#[cfg(feature = "cookies")]
#[doc(inline)]
pub use sockless_driver::CookieJar;
#[cfg(feature = "client")]
#[doc(inline)]
pub use sockless_driver::{
    AttemptError, ClientConnection, Connect, ConnectError, ConnectStep, Destination, DialAttempt,
    ParseProxyUrlError, Proxy, ProxyError, ProxyRules, Reconnect, ReconnectError, ReconnectState,
    ReconnectWatch, RedirectError, Retry, UrlError,
};

// TLS.
#[cfg(feature = "rustls")]
#[doc(inline)]
pub use sockless_driver::tls;

// Runtimes and frameworks. The runtime of most programs is flat.
#[cfg(feature = "async-std")]
#[doc(inline)]
pub use sockless_async_std as async_std;
#[cfg(feature = "axum")]
#[doc(inline)]
pub use sockless_axum as axum;
#[cfg(feature = "blocking")]
#[doc(inline)]
pub use sockless_blocking as blocking;
#[cfg(feature = "compio")]
#[doc(inline)]
pub use sockless_compio as compio;
#[cfg(feature = "hyper")]
#[doc(inline)]
pub use sockless_hyper as hyper;
#[cfg(feature = "sim")]
#[doc(inline)]
pub use sockless_sim as sim;
#[cfg(feature = "sim")]
#[doc(inline)]
pub use sockless_sim::{buggify, sometimes};
#[cfg(feature = "smol")]
#[doc(inline)]
pub use sockless_smol as smol;
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use sockless_tokio as tokio;
#[cfg(all(feature = "tokio", feature = "client"))]
#[doc(inline)]
pub use sockless_tokio::connect;
#[cfg(all(feature = "tokio", feature = "server"))]
#[doc(inline)]
pub use sockless_tokio::{accept, accept_with, bind, serve};
#[cfg(feature = "web")]
#[doc(inline)]
pub use sockless_web as web;

// For adapters and programs that embed the bare protocol.
#[doc(no_inline)]
pub use sockless_core as proto;
#[doc(no_inline)]
pub use sockless_driver as driver;
