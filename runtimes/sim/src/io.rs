//! The ends of a pipe: [`SimIo`].

use std::fmt;
use std::future::poll_fn;
use std::io;
#[cfg(any(feature = "futures-io", feature = "tokio"))]
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use sockless_driver::{Ending, Io};

use crate::link::Link;
use crate::pipe::Pipe;
use crate::rng::Chance;
use crate::tap::{Tap, Writer};
use crate::time::Time;
use crate::wire::Wire;

/// One end of a simulated connection, from [`Sim::pipe`](crate::Sim::pipe) or
/// [`Sim::dial`](crate::Sim::dial): a transport for the driver, with `async` methods for tests that
/// exchange bytes.
///
/// Dropping it ends the stream of what it wrote, after the bytes under way, and the peer's writes
/// fail from then on. Over a link with [resets](Link::resets) it behaves like the end of a TCP
/// connection. At any time one task may read and one may write.
///
/// ```
/// use sockless::sim::Sim;
///
/// let sim = Sim::new(1);
/// sim.run(async {
///     let (here, there) = sim.pipe();
///     here.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
///     assert_eq!(there.read_until(b"\r\n").await?, "GET / HTTP/1.1\r\n");
///     assert_eq!(there.read_exact(2).await?, "\r\n");
///     drop(here);
///     assert_eq!(there.read_to_end().await?, "");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct SimIo {
    pipe: Arc<Pipe>,
    side: usize,
}

impl SimIo {
    pub(crate) fn pair(
        time: &Arc<Time>,
        link: &Link,
        chances: [Chance; 2],
        tap: Arc<Mutex<Tap>>,
    ) -> (Self, Self) {
        let pipe = Arc::new(Pipe::new(time, link, chances, tap));
        (Self { pipe: Arc::clone(&pipe), side: 0 }, Self { pipe, side: 1 })
    }

    pub(crate) fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }

    /// Returns a handle that has the counters of this end and injects faults.
    pub fn wire(&self) -> Wire {
        Wire::new(&self.pipe, self.side)
    }

    /// Reads the bytes that have arrived, at least one. Returns no bytes at the end of the stream.
    ///
    /// Cancel-safe: bytes that were not returned are kept for the next read.
    ///
    /// # Errors
    ///
    /// `ConnectionReset` if the wire was cut or reset.
    pub async fn read_some(&self) -> io::Result<Bytes> {
        self.read_up_to(usize::MAX).await
    }

    /// Reads from 1 to `len` bytes that have arrived. Returns no bytes at the end of the stream.
    ///
    /// Cancel-safe: bytes that were not returned are kept for the next read.
    ///
    /// # Errors
    ///
    /// `ConnectionReset` if the wire was cut or reset.
    pub async fn read_up_to(&self, len: usize) -> io::Result<Bytes> {
        if self.unread(|unread| unread.is_empty()) {
            self.fill(len).await?;
        }
        Ok(self.unread(|unread| unread.split_to(len.min(unread.len())).freeze()))
    }

    /// Reads exactly `len` bytes.
    ///
    /// Cancel-safe: bytes that were not returned are kept for the next read.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends before that, `ConnectionReset` if the wire was cut or
    /// reset.
    pub async fn read_exact(&self, len: usize) -> io::Result<Bytes> {
        while let missing @ 1.. = self.unread(|unread| len.saturating_sub(unread.len())) {
            self.fill_or_eof(missing).await?;
        }
        Ok(self.unread(|unread| unread.split_to(len).freeze()))
    }

    /// Reads up to and including the first `delimiter`.
    ///
    /// Cancel-safe: bytes that were not returned are kept for the next read.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends before that, `ConnectionReset` if the wire was cut or
    /// reset.
    ///
    /// # Panics
    ///
    /// Panics if the delimiter is empty.
    pub async fn read_until(&self, delimiter: &[u8]) -> io::Result<Bytes> {
        let mut searched = 0;
        loop {
            let found = self.unread(|unread| {
                let mut windows = unread[searched..].windows(delimiter.len());
                let found = windows.position(|window| window == delimiter);
                let end = found.map(|at| searched + at + delimiter.len());
                searched = (unread.len() + 1).saturating_sub(delimiter.len());
                end.map(|end| unread.split_to(end).freeze())
            });
            match found {
                Some(bytes) => return Ok(bytes),
                None => self.fill_or_eof(usize::MAX).await?,
            }
        }
    }

    /// Reads to the end of the stream.
    ///
    /// Cancel-safe: bytes that were not returned are kept for the next read.
    ///
    /// # Errors
    ///
    /// `ConnectionReset` if the wire was cut or reset.
    pub async fn read_to_end(&self) -> io::Result<Bytes> {
        while self.fill(usize::MAX).await? > 0 {}
        self.read_some().await
    }

    /// Writes all of `bytes` and flushes.
    ///
    /// Not cancel-safe: if the future is dropped, a prefix may have been written. [`Wire::stats`]
    /// has its length.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if this direction was ended or the peer dropped its end, `ConnectionReset` if
    /// the wire was cut or reset.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let slices = [io::IoSlice::new(bytes)];
            let len =
                poll_fn(|cx| self.pipe.poll_write(self.side, Writer::Other, cx, &slices)).await?;
            bytes = &bytes[len..];
        }
        self.pipe.flush(self.side)
    }

    /// Shuts down the writing direction: the peer reads the end of the stream after all written
    /// bytes.
    ///
    /// Cancel-safe: it completes when it is first polled.
    ///
    /// # Errors
    ///
    /// `ConnectionReset` if the wire was cut or reset.
    pub async fn shutdown(&self) -> io::Result<()> {
        self.pipe.shutdown(self.side, Writer::Other)
    }

    /// Reads what has arrived, at most `limit` bytes, for which `buffer` gets room.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &Context<'_>,
        buffer: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        self.pipe.poll_receive(self.side, cx, buffer, limit)
    }

    async fn fill(&self, wanted: usize) -> io::Result<usize> {
        let filled = poll_fn(|cx| self.pipe.poll_fill(self.side, cx, wanted)).await;
        // Even if it is a ping: a test waited for it.
        self.pipe.live();
        filled
    }

    async fn fill_or_eof(&self, wanted: usize) -> io::Result<()> {
        match self.fill(wanted).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn unread<T>(&self, act: impl FnOnce(&mut BytesMut) -> T) -> T {
        self.pipe.with(|state, _, _| act(&mut state.ends[self.side].unread))
    }
}

impl Io for SimIo {
    /// # Panics
    ///
    /// Panics if `buffer` has no spare capacity, which [`Io`] forbids.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.pipe.poll_read(self.side, cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(self.side, Writer::Driver, cx, slices)
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.pipe.flush(self.side))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.pipe.shutdown(self.side, Writer::Driver))
    }

    /// Returns whether a FIN or a reset has arrived, however many bytes before it are unread.
    /// Returns [`Ending::Unknown`] over a link with [`Link::ending_unknown`], until a
    /// [reset of the stream](Wire::reset_stream) has arrived.
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        self.pipe.with(|state, now, wakes| state.poll_ending(self.side, cx, now, wakes))
    }
}

/// Reading into memory that a stream of another library lends.
#[cfg(any(feature = "futures-io", feature = "tokio"))]
impl SimIo {
    /// Reads at most `room` bytes and passes them to `take`.
    fn poll_take(
        &self,
        cx: &Context<'_>,
        room: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        if self.unread(|unread| unread.is_empty()) {
            std::task::ready!(self.pipe.poll_fill(self.side, cx, room))?;
        }
        let read = self.unread(|unread| unread.split_to(room.min(unread.len())));
        take(&read);
        Poll::Ready(Ok(read.len()))
    }
}

/// For clients and servers of other protocols, with the feature `futures-io`.
#[cfg(feature = "futures-io")]
impl futures_io::AsyncRead for SimIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_take(cx, buffer.len(), |read| buffer[..read.len()].copy_from_slice(read))
    }
}

#[cfg(feature = "futures-io")]
impl futures_io::AsyncWrite for SimIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(self.side, Writer::Other, cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(self.side, Writer::Other, cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.pipe.flush(self.side))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.pipe.shutdown(self.side, Writer::Other))
    }
}

/// For clients and servers of other protocols, such as hyper, with the feature `tokio`.
#[cfg(feature = "tokio")]
impl tokio::io::AsyncRead for SimIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_take(cx, buffer.remaining(), |read| buffer.put_slice(read)).map_ok(drop)
    }
}

#[cfg(feature = "tokio")]
impl tokio::io::AsyncWrite for SimIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(self.side, Writer::Other, cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(self.side, Writer::Other, cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.pipe.flush(self.side))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.pipe.shutdown(self.side, Writer::Other))
    }
}

impl Drop for SimIo {
    fn drop(&mut self) {
        self.pipe.drop_end(self.side);
    }
}

impl fmt::Debug for SimIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimIo").field("stats", &self.pipe.stats(self.side)).finish_non_exhaustive()
    }
}
