//! The sockets of the standard library as transports and listeners of the driver.

use std::io::{self, IoSlice, Read, Write};
#[cfg(feature = "server")]
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use socket2::{SockRef, Socket};
#[cfg(feature = "server")]
use sockless_driver::{Accepted, Listen};
use sockless_driver::{Ending, Io, poll_read_into, sockets};

use crate::wait::Source;

/// A socket as a transport. It is in non-blocking mode: the thread that drives it waits in `poll(2)`,
/// where other threads can wake it.
pub(crate) struct SocketTransport {
    source: Arc<Source>,
    /// The mode could not be set.
    failed: Option<io::Error>,
}

impl SocketTransport {
    pub(crate) fn new(socket: Socket) -> Self {
        let failed = socket.set_nonblocking(true).err();
        Self { source: Source::new(socket), failed }
    }

    /// An accepted TCP socket, with the settings of those that all adapters accept or dial.
    #[cfg(feature = "server")]
    fn tcp(socket: Socket) -> Self {
        sockets::prepare_tcp(&SockRef::from(&socket));
        Self::new(socket)
    }

    /// A TCP socket that has been connected in non-blocking mode.
    #[cfg(feature = "client")]
    pub(crate) fn connected(source: Arc<Source>) -> Self {
        sockets::prepare_tcp(&SockRef::from(source.socket()));
        Self { source, failed: None }
    }

    /// Calls `operate` on the socket; `None` if it would have to wait.
    fn attempt<T>(
        &mut self,
        operate: impl FnOnce(&Socket) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        match self.failed.take().map_or_else(|| operate(self.source.socket()), Err) {
            Err(error) if is_temporary(&error) => None,
            result => Some(result),
        }
    }
}

impl Io for SocketTransport {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        poll_read_into(buffer, |bytes| {
            if let Some(read) = self.attempt(|mut socket| socket.read(bytes)) {
                return Poll::Ready(read);
            }
            self.source.wait_to_read(cx);
            Poll::Pending
        })
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.attempt(|mut socket| match slices {
            [slice] => socket.write(slice),
            slices => socket.write_vectored(slices),
        });
        if let Some(written) = written {
            return Poll::Ready(written);
        }
        self.source.wait_to_write(cx);
        Poll::Pending
    }

    /// A socket has no buffer of its own.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(sockets::shutdown_write(&SockRef::from(self.source.socket())))
    }

    fn poll_ending(&mut self, _cx: &mut Context<'_>) -> Ending {
        sockets::ending(&SockRef::from(self.source.socket()))
    }
}

/// A listener in non-blocking mode.
#[cfg(feature = "server")]
pub(crate) struct SocketListener {
    source: Arc<Source>,
    /// `None` for a Unix socket.
    local_addr: Option<SocketAddr>,
}

#[cfg(feature = "server")]
impl SocketListener {
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local_addr = socket.local_addr()?.as_socket();
        Ok(Self { source: Source::new(socket), local_addr })
    }
}

#[cfg(feature = "server")]
impl Listen for SocketListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match self.source.socket().accept() {
            Ok((socket, peer)) => {
                let local_addr = socket.local_addr().ok().and_then(|addr| addr.as_socket());
                let transport = match self.local_addr {
                    Some(_) => SocketTransport::tcp(socket),
                    None => SocketTransport::new(socket),
                };
                let (transport, peer_addr) = (Box::new(transport), peer.as_socket());
                Poll::Ready(Ok(Accepted { transport, peer_addr, local_addr }))
            }
            Err(error) if is_temporary(&error) => {
                self.source.wait_to_read(cx);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }
}

/// True if the operation is to be tried again once the socket is ready.
fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
