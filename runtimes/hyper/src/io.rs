//! What hyper gives up after an upgrade, as a transport for the driver: [`Transport`].

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::Version;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper::upgrade::Upgraded;
use sockless_driver::{Ending, Io};

#[cfg(feature = "tokio")]
use crate::socket;

/// A connection of HTTP/1.1 or a stream of HTTP/2, after the upgrade.
pub(crate) struct Transport {
    stream: Box<dyn Stream>,
    /// What the HTTP server had read before it gave up the connection; `None` once it is taken, since it
    /// pins the whole of that server's read buffer.
    read_before: Option<Bytes>,
    /// The most that one write takes.
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

/// The socket under a connection of HTTP/1.1, where its type is known, and what had been read from it.
fn reveal(upgraded: Upgraded) -> (Box<dyn Stream>, Bytes) {
    #[cfg(feature = "tokio")]
    let upgraded = match socket::reveal(upgraded) {
        Ok(revealed) => return revealed,
        Err(upgraded) => upgraded,
    };
    (Box::new(upgraded), Bytes::new())
}

/// What the bytes of a session go through.
pub(crate) trait Stream: Read + Write + Send + Unpin {
    /// As [`Io::poll_ending`].
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending;
}

/// A connection of HTTP/1.1 over something of which no more is known.
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
        let mut scratch = SCRATCH.take();
        scratch.resize(SCRATCH_LEN, 0);
        let room = SCRATCH_LEN.min(buffer.capacity() - buffer.len());
        let mut unfilled = ReadBuf::new(&mut scratch[..room]);
        let polled = Pin::new(&mut *self.stream).poll_read(cx, unfilled.unfilled());
        let polled = polled.map_ok(|()| {
            buffer.extend_from_slice(unfilled.filled());
            unfilled.filled().len()
        });
        SCRATCH.set(scratch);
        polled
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
    /// It was reset, or its connection has ended: hyper tells that once.
    has_failed: bool,
}

impl Stream for Http2Stream {
    /// That the peer resets the stream or the connection ends, its sending side learns too, of which a
    /// flush tells. END_STREAM waits behind what is unread, and is not seen: that is why this never says
    /// that the stream is open.
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

/// hyper copies what is written to a stream of HTTP/2, and holds up to three writes until the peer's
/// windows let them pass: each is kept to one DATA frame of the default length (RFC 9113 §6.5.2), so
/// that a peer that does not read costs little more than `high_water`.
const STREAM_WRITE_LEN: usize = 16 << 10;

/// How much one read brings: as much as the driver's own read buffer takes.
const SCRATCH_LEN: usize = 64 << 10;

thread_local! {
    /// What is read into on this thread: to read into the driver's buffer itself takes `unsafe`, since
    /// its room is not initialized, and to initialize it for each read costs more than the copy.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
