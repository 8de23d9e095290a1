//! Accepting connections with tokio's listeners.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::SockRef;
use sockless_driver::{Accepted, Listen, sockets};
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};
use tokio::time::{Sleep, sleep};

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
    Ok(TcpAcceptor { listener, local_addr, is_prepared, tick: Tick::default() })
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
    tick: Tick,
}

impl Listen for TcpAcceptor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (stream, peer) = ready!(self.listener.poll_accept(cx))?;
        self.tick.start();
        Poll::Ready(Ok(Accepted {
            local_addr: sockets::accepted_addr(self.local_addr, || stream.local_addr()),
            peer_addr: Some(peer),
            transport: match self.is_prepared {
                true => Box::new(TokioTransport::new(stream)),
                false => tcp(stream),
            },
        }))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some(self.local_addr)
    }
}

/// A timer that expires within a second of each connection that is accepted, and has no other effect.
///
/// tokio wakes its own I/O driver, by a system call, for each timer that is earlier than all others. The deadline of an
/// opening would be that for most connections; behind this timer it is not.
#[derive(Default)]
struct Tick(Option<Pin<Box<Sleep>>>);

impl Tick {
    fn start(&mut self) {
        if self.0.as_ref().is_none_or(|timer| timer.is_elapsed()) {
            let mut timer = Box::pin(sleep(Duration::from_secs(1)));
            // The first poll registers it.
            let _ = timer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.0 = Some(timer);
        }
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
