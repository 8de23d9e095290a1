//! One direction of a pipe, with its bytes and their times of arrival: [`Lane`].

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockless_core::Instant;

use crate::link::Link;
use crate::rng::Chance;
use crate::waiter::Wakes;

#[derive(Debug)]
pub(crate) struct Lane {
    link: Link,
    chance: Chance,
    /// The bytes that were written and not read, oldest first: those that have `arrived`, those
    /// `in_flight`, those `waiting`, and those `held`.
    bytes: BytesMut,
    arrived: usize,
    /// The times of arrival, which never decrease, each with a number of bytes.
    in_flight: VecDeque<(Instant, usize)>,
    /// The latest time of arrival.
    last_arrival: Instant,
    /// In the sender's buffer until the receiver's has room.
    waiting: usize,
    held: usize,
    fin: Fin,
    reader_gone: bool,
    flow: Flow,
    /// Nothing passes between the machines of the two ends.
    is_partitioned: bool,
    /// When the link has sent everything that was given to it, if it has a bandwidth.
    free_at: Instant,
    /// The bytes that still occupy the writer's buffer, because the other end vanished before it
    /// could acknowledge them.
    lost: usize,
}

/// The most bytes that a packet has over Ethernet.
const PACKET: u64 = 1460;

/// The end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    /// Not ended by the writer.
    None,
    /// Sent after the waiting bytes.
    Queued,
    /// Arrives at this instant.
    Sent(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Passes,
    /// Nothing can be read until it passes again.
    Stalled,
    /// Nothing arrives any longer. Bytes that had arrived can be read.
    Vanished,
}

/// Operations of the two ends.
impl Lane {
    pub(crate) fn new(link: Link, chance: Chance) -> Self {
        Self {
            link,
            chance,
            bytes: BytesMut::new(),
            arrived: 0,
            in_flight: VecDeque::new(),
            last_arrival: Instant::EPOCH,
            waiting: 0,
            held: 0,
            fin: Fin::None,
            reader_gone: false,
            flow: Flow::Passes,
            is_partitioned: false,
            free_at: Instant::EPOCH,
            lost: 0,
        }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Returns how many bytes have arrived and were not read.
    pub(crate) fn arrived(&self) -> usize {
        self.arrived
    }

    /// Reads bytes that have arrived into the spare capacity of `buffer`; none at the end of the
    /// stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        buffer: &mut BytesMut,
        wakes: &mut Wakes,
    ) -> Poll<usize> {
        let has_bytes = self.arrived > 0 && buffer.capacity() > buffer.len();
        if self.link.short_reads.is_some() && has_bytes && self.defers(cx, wakes) {
            return Poll::Pending;
        }
        Poll::Ready(self.read(buffer))
    }

    /// Like [`poll_read`](Self::poll_read), and never defers.
    pub(crate) fn read(&mut self, buffer: &mut BytesMut) -> usize {
        let mut len = self.arrived.min(buffer.capacity() - buffer.len());
        if let Some(longest) = self.link.short_reads.filter(|_| len > 0) {
            len = len.min(self.chance.length(longest));
        }
        buffer.extend_from_slice(&self.bytes[..len]);
        self.bytes.advance(len);
        self.arrived -= len;
        if self.flow == Flow::Vanished {
            self.lost += len;
        }
        len
    }

    /// Takes as much of `slices` as there is room for, or less.
    pub(crate) fn poll_write(
        &mut self,
        cx: &Context<'_>,
        slices: &[std::io::IoSlice<'_>],
        wakes: &mut Wakes,
    ) -> Poll<usize> {
        if self.link.short_writes.is_some() && self.defers(cx, wakes) {
            return Poll::Pending;
        }
        Poll::Ready(self.write(slices))
    }

    /// Like [`poll_write`](Self::poll_write), and never defers.
    pub(crate) fn write(&mut self, slices: &[std::io::IoSlice<'_>]) -> usize {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut len = offered.min(self.room());
        if let Some(longest) = self.link.short_writes {
            len = len.min(self.chance.length(longest));
        }
        if self.flow == Flow::Vanished {
            self.lost += len;
            return len;
        }
        self.append(slices, len);
        if !self.link.held_until_flush {
            self.release();
        }
        len
    }

    /// Returns how many bytes a write may take.
    pub(crate) fn room(&self) -> usize {
        self.link.capacity.saturating_sub(self.bytes.len() + self.lost)
    }

    /// Returns true if reading may let bytes or the end of the stream be sent.
    #[inline]
    pub(crate) fn has_unsent(&self) -> bool {
        self.waiting > 0 || self.fin == Fin::Queued
    }

    /// Returns true if bytes wait for a flush.
    pub(crate) fn has_held(&self) -> bool {
        self.held > 0
    }

    /// Releases the held bytes, as by a flush.
    pub(crate) fn release(&mut self) {
        self.waiting += self.held;
        self.held = 0;
    }

    /// Ends the stream after the bytes under way.
    pub(crate) fn end(&mut self) {
        self.release();
        if self.fin == Fin::None {
            self.fin = Fin::Queued;
        }
    }

    /// Drops the bytes that were not sent: all of them, or only those that are held.
    pub(crate) fn drop_unsent(&mut self, all: bool) {
        let waiting = if all { std::mem::take(&mut self.waiting) } else { 0 };
        self.bytes.truncate(self.bytes.len() - self.held - waiting);
        self.held = 0;
    }

    pub(crate) fn drop_reader(&mut self) {
        self.reader_gone = true;
    }
}

/// Faults that a test injects.
impl Lane {
    pub(crate) fn set_stalled(&mut self, stalled: bool) {
        if self.flow != Flow::Vanished {
            self.flow = if stalled { Flow::Stalled } else { Flow::Passes };
        }
    }

    pub(crate) fn set_partitioned(&mut self, is_partitioned: bool) {
        self.is_partitioned = is_partitioned;
    }

    pub(crate) fn vanish(&mut self, now: Instant) {
        self.flow = Flow::Vanished;
        self.lost += self.bytes.len() - self.arrived;
        self.bytes.truncate(self.arrived);
        self.in_flight.clear();
        (self.waiting, self.held) = (0, 0);
        if matches!(self.fin, Fin::Sent(at) if at > now) {
            self.fin = Fin::Queued;
        }
    }

    pub(crate) fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    /// Drops all bytes that were written and not read.
    pub(crate) fn discard(&mut self) {
        self.bytes.clear();
        self.in_flight.clear();
        (self.arrived, self.waiting, self.held) = (0, 0, 0);
    }
}

/// Effects of time.
impl Lane {
    /// Delivers the bytes that are due, and sends those that the receiver has room for.
    #[inline(always)]
    pub(crate) fn advance(&mut self, now: Instant) {
        let is_due = self.in_flight.front().is_some_and(|&(at, _)| at <= now);
        if is_due || self.has_unsent() {
            self.move_bytes(now);
        }
    }

    /// Returns when bytes arrive next. What else [`advance`](Self::advance) does follows operations.
    #[inline]
    pub(crate) fn next_arrived(&self) -> Option<Instant> {
        self.in_flight.front().map(|&(at, _)| at)
    }

    fn move_bytes(&mut self, now: Instant) {
        while let Some(&(at, len)) = self.in_flight.front()
            && at <= now
        {
            self.arrived += len;
            self.in_flight.pop_front();
        }
        if self.flow == Flow::Vanished {
            return;
        }
        let len = self.waiting.min(self.window());
        if len > 0 {
            self.send(len, now);
            self.waiting -= len;
        }
        if self.fin == Fin::Queued && self.waiting == 0 {
            self.fin = Fin::Sent(self.next_arrival(now.max(self.free_at)));
        }
    }

    /// Sends `len` bytes, in packets if the link has a bandwidth.
    fn send(&mut self, len: usize, now: Instant) {
        let Some(rate) = self.link.bandwidth else {
            let at = self.next_arrival(now);
            if at <= now && self.in_flight.is_empty() {
                // Over a link without latency, nothing is ever in flight.
                self.arrived += len;
            } else {
                self.in_flight.push_back((at, len));
            }
            return;
        };
        // As much as is sent in 10 ms, but one packet at most.
        let packet = (rate / 100).clamp(1, PACKET);
        let mut left = len as u64;
        while left > 0 {
            let part = left.min(packet);
            let took = Duration::from_nanos(part.saturating_mul(1_000_000_000) / rate);
            self.free_at = self.free_at.max(now) + took;
            let at = self.next_arrival(self.free_at);
            self.in_flight.push_back((at, part as usize));
            left -= part;
        }
    }

    /// Draws the time of arrival of something that is sent now.
    pub(crate) fn next_arrival(&mut self, now: Instant) -> Instant {
        let jitter = self.chance.below(self.link.jitter.as_nanos() as u64 + 1);
        let at = now + self.link.latency + Duration::from_nanos(jitter);
        self.last_arrival = self.last_arrival.max(at);
        self.last_arrival
    }

    /// Returns when a read gets bytes or the end of the stream, if it is known.
    pub(crate) fn readable_at(&self, now: Instant) -> Option<Instant> {
        match self.flow() {
            Flow::Stalled => None,
            _ if self.arrived > 0 => Some(now),
            _ => self.in_flight.front().map(|&(at, _)| at).or(self.ended_at()),
        }
    }

    /// Returns when the end of the stream arrives, if it is known, even if there are bytes before
    /// it.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        match self.fin {
            Fin::Sent(at) if self.flow() != Flow::Stalled => Some(at),
            _ => None,
        }
    }

    /// Returns when the first unread byte arrives, if anything passes.
    pub(crate) fn first_arrival(&self, now: Instant) -> Option<Instant> {
        if self.arrived > 0 {
            return Some(now);
        }
        self.in_flight.front().map(|&(at, _)| at).filter(|_| self.passes())
    }

    pub(crate) fn passes(&self) -> bool {
        self.flow() == Flow::Passes
    }

    pub(crate) fn has_vanished(&self) -> bool {
        self.flow == Flow::Vanished
    }

    pub(crate) fn is_reader_gone(&self) -> bool {
        self.reader_gone
    }

    /// Returns true if writes fail although the wire is intact.
    pub(crate) fn is_broken(&self) -> bool {
        // Over TCP the writer learns from a reset that the reader is gone, which takes time to
        // arrive. Otherwise it knows at once, unless nothing passes.
        let is_gone = self.reader_gone && !self.link.resets && self.passes();
        self.fin != Fin::None || is_gone
    }
}

impl Lane {
    fn flow(&self) -> Flow {
        match self.flow {
            Flow::Passes if self.is_partitioned => Flow::Stalled,
            flow => flow,
        }
    }

    /// Returns the free part of the receiver's buffer, without the bytes in flight.
    fn window(&self) -> usize {
        let buffer = self.link.receive_buffer.unwrap_or(usize::MAX);
        buffer.saturating_sub(self.bytes.len() - self.waiting - self.held)
    }

    /// Lets other tasks run first, once in four times.
    fn defers(&mut self, cx: &Context<'_>, wakes: &mut Wakes) -> bool {
        let defers = self.chance.below(4) == 0;
        if defers {
            wakes.wake(cx.waker().clone());
        }
        defers
    }

    fn append(&mut self, slices: &[std::io::IoSlice<'_>], mut len: usize) {
        self.held += len;
        for slice in slices {
            let part = len.min(slice.len());
            self.bytes.extend_from_slice(&slice[..part]);
            len -= part;
        }
    }
}
