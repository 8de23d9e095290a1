//! Any stream of the futures family as a transport: [`FuturesTransport`].

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

use crate::runtime::sockets::{ending, shutdown_write};
use crate::runtime::{Ending, Io};

/// A stream of the futures family as a transport for the driver; `K` knows which ones are sockets.
pub struct FuturesTransport<S, K> {
    stream: S,
    sockets: PhantomData<fn() -> K>,
}

/// Tells a runtime's sockets from other streams: `AsyncWrite` is not the whole of what they can do.
pub trait Sockets: 'static {
    /// The socket that `stream` is, if it is one.
    fn socket(stream: &dyn Any) -> Option<SockRef<'_>>;
}

impl<S: 'static, K: Sockets> FuturesTransport<S, K> {
    /// The transport over `stream`.
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
        let mut scratch = SCRATCH.take();
        scratch.resize(SCRATCH_LEN, 0);
        let room = SCRATCH_LEN.min(buffer.capacity() - buffer.len());
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut scratch[..room]);
        if let Poll::Ready(Ok(len)) = polled {
            buffer.extend_from_slice(&scratch[..len]);
        }
        SCRATCH.set(scratch);
        polled
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
            // It holds nothing back; and smol's, when flushed, forget who waits to write.
            Some(_) => Poll::Ready(Ok(())),
            None => Pin::new(&mut self.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket() {
            // To close one of async-io's does nothing.
            Some(socket) => Poll::Ready(shutdown_write(&socket)),
            None => Pin::new(&mut self.stream).poll_close(cx),
        }
    }

    fn poll_ending(&mut self, _cx: &mut Context<'_>) -> Ending {
        self.socket().map_or(Ending::Unknown, |socket| ending(&socket))
    }
}

impl<S: fmt::Debug, K> fmt::Debug for FuturesTransport<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FuturesTransport").field(&self.stream).finish()
    }
}

/// How much one read brings at most.
const SCRATCH_LEN: usize = 64 << 10;

thread_local! {
    /// What this thread reads into, since `AsyncRead` wants bytes that are initialised and the driver's
    /// buffer has room that is not. To copy what arrived costs nothing that can be measured up to
    /// 4 KiB, a fifth of the read at 16 KiB and as much as the read at 64 KiB; to zero the room in
    /// place, 2 µs each time, more than a whole read of 1 KiB. To zero less, by a guess at what will
    /// arrive, was slower than the copy from 16 KiB on.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
