//! The adapter of sockless for [async-std](https://docs.rs/async-std).
//!
//! async-std is [discontinued](https://github.com/async-rs/async-std#readme), and its authors
//! recommend smol. This adapter is for programs that are built on async-std already; a new program
//! is better served by tokio or smol.
//!
//! Programs add the crate `sockless` with its feature `async-std`, in which this one is the module
//! `sockless::async_std`.
//!
//! ```no_run
//! use sockless::Session;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let reply = sockless::async_std::connect("ws://127.0.0.1:8080/echo")
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
//! TCP sockets that this crate accepts or dials are set up as [`sockless_driver::sockets`]
//! describes. A session that does not read still notices within a second that its peer has ended or
//! reset the connection, on the systems that are listed there, if its transport is async-std's
//! `TcpStream` or `UnixStream`, also under TLS.

#[cfg(feature = "server")]
mod accept;
#[cfg(feature = "client")]
mod dial;
mod runtime;
mod stream;

pub use runtime::AsyncStdRuntime;
pub use stream::{AsyncStdSockets, AsyncStdTransport};

sockless_driver::adapter! {
    name: "async_std",
    runtime: AsyncStdRuntime,
    transport: AsyncStdTransport,
    addrs: async_std::net::ToSocketAddrs,
    stream: { async_std::io::Read + async_std::io::Write + Send + Unpin + 'static },
    tcp_listener: async_std::net::TcpListener,
    unix_listener: async_std::os::unix::net::UnixListener,
    unix_docs: {},
}
