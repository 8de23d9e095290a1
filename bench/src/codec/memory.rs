//! An in-memory transport, for codecs that need a transport.

use std::hint::black_box;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads return the same bytes a number of times, and would block afterwards; writes are discarded.
pub struct Memory {
    bytes: Bytes,
    read: usize,
    /// The number of times that the bytes are still to be read.
    times: usize,
}

impl Memory {
    pub fn new(bytes: &[u8], times: usize) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes), read: 0, times }
    }

    /// The bytes of the next read, which never cross from one repetition into the next.
    fn next(&mut self, most: usize) -> Option<&[u8]> {
        if self.times == 0 {
            return None;
        }
        let start = self.read;
        let end = self.bytes.len().min(start + most);
        self.read = end;
        if end == self.bytes.len() {
            (self.read, self.times) = (0, self.times - 1);
        }
        Some(black_box(&self.bytes[start..end]))
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.next(buffer.len()).ok_or(io::ErrorKind::WouldBlock)?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Memory {
    /// Registers no waker: once it is pending, no bytes will ever come.
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(bytes) = self.next(buffer.remaining()) else { return Poll::Pending };
        buffer.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(black_box(bytes).len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| black_box(slice).len()).sum()))
    }

    /// As for a socket.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
