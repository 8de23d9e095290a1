//! The adapter of sockless for [tokio](https://docs.rs/tokio).
//!
//! Programs add the crate `sockless`, in which this one is the module `sockless::tokio`; its
//! `serve`, `bind` and `connect` are also at the root.
//!
//! ```no_run
//! use sockless::Session;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let reply = sockless::connect("ws://127.0.0.1:8080/echo")
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
//! Sessions are driven by the tokio runtime in whose context a server or a client is started; it
//! needs the runtime's I/O and time drivers (`enable_all`). The clock is tokio's, which tests can
//! pause.
//!
//! TCP sockets that this crate accepts or dials are set up as
//! [`sockless_driver::sockets`] describes. A session that does not read still
//! notices within a second that its peer has ended or reset the connection, on the systems that are
//! listed there, if its transport is a [`TcpStream`](tokio::net::TcpStream) or a `UnixStream`, also
//! under TLS.

#[cfg(feature = "server")]
mod accept;
mod alarm;
mod background;
#[cfg(feature = "client")]
mod dial;
mod runtime;
mod stream;

pub use runtime::TokioRuntime;
pub use stream::TokioTransport;

sockless_driver::adapter! {
    name: "tokio",
    runtime: TokioRuntime,
    transport: TokioTransport,
    addrs: tokio::net::ToSocketAddrs,
    stream: { tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static },
    tcp_listener: tokio::net::TcpListener,
    unix_listener: tokio::net::UnixListener,
    unix_docs: {
        ///
        /// # Panics
        ///
        /// Outside of a tokio runtime with its I/O driver enabled.
    },
}
