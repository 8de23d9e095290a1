//! The two ends of a pipe and the bytes between them, as sockets with their buffers: [`Ends`].

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use sockless_core::Instant;
use sockless_driver::Ending;

use crate::lane::Lane;
use crate::stats::WireStats;
use crate::time::{NEVER, Time};
use crate::waiter::{Waiter, Wakes};

/// The state of a pipe. Side 0 writes to lane 0 and reads from lane 1; side 1 does the reverse.
pub(crate) struct Ends {
    pub(crate) lanes: [Lane; 2],
    pub(crate) ends: [End; 2],
    /// When something happens next that is no operation: an arrival, of bytes or of a reset.
    due: Instant,
    /// False after an operation that changed nothing which a waiting task waits for.
    has_changed: bool,
}

pub(crate) struct End {
    pub(crate) stats: WireStats,
    /// Bytes that an `async` method took from the lane and did not return.
    pub(crate) unread: BytesMut,
    fate: Fate,
    reader: Waiter,
    writer: Waiter,
    /// The task that waits for the end of the stream without reading.
    watcher: Waiter,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Alive,
    /// A reset from the other end arrives at this instant.
    ToBeReset(Instant),
    Reset,
    /// The stream to this end ends with an error, from whose arrival on everything fails but the
    /// reading of the bytes before it.
    StreamReset,
}

impl End {
    pub(crate) fn new(time: &Arc<Time>) -> Self {
        let waiter = || Waiter::new(time);
        let (reader, writer, watcher) = (waiter(), waiter(), waiter());
        let (stats, unread) = (WireStats::default(), BytesMut::new());
        Self { stats, unread, fate: Fate::Alive, reader, writer, watcher }
    }

    fn check(&self) -> io::Result<()> {
        if self.fate == Fate::Reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    /// Returns true if no task waits at this end.
    #[inline]
    fn is_at_rest(&self) -> bool {
        self.reader.is_at_rest() && self.writer.is_at_rest() && self.watcher.is_at_rest()
    }
}

/// Operations of an end.
impl Ends {
    pub(crate) fn new(lanes: [Lane; 2], ends: [End; 2]) -> Self {
        Self { lanes, ends, due: NEVER, has_changed: false }
    }

    /// Reads into the spare capacity of `buffer`.
    pub(crate) fn poll_read(
        &mut self,
        side: usize,
        cx: &Context<'_>,
        now: Instant,
        buffer: &mut BytesMut,
        wakes: &mut Wakes,
    ) -> Poll<io::Result<usize>> {
        let end = &mut self.ends[side];
        end.reader.forget(wakes);
        end.check()?;
        let lane = &mut self.lanes[1 - side];
        let readable_at = lane.readable_at(now);
        if readable_at.is_none_or(|at| at > now) {
            end.reader.wait(cx, wakes);
            // Nothing is under way to this end.
            if readable_at.is_none() && end.fate == Fate::Alive {
                end.reader.cease(wakes);
                self.has_changed = false;
            }
            return Poll::Pending;
        }
        if end.fate == Fate::StreamReset && lane.arrived() == 0 {
            return Poll::Ready(Err(stream_reset()));
        }
        let polled = lane.poll_read(cx, buffer, wakes).map(Ok);
        // Room for more is all that a read changes.
        if !lane.has_unsent() && self.ends[1 - side].writer.is_at_rest() {
            self.ends[side].reader.cease(wakes);
            self.has_changed = false;
        }
        polled
    }

    pub(crate) fn poll_write(
        &mut self,
        side: usize,
        cx: &Context<'_>,
        now: Instant,
        slices: &[io::IoSlice<'_>],
        wakes: &mut Wakes,
    ) -> Poll<io::Result<usize>> {
        self.ends[side].writer.forget(wakes);
        self.check_writable(side, now)?;
        let lane = &mut self.lanes[side];
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        if lane.room() == 0 {
            lane.release();
            self.ends[side].writer.wait(cx, wakes);
            return Poll::Pending;
        }
        lane.poll_write(cx, slices, wakes).map(Ok)
    }

    /// Returns the result of a flush that changes nothing; `None` if it may change something.
    #[inline]
    pub(crate) fn flush_nothing(&self, side: usize, now: Instant) -> Option<io::Result<()>> {
        let is_nothing = self.due > now && !self.lanes[side].has_held();
        is_nothing.then(|| self.check(side, now))
    }

    pub(crate) fn flush(&mut self, side: usize, now: Instant) -> io::Result<()> {
        self.check(side, now)?;
        self.lanes[side].release();
        Ok(())
    }

    pub(crate) fn shutdown(&mut self, side: usize, now: Instant) -> io::Result<()> {
        self.check(side, now)?;
        self.lanes[side].end();
        Ok(())
    }

    /// Returns whether the end of the stream has arrived, read or not. If not, the task of `cx` is
    /// woken when it does.
    pub(crate) fn poll_ending(
        &mut self,
        side: usize,
        cx: &Context<'_>,
        now: Instant,
        wakes: &mut Wakes,
    ) -> Ending {
        let is_stream_reset = self.stream_reset_at(side).is_some_and(|at| at <= now);
        let end = &mut self.ends[side];
        end.watcher.forget(wakes);
        let lane = &self.lanes[1 - side];
        if is_stream_reset {
            return Ending::Ended;
        }
        if lane.link().ending_unknown {
            return Ending::Unknown;
        }
        if end.fate == Fate::Reset || lane.ended_at().is_some_and(|at| at <= now) {
            return Ending::Ended;
        }
        end.watcher.wait(cx, wakes);
        Ending::Watched
    }

    pub(crate) fn drop_end(&mut self, side: usize, now: Instant) {
        self.lanes[1 - side].drop_reader();
        self.lanes[side].drop_unsent(false);
        if self.ends[side].fate == Fate::Reset {
            return;
        }
        let has_unread = !self.ends[side].unread.is_empty() || self.lanes[1 - side].arrived() > 0;
        if self.lanes[side].link().resets && has_unread {
            self.send_reset(side, now);
        } else {
            self.lanes[side].end();
        }
        if !self.lanes[side].link().resets {
            self.lanes[1 - side].discard();
        }
    }

    fn check_writable(&self, side: usize, now: Instant) -> io::Result<()> {
        self.check(side, now)?;
        if self.lanes[side].is_broken() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn check(&self, side: usize, now: Instant) -> io::Result<()> {
        self.ends[side].check()?;
        match self.stream_reset_at(side) {
            Some(at) if at <= now => Err(stream_reset()),
            _ => Ok(()),
        }
    }

    /// Returns when the reset of the stream arrives at `side`, if it is known.
    fn stream_reset_at(&self, side: usize) -> Option<Instant> {
        let is_to_be = self.ends[side].fate == Fate::StreamReset;
        self.lanes[1 - side].ended_at().filter(|_| is_to_be)
    }
}

/// The error of a stream that was reset, of the kind of hyper's.
fn stream_reset() -> io::Error {
    io::Error::other("the stream was reset")
}

/// Faults that a test injects.
impl Ends {
    /// Resets both ends at once.
    pub(crate) fn cut(&mut self) {
        for side in [0, 1] {
            self.kill(side);
        }
    }

    /// Resets `side` at once and sends a reset to the other end.
    pub(crate) fn reset(&mut self, side: usize, now: Instant) {
        if self.ends[side].fate == Fate::Reset {
            return;
        }
        self.ends[side].fate = Fate::Reset;
        self.ends[side].unread.clear();
        self.send_reset(side, now);
    }

    /// Resets the stream from `side`: the other end gets an error behind the bytes that were sent.
    pub(crate) fn reset_stream(&mut self, side: usize) {
        if self.ends[side].fate == Fate::Reset {
            return;
        }
        self.ends[side].fate = Fate::Reset;
        self.ends[side].unread.clear();
        self.lanes[side].drop_unsent(true);
        self.lanes[side].end();
        if self.ends[1 - side].fate == Fate::Alive {
            self.ends[1 - side].fate = Fate::StreamReset;
        }
    }

    /// Resets the other end of `side` without a reset to `side`.
    pub(crate) fn reset_peer(&mut self, side: usize) {
        self.ends[1 - side].fate = Fate::Reset;
        self.ends[1 - side].unread.clear();
        self.lanes[1 - side].drop_unsent(true);
        self.lanes[side].drop_reader();
    }

    /// Stops all arrivals at both ends.
    pub(crate) fn vanish(&mut self, now: Instant) {
        for side in [0, 1] {
            self.lanes[side].vanish(now);
            if let Fate::ToBeReset(_) = self.ends[side].fate {
                self.ends[side].fate = Fate::Alive;
            }
        }
    }
}

/// Effects of time.
impl Ends {
    /// Performs `act` at `now`, after what is due since the last operation, and before what follows
    /// from it.
    #[inline]
    pub(crate) fn operate<T>(
        &mut self,
        now: Instant,
        wakes: &mut Wakes,
        act: impl FnOnce(&mut Self, &mut Wakes) -> T,
    ) -> T {
        let is_due = self.due <= now;
        if is_due {
            self.apply(now);
        }
        self.has_changed = true;
        let result = act(self, wakes);
        if is_due || self.has_changed {
            self.settle(now, wakes);
        }
        result
    }

    /// Applies what is due, and what an operation has changed.
    #[inline]
    fn apply(&mut self, now: Instant) {
        for side in [0, 1] {
            if let Fate::ToBeReset(at) = self.ends[side].fate
                && at <= now
                && self.lanes[1 - side].passes()
            {
                self.kill(side);
            }
            self.lanes[side].advance(now);
        }
    }

    /// Sends what an operation left to be sent, and wakes the tasks whose condition now holds.
    fn settle(&mut self, now: Instant, wakes: &mut Wakes) {
        self.apply(now);
        for side in [0, 1] {
            if self.lanes[1 - side].is_reader_gone() {
                self.answer_for_dropped_end(side, now);
            }
        }
        self.due = self.next_due();
        for side in [0, 1] {
            if self.ends[side].is_at_rest() {
                continue;
            }
            let reset_at = match self.ends[side].fate {
                Fate::Reset => Some(now),
                Fate::ToBeReset(at) if self.lanes[1 - side].passes() => Some(at),
                Fate::StreamReset => self.stream_reset_at(side),
                _ => None,
            };
            let earlier = |at: Option<Instant>| match (at, reset_at) {
                (Some(at), Some(reset_at)) => Some(at.min(reset_at)),
                (at, reset_at) => at.or(reset_at),
            };
            let [inbound, outbound] = [&self.lanes[1 - side], &self.lanes[side]];
            let End { reader, writer, watcher, .. } = &mut self.ends[side];
            if !reader.is_at_rest() {
                reader.settle(earlier(inbound.readable_at(now)), now, wakes);
            }
            if !writer.is_at_rest() {
                let is_writable = outbound.room() > 0 || outbound.is_broken();
                writer.settle(earlier(is_writable.then_some(now)), now, wakes);
            }
            if !watcher.is_at_rest() {
                watcher.settle(earlier(inbound.ended_at()), now, wakes);
            }
        }
    }

    fn next_due(&self) -> Instant {
        let mut due = NEVER;
        for side in [0, 1] {
            if let Some(at) = self.lanes[side].next_arrived() {
                due = due.min(at);
            }
            if let Fate::ToBeReset(at) = self.ends[side].fate
                && self.lanes[1 - side].passes()
            {
                due = due.min(at);
            }
        }
        due
    }

    /// Answers bytes that reach a dropped end with a reset.
    fn answer_for_dropped_end(&mut self, side: usize, now: Instant) {
        let (inbound, outbound) = (&self.lanes[1 - side], &self.lanes[side]);
        if outbound.link().resets
            && let Some(at) = inbound.first_arrival(now)
        {
            self.send_reset(side, at);
        }
    }

    /// Sends a reset from `side`, after the bytes that were sent.
    fn send_reset(&mut self, side: usize, at: Instant) {
        let lane = &mut self.lanes[side];
        lane.drop_unsent(true);
        if self.ends[1 - side].fate == Fate::Alive && !lane.has_vanished() {
            self.ends[1 - side].fate = Fate::ToBeReset(lane.next_arrival(at));
        }
    }

    /// Applies a reset that has reached `side`.
    fn kill(&mut self, side: usize) {
        self.ends[side].fate = Fate::Reset;
        self.ends[side].unread.clear();
        for lane in &mut self.lanes {
            lane.discard();
        }
    }
}
