//! Transports of streams that implement the traits of `futures-io`: [`FuturesTransport`].

use std::any::Any;
use std::fmt;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

use crate::runtime::sockets::{ending, shutdown_write};
use crate::runtime::{Ending, Io, poll_read_into};

/// A stream that implements `AsyncRead` and `AsyncWrite` of `futures-io`, as a transport.
///
/// `K` finds the socket of a stream, if it is one: a session over a socket notices the end of its
/// peer without reading.
pub struct FuturesTransport<S, K> {
    stream: S,
    sockets: PhantomData<fn() -> K>,
}

/// Distinguishes a runtime's sockets from other streams.
///
/// A socket can be shut down in one direction and asked for the end of its peer, which the traits
/// of `futures-io` do not offer.
pub trait Sockets: 'static {
    /// Returns the socket of `stream`, if it is one.
    fn socket(stream: &dyn Any) -> Option<SockRef<'_>>;
}

impl<S: 'static, K: Sockets> FuturesTransport<S, K> {
    /// Creates a transport over `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream, sockets: PhantomData }
    }

    fn socket(&self) -> Option<SockRef<'_>> {
        K::socket(&self.stream)
    }
}

impl<S, K> Io for FuturesTransport<S, K>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    K: Sockets,
{
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        poll_read_into(buffer, |bytes| Pin::new(&mut self.stream).poll_read(cx, bytes))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        match slices {
            // `send` is a little cheaper than `writev` of one slice.
            [slice] => stream.poll_write(cx, slice),
            slices => stream.poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket() {
            // A socket has no buffer, and flushing one of smol drops the waker of its writer.
            Some(_) => Poll::Ready(Ok(())),
            None => Pin::new(&mut self.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket() {
            // Closing a socket of async-io does nothing.
            Some(socket) => Poll::Ready(shutdown_write(&socket)),
            None => Pin::new(&mut self.stream).poll_close(cx),
        }
    }

    fn poll_ending(&mut self, _cx: &mut Context<'_>) -> Ending {
        self.socket().map_or(Ending::Unknown, |socket| ending(&socket))
    }

    fn ends_when_dropped(&self) -> bool {
        self.socket().is_some()
    }
}

impl<S: fmt::Debug, K> fmt::Debug for FuturesTransport<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FuturesTransport").field(&self.stream).finish()
    }
}
