//! HTTP over a transport before there is a session: a request in, a response out, by a deadline.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use sockless_core::Instant;

use crate::runtime::{Io, Runtime, Timer, timeout};
use crate::session::engine::buffers;

/// A transport, what was read from it, and the time it has.
pub(crate) struct Exchange {
    pub(crate) transport: Box<dyn Io>,
    pub(crate) inbound: BytesMut,
    pub(crate) runtime: Arc<dyn Runtime>,
    timer: Box<dyn Timer>,
}

/// What a read brought.
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

    /// Reads more into `inbound`, in a buffer that the thread lends.
    pub(crate) async fn read(&mut self) -> io::Result<Input> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Input>> {
        if self.timer.poll_expired(cx).is_ready() {
            return Poll::Ready(Ok(Input::Timeout));
        }
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

    /// Writes all of `outbound`; false when the deadline has passed.
    pub(crate) async fn write(&mut self, outbound: &mut impl Buf) -> io::Result<bool> {
        poll_fn(|cx| {
            // Before what may wait, flushing included: a transport may never get rid of its bytes.
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

    /// Says that nothing more comes, and reads what the peer still sends and drops it, so that a
    /// reset does not eat the response.
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
