//! Reading and writing on a transport before there is a session, with a deadline: [`Exchange`].

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use sockless_core::Instant;

use crate::runtime::{Io, Runtime, Timer, timeout};
use crate::session::engine::buffers;

/// A transport, the bytes that were read from it, and a deadline.
pub(crate) struct Exchange {
    pub(crate) transport: Box<dyn Io>,
    pub(crate) inbound: BytesMut,
    pub(crate) runtime: Arc<dyn Runtime>,
    timer: Box<dyn Timer>,
}

/// The result of a read.
pub(crate) enum Input {
    Bytes,
    Eof,
    /// The deadline has passed.
    Timeout,
}

impl Exchange {
    pub(crate) fn new(
        transport: Box<dyn Io>,
        runtime: Arc<dyn Runtime>,
        deadline: Instant,
    ) -> Self {
        let timer = runtime.timer(deadline);
        Self { transport, inbound: BytesMut::new(), runtime, timer }
    }

    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.timer.reset(deadline);
    }

    /// Reads more into `inbound`, through a buffer that the thread lends.
    pub(crate) async fn read(&mut self) -> io::Result<Input> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// As [`read`](Self::read), but bytes that have arrived when the deadline is noticed are still
    /// read: they may have arrived in time, while the task was not polled.
    ///
    /// The caller must limit the number of bytes, since a peer that never stops sending never times
    /// out.
    pub(crate) async fn read_in_time(&mut self) -> io::Result<Input> {
        match self.read().await? {
            Input::Timeout => self.read_arrived().await,
            input => Ok(input),
        }
    }

    /// Reads bytes that have arrived, without waiting. Returns [`Timeout`](Input::Timeout) if
    /// nothing has arrived.
    pub(crate) async fn read_arrived(&mut self) -> io::Result<Input> {
        poll_fn(|cx| match self.poll_transport(cx) {
            Poll::Pending => Poll::Ready(Ok(Input::Timeout)),
            read => read,
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Input>> {
        if self.timer.poll_expired(cx).is_ready() {
            return Poll::Ready(Ok(Input::Timeout));
        }
        self.poll_transport(cx)
    }

    fn poll_transport(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Input>> {
        let mut buffer = buffers::lend_read();
        let read = self.transport.poll_read(cx, &mut buffer);
        self.inbound.extend_from_slice(&buffer);
        buffer.clear();
        buffers::give_back_read(&mut buffer);
        Poll::Ready(Ok(match ready!(read)? {
            0 => Input::Eof,
            _ => Input::Bytes,
        }))
    }

    /// Writes and flushes all of `outbound`. Returns false if the deadline passes first.
    pub(crate) async fn write(&mut self, outbound: &mut impl Buf) -> io::Result<bool> {
        poll_fn(|cx| {
            // Checked first: a transport may never become writable.
            if self.timer.poll_expired(cx).is_ready() {
                return Poll::Ready(Ok(false));
            }
            while outbound.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 8];
                let filled = outbound.chunks_vectored(&mut slices);
                match ready!(self.transport.poll_write(cx, &slices[..filled]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => outbound.advance(written),
                }
            }
            self.transport.poll_flush(cx).map_ok(|()| true)
        })
        .await
    }

    /// Shuts down writing, then reads and drops what the peer still sends: closing a socket with
    /// unread data sends a reset, which could discard the response.
    pub(crate) async fn finish(mut self) -> io::Result<()> {
        poll_fn(|cx| {
            if self.timer.poll_expired(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.transport.poll_shutdown(cx)
        })
        .await?;
        while let Input::Bytes = self.read().await? {
            self.inbound.clear();
        }
        Ok(())
    }

    /// Waits for `future`; returns `None` if the deadline passes first.
    pub(crate) async fn wait_for<F: Future>(&mut self, future: F) -> Option<F::Output> {
        timeout(&mut *self.timer, future).await
    }
}
