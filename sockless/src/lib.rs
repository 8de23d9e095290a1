//! WebSockets for Rust: servers and clients on tokio, smol and async-std, behind hyper and axum, and in a
//! deterministic simulator.

// What this crate has, it re-exports: the code is in the crates behind it.

pub use bytes;
pub use http;

pub use sockless_core::{
    Broadcast, Cause, CloseCode, CloseReason, Closed, Config, Escaped, Frame, FrameHead, Instant,
    Masking, Message, MessageRate, Opcode, OutgoingMessage, Overflow, Party, ProtocolError, Rsv,
    SendError, Timeout,
};
#[cfg(feature = "deflate")]
pub use sockless_core::{Deflate, ParseDeflateError};
#[cfg(feature = "json")]
pub use sockless_driver::Json;
#[cfg(feature = "client")]
pub use sockless_driver::{
    AttemptError, Connect, ConnectError, ConnectStep, Connected, Destination, DialAttempt,
    ParseProxyUrlError, Proxy, ProxyError, ProxyRules, Reconnect, ReconnectError, ReconnectState,
    ReconnectWatch, RedirectError, UrlError,
};
pub use sockless_driver::{
    BoxError, BoxFuture, Decode, DecodeError, Encode, EncodeError, HostPort, MessageReader,
    MessageWriter, Outcome, ParamError, RawSendError, RawSession, Receiver, Request, Sender,
    Session, Sleep, TlsInfo, TrySendError, WriteError,
};
#[cfg(feature = "server")]
pub use sockless_driver::{ConnectionServer, Server, Service, ShutdownReport};
#[cfg(feature = "routing")]
pub use sockless_routing::{
    Origins, ParseOriginError, ParseTrustedProxyError, RespondRoute, Route, RouteError, RouteInfo,
    RouteKind, Router, Selector, TrustedProxies, WebSocketRoute, guards, respond, respond_async,
    text_response, websocket, websocket_raw,
};

#[cfg(feature = "tokio")]
#[doc(inline)]
pub use sockless_tokio::{bind, connect, serve};

#[cfg(feature = "async-std")]
#[doc(inline)]
pub use sockless_async_std as async_std;
#[cfg(feature = "hyper")]
#[doc(inline)]
pub use sockless_hyper as hyper;
#[cfg(feature = "sim")]
#[doc(inline)]
pub use sockless_sim as sim;
#[cfg(feature = "smol")]
#[doc(inline)]
pub use sockless_smol as smol;
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use sockless_tokio as tokio;

#[cfg(feature = "rustls")]
#[doc(inline)]
pub use sockless_driver::tls;

#[doc(no_inline)]
pub use sockless_core as proto;
#[doc(no_inline)]
pub use sockless_driver as driver;
