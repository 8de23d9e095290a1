//! A transport that is memory, for codecs that want one.

use std::hint::black_box;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gives the same bytes so many times, then would block; swallows what is written.
pub struct Memory {
    bytes: Bytes,
    read: usize,
    /// How often the bytes are still to come.
    times: usize,
}

impl Memory {
    pub fn new(bytes: &[u8], times: usize) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes), read: 0, times }
    }

    /// What the next read brings: nothing from two times at once, as the bytes of each arrive together.
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
    /// Nothing wakes who has been told to wait: all that is to come is there.
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

    /// As a socket's.
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
