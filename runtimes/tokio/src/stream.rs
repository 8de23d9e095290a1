//! Transports of streams that implement tokio's traits: [`TokioTransport`].

use std::any::Any;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::BytesMut;
use socket2::SockRef;
use sockless_driver::{Ending, Io, sockets};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A stream that implements tokio's `AsyncRead` and `AsyncWrite`, as a transport.
///
/// If it is a [`TcpStream`] or a `UnixStream`, a session notices the end of its peer without
/// reading; over any other stream, only by reading.
///
/// ```
/// use sockless::ConnectionServer;
/// use sockless::tokio::TokioTransport;
///
/// async fn serve(stream: tokio::net::TcpStream, server: ConnectionServer) -> std::io::Result<()> {
///     let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
///     let transport = Box::new(TokioTransport::new(stream));
///     server.serve_connection(transport, Some(peer), Some(local)).await;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct TokioTransport<S>(S);

impl<S> TokioTransport<S> {
    /// Creates a transport over `stream`.
    pub fn new(stream: S) -> Self {
        Self(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for TokioTransport<S> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        // The future has no state of its own, so that each poll can make another.
        pin!(self.0.read_buf(buffer)).poll(cx)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            // `send` is a little cheaper than `writev` of one slice.
            [slice] => Pin::new(&mut self.0).poll_write(cx, slice),
            slices => Pin::new(&mut self.0).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_ending(&mut self, _cx: &mut Context<'_>) -> Ending {
        socket(&self.0).map_or(Ending::Unknown, |socket| sockets::ending(&socket))
    }

    fn ends_when_dropped(&self) -> bool {
        socket(&self.0).is_some()
    }
}

/// Returns the socket of `stream`, if it is one.
fn socket(stream: &dyn Any) -> Option<SockRef<'_>> {
    let socket = stream.downcast_ref::<TcpStream>().map(SockRef::from);
    #[cfg(unix)]
    let socket = socket.or_else(|| stream.downcast_ref::<UnixStream>().map(SockRef::from));
    socket
}

/// A TCP connection as a transport, with the settings of [`sockets::prepare_tcp`].
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) fn tcp(stream: TcpStream) -> Box<dyn Io> {
    sockets::prepare_tcp(&(&stream).into());
    Box::new(TokioTransport::new(stream))
}
