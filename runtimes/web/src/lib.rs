//! The adapter of sockless for the browser: clients in WebAssembly, through the browser's own `WebSocket`.
//!
//! Programs add the crate `sockless` without its default features and with `web`; this crate is the
//! module `sockless::web` there. It is for `wasm32-unknown-unknown` with
//! [wasm-bindgen](https://docs.rs/wasm-bindgen), in windows and workers.
//!
//! ```no_run
//! use sockless::web::{Session, connect};
//! use sockless::{CloseCode, Closed};
//!
//! async fn chat() -> Result<Closed, Box<dyn std::error::Error>> {
//!     let mut session: Session = connect("wss://example.com/chat").subprotocol("chat.v1").await?;
//!     session.send("hello").await?;
//!     while let Ok(message) = session.recv().await {
//!         if message == "bye" {
//!             session.close((CloseCode::NORMAL, "bye"));
//!         }
//!     }
//!     Ok(session.closed().await)
//! }
//!
//! /// Puts a line on the page.
//! fn show(line: impl std::fmt::Display) {
//! #   let _ = line.to_string();
//! }
//!
//! // Called by the page.
//! pub fn start() {
//!     wasm_bindgen_futures::spawn_local(async {
//!         match chat().await {
//!             Ok(closed) => show(closed),
//!             Err(error) => show(error),
//!         }
//!     });
//! }
//! ```
//!
//! # Why the session is another type
//!
//! A page has no sockets: the browser itself does the handshake, the frames, pings and the closing
//! handshake, and shows whole messages. The protocol of `sockless-core` and the driver of the other
//! runtimes have nothing to do here. To run the driver's own `Session` over this, each message would be
//! encoded into frames and decoded again in memory, and most settings, such as keep-alive, would
//! concern that loop and not the network. So this crate has a [`Session`] of its own, with the same
//! methods as far as browsers have what they need, and all values are those of the other runtimes:
//! `Message`, `CloseReason`, `Closed`, `Cause`, `Retry`, `ReconnectState`, the delays of [`Reconnect`],
//! and formats for `send_as` and `recv_as`. A program for both imports `Session` from here or from the
//! root, by the target.
//!
//! # What browsers do differently
//!
//! | | |
//! |---|---|
//! | backpressure on receiving | none: a `WebSocket` delivers at once. What is not received is bounded by [`Connect::max_unread`]. With [`Connect::prefer_stream`] the server waits, where the browser has `WebSocketStream` |
//! | backpressure on sending | [`send`](Session::send) waits at [`Connect::high_water`]. No event reports progress, so that a timer looks |
//! | close codes | 1000 and 3000 to 4999; for another one the Close frame has no code: see [`Session::close`] |
//! | after `close` | a `WebSocket` drops messages that arrive |
//! | errors | the reason of a failure stays in the browser's console: [`ConnectError::Failed`], [`Cause::Eof`](sockless_core::Cause::Eof) |
//! | headers of the request | the browser's own: a token goes into the URL, a subprotocol, a cookie or the first message |
//! | pings, masking, compression, proxies, TLS | the browser's |
//! | timers of hidden pages | slow: a second and more |
//!
//! On other targets the crate compiles, so that a workspace builds as a whole, and its functions panic
//! when they call the browser.

mod connect;
mod ending;
mod error;
mod inbox;
#[cfg(feature = "json")]
mod json;
mod platform;
mod reconnect;
mod session;
mod shared;
mod sink;
mod transport;
mod waiters;

pub use connect::{Connect, connect};
pub use error::ConnectError;
pub use platform::Sleep;
pub use reconnect::{AttemptError, LocalBoxFuture, Reconnect, ReconnectError, ReconnectWatch};
pub use session::{Receiver, Sender, Session};
pub use sink::MessageSink;
#[doc(no_inline)]
pub use sockless_driver::{ReconnectState, Retry};
