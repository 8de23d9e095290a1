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

mod runtime;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::{AsyncToSocketAddrs, TcpListener, resolve};

pub use runtime::SmolRuntime;
pub use sockless::{CloseCode, CloseReason, Closed, Config, Message};
#[cfg(feature = "rustls")]
pub use sockless_driver::tls;
pub use sockless_driver::{
    Call, Connect, ConnectError, Host, Proxy, ProxyRules, RawSession, Receiver, Reconnect, Sender,
    Server, Service, Session, ShutdownReport,
};
pub use stream::Stream;

use sockless_driver::{Accepted, BoxFuture, Dial, Io, Listen};

/// How long a TCP connection may be silent before the kernel asks whether the peer is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A socket itself rather than smol's `TcpStream`, which makes a future for each wait.
type TcpStream = Async<std::net::TcpStream>;

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
    listen_on(TcpListener::bind(addr).await?)
}

/// A server on a listener that is bound already.
///
/// # Errors
///
/// When the listener has no address.
pub fn listen_on(listener: TcpListener) -> io::Result<Server> {
    let local_addr = listener.local_addr()?;
    let listener = Listener { listener: listener.into(), local_addr };
    Ok(Server::new(listener, Arc::new(SmolRuntime)))
}

/// Serves one stream that somebody else accepted, until it ends. For many with one service, and a
/// shutdown of them all, see [`Host`].
pub async fn serve_connection<S>(stream: S, service: impl Service)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let host = Host::new(service, Arc::new(SmolRuntime));
    host.serve_connection(Box::new(Stream::new(stream)), None, None).await;
}

/// Connects to `url`, such as `ws://example.com/chat`: await it for a [`Session`] that is driven in a
/// task of its own, or [`run`](Connect::run) a block that is driven where it stands.
pub fn connect(url: &str) -> Connect {
    Connect::new(url, Arc::new(Tcp), Arc::new(SmolRuntime))
}

/// Connects over a stream of the caller's own, such as a Unix socket or one end of a tunnel, for which
/// nobody is dialled. `url` says whom the request is for. The stream is taken as it is, for `wss:` too:
/// see [`Connect::over`].
pub fn connect_over<S>(stream: S, url: &str) -> Connect
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    connect(url).over(Box::new(Stream::new(stream)))
}

struct Listener {
    listener: Arc<Async<std::net::TcpListener>>,
    local_addr: SocketAddr,
}

impl Listen for Listener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        loop {
            match self.listener.get_ref().accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => return Poll::Ready(accepted.and_then(accept)),
            }
            ready!(self.listener.poll_readable(cx))?;
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some(self.local_addr)
    }
}

fn accept((stream, peer): (std::net::TcpStream, SocketAddr)) -> io::Result<Accepted> {
    let local_addr = stream.local_addr().ok();
    Ok(Accepted { local_addr, peer_addr: Some(peer), transport: tcp(Async::new(stream)?) })
}

struct Tcp;

impl Dial for Tcp {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { resolve((host, port)).await })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(async move { Ok(tcp(TcpStream::connect(addr).await?)) })
    }
}

/// A TCP stream as a transport: without delay, since what is written together is written at once, and
/// with keep-alive, so that the kernel notices a peer that is gone.
fn tcp(stream: TcpStream) -> Box<dyn Io> {
    // A stream that refuses a setting still works; one that is broken says so when it is read.
    let _ = stream.get_ref().set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    let _ = socket2::SockRef::from(stream.get_ref()).set_tcp_keepalive(&keepalive);
    Box::new(Stream::new(stream))
}
