//! The pipe behind two [`SimIo`](crate::SimIo)s: [`Pipe`].

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::BytesMut;
use sockless_core::Instant;

use crate::ends::{End, Ends};
use crate::fingerprint::{self, Occurrence};
use crate::lane::Lane;
use crate::link::Link;
use crate::lock;
use crate::rng::Chance;
use crate::stats::WireStats;
use crate::tap::{Tap, Writer};
use crate::time::Time;
use crate::waiter::Wakes;
use crate::waits;

/// A pipe with its clock and its transcript.
pub(crate) struct Pipe {
    id: u64,
    time: Arc<Time>,
    tap: Arc<Mutex<Tap>>,
    state: Mutex<Ends>,
}

impl Pipe {
    pub(crate) fn new(
        time: &Arc<Time>,
        link: &Link,
        chances: [Chance; 2],
        tap: Arc<Mutex<Tap>>,
    ) -> Self {
        let lanes = chances.map(|chance| Lane::new(link.clone(), chance));
        let ends = [End::new(time), End::new(time)];
        let id = lock(&tap).id;
        Self { id, time: Arc::clone(time), tap, state: Mutex::new(Ends::new(lanes, ends)) }
    }

    pub(crate) fn drop_end(&self, side: usize) {
        let now = self.with(|state, now, _| {
            state.drop_end(side, now);
            now
        });
        self.note(side, now, "dropped its end");
    }

    /// Returns true until both ends have been dropped.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.state).lanes.iter().any(|lane| !lane.is_reader_gone())
    }

    /// Records that a test received something.
    pub(crate) fn live(&self) {
        self.time.live();
    }

    /// Adds a line to the transcript.
    pub(crate) fn note(&self, side: usize, now: Instant, what: &'static str) {
        lock(&self.tap).note(side, now, what);
    }

    /// Leaves the transcript out of the message of a failure, which has another one.
    pub(crate) fn omit_transcript(&self) {
        lock(&self.tap).is_reported = true;
    }

    /// Calls `act` with the state of this instant, then wakes the tasks that it concerns.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Ends, Instant, &mut Wakes) -> T) -> T {
        let now = self.time.now();
        let mut wakes = Wakes::default();
        let result =
            lock(&self.state).operate(now, &mut wakes, |state, wakes| act(state, now, wakes));
        match wakes.is_empty() {
            // The most frequent case has nothing to drop.
            true => std::mem::forget(wakes),
            false => wakes.fire(),
        }
        result
    }

    pub(crate) fn stats(&self, side: usize) -> WireStats {
        lock(&self.state).ends[side].stats
    }

    pub(crate) fn poll_read(
        &self,
        side: usize,
        cx: &Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let spare = buffer.capacity() - buffer.len();
        assert_ne!(spare, 0, "a read needs a buffer with spare capacity");
        self.with(|state, now, wakes| self.read(state, side, cx, now, buffer, wakes))
    }

    /// As [`poll_read`](Self::poll_read), and makes room in `buffer` for what has arrived, but for at
    /// most `limit` bytes.
    pub(crate) fn poll_receive(
        &self,
        side: usize,
        cx: &Context<'_>,
        buffer: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        self.with(|state, now, wakes| {
            let arrived = state.ends[side].unread.len().max(state.lanes[1 - side].arrived());
            buffer.reserve(arrived.clamp(1, limit));
            self.read(state, side, cx, now, buffer, wakes)
        })
    }

    fn read(
        &self,
        state: &mut Ends,
        side: usize,
        cx: &Context<'_>,
        now: Instant,
        buffer: &mut BytesMut,
        wakes: &mut Wakes,
    ) -> Poll<io::Result<usize>> {
        let unread = &mut state.ends[side].unread;
        if !unread.is_empty() {
            let len = unread.len().min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&unread.split_to(len));
            return Poll::Ready(Ok(len));
        }
        let polled = state.poll_read(side, cx, now, buffer, wakes);
        self.count_read(side, &mut state.ends[side].stats, &polled);
        polled
    }

    /// Reads what has arrived into the end's `unread` bytes: all of it, or at most `wanted` if the
    /// rest would occupy a receive buffer.
    pub(crate) fn poll_fill(
        &self,
        side: usize,
        cx: &Context<'_>,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        self.with(|state, now, wakes| {
            let lane = &state.lanes[1 - side];
            let limit = if lane.link().receive_buffer.is_some() { wanted } else { usize::MAX };
            let mut filled = BytesMut::with_capacity(lane.arrived().min(limit.max(1)));
            let polled = state.poll_read(side, cx, now, &mut filled, wakes);
            let End { stats, unread, .. } = &mut state.ends[side];
            match unread.is_empty() {
                true => *unread = filled,
                false => unread.extend_from_slice(&filled),
            }
            self.count_read(side, stats, &polled);
            polled
        })
    }

    pub(crate) fn poll_write(
        &self,
        side: usize,
        writer: Writer,
        cx: &Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|state, now, wakes| {
            let polled = state.poll_write(side, cx, now, slices, wakes);
            if let Poll::Ready(Ok(len @ 1..)) = polled {
                self.record_write(side, writer, now, slices, len);
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

    pub(crate) fn flush(&self, side: usize) -> io::Result<()> {
        let now = self.time.now();
        // Of a link that sends at once, nothing is left to flush.
        if let Some(flushed) = lock(&self.state).flush_nothing(side, now) {
            return flushed;
        }
        self.with(|state, now, _| state.flush(side, now))
    }

    pub(crate) fn shutdown(&self, side: usize, writer: Writer) -> io::Result<()> {
        self.with(|state, now, _| {
            let read = state.ends[side].stats.bytes_read;
            let has_read = read == state.ends[1 - side].stats.bytes_written;
            state.shutdown(side, now)?;
            if writer == Writer::Driver {
                let mut tap = lock(&self.tap);
                tap.shut_down(side, has_read);
                if tap.has_violation() {
                    self.time.fail();
                }
            }
            Ok(())
        })
    }

    /// Expects that `side` sends pongs only to answer pings.
    pub(crate) fn set_automatic(&self, side: usize) {
        lock(&self.tap).set_automatic(side);
    }

    /// Checks no law on what `side` writes from now on.
    pub(crate) fn tolerate_violations(&self, side: usize) {
        lock(&self.tap).exempt(side);
    }

    fn count_read(&self, side: usize, stats: &mut WireStats, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(len @ 1..)) = *polled {
            self.time.record(Occurrence::Read { pipe: self.id, side, len });
            stats.reads += 1;
            stats.bytes_read += len as u64;
        }
        if polled.is_pending() && waits::is_searching() {
            waits::found_connection(lock(&self.tap).name());
        }
    }

    fn record_write(
        &self,
        side: usize,
        writer: Writer,
        now: Instant,
        slices: &[io::IoSlice<'_>],
        len: usize,
    ) {
        let digest = fingerprint::digest(slices, len);
        let (is_life, is_violation) = {
            let mut tap = lock(&self.tap);
            (tap.write(side, writer, now, slices, len), tap.has_violation())
        };
        self.time.record_and(Occurrence::Wrote { pipe: self.id, side, len, digest }, is_life);
        if is_violation {
            self.time.fail();
        }
    }
}
