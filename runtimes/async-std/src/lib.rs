//! sockless on async-std.
//!
//! ```no_run
//! use sockless_async_std::{Closed, Session, connect};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let reply = connect("ws://127.0.0.1:8080/echo")
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
//! A server takes whatever is a [`Service`], such as a router of `sockless-routing`:
//!
//! ```no_run
//! # fn example(service: impl sockless_async_std::Service) -> std::io::Result<()> {
//! async_std::task::block_on(sockless_async_std::serve("127.0.0.1:8080", service))
//! # }
//! ```
//!
//! async-std is [discontinued](https://github.com/async-rs/async-std#readme), and its authors point to
//! smol: so this crate is for programs that are built on async-std already, and does no more than
//! they need. A new one does better with `sockless-smol` or `sockless-tokio`.
//!
//! With the feature `tls`, servers take connections by TLS, and clients connect to `wss:`:
//!
//! ```no_run
//! # #[cfg(feature = "tls")]
//! # async fn example(
//! #     service: impl sockless_async_std::Service,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use sockless_async_std::tls::TlsAcceptor;
//!
//! let acceptor = TlsAcceptor::from_pem_files("chain.pem", "key.pem")?;
//! sockless_async_std::bind("0.0.0.0:443").await?.tls(acceptor).serve(service).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Sockets
//!
//! TCP sockets that this crate accepts or dials are set up alike, and so need nothing from the program:
//! `TCP_NODELAY`; keep-alive after 60 s of silence, with up to 4 probes 15 s apart, so that a peer that
//! vanished is noticed after about two minutes; and, on Linux and Android, `TCP_NOTSENT_LOWAT` of 128 KiB,
//! so that what a session has written is nearly all on its way. [`sockless_driver::sockets::prepare_tcp`]
//! has the details, and sets up a stream of one's own for [`serve_connection`] or [`connect_over`], which
//! take theirs as they are.
//!
//! A session that does not read, because its handler does not receive, still sees that its peer has ended
//! or reset the connection, once a second, also under TLS: on Linux, Android, FreeBSD and illumos, over
//! `TcpStream` and `UnixStream`. Over other streams and on other systems,
//! [`Config::stall_timeout`] holds.

mod runtime;
mod stream;

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;

use async_std::io::{Read, Write};
use async_std::net::{TcpListener, ToSocketAddrs};
#[cfg(unix)]
use async_std::os::unix::net::UnixListener;

pub use runtime::AsyncStdRuntime;
pub use sockless_core::{CloseCode, CloseReason, Closed, Config, Message};
pub use sockless_driver::sockets::ListenOptions;
#[cfg(feature = "rustls")]
pub use sockless_driver::tls;
pub use sockless_driver::{
    Connect, ConnectError, ConnectionServer, Proxy, ProxyRules, RawSession, Receiver, Reconnect,
    Request, Sender, Server, Service, Session, ShutdownReport,
};
pub use stream::{AsyncStdSockets, AsyncStdTransport};

use sockless_driver::async_io::{self, Async};
use sockless_driver::{BoxFuture, Dial, Io, sockets};

/// Listens on `addr` and serves for ever. With port 0 the system picks one; [`bind`] tells which.
///
/// # Errors
///
/// When `addr` cannot be listened on.
pub async fn serve(addr: impl ToSocketAddrs, service: impl Service) -> io::Result<()> {
    bind(addr).await?.serve(service).await;
    Ok(())
}

/// Listens on `addr`, for a server with settings of its own.
///
/// # Errors
///
/// When `addr` cannot be listened on.
pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Server> {
    bind_with(addr, &ListenOptions::default()).await
}

/// Listens on `addr` in a way of the caller's own, for a server with settings of its own.
///
/// Several servers may share one address, such as one for each core: `docs/scale.md` has the whole
/// recipe.
///
/// ```no_run
/// # async fn example(service: impl sockless_async_std::Service) -> std::io::Result<()> {
/// use sockless_async_std::ListenOptions;
///
/// let options = ListenOptions::default().reuse_port(true);
/// sockless_async_std::bind_with("0.0.0.0:8080", &options).await?.serve(service).await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When `addr` cannot be listened on, or not in that way on this system.
pub async fn bind_with(addr: impl ToSocketAddrs, options: &ListenOptions) -> io::Result<Server> {
    let listener = sockets::listen(addr.to_socket_addrs().await?, options)?;
    listen_on(listener.into())
}

/// A server on a listener that is bound already.
///
/// # Errors
///
/// When the listener has no address.
pub fn listen_on(listener: TcpListener) -> io::Result<Server> {
    // async-std has no listener that can be polled.
    let listener = Async::new(std::net::TcpListener::try_from(listener)?)?;
    Ok(Server::new(async_io::listen_on(listener.into())?, Arc::new(AsyncStdRuntime)))
}

/// Listens on a Unix socket at `path`, for a server with settings of its own. Nothing may be there yet,
/// and the file stays when the server has ended: to remove it is the caller's.
///
/// ```no_run
/// # async fn example(service: impl sockless_async_std::Service) -> std::io::Result<()> {
/// sockless_async_std::bind_unix("/run/chat.sock")?.serve(service).await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When `path` cannot be listened on.
#[cfg(unix)]
pub fn bind_unix(path: impl AsRef<Path>) -> io::Result<Server> {
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listen_on_unix(listener.into())
}

/// A server on a Unix socket that is bound already.
///
/// # Errors
///
/// When the listener cannot be polled.
#[cfg(unix)]
pub fn listen_on_unix(listener: UnixListener) -> io::Result<Server> {
    let listener = Async::new(std::os::unix::net::UnixListener::try_from(listener)?)?;
    Ok(Server::new(async_io::listen_on_unix(listener.into()), Arc::new(AsyncStdRuntime)))
}

/// Serves one stream that somebody else accepted, until it ends. For many with one service, and a
/// shutdown of them all, see [`ConnectionServer`].
pub async fn serve_connection<S>(stream: S, service: impl Service)
where
    S: Read + Write + Send + Unpin + 'static,
{
    let host = ConnectionServer::new(service, Arc::new(AsyncStdRuntime));
    host.serve_connection(Box::new(AsyncStdTransport::new(stream)), None, None).await;
}

/// Connects to `url`, such as `ws://example.com/chat`: await it for a [`Session`] that is driven in a
/// task of its own, or [`run`](Connect::run) a block that is driven where it stands.
pub fn connect(url: &str) -> Connect {
    Connect::new(url, Arc::new(Tcp), Arc::new(AsyncStdRuntime))
}

/// Connects over a stream of the caller's own, such as a Unix socket or one end of a tunnel, for which
/// nobody is dialled. `url` says whom the request is for. The stream is taken as it is, for `wss:` too:
/// see [`Connect::transport`].
pub fn connect_over<S>(stream: S, url: &str) -> Connect
where
    S: Read + Write + Send + Unpin + 'static,
{
    connect(url).transport(Box::new(AsyncStdTransport::new(stream)))
}

/// Connects to the Unix socket at `path`; `url` says whom the request is for. It is dialled here, and
/// taken as it is, for `wss:` too: see [`Connect::transport`].
///
/// Cancel-safe: dropping the future drops the socket.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connecting = sockless_async_std::connect_unix("/run/chat.sock", "ws://localhost/chat").await?;
/// let session = connecting.await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When nobody listens at `path`.
#[cfg(unix)]
pub async fn connect_unix(path: impl AsRef<Path>, url: &str) -> io::Result<Connect> {
    Ok(connect(url).transport(async_io::connect_unix(path.as_ref()).await?))
}

struct Tcp;

impl Dial for Tcp {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok((&*host, port).to_socket_addrs().await?.collect()) })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(async_io::connect(addr))
    }
}
