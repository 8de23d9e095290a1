//! One direction of a pipe: bytes under way, who waits for them, and what has gone wrong.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockless::Instant;

use crate::link::Link;
use crate::rng::Chance;
use crate::time::{Alarm, Time};

/// The wakers that an operation on a pipe calls or lets go of, once the pipe's lock is released:
/// either may run code that needs the lock.
#[derive(Default)]
pub(crate) struct Wakes {
    due: Vec<Waker>,
    replaced: Vec<Waker>,
}

impl Wakes {
    pub(crate) fn fire(self) {
        self.due.into_iter().for_each(Waker::wake);
    }

    /// Puts the task of `cx` where `waiting` was.
    fn replace(&mut self, waiting: &mut Option<Waker>, cx: &Context<'_>) {
        if !waiting.as_ref().is_some_and(|held| held.will_wake(cx.waker())) {
            self.replaced.extend(waiting.replace(cx.waker().clone()));
        }
    }
}

pub(crate) struct Lane {
    link: Link,
    chance: Chance,
    /// What is under way, oldest first: `arrived` bytes, then those of `in_flight`, then `held`.
    bytes: BytesMut,
    arrived: usize,
    /// When how many arrive, unless those before them come later still: nothing overtakes.
    in_flight: VecDeque<(Instant, usize)>,
    held: usize,
    /// When the end of the stream arrives, once the writer has ended it.
    end: Option<Instant>,
    reader_gone: bool,
    stalled: bool,
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    alarm: Alarm,
}

/// What the two ends do.
impl Lane {
    pub(crate) fn new(link: Link, chance: Chance, time: &Arc<Time>) -> Self {
        Self {
            link,
            chance,
            bytes: BytesMut::new(),
            arrived: 0,
            in_flight: VecDeque::new(),
            held: 0,
            end: None,
            reader_gone: false,
            stalled: false,
            cut: false,
            reader: None,
            writer: None,
            alarm: Alarm::new(time),
        }
    }

    /// How many bytes are under way.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        now: Instant,
        buffer: &mut BytesMut,
        wakes: &mut Wakes,
    ) -> Poll<io::Result<usize>> {
        self.check_not_cut()?;
        self.arrive(now);
        if self.stalled || self.arrived == 0 && !self.has_ended(now) {
            self.wait_for_arrival(cx, wakes);
            return Poll::Pending;
        }
        let mut len = self.arrived.min(buffer.capacity() - buffer.len());
        if let Some(longest) = self.link.short_reads.filter(|_| len > 0) {
            if self.dawdles(cx, wakes) {
                return Poll::Pending;
            }
            len = len.min(self.chance.length(longest));
        }
        buffer.extend_from_slice(&self.bytes[..len]);
        self.bytes.advance(len);
        self.arrived -= len;
        wakes.due.extend(self.writer.take());
        Poll::Ready(Ok(len))
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &Context<'_>,
        now: Instant,
        slices: &[io::IoSlice<'_>],
        wakes: &mut Wakes,
    ) -> Poll<io::Result<usize>> {
        self.check_writable()?;
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let room = self.link.capacity.saturating_sub(self.bytes.len());
        if offered == 0 {
            return Poll::Ready(Ok(0));
        }
        if room == 0 {
            self.release(now, wakes);
            wakes.replace(&mut self.writer, cx);
            return Poll::Pending;
        }
        let mut len = offered.min(room);
        if let Some(longest) = self.link.short_writes {
            if self.dawdles(cx, wakes) {
                return Poll::Pending;
            }
            len = len.min(self.chance.length(longest));
        }
        self.append(slices, len);
        if !self.link.held_until_flush {
            self.release(now, wakes);
        }
        Poll::Ready(Ok(len))
    }

    pub(crate) fn flush(&mut self, now: Instant, wakes: &mut Wakes) -> io::Result<()> {
        self.check_not_cut()?;
        self.release(now, wakes);
        Ok(())
    }

    pub(crate) fn shutdown(&mut self, now: Instant, wakes: &mut Wakes) -> io::Result<()> {
        self.check_not_cut()?;
        self.end(now, wakes);
        Ok(())
    }

    pub(crate) fn drop_writer(&mut self, now: Instant, wakes: &mut Wakes) {
        self.bytes.truncate(self.bytes.len() - self.held);
        self.held = 0;
        self.end(now, wakes);
    }

    pub(crate) fn drop_reader(&mut self, wakes: &mut Wakes) {
        self.reader_gone = true;
        self.discard(wakes);
        self.wake_both(wakes);
    }
}

/// What a test does to it.
impl Lane {
    pub(crate) fn cut(&mut self, wakes: &mut Wakes) {
        self.cut = true;
        self.discard(wakes);
        self.wake_both(wakes);
    }

    /// Nothing more can be written; the reader learns it behind what is under way.
    pub(crate) fn end(&mut self, now: Instant, wakes: &mut Wakes) {
        self.release(now, wakes);
        if self.end.is_none() {
            self.end = Some(self.next_arrival(now));
        }
        self.wake_both(wakes);
    }

    pub(crate) fn set_stalled(&mut self, stalled: bool, wakes: &mut Wakes) {
        self.stalled = stalled;
        self.wake_both(wakes);
    }

    pub(crate) fn set_link(&mut self, link: Link, wakes: &mut Wakes) {
        self.link = link;
        self.wake_both(wakes);
    }
}

impl Lane {
    fn arrive(&mut self, now: Instant) {
        while let Some(&(at, len)) = self.in_flight.front()
            && at <= now
        {
            self.arrived += len;
            self.in_flight.pop_front();
        }
    }

    fn has_ended(&self, now: Instant) -> bool {
        self.in_flight.is_empty() && self.end.is_some_and(|end| end <= now)
    }

    fn wait_for_arrival(&mut self, cx: &Context<'_>, wakes: &mut Wakes) {
        wakes.replace(&mut self.reader, cx);
        let next = self.in_flight.front().map(|&(at, _)| at).or(self.end);
        wakes.replaced.extend(match next {
            // While it is stalled, nothing that arrives counts: resuming wakes the reader.
            Some(at) if !self.stalled => self.alarm.set(at, cx.waker()),
            _ => self.alarm.clear(),
        });
    }

    fn check_not_cut(&self) -> io::Result<()> {
        if self.cut {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    fn check_writable(&self) -> io::Result<()> {
        self.check_not_cut()?;
        // That the reader is gone is news from its side, which a stalled lane does not bring.
        if self.end.is_some() || self.reader_gone && !self.stalled {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    /// Once in a while something else gets its turn first.
    fn dawdles(&mut self, cx: &Context<'_>, wakes: &mut Wakes) -> bool {
        let dawdles = self.chance.below(4) == 0;
        if dawdles {
            wakes.due.push(cx.waker().clone());
        }
        dawdles
    }

    fn append(&mut self, slices: &[io::IoSlice<'_>], mut len: usize) {
        self.held += len;
        for slice in slices {
            let part = len.min(slice.len());
            self.bytes.extend_from_slice(&slice[..part]);
            len -= part;
        }
    }

    /// Sends off what is held.
    fn release(&mut self, now: Instant, wakes: &mut Wakes) {
        if self.held > 0 {
            let at = self.next_arrival(now);
            self.in_flight.push_back((at, self.held));
            self.held = 0;
            wakes.due.extend(self.reader.take());
        }
    }

    fn next_arrival(&mut self, now: Instant) -> Instant {
        let jitter = self.chance.below(self.link.jitter.as_nanos() as u64 + 1);
        now + self.link.latency + Duration::from_nanos(jitter)
    }

    fn discard(&mut self, wakes: &mut Wakes) {
        wakes.replaced.extend(self.alarm.clear());
        self.bytes.clear();
        self.in_flight.clear();
        self.arrived = 0;
        self.held = 0;
    }

    fn wake_both(&mut self, wakes: &mut Wakes) {
        wakes.due.extend(self.reader.take());
        wakes.due.extend(self.writer.take());
    }
}
