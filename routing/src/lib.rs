//! Routes for sockless: path, method and subprotocol lead to a handler, guards stand before the
//! upgrade.
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Response, StatusCode};
//! use sockless_core::Config;
//! use sockless_driver::{Request, RawSession, Session};
//! use sockless_routing::{Router, respond, text_response, websocket, websocket_raw};
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
//!         _ => Err(text_response(StatusCode::UNAUTHORIZED, "a bearer token is needed\n")),
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
//! [`Router`] says how paths match, which route takes a call, and what is answered when none does.
//! [`Selector`] is what a route may ask of a request beside its path, [`Origins`] which pages may open
//! a WebSocket, [`TrustedProxies`] whose word on the client is taken, and [`guards`] has credentials
//! and limits.

mod choose;
pub mod guards;
mod listing;
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
pub use reject::text_response;
pub use route::{
    RespondRoute, Route, WebSocketRoute, respond, respond_async, websocket, websocket_raw,
};
pub use router::Router;
pub use selector::Selector;
pub use table::RouteError;
