//! Routes for sockless: a [`Router`] selects a handler by path, method and subprotocol, and runs
//! guards before the upgrade.
//!
//! Programs use this crate through `sockless`, which re-exports it:
//!
//! ```
//! use std::time::Duration;
//!
//! use sockless::bytes::Bytes;
//! use sockless::http::{Response, StatusCode};
//! use sockless::{
//!     Config, RawSession, Request, Router, Session, respond, text_response, websocket, websocket_raw,
//! };
//!
//! async fn echo(session: Session) {}
//! async fn chat(session: Session) {}
//! async fn old_chat(session: Session) {}
//! async fn log(session: Session) -> Result<(), std::io::Error> { Ok(()) }
//! async fn tap(session: RawSession) {}
//!
//! async fn require_token(request: Request) -> Result<Request, Response<Bytes>> {
//!     match request.header("authorization") {
//!         Some("Bearer open sesame") => Ok(request),
//!         _ => Err(text_response(StatusCode::UNAUTHORIZED, "a bearer token is required\n")),
//!     }
//! }
//!
//! let router = Router::new()
//!     .websockets(Config::default().ping_interval(Duration::from_secs(30)))
//!     .route("/echo", websocket(echo))
//!     .route("/chat/{room}", websocket(chat).protocol("chat.v2"))
//!     .route("/chat/{room}", websocket(old_chat).protocol("chat.v1"))
//!     .route("/tap/{id:u64}", websocket_raw(tap))
//!     .nest("/admin", Router::new().guard(require_token).route("/log", websocket(log)))
//!     .route("/health", respond(|_request| Response::new("ok".into())));
//!
//! assert_eq!(router.to_string(), "\
//! /echo (WebSocket)
//! /chat/{room} (WebSocket: chat.v2)
//! /chat/{room} (WebSocket: chat.v1)
//! /tap/{id:u64} (raw WebSocket)
//! /admin/log (WebSocket)
//! /health (GET, HEAD)
//! ");
//! ```
//!
//! - [`Router`] documents how paths match, how a route is chosen, and the
//!   responses to other requests.
//! - [`Selector`] restricts routes by host, port or query.
//! - [`Origins`] decides which web pages may open a WebSocket.
//! - [`TrustedProxies`] reads the client's address from the headers of proxies.
//! - [`guards`] has credentials, rate limits and connection limits.
//!
//! # Features
//!
//! `local`, off by default: routers that stay on one thread, with handlers that are not `Send`.

mod alone;
mod choose;
mod convert;
pub mod guards;
mod listing;
#[cfg(feature = "local")]
pub mod local;
mod origin;
mod path;
mod pattern;
mod proxies;
mod reject;
mod route;
mod router;
mod scope;
mod selector;
mod service;
mod table;
mod tree;

pub use listing::{RouteInfo, RouteKind};
pub use origin::{Origins, ParseOriginError};
pub use proxies::{ParseTrustedProxyError, TrustedProxies};
pub use route::{
    RespondRoute, Route, WebSocketRoute, respond, respond_async, websocket, websocket_raw,
};
pub use router::Router;
pub use selector::Selector;
pub use sockless_core::handshake::text_response;
pub use table::RouteError;
