//! Reading and writing on a transport before there is a session, with a deadline: [`Exchange`].

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use sockless_core::Instant;

use crate::runtime::{Io, Runtime, Timer};
use crate::session::engine::buffers;

/// A transport, the bytes that were read from it, and a deadline.
pub(crate) struct Exchange {
    pub(crate) transport: Box<dyn Io>,
    pub(crate) inbound: BytesMut,
    pub(crate) runtime: Arc<dyn Runtime>,
    deadline: Instant,
    /// Made when something is first waited for: most requests are there when they are read.
    timer: Option<Box<dyn Timer>>,
}

/// The result of a read.
pub(crate) enum Input<T = Infallible> {
    /// What was made of the bytes.
    Taken(T),
    /// Nothing was made of the bytes yet.
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
        Self { transport, inbound: BytesMut::new(), runtime, deadline, timer: None }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if let Some(timer) = &mut self.timer {
            timer.reset(deadline);
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (runtime, deadline) = (&self.runtime, self.deadline);
        self.timer.get_or_insert_with(|| runtime.timer(deadline)).poll_expired(cx)
    }

    /// Reads more into `inbound`, through a buffer that the thread lends.
    pub(crate) async fn read(&mut self) -> io::Result<Input> {
        self.read_with(|_| None).await
    }

    /// As [`read`](Self::read), but bytes that have arrived when the deadline is noticed are still
    /// read: they may have arrived in time, while the task was not polled.
    ///
    /// The caller must limit the number of bytes, since a peer that never stops sending never times
    /// out.
    pub(crate) async fn read_in_time(&mut self) -> io::Result<Input> {
        self.read_in_time_with(|_| None).await
    }

    /// As [`read_in_time`](Self::read_in_time), and has `take` take something out of all bytes that have
    /// been read. What it leaves is kept in `inbound`.
    pub(crate) fn read_in_time_with<T>(
        &mut self,
        mut take: impl FnMut(&mut BytesMut) -> Option<T>,
    ) -> impl Future<Output = io::Result<Input<T>>> {
        poll_fn(move |cx| match self.poll_read(cx, &mut take) {
            Poll::Ready(Ok(Input::Timeout)) => self.poll_arrived(cx, &mut take),
            read => read,
        })
    }

    /// Reads bytes that have arrived, without waiting. Returns [`Timeout`](Input::Timeout) if
    /// nothing has arrived.
    pub(crate) async fn read_arrived(&mut self) -> io::Result<Input> {
        poll_fn(|cx| self.poll_arrived(cx, |_| None)).await
    }

    fn read_with<T>(
        &mut self,
        mut take: impl FnMut(&mut BytesMut) -> Option<T>,
    ) -> impl Future<Output = io::Result<Input<T>>> {
        poll_fn(move |cx| self.poll_read(cx, &mut take))
    }

    fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut BytesMut) -> Option<T>,
    ) -> Poll<io::Result<Input<T>>> {
        // Bytes that never cease do not extend the deadline of a timer that is set.
        if self.timer.is_some() && self.poll_deadline(cx).is_ready() {
            return Poll::Ready(Ok(Input::Timeout));
        }
        let read = self.poll_transport(cx, take);
        if read.is_pending() && self.poll_deadline(cx).is_ready() {
            return Poll::Ready(Ok(Input::Timeout));
        }
        read
    }

    fn poll_arrived<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut BytesMut) -> Option<T>,
    ) -> Poll<io::Result<Input<T>>> {
        match self.poll_transport(cx, take) {
            Poll::Pending => Poll::Ready(Ok(Input::Timeout)),
            read => read,
        }
    }

    fn poll_transport<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut BytesMut) -> Option<T>,
    ) -> Poll<io::Result<Input<T>>> {
        let mut buffer = buffers::lend_read();
        let read = self.transport.poll_read(cx, &mut buffer);
        let taken = match read {
            Poll::Ready(Ok(1..)) => self.take(&mut buffer, take),
            _ => None,
        };
        buffer.clear();
        buffers::give_back_read(&mut buffer);
        Poll::Ready(Ok(match (ready!(read)?, taken) {
            (_, Some(taken)) => Input::Taken(taken),
            (0, None) => Input::Eof,
            (_, None) => Input::Bytes,
        }))
    }

    /// Has `take` take something out of all bytes that have been read: of the lent `buffer` itself, if no
    /// others are kept.
    fn take<T>(
        &mut self,
        buffer: &mut BytesMut,
        take: impl FnOnce(&mut BytesMut) -> Option<T>,
    ) -> Option<T> {
        if !self.inbound.is_empty() {
            self.inbound.extend_from_slice(buffer);
            return take(&mut self.inbound);
        }
        let taken = take(buffer);
        self.inbound =
            if buffer.is_empty() { BytesMut::new() } else { BytesMut::from(&buffer[..]) };
        taken
    }

    /// Writes and flushes all of `outbound`. Returns false if the deadline passes first.
    pub(crate) async fn write(&mut self, outbound: &mut impl Buf) -> io::Result<bool> {
        poll_fn(|cx| {
            // Checked first: a transport may never become writable.
            if self.poll_deadline(cx).is_ready() {
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
            if self.poll_deadline(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.transport.poll_shutdown(cx)
        })
        .await?;
        let drop_all = |inbound: &mut BytesMut| {
            inbound.clear();
            None::<Infallible>
        };
        while let Input::Bytes = self.read_with(drop_all).await? {}
        Ok(())
    }

    /// Waits for `future`; returns `None` if the deadline passes first.
    pub(crate) fn wait_for<F: Future + Unpin>(
        &mut self,
        mut future: F,
    ) -> impl Future<Output = Option<F::Output>> {
        poll_fn(move |cx| match Pin::new(&mut future).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_deadline(cx).map(|()| None),
        })
    }
}
