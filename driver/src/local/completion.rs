//! Transports of streams whose operations own their buffers: [`CompletionTransport`].

use std::fmt;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};

use super::{LocalBoxFuture, LocalIo};
use crate::runtime::Ending;

/// A stream whose operations own their buffers until they are complete, as those of io_uring and
/// IOCP do.
///
/// It is what a [`CompletionTransport`] needs from a completion-based runtime. A future borrows
/// nothing from the stream: it holds a clone of the runtime's stream, or of an `Rc` of it. Dropping
/// it cancels the operation.
pub trait CompletionStream: 'static {
    /// Reads into the spare capacity of `buffer`, which is empty, and returns it with the bytes
    /// that were read; an empty one means that the peer sends nothing further.
    fn read(&self, buffer: BytesMut) -> impl Future<Output = io::Result<BytesMut>> + 'static;

    /// Writes a prefix of `bytes`, and returns its length.
    fn write(&self, bytes: Bytes) -> impl Future<Output = io::Result<usize>> + 'static;

    /// Writes a prefix of `slices` without waiting, and returns its length. Default:
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), which leads to a [`write`](Self::write).
    ///
    /// A stream that can do this saves the copy, and what it has accepted is sent even if the
    /// transport is dropped at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if it would wait; otherwise the error of the
    /// stream.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let _ = slices;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Shuts down writing. Reading continues.
    fn shutdown(&self) -> impl Future<Output = io::Result<()>> + 'static;

    /// Ends the connection at once, in both directions. The transport calls it when it is dropped
    /// while an operation is in flight: the runtime may keep the stream open until the operation
    /// has been cancelled.
    fn disconnect(&self);

    /// As [`Io::poll_ending`](crate::Io::poll_ending). Default: [`Ending::Unknown`].
    fn ending(&self) -> Ending {
        Ending::Unknown
    }
}

/// A transport over a [`CompletionStream`].
///
/// The driver lends its buffers for the time of one poll, and an operation keeps its buffer for
/// longer, so that each byte that an operation moves is copied once. At most one read and one write
/// are in flight:
///
/// * A read owns 2 KiB while the connection is idle, and up to 64 KiB while full reads show that
///   more is arriving.
/// * A write is first [tried without waiting](CompletionStream::try_write). One that would wait
///   owns up to 64 KiB, and counts as accepted when it has been started. The next one is accepted
///   when it is complete, and a flush waits for that. So the session's backpressure and its
///   [`write_timeout`](sockless_core::Config::write_timeout) work as on other transports, 64 KiB
///   later.
///
/// A port to a runtime is the four operations and a few functions around them: see
/// [`CompletionStream`], and the crate `sockless-compio` as an example.
pub struct CompletionTransport<S: CompletionStream> {
    // The operations are dropped before the stream.
    reading: Option<LocalBoxFuture<'static, io::Result<BytesMut>>>,
    writing: Option<Writing>,
    shutting_down: Option<LocalBoxFuture<'static, io::Result<()>>>,
    /// Bytes that were read and for which the reader had no room, and the memory of the next read.
    received: BytesMut,
    /// The length of the next read.
    read_len: usize,
    stream: S,
}

struct Writing {
    /// The bytes of which the operation writes a prefix.
    bytes: Bytes,
    operation: LocalBoxFuture<'static, io::Result<usize>>,
}

/// The length of a read while little arrives: what an idle connection owns.
const IDLE_READ_LEN: usize = 2 << 10;

/// The length of a read that follows a full one.
const READ_LEN: usize = 64 << 10;

/// The most that one write takes.
const WRITE_LEN: usize = 64 << 10;

impl<S: CompletionStream> CompletionTransport<S> {
    /// Creates a transport over `stream`.
    pub fn new(stream: S) -> Self {
        Self {
            reading: None,
            writing: None,
            shutting_down: None,
            received: BytesMut::new(),
            read_len: IDLE_READ_LEN,
            stream,
        }
    }

    /// Returns the stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Waits for the read in flight, or for one that it starts.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let reading = self.reading.get_or_insert_with(|| {
            let mut buffer = std::mem::take(&mut self.received);
            buffer.clear();
            buffer.reserve(self.read_len);
            Box::pin(self.stream.read(buffer))
        });
        let read = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        self.received = read?;
        self.adapt_read_len();
        Poll::Ready(Ok(()))
    }

    fn adapt_read_len(&mut self) {
        let len = self.received.len();
        if len >= self.read_len {
            self.read_len = READ_LEN;
        } else if len <= IDLE_READ_LEN && self.read_len > IDLE_READ_LEN {
            self.read_len = IDLE_READ_LEN;
            // The memory of a long read is given back.
            self.received = BytesMut::from(&self.received[..]);
        }
    }

    /// Waits until what was accepted has been written.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(writing) = &mut self.writing {
            let written = ready!(writing.operation.as_mut().poll(cx));
            let mut rest = std::mem::take(&mut writing.bytes);
            self.writing = None;
            match written? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                len => rest.advance(len.min(rest.len())),
            }
            if !rest.is_empty() {
                self.start_write(rest);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn start_write(&mut self, bytes: Bytes) {
        let operation = Box::pin(self.stream.write(bytes.clone()));
        self.writing = Some(Writing { bytes, operation });
    }
}

impl<S: CompletionStream> LocalIo for CompletionTransport<S> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        if self.received.is_empty() {
            ready!(self.poll_fill(cx))?;
        }
        let len = self.received.len().min(buffer.capacity() - buffer.len());
        buffer.extend_from_slice(&self.received[..len]);
        self.received.advance(len);
        Poll::Ready(Ok(len))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_written(cx))?;
        let len = slices.iter().map(|slice| slice.len()).sum::<usize>().min(WRITE_LEN);
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        match self.stream.try_write(slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
        let mut bytes = BytesMut::with_capacity(len);
        for slice in slices {
            let room = len - bytes.len();
            bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        self.start_write(bytes.freeze());
        // An operation starts when it is polled.
        if let Poll::Ready(Err(error)) = self.poll_written(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        let stream = &self.stream;
        let operation = self.shutting_down.get_or_insert_with(|| Box::pin(stream.shutdown()));
        let result = ready!(operation.as_mut().poll(cx));
        self.shutting_down = None;
        Poll::Ready(result)
    }

    fn poll_ending(&mut self, _cx: &mut Context<'_>) -> Ending {
        self.stream.ending()
    }
}

impl<S: CompletionStream> Drop for CompletionTransport<S> {
    fn drop(&mut self) {
        if self.reading.is_some() || self.writing.is_some() || self.shutting_down.is_some() {
            self.stream.disconnect();
        }
    }
}

impl<S: CompletionStream + fmt::Debug> fmt::Debug for CompletionTransport<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionTransport")
            .field("stream", &self.stream)
            .field("is_reading", &self.reading.is_some())
            .field("is_writing", &self.writing.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
