//! Transports of compio's sockets: [`CompioTransport`].

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use compio::buf::BufResult;
use compio::io::{AsyncRead, AsyncWrite};
use compio::net::TcpStream;
#[cfg(unix)]
use compio::net::UnixStream;
use socket2::SockRef;
use sockless_driver::local::{CompletionStream, CompletionTransport, LocalIo, SendWrapper};
use sockless_driver::{Ending, Io, sockets};

/// A socket of compio: a [`TcpStream`] or, on Unix, a `UnixStream`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CompioSocket {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A connection of a Unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl From<TcpStream> for CompioSocket {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

#[cfg(unix)]
impl From<UnixStream> for CompioSocket {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

impl CompioSocket {
    fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => stream.into(),
            #[cfg(unix)]
            Self::Unix(stream) => stream.into(),
        }
    }
}

/// The number of slices that all systems take in one call (`IOV_MAX` of POSIX is 16 or more; that of
/// the systems is 1024).
#[cfg(unix)]
const MAX_SLICES: usize = 64;

#[cfg(unix)]
impl std::os::fd::AsFd for CompioSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl CompletionStream for CompioSocket {
    fn read(&self, buffer: BytesMut) -> impl Future<Output = io::Result<BytesMut>> + 'static {
        let mut socket = self.clone();
        async move {
            let BufResult(read, buffer) = match &mut socket {
                Self::Tcp(stream) => stream.read(buffer).await,
                #[cfg(unix)]
                Self::Unix(stream) => stream.read(buffer).await,
            };
            read.map(|_| buffer)
        }
    }

    fn write(&self, bytes: Bytes) -> impl Future<Output = io::Result<usize>> + 'static {
        let mut socket = self.clone();
        async move {
            match &mut socket {
                Self::Tcp(stream) => stream.write(bytes).await.0,
                #[cfg(unix)]
                Self::Unix(stream) => stream.write(bytes).await.0,
            }
        }
    }

    #[cfg(unix)]
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
        // Sockets are in blocking mode where io_uring waits for them.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let slices = &slices[..slices.len().min(MAX_SLICES)];
        let mut ancillary = SendAncillaryBuffer::default();
        Ok(rustix::io::retry_on_intr(|| sendmsg(self, slices, &mut ancillary, flags))?)
    }

    fn shutdown(&self) -> impl Future<Output = io::Result<()>> + 'static {
        // The system call does not wait, so no operation is needed.
        std::future::ready(sockets::shutdown_write(&self.socket()))
    }

    fn disconnect(&self) {
        // The connection may have ended already.
        let _ = self.socket().shutdown(Shutdown::Both);
    }

    fn ending(&self) -> Ending {
        sockets::ending(&self.socket())
    }
}

/// A socket of compio as a transport.
///
/// ```
/// use sockless::ConnectionServer;
/// use sockless::compio::CompioTransport;
///
/// async fn serve(stream: compio::net::TcpStream, server: ConnectionServer) -> std::io::Result<()> {
///     let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
///     let transport = Box::new(CompioTransport::new(stream));
///     server.serve_connection(transport, Some(peer), Some(local)).await;
///     Ok(())
/// }
/// ```
///
/// # Panics
///
/// If it is used or dropped on another thread than the one on which it was created: compio's
/// sockets belong to the runtime of their thread.
#[derive(Debug)]
pub struct CompioTransport(SendWrapper<CompletionTransport<CompioSocket>>);

impl CompioTransport {
    /// Creates a transport over `stream`.
    pub fn new(stream: impl Into<CompioSocket>) -> Self {
        Self(SendWrapper::new(CompletionTransport::new(stream.into())))
    }
}

impl Io for CompioTransport {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        LocalIo::poll_read(&mut *self.0, cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        LocalIo::poll_write(&mut *self.0, cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        LocalIo::poll_flush(&mut *self.0, cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        LocalIo::poll_shutdown(&mut *self.0, cx)
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        LocalIo::poll_ending(&mut *self.0, cx)
    }
}

/// A TCP connection as a transport, with the settings of [`sockets::prepare_tcp`].
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) fn tcp(stream: TcpStream) -> Box<dyn Io> {
    sockets::prepare_tcp(&(&stream).into());
    Box::new(CompioTransport::new(stream))
}
