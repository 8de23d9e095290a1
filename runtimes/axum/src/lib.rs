//! WebSockets in axum: [`WebSocketUpgrade`] is an extractor, beside state, path, query, cookies and
//! every other extractor of a handler.
//!
//! Programs add the crate `sockless` with its feature `axum`, in which this crate is the module
//! `sockless::axum`.
//!
//! ```no_run
//! use axum::extract::{Path, State};
//! use axum::response::Response;
//! use axum::routing::get;
//! use sockless::axum::WebSocketUpgrade;
//! use sockless::{Closed, Session};
//!
//! #[derive(Clone)]
//! struct App {
//!     greeting: &'static str,
//! }
//!
//! async fn greet(
//!     State(app): State<App>,
//!     Path(name): Path<String>,
//!     ws: WebSocketUpgrade,
//! ) -> Response {
//!     ws.on_upgrade(async move |mut session: Session| {
//!         session.send(format!("{}, {name}", app.greeting)).await?;
//!         loop {
//!             let message = session.recv().await?;
//!             session.send(message).await?;
//!         }
//!         # #[allow(unreachable_code)]
//!         Ok::<_, Closed>(())
//!     })
//! }
//!
//! # async fn example() -> std::io::Result<()> {
//! let app = axum::Router::new()
//!     .route("/greet/{name}", get(greet))
//!     .with_state(App { greeting: "welcome" });
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! A route for `get` serves HTTP/1.1. Over HTTP/2 a WebSocket is opened by CONNECT (RFC 8441), so a
//! route that serves both is `any(handler)`.
//!
//! The sessions are those of every other server of sockless: the same driver, limits and endings.
//! [`WebSockets`] has the settings for a whole application, counts the sessions and shuts them down.
//! To serve a `sockless::Router` in axum instead, with its own paths and guards, use
//! [`Mount`](sockless_hyper::Mount).
//!
//! # Layers of tower
//!
//! Layers for tracing, CORS, timeouts and compression may surround the route. A timeout covers the
//! handler of axum until it returns the response, and not the session. Compression leaves the
//! response that opens a session alone; that of messages is permessage-deflate, an extension in
//! [`WebSockets::config`].

mod extract;
mod settings;

pub use extract::{WebSocketRejection, WebSocketUpgrade};
pub use settings::WebSockets;
