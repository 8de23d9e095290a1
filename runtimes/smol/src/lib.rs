//! sockless on smol.
//!
//! ```no_run
//! use sockless_smol::{Closed, Session, connect};
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
//! # fn example(service: impl sockless_smol::Service) -> std::io::Result<()> {
//! smol::block_on(sockless_smol::serve("127.0.0.1:8080", service))
//! # }
//! ```
//!
//! Connections are served on the global executor of [`smol::spawn`], which has one thread unless the
//! environment variable `SMOL_THREADS` asks for more.
//!
//! With the feature `tls`, servers take connections by TLS, and clients connect to `wss:`:
//!
//! ```no_run
//! # #[cfg(feature = "tls")]
//! # async fn example(
//! #     service: impl sockless_smol::Service,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use sockless_smol::tls::TlsAcceptor;
//!
//! let acceptor = TlsAcceptor::from_pem_files("chain.pem", "key.pem")?;
//! sockless_smol::bind("0.0.0.0:443").await?.tls(acceptor).serve(service).await;
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
//! `TcpStream`, `UnixStream` and `Async`. Over other streams and on other systems,
//! [`Config::stall_timeout`] holds.

mod runtime;
mod stream;

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;

use smol::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use smol::net::unix::UnixListener;
use smol::net::{AsyncToSocketAddrs, TcpListener, resolve};

pub use runtime::SmolRuntime;
pub use sockless_core::{CloseCode, CloseReason, Closed, Config, Message};
pub use sockless_driver::sockets::ListenOptions;
#[cfg(feature = "rustls")]
pub use sockless_driver::tls;
pub use sockless_driver::{
    Connect, ConnectError, ConnectionServer, Proxy, ProxyRules, RawSession, Receiver, Reconnect,
    Request, Sender, Server, Service, Session, ShutdownReport,
};
pub use stream::{SmolSockets, SmolTransport};

use sockless_driver::{BoxFuture, Dial, Io, async_io, sockets};

/// Listens on `addr` and serves for ever. With port 0 the system picks one; [`bind`] tells which.
///
/// # Errors
///
/// When `addr` cannot be listened on.
pub async fn serve(addr: impl AsyncToSocketAddrs, service: impl Service) -> io::Result<()> {
    bind(addr).await?.serve(service).await;
    Ok(())
}

/// Listens on `addr`, for a server with settings of its own.
///
/// # Errors
///
/// When `addr` cannot be listened on.
pub async fn bind(addr: impl AsyncToSocketAddrs) -> io::Result<Server> {
    bind_with(addr, &ListenOptions::default()).await
}

/// Listens on `addr` in a way of the caller's own, for a server with settings of its own.
///
/// Several servers may share one address, such as one for each core: `docs/scale.md` has the whole
/// recipe.
///
/// ```no_run
/// # async fn example(service: impl sockless_smol::Service) -> std::io::Result<()> {
/// use sockless_smol::ListenOptions;
///
/// let options = ListenOptions::default().reuse_port(true);
/// sockless_smol::bind_with("0.0.0.0:8080", &options).await?.serve(service).await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When `addr` cannot be listened on, or not in that way on this system.
pub async fn bind_with(
    addr: impl AsyncToSocketAddrs,
    options: &ListenOptions,
) -> io::Result<Server> {
    let listener = sockets::listen(resolve(addr).await?, options)?;
    listen_on(listener.try_into()?)
}

/// A server on a listener that is bound already.
///
/// # Errors
///
/// When the listener has no address.
pub fn listen_on(listener: TcpListener) -> io::Result<Server> {
    Ok(Server::new(async_io::listen_on(listener.into())?, Arc::new(SmolRuntime)))
}

/// Listens on a Unix socket at `path`, for a server with settings of its own. Nothing may be there yet,
/// and the file stays when the server has ended: to remove it is the caller's.
///
/// ```no_run
/// # async fn example(service: impl sockless_smol::Service) -> std::io::Result<()> {
/// sockless_smol::bind_unix("/run/chat.sock")?.serve(service).await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When `path` cannot be listened on.
#[cfg(unix)]
pub fn bind_unix(path: impl AsRef<Path>) -> io::Result<Server> {
    listen_on_unix(UnixListener::bind(path)?)
}

/// A server on a Unix socket that is bound already.
///
/// # Errors
///
/// None so far: it is as [`listen_on`] is.
#[cfg(unix)]
pub fn listen_on_unix(listener: UnixListener) -> io::Result<Server> {
    Ok(Server::new(async_io::listen_on_unix(listener.into()), Arc::new(SmolRuntime)))
}

/// Serves one stream that somebody else accepted, until it ends. For many with one service, and a
/// shutdown of them all, see [`ConnectionServer`].
pub async fn serve_connection<S>(stream: S, service: impl Service)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let host = ConnectionServer::new(service, Arc::new(SmolRuntime));
    host.serve_connection(Box::new(SmolTransport::new(stream)), None, None).await;
}

/// Connects to `url`, such as `ws://example.com/chat`: await it for a [`Session`] that is driven in a
/// task of its own, or [`run`](Connect::run) a block that is driven where it stands.
pub fn connect(url: &str) -> Connect {
    Connect::new(url, Arc::new(Tcp), Arc::new(SmolRuntime))
}

/// Connects over a stream of the caller's own, such as a Unix socket or one end of a tunnel, for which
/// nobody is dialled. `url` says whom the request is for. The stream is taken as it is, for `wss:` too:
/// see [`Connect::transport`].
pub fn connect_over<S>(stream: S, url: &str) -> Connect
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    connect(url).transport(Box::new(SmolTransport::new(stream)))
}

/// Connects to the Unix socket at `path`; `url` says whom the request is for. It is dialled here, and
/// taken as it is, for `wss:` too: see [`Connect::transport`].
///
/// Cancel-safe: dropping the future drops the socket.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connecting = sockless_smol::connect_unix("/run/chat.sock", "ws://localhost/chat").await?;
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
        Box::pin(async move { resolve((host, port)).await })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(async_io::connect(addr))
    }
}
