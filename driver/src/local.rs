//! Sessions that stay on one thread: handlers, services and transports that are not `Send`.
//!
//! Single-threaded and thread-per-core programs keep their state in `Rc` and `RefCell`, and the
//! streams of some runtimes cannot leave their thread. Everything here runs the same driver as the
//! rest of the crate; what differs is only where it may run.
//!
//! * A [`Server`](crate::Server) of any runtime serves a [`LocalService`] by
//!   [`serve_local`](crate::Server::serve_local), and spawns the connections with a function of the
//!   program, such as `tokio::task::spawn_local`.
//! * A [`LocalConnectionServer`] serves transports that the program accepts itself, which may be
//!   [`LocalIo`].
//! * A [`CompletionTransport`] is one over a stream whose operations own their buffers, as those of
//!   io_uring do.
//! * A [`LocalService`] answers requests with handlers that are not `Send`. A `LocalRouter` is one,
//!   and so is every [`Service`](crate::Service).
//! * As a client, [`ClientConnection::run`](crate::ClientConnection::run) takes such a block on
//!   every runtime. A [`SendWrapper`] around a [`LocalIo`] is a transport for it.
//!
//! The types and futures that hold such values are not `Send`, so that the compiler keeps them on
//! their thread. The [`Session`](crate::Session) itself remains `Send`: its sender can be moved to
//! another thread, which sends to the peer through it.
//!
//! This does not compile, since another thread might run the server:
//!
//! ```compile_fail,E0277
//! # use sockless::local::LocalRouter;
//! # use tokio::task::spawn_local;
//! fn serve(server: sockless::Server, router: LocalRouter) {
//!     tokio::spawn(server.serve_local(router, |task| drop(spawn_local(task))));
//! }
//! ```

mod completion;
mod io;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod service;

use std::pin::Pin;

pub use completion::{CompletionStream, CompletionTransport};
pub use io::LocalIo;
#[doc(no_inline)]
pub use send_wrapper::SendWrapper;
#[cfg(feature = "server")]
pub use server::LocalConnectionServer;
#[cfg(feature = "server")]
pub use service::{LocalAnswer, LocalService, LocalUpgrade};

/// A boxed future that stays on its thread.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
