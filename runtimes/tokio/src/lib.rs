//! sockless on tokio.
//!
//! ```no_run
//! use sockless_tokio::{Closed, Session, connect};
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
//! # async fn example(service: impl sockless_tokio::Service) -> std::io::Result<()> {
//! sockless_tokio::serve("127.0.0.1:8080", service).await
//! # }
//! ```
//!
//! With the feature `tls`, servers take connections by TLS, and clients connect to `wss:`:
//!
//! ```no_run
//! # #[cfg(feature = "tls")]
//! # async fn example(
//! #     service: impl sockless_tokio::Service,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use sockless_tokio::tls::TlsAcceptor;
//!
//! let acceptor = TlsAcceptor::from_pem_files("chain.pem", "key.pem")?;
//! sockless_tokio::bind("0.0.0.0:443").await?.tls(acceptor).serve(service).await;
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
//! [`TcpStream`] and `UnixStream`. Over other streams and on other systems,
//! [`Config::stall_timeout`] holds.

mod alarm;
mod runtime;
mod stream;

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs, lookup_host};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

pub use runtime::TokioRuntime;
pub use sockless_core::{CloseCode, CloseReason, Closed, Config, Message};
pub use sockless_driver::sockets::ListenOptions;
#[cfg(feature = "rustls")]
pub use sockless_driver::tls;
pub use sockless_driver::{
    Connect, ConnectError, ConnectionServer, Proxy, ProxyRules, RawSession, Receiver, Reconnect,
    Request, Sender, Server, Service, Session, ShutdownReport,
};
pub use stream::TokioTransport;

use sockless_driver::{Accepted, BoxFuture, Dial, Io, Listen, sockets};

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
/// # async fn example(service: impl sockless_tokio::Service) -> std::io::Result<()> {
/// use sockless_tokio::ListenOptions;
///
/// let options = ListenOptions::default().reuse_port(true);
/// sockless_tokio::bind_with("0.0.0.0:8080", &options).await?.serve(service).await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When `addr` cannot be listened on, or not in that way on this system.
pub async fn bind_with(addr: impl ToSocketAddrs, options: &ListenOptions) -> io::Result<Server> {
    let listener = sockets::listen(lookup_host(addr).await?, options)?;
    listen_on(TcpListener::from_std(listener)?)
}

/// A server on a listener that is bound already.
///
/// # Errors
///
/// When the listener has no address.
pub fn listen_on(listener: TcpListener) -> io::Result<Server> {
    let local_addr = listener.local_addr()?;
    Ok(Server::new(Listener { listener, local_addr }, Arc::new(TokioRuntime)))
}

/// Listens on a Unix socket at `path`, for a server with settings of its own. Nothing may be there yet,
/// and the file stays when the server has ended: to remove it is the caller's.
///
/// ```no_run
/// # async fn example(service: impl sockless_tokio::Service) -> std::io::Result<()> {
/// sockless_tokio::bind_unix("/run/chat.sock")?.serve(service).await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// When `path` cannot be listened on.
///
/// # Panics
///
/// Outside of a tokio runtime.
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
    Ok(Server::new(UnixAcceptor(listener), Arc::new(TokioRuntime)))
}

/// Serves one stream that somebody else accepted, until it ends. For many with one service, and a
/// shutdown of them all, see [`ConnectionServer`].
pub async fn serve_connection<S>(stream: S, service: impl Service)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let host = ConnectionServer::new(service, Arc::new(TokioRuntime));
    host.serve_connection(Box::new(TokioTransport::new(stream)), None, None).await;
}

/// Connects to `url`, such as `ws://example.com/chat`: await it for a [`Session`] that is driven in a
/// task of its own, or [`run`](Connect::run) a block that is driven where it stands.
pub fn connect(url: &str) -> Connect {
    Connect::new(url, Arc::new(Tcp), Arc::new(TokioRuntime))
}

/// Connects over a stream of the caller's own, such as a Unix socket or one end of a tunnel, for which
/// nobody is dialled. `url` says whom the request is for. The stream is taken as it is, for `wss:` too:
/// see [`Connect::transport`].
pub fn connect_over<S>(stream: S, url: &str) -> Connect
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    connect(url).transport(Box::new(TokioTransport::new(stream)))
}

/// Connects to the Unix socket at `path`; `url` says whom the request is for. It is dialled here, and
/// taken as it is, for `wss:` too: see [`Connect::transport`].
///
/// Cancel-safe: dropping the future drops the socket.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connecting = sockless_tokio::connect_unix("/run/chat.sock", "ws://localhost/chat").await?;
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
    let path = path.as_ref();
    let connected = UnixStream::connect(path).await;
    let stream = connected.map_err(|error| sockets::at_path(path, &error))?;
    Ok(connect_over(stream, url))
}

struct Listener {
    listener: TcpListener,
    local_addr: SocketAddr,
}

impl Listen for Listener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        self.listener.poll_accept(cx).map_ok(|(stream, peer)| Accepted {
            local_addr: stream.local_addr().ok(),
            peer_addr: Some(peer),
            transport: tcp(stream),
        })
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some(self.local_addr)
    }
}

#[cfg(unix)]
struct UnixAcceptor(UnixListener);

#[cfg(unix)]
impl Listen for UnixAcceptor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        self.0.poll_accept(cx).map_ok(|(stream, _)| Accepted {
            local_addr: None,
            peer_addr: None,
            transport: Box::new(TokioTransport::new(stream)),
        })
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

struct Tcp;

impl Dial for Tcp {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(async move { Ok(tcp(TcpStream::connect(addr).await?)) })
    }
}

fn tcp(stream: TcpStream) -> Box<dyn Io> {
    sockets::prepare_tcp(&(&stream).into());
    Box::new(TokioTransport::new(stream))
}
