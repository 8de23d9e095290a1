//! Pipes in memory: [`SimIo`], one end of one.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use sockless_core::Instant;
use sockless_driver::{Ending, Io};

use crate::ends::{End, Ends};
use crate::executor::Sim;
use crate::lane::Lane;
use crate::link::Link;
use crate::lock;
use crate::time::Time;
use crate::waiter::Wakes;
use crate::wire::{Wire, WireStats};

impl Sim {
    /// A pipe over the default [`Link`]: what is written to one end is read from the other.
    pub fn pipe(&self) -> (SimIo, SimIo) {
        self.pipe_over(&Link::default())
    }

    /// A pipe over `link`, which holds for both directions until
    /// [`Wire::set_link`] changes one.
    pub fn pipe_over(&self, link: &Link) -> (SimIo, SimIo) {
        let lane = || Lane::new(link.clone(), self.fork_chance());
        let end = || End::new(self.time());
        let pipe = Arc::new(Pipe {
            time: Arc::clone(self.time()),
            state: Mutex::new(Ends { lanes: [lane(), lane()], ends: [end(), end()] }),
        });
        let end = |side| SimIo { pipe: Arc::clone(&pipe), side };
        (end(0), end(1))
    }
}

/// One end of a pipe: an [`Io`] for the driver, and by its `async` methods the other side of a test
/// that speaks in bytes.
///
/// Dropping it ends what it wrote, after the bytes that are under way, and breaks what its peer
/// writes from then on; over a link that [resets](Link::resets) as the end of a TCP connection does.
/// At any time one task may read and one may write.
///
/// ```
/// use sockless_sim::Sim;
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
    /// The handle that counts what this end does and makes the pipe fail.
    pub fn wire(&self) -> Wire {
        Wire { pipe: Arc::clone(&self.pipe), side: self.side }
    }

    /// Reads what has come, at least a byte; nothing at the end of the stream.
    ///
    /// Cancel-safe: what was not returned is there for the next read.
    ///
    /// # Errors
    ///
    /// `ConnectionReset` when the wire was cut or reset.
    pub async fn read_some(&self) -> io::Result<Bytes> {
        self.read_up_to(usize::MAX).await
    }

    /// Reads what has come, at least a byte and at most `len`; nothing at the end of the stream.
    ///
    /// Cancel-safe: what was not returned is there for the next read.
    ///
    /// # Errors
    ///
    /// `ConnectionReset` when the wire was cut or reset.
    pub async fn read_up_to(&self, len: usize) -> io::Result<Bytes> {
        if self.unread(|unread| unread.is_empty()) {
            self.fill(len).await?;
        }
        Ok(self.unread(|unread| unread.split_to(len.min(unread.len())).freeze()))
    }

    /// Reads `len` bytes.
    ///
    /// Cancel-safe: what was not returned is there for the next read.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the stream ends before, `ConnectionReset` when the wire was cut or reset.
    pub async fn read_exact(&self, len: usize) -> io::Result<Bytes> {
        while let missing @ 1.. = self.unread(|unread| len.saturating_sub(unread.len())) {
            self.fill_or_eof(missing).await?;
        }
        Ok(self.unread(|unread| unread.split_to(len).freeze()))
    }

    /// Reads up to the end of the first `delimiter`, which is part of what it returns.
    ///
    /// Cancel-safe: what was not returned is there for the next read.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the stream ends before, `ConnectionReset` when the wire was cut or reset.
    ///
    /// # Panics
    ///
    /// When the delimiter is empty.
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
    /// Cancel-safe: what was not returned is there for the next read.
    ///
    /// # Errors
    ///
    /// `ConnectionReset` when the wire was cut or reset.
    pub async fn read_to_end(&self) -> io::Result<Bytes> {
        while self.fill(usize::MAX).await? > 0 {}
        self.read_some().await
    }

    /// Writes all of `bytes` and flushes.
    ///
    /// Not cancel-safe: when it is dropped, a prefix has been written, and [`Wire::stats`] says how
    /// much.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when this direction was ended or the peer dropped its end, `ConnectionReset` when
    /// the wire was cut or reset.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let slices = [io::IoSlice::new(bytes)];
            let len = poll_fn(|cx| self.pipe.poll_write(self.side, cx, &slices)).await?;
            bytes = &bytes[len..];
        }
        self.pipe.flush(self.side)
    }

    /// Ends what this end writes: the peer reads the end of the stream after all that was written.
    ///
    /// Cancel-safe: it is done when it is first polled.
    ///
    /// # Errors
    ///
    /// `ConnectionReset` when the wire was cut or reset.
    pub async fn shutdown(&self) -> io::Result<()> {
        self.pipe.shutdown(self.side)
    }

    async fn fill(&self, wanted: usize) -> io::Result<usize> {
        poll_fn(|cx| self.pipe.poll_fill(self.side, cx, wanted)).await
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
    /// When `buffer` has no spare capacity, which [`Io`] rules out.
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
        self.pipe.poll_write(self.side, cx, slices)
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.pipe.flush(self.side))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.pipe.shutdown(self.side))
    }

    /// Whether a FIN or a reset has arrived, behind however much that was not read;
    /// [`Ending::Unknown`] over a link of that kind.
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        self.pipe.with(|state, now, wakes| state.poll_ending(self.side, cx, now, wakes))
    }
}

impl Drop for SimIo {
    fn drop(&mut self) {
        self.pipe.with(|state, now, _| state.drop_end(self.side, now));
    }
}

impl fmt::Debug for SimIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimIo").field("stats", &self.pipe.stats(self.side)).finish_non_exhaustive()
    }
}

/// The pipe itself: the clock that it goes by, and its state.
pub(crate) struct Pipe {
    time: Arc<Time>,
    state: Mutex<Ends>,
}

impl Pipe {
    /// Acts on the pipe at the present instant, then wakes whom that concerns.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Ends, Instant, &mut Wakes) -> T) -> T {
        let now = self.time.now();
        let mut wakes = Wakes::default();
        let result = {
            let mut state = lock(&self.state);
            state.advance(now);
            let result = act(&mut state, now, &mut wakes);
            state.settle(now, &mut wakes);
            result
        };
        wakes.fire();
        result
    }

    pub(crate) fn stats(&self, side: usize) -> WireStats {
        lock(&self.state).ends[side].stats
    }

    fn poll_read(
        &self,
        side: usize,
        cx: &Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let spare = buffer.capacity() - buffer.len();
        assert_ne!(spare, 0, "a read needs a buffer with spare capacity");
        self.with(|state, now, wakes| {
            let unread = &mut state.ends[side].unread;
            if !unread.is_empty() {
                let len = unread.len().min(spare);
                buffer.extend_from_slice(&unread.split_to(len));
                return Poll::Ready(Ok(len));
            }
            let polled = state.poll_read(side, cx, now, buffer, wakes);
            self.count_read(side, &mut state.ends[side].stats, &polled);
            polled
        })
    }

    /// Reads into `unread` what has come: all of it, or no more than is wanted where the rest would take
    /// up a receive buffer.
    fn poll_fill(&self, side: usize, cx: &Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.with(|state, now, wakes| {
            let lane = &state.lanes[1 - side];
            let limit = if lane.link().receive_buffer.is_some() { wanted } else { usize::MAX };
            let mut filled = BytesMut::zeroed(lane.arrived().clamp(1, limit.max(1)));
            filled.clear();
            let polled = state.poll_read(side, cx, now, &mut filled, wakes);
            let End { stats, unread, .. } = &mut state.ends[side];
            unread.extend_from_slice(&filled);
            self.count_read(side, stats, &polled);
            polled
        })
    }

    fn poll_write(
        &self,
        side: usize,
        cx: &Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|state, _, wakes| {
            let polled = state.poll_write(side, cx, slices, wakes);
            if let Poll::Ready(Ok(len @ 1..)) = polled {
                self.time.record([Sim::WROTE, side as u64, len as u64]);
                let offered = slices.iter().filter(|slice| !slice.is_empty()).count();
                let stats = &mut state.ends[side].stats;
                stats.writes += 1;
                stats.bytes_written += len as u64;
                stats.largest_write = stats.largest_write.max(len);
                stats.most_slices = stats.most_slices.max(offered);
            }
            polled
        })
    }

    fn flush(&self, side: usize) -> io::Result<()> {
        self.with(|state, _, _| state.flush(side))
    }

    fn shutdown(&self, side: usize) -> io::Result<()> {
        self.with(|state, _, _| state.shutdown(side))
    }

    fn count_read(&self, side: usize, stats: &mut WireStats, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(len @ 1..)) = *polled {
            self.time.record([Sim::READ, side as u64, len as u64]);
            stats.reads += 1;
            stats.bytes_read += len as u64;
        }
    }
}
