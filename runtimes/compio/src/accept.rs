//! Accepting connections with compio's listeners.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::task::{Context, Poll, ready};

use compio::net::{TcpListener, ToSocketAddrsAsync};
use sockless_driver::local::{LocalBoxFuture, SendWrapper};
use sockless_driver::{Accepted, Listen};

#[cfg(unix)]
use crate::stream::CompioTransport;
use crate::stream::tcp;

pub(crate) async fn resolve(
    addr: impl ToSocketAddrsAsync,
) -> io::Result<impl Iterator<Item = SocketAddr>> {
    let addrs = SendWrapper::new(async move {
        // Collected here, since the iterator of an address may not be `Send`.
        addr.to_socket_addrs_async().await.map(|addrs| addrs.collect::<Vec<_>>())
    });
    Ok(addrs.await?.into_iter())
}

pub(crate) fn from_std(listener: std::net::TcpListener) -> io::Result<std::net::TcpListener> {
    Ok(listener)
}

pub(crate) fn listen(listener: std::net::TcpListener) -> io::Result<impl Listen> {
    let local_addr = Some(listener.local_addr()?);
    Ok(Listener { local_addr, unregistered: Some(Unregistered::Tcp(listener)), here: None })
}

#[cfg(unix)]
pub(crate) fn bind_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    std::os::unix::net::UnixListener::bind(path)
}

#[cfg(unix)]
pub(crate) fn listen_unix(listener: std::os::unix::net::UnixListener) -> io::Result<impl Listen> {
    Ok(Listener { local_addr: None, unregistered: Some(Unregistered::Unix(listener)), here: None })
}

/// A listener, which belongs to the runtime of the thread on which it is first polled.
struct Listener {
    local_addr: Option<SocketAddr>,
    /// The listener, until it has been registered with a runtime.
    unregistered: Option<Unregistered>,
    here: Option<SendWrapper<Here>>,
}

enum Unregistered {
    Tcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
}

/// A listener on its thread.
struct Here {
    accepting: Option<LocalBoxFuture<'static, io::Result<Accepted>>>,
    socket: Socket,
}

#[derive(Clone)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(compio::net::UnixListener),
}

impl Listener {
    fn here(&mut self) -> io::Result<&mut Here> {
        if let Some(listener) = self.unregistered.take() {
            let socket = listener.register()?;
            self.here = Some(SendWrapper::new(Here { accepting: None, socket }));
        }
        let failed = || io::Error::other("the listener could not be registered with the runtime");
        self.here.as_deref_mut().ok_or_else(failed)
    }
}

impl Unregistered {
    fn register(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(listener) => Socket::Tcp(TcpListener::from_std(listener)?),
            #[cfg(unix)]
            Self::Unix(listener) => Socket::Unix(compio::net::UnixListener::from_std(listener)?),
        })
    }
}

impl Listen for Listener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let Here { accepting, socket } = self.here()?;
        let start = || -> LocalBoxFuture<'static, _> { Box::pin(socket.clone().accept()) };
        let accepted = ready!(accepting.get_or_insert_with(start).as_mut().poll(cx));
        *accepting = None;
        Poll::Ready(accepted)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }
}

impl Socket {
    async fn accept(self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let local_addr = stream.local_addr().ok();
                Ok(Accepted { transport: tcp(stream), peer_addr: Some(peer), local_addr })
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let transport = Box::new(CompioTransport::new(stream));
                Ok(Accepted { transport, peer_addr: None, local_addr: None })
            }
        }
    }
}

impl Drop for Here {
    /// The runtime closes a listener when the operation in flight has been cancelled, which is
    /// later. One that shares its port would be assigned connections until then, which it would
    /// reset. Others are left as they are: another process may go on with the same socket.
    fn drop(&mut self) {
        #[cfg(any(target_os = "android", target_os = "freebsd", target_os = "linux"))]
        if let (Some(_), Socket::Tcp(listener)) = (&self.accepting, &self.socket) {
            let socket = socket2::SockRef::from(listener);
            if socket.reuse_port().unwrap_or(false) {
                let _ = socket.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}
