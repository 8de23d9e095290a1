//! The adapter of sockless for [smol](https://docs.rs/smol).
//!
//! Programs add the crate `sockless` with its feature `smol`, in which this one is the module
//! `sockless::smol`.
//!
//! ```no_run
//! use sockless::Session;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let reply = sockless::smol::connect("ws://127.0.0.1:8080/echo")
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
//! Connections are served on the global executor of [`smol::spawn`], which has one thread unless
//! the environment variable `SMOL_THREADS` asks for more.
//!
//! TCP sockets that this crate accepts or dials are set up as [`sockless_driver::sockets`]
//! describes. A session that does not read still notices within a second that its peer has ended or
//! reset the connection, on the systems that are listed there, if its transport is smol's
//! `TcpStream` or `UnixStream`, or an `Async` socket of the standard library, also under TLS.

#[cfg(feature = "server")]
mod accept;
#[cfg(feature = "client")]
mod dial;
mod runtime;
mod stream;

pub use runtime::SmolRuntime;
pub use stream::{SmolSockets, SmolTransport};

sockless_driver::adapter! {
    name: "smol",
    runtime: SmolRuntime,
    transport: SmolTransport,
    addrs: smol::net::AsyncToSocketAddrs,
    stream: { smol::io::AsyncRead + smol::io::AsyncWrite + Send + Unpin + 'static },
    tcp_listener: smol::net::TcpListener,
    unix_listener: smol::net::unix::UnixListener,
    unix_docs: {},
}
