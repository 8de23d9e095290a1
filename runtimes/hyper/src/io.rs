//! The transport of an upgraded connection or stream of hyper: [`Transport`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::Version;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper::upgrade::Upgraded;
use sockless_driver::{Ending, Io, poll_read_into};

#[cfg(feature = "tokio")]
use crate::socket;

/// A connection of HTTP/1.1 or a stream of HTTP/2, after the upgrade.
pub(crate) struct Transport {
    stream: Box<dyn Stream>,
    /// The bytes that the HTTP server had read before it released the connection. `None` once they
    /// are taken, since they keep the whole of that server's read buffer allocated.
    read_before: Option<Bytes>,
    /// The most bytes that one write takes.
    write_len: usize,
}

impl Transport {
    pub(crate) fn new(upgraded: Upgraded, version: Version) -> Self {
        if version == Version::HTTP_2 {
            let stream = Box::new(Http2Stream { upgraded, has_failed: false });
            return Self { stream, read_before: None, write_len: STREAM_WRITE_LEN };
        }
        let (stream, read_before) = reveal(upgraded);
        let read_before = Some(read_before).filter(|bytes| !bytes.is_empty());
        Self { stream, read_before, write_len: usize::MAX }
    }
}

/// The socket of a connection of HTTP/1.1, if its type is known, and the bytes that had been read
/// from it.
fn reveal(upgraded: Upgraded) -> (Box<dyn Stream>, Bytes) {
    #[cfg(feature = "tokio")]
    let upgraded = match socket::reveal(upgraded) {
        Ok(revealed) => return revealed,
        Err(upgraded) => upgraded,
    };
    (Box::new(upgraded), Bytes::new())
}

/// A byte stream that can be asked for its end.
pub(crate) trait Stream: Read + Write + Send + Unpin {
    /// As [`Io::poll_ending`].
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending;
}

/// A connection of HTTP/1.1 over a stream of unknown type.
impl Stream for Upgraded {
    fn poll_ending(&mut self, _cx: &mut Context<'_>) -> Ending {
        Ending::Unknown
    }
}

impl Io for Transport {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        if let Some(mut bytes) = self.read_before.take() {
            let len = bytes.len().min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&bytes[..len]);
            bytes.advance(len);
            self.read_before = Some(bytes).filter(|bytes| !bytes.is_empty());
            return Poll::Ready(Ok(len));
        }
        poll_read_into(buffer, |bytes| {
            let mut bytes = ReadBuf::new(bytes);
            let polled = Pin::new(&mut *self.stream).poll_read(cx, bytes.unfilled());
            polled.map_ok(|()| bytes.filled().len())
        })
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut *self.stream);
        if stream.is_write_vectored() {
            return stream.poll_write_vectored(cx, slices);
        }
        let slice = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        stream.poll_write(cx, &slice[..slice.len().min(self.write_len)])
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        self.stream.poll_ending(cx)
    }
}

/// A stream of HTTP/2.
struct Http2Stream {
    upgraded: Upgraded,
    /// The stream was reset, or its connection has ended. hyper reports that once.
    has_failed: bool,
}

impl Stream for Http2Stream {
    /// A flush fails if the peer has reset the stream or the connection has ended. An END_STREAM
    /// behind unread data is not noticed, so the result is never [`Ending::Open`].
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        if let Poll::Ready(Err(_)) = Pin::new(&mut self.upgraded).poll_flush(cx) {
            self.has_failed = true;
        }
        if self.has_failed { Ending::Ended } else { Ending::Unknown }
    }
}

impl Read for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.upgraded).poll_read(cx, buffer)
    }
}

impl Write for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.upgraded).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.upgraded).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.upgraded).poll_shutdown(cx)
    }
}

/// The most bytes of one write to a stream of HTTP/2: one DATA frame of the default length (RFC
/// 9113 §6.5.2). hyper copies what is written, and holds up to three writes until the peer's
/// flow-control windows admit them, so a peer that does not read costs little more than
/// `high_water`.
const STREAM_WRITE_LEN: usize = 16 << 10;
