//! A transport of the driver as a stream of tokio's traits, which the crate `redis` uses: [`Stream`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use sockless_driver::Io;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::{Guard, MAX_VALUE_LEN};

/// The size of a read, in bytes.
const READ_LEN: usize = 16 << 10;

/// The connection to the broker, whose input is guarded.
pub(super) struct Stream {
    io: Box<dyn Io>,
    guard: Guard,
    /// Bytes that were read and not yet taken.
    read: BytesMut,
}

impl Stream {
    pub(super) fn new(io: Box<dyn Io>) -> Self {
        Self { io, guard: Guard::new(MAX_VALUE_LEN), read: BytesMut::new() }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.read.is_empty() {
            this.read.reserve(READ_LEN);
            ready!(this.io.poll_read(cx, &mut this.read))?;
            this.guard.check(&this.read)?;
        }
        let len = this.read.len().min(buffer.remaining());
        buffer.put_slice(&this.read[..len]);
        this.read.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }
}
