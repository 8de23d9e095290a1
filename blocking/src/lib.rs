//! WebSockets with blocking calls, on threads of the standard library, without an async runtime.
//!
//! Programs add the crate `sockless` with its feature `blocking`, in which this one is the module
//! `sockless::blocking`.
//!
//! ```no_run
//! use sockless::{CloseCode, blocking};
//!
//! fn main() -> Result<(), sockless::Error> {
//!     let mut session = blocking::connect("ws://127.0.0.1:8080/echo").open()?;
//!     session.send("hello")?;
//!     println!("{}", session.recv()?);
//!     println!("{}", session.close(CloseCode::NORMAL));
//!     Ok(())
//! }
//! ```
//!
//! ```no_run
//! use sockless::Closed;
//! use sockless::blocking::{self, Session};
//!
//! fn echo(mut session: Session) -> Result<(), Closed> {
//!     loop {
//!         let message = session.recv()?;
//!         session.send(message)?;
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     blocking::serve("127.0.0.1:8080", echo)
//! }
//! ```
//!
//! # Threads
//!
//! A thread drives each session, beside those of the program: it answers pings, enforces deadlines, and
//! completes closing handshakes also while the program is in none of the session's calls. The
//! alternative, to drive a session only in its calls, would need no thread, but a program that computes
//! for a minute would miss its peer's pings and not notice that it has gone, and a thread that sends
//! would wait for one that receives.
//!
//! So a client's session has one thread, and a server's two: one for the transport, and one for the
//! handler. The first waits in one system call, `poll(2)`, for its socket, its next deadline and other
//! threads. A message between two threads costs a context switch, some 10 µs, in each direction; for
//! tens of thousands of connections, or the last microsecond, use a runtime.
//!
//! The threads end with their sessions. There is no other: no global executor, reactor or timer.
//!
//! # What is the same
//!
//! The driver is that of the async runtimes, with its limits, deadlines, TLS, permessage-deflate,
//! proxies, redirects and shutdown. TCP sockets are set up as [`sockless_driver::sockets`] describes.
//!
//! There are no blocking forms of sessions of frames and of rooms. A future of an async
//! session works on any thread, so a program can wait for it with the executor of its choice.
//!
//! # Features
//!
//! `client` and `server` are on by default, all others are off.
//!
//! * `client`: [`connect`] and [`Reconnect`].
//! * `server`: [`serve`], [`bind`] and [`accept`].
//! * `cookies`: `Connect::cookies`.
//! * `json`: messages of JSON, by serde.
//! * `rustls`: `Connect::tls` and `Server::tls`. For `wss:` without them, see the features of
//!   [`sockless_driver`].

// Without a role, sessions come from other runtimes, and the one of this crate is unused.
#![cfg_attr(not(any(feature = "client", feature = "server")), allow(dead_code))]

#[cfg(feature = "server")]
mod accept;
mod chunks;
#[cfg(feature = "client")]
mod connect;
#[cfg(feature = "client")]
mod dial;
#[cfg(feature = "server")]
mod handler;
mod pong;
mod receiver;
#[cfg(feature = "client")]
mod reconnect;
mod runtime;
mod sender;
#[cfg(feature = "server")]
mod server;
mod session;
mod signal;
mod socket;
mod thread;
mod typed;
mod wait;

#[cfg(feature = "server")]
pub use accept::{accept, accept_with, bind, listen_on, serve};
#[cfg(all(unix, feature = "server"))]
pub use accept::{bind_unix, listen_on_unix};
pub use chunks::{MessageReader, MessageWriter};
#[cfg(feature = "client")]
pub use connect::{Connect, connect, connect_over};
#[cfg(feature = "server")]
pub use handler::handler;
pub use pong::Pong;
pub use receiver::{Receiver, RecvTimeoutError};
#[cfg(feature = "client")]
pub use reconnect::Reconnect;
pub use sender::Sender;
#[cfg(feature = "server")]
pub use server::{Server, ShutdownHandle};
pub use session::Session;
