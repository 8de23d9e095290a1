//! The adapter of sockless for [compio](https://docs.rs/compio), a runtime of one thread per core
//! over io_uring, IOCP and polling.
//!
//! Programs add the crate `sockless` with its feature `compio`, in which this one is the module
//! `sockless::compio`. It needs Rust 1.95.
//!
//! ```no_run
//! use sockless::Session;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let reply = sockless::compio::connect("ws://127.0.0.1:8080/echo")
//!     .run(async |mut session: Session| {
//!         session.send("hello").await?;
//!         session.recv().await
//!     })
//!     .await??;
//! assert_eq!(reply.as_text(), Some("hello"));
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//!
//! Connections are served by the runtime of the thread that serves or connects. For one server per
//! core, start a runtime on each thread, and have each bind the address with
//! [`reuse_port`](sockless_driver::sockets::ListenOptions::reuse_port).
//!
//! Handlers that are not `Send`, with state in an `Rc`, are served by
//! [`Server::serve_local`](sockless_driver::Server::serve_local):
//!
//! ```no_run
//! use sockless::local::LocalRouter;
//!
//! # async fn example(router: LocalRouter) -> std::io::Result<()> {
//! let server = sockless::compio::bind("127.0.0.1:8080").await?;
//! server.serve_local(router, sockless::compio::spawn_local).await;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Session`](sockless_driver::Session) may leave its thread. What holds a stream of compio may
//! not, although its type allows it: a [`CompioTransport`], a listener that has accepted, a
//! [`ClientConnection`](sockless_driver::ClientConnection), and the futures that drive them. Used or
//! dropped on another thread, they panic.
//!
//! # Sockets
//!
//! An operation owns its buffer until it is complete, so that each byte is copied once in each
//! direction: see
//! [`CompletionTransport`](sockless_driver::local::CompletionTransport), which also states the
//! buffers that a connection owns.
//!
//! TCP sockets that this crate accepts or dials are set up as [`sockless_driver::sockets`]
//! describes. A session that does not read still notices within a second that its peer has ended or
//! reset the connection, on the systems that are listed there, also under TLS.

#[cfg(feature = "server")]
mod accept;
#[cfg(feature = "client")]
mod dial;
mod runtime;
mod stream;
mod timer;

pub use runtime::{CompioRuntime, spawn_local};
pub use stream::{CompioSocket, CompioTransport};

sockless_driver::adapter! {
    name: "compio",
    runtime: CompioRuntime,
    transport: CompioTransport,
    addrs: compio::net::ToSocketAddrsAsync,
    stream: { Into<CompioSocket> },
    tcp_listener: std::net::TcpListener,
    unix_listener: std::os::unix::net::UnixListener,
    unix_docs: {},
}
