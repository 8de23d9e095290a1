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

mod runtime;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_std::io::{Read, Write};
use async_std::net::{TcpListener, TcpStream, ToSocketAddrs};

pub use runtime::AsyncStdRuntime;
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
    listen_on(TcpListener::bind(addr).await?)
}

/// A server on a listener that is bound already.
///
/// # Errors
///
/// When the listener has no address.
pub fn listen_on(listener: TcpListener) -> io::Result<Server> {
    let local_addr = listener.local_addr()?;
    let listener = Listener { accepting: Box::pin(accept(listener)), local_addr };
    Ok(Server::new(listener, Arc::new(AsyncStdRuntime)))
}

/// Serves one stream that somebody else accepted, until it ends. For many with one service, and a
/// shutdown of them all, see [`Host`].
pub async fn serve_connection<S>(stream: S, service: impl Service)
where
    S: Read + Write + Send + Unpin + 'static,
{
    let host = Host::new(service, Arc::new(AsyncStdRuntime));
    host.serve_connection(Box::new(Stream::new(stream)), None, None).await;
}

/// Connects to `url`, such as `ws://example.com/chat`: await it for a [`Session`] that is driven in a
/// task of its own, or [`run`](Connect::run) a block that is driven where it stands.
pub fn connect(url: &str) -> Connect {
    Connect::new(url, Arc::new(Tcp), Arc::new(AsyncStdRuntime))
}

/// Connects over a stream of the caller's own, such as a Unix socket or one end of a tunnel, for which
/// nobody is dialled. `url` says whom the request is for. The stream is taken as it is, for `wss:` too:
/// see [`Connect::over`].
pub fn connect_over<S>(stream: S, url: &str) -> Connect
where
    S: Read + Write + Send + Unpin + 'static,
{
    connect(url).over(Box::new(Stream::new(stream)))
}

struct Listener {
    /// The next connection; async-std has no listener that can be polled.
    accepting: BoxFuture<'static, (TcpListener, io::Result<(TcpStream, SocketAddr)>)>,
    local_addr: SocketAddr,
}

impl Listen for Listener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (listener, accepted) = ready!(self.accepting.as_mut().poll(cx));
        self.accepting = Box::pin(accept(listener));
        Poll::Ready(accepted.map(|(stream, peer)| Accepted {
            local_addr: stream.local_addr().ok(),
            peer_addr: Some(peer),
            transport: tcp(stream),
        }))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some(self.local_addr)
    }
}

async fn accept(listener: TcpListener) -> (TcpListener, io::Result<(TcpStream, SocketAddr)>) {
    let accepted = listener.accept().await;
    (listener, accepted)
}

struct Tcp;

impl Dial for Tcp {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok((&*host, port).to_socket_addrs().await?.collect()) })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(async move { Ok(tcp(TcpStream::connect(addr).await?)) })
    }
}

/// A TCP stream as a transport: without delay, since what is written together is written at once, and
/// with keep-alive, so that the kernel notices a peer that is gone.
fn tcp(stream: TcpStream) -> Box<dyn Io> {
    // A stream that refuses a setting still works; one that is broken says so when it is read.
    let _ = stream.set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    Box::new(Stream::new(stream))
}
