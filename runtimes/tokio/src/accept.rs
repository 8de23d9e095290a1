//! Accepting connections with tokio's listeners.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::task::{Context, Poll};

use socket2::SockRef;
use sockless_driver::{Accepted, Listen, sockets};
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};

use crate::stream::{TokioTransport, tcp};

pub(crate) async fn resolve(
    addr: impl ToSocketAddrs,
) -> io::Result<impl Iterator<Item = SocketAddr>> {
    lookup_host(addr).await
}

pub(crate) fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    TcpListener::from_std(listener)
}

pub(crate) fn listen(listener: TcpListener) -> io::Result<impl Listen> {
    let local_addr = listener.local_addr()?;
    let is_prepared = sockets::prepare_listener(&SockRef::from(&listener));
    Ok(TcpAcceptor { listener, local_addr, is_prepared })
}

#[cfg(unix)]
pub(crate) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(path)
}

#[cfg(unix)]
pub(crate) fn listen_unix(listener: UnixListener) -> io::Result<impl Listen> {
    Ok(UnixAcceptor(listener))
}

struct TcpAcceptor {
    listener: TcpListener,
    local_addr: SocketAddr,
    /// The sockets that it accepts are set up already.
    is_prepared: bool,
}

impl Listen for TcpAcceptor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        self.listener.poll_accept(cx).map_ok(|(stream, peer)| Accepted {
            local_addr: sockets::accepted_addr(self.local_addr, || stream.local_addr()),
            peer_addr: Some(peer),
            transport: match self.is_prepared {
                true => Box::new(TokioTransport::new(stream)),
                false => tcp(stream),
            },
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
