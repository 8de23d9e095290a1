//! One direction of a pipe: where its bytes are, and when those under way arrive.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockless_core::Instant;

use crate::link::Link;
use crate::rng::Chance;
use crate::waiter::Wakes;

pub(crate) struct Lane {
    link: Link,
    chance: Chance,
    /// What was written and not read, oldest first: `arrived` bytes, then those of `in_flight`, then
    /// `waiting`, then `held`.
    bytes: BytesMut,
    arrived: usize,
    /// When how many arrive. Nothing overtakes.
    in_flight: VecDeque<(Instant, usize)>,
    /// When what was sent off last arrives.
    last_arrival: Instant,
    /// In the sender's buffer, until the receiver's has room.
    waiting: usize,
    held: usize,
    fin: Fin,
    reader_gone: bool,
    flow: Flow,
    /// What still takes the writer's room, because the other end vanished before it could acknowledge it.
    lost: usize,
}

/// The end of the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fin {
    /// The writer has not ended it.
    None,
    /// It leaves behind what waits.
    Queued,
    /// It arrives then.
    Sent(Instant),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Passes,
    /// Nothing is read, until it passes again.
    Stalled,
    /// Nothing arrives any more. What had arrived is there.
    Vanished,
}

/// What the two ends do.
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
            lost: 0,
        }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// How many bytes the reader has not read of those that have arrived.
    pub(crate) fn arrived(&self) -> usize {
        self.arrived
    }

    /// Reads what has arrived into the spare capacity of `buffer`; nothing at the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        buffer: &mut BytesMut,
        wakes: &mut Wakes,
    ) -> Poll<usize> {
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
        if self.flow == Flow::Vanished {
            self.lost += len;
        }
        Poll::Ready(len)
    }

    /// Takes some of `slices`, for which there is room.
    pub(crate) fn poll_write(
        &mut self,
        cx: &Context<'_>,
        slices: &[std::io::IoSlice<'_>],
        wakes: &mut Wakes,
    ) -> Poll<usize> {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut len = offered.min(self.room());
        if let Some(longest) = self.link.short_writes {
            if self.dawdles(cx, wakes) {
                return Poll::Pending;
            }
            len = len.min(self.chance.length(longest));
        }
        if self.flow == Flow::Vanished {
            self.lost += len;
            return Poll::Ready(len);
        }
        self.append(slices, len);
        if !self.link.held_until_flush {
            self.release();
        }
        Poll::Ready(len)
    }

    /// How many bytes a write may take.
    pub(crate) fn room(&self) -> usize {
        self.link.capacity.saturating_sub(self.bytes.len() + self.lost)
    }

    /// Sends off what is held, as far as the receiver has room.
    pub(crate) fn release(&mut self) {
        self.waiting += self.held;
        self.held = 0;
    }

    /// Nothing more can be written; the reader learns it behind what is under way.
    pub(crate) fn end(&mut self) {
        self.release();
        if self.fin == Fin::None {
            self.fin = Fin::Queued;
        }
    }

    /// Loses what has not left: all of it, or what is held only.
    pub(crate) fn drop_unsent(&mut self, all: bool) {
        let waiting = if all { std::mem::take(&mut self.waiting) } else { 0 };
        self.bytes.truncate(self.bytes.len() - self.held - waiting);
        self.held = 0;
    }

    pub(crate) fn drop_reader(&mut self) {
        self.reader_gone = true;
    }
}

/// What a test does to it.
impl Lane {
    pub(crate) fn set_stalled(&mut self, stalled: bool) {
        if self.flow != Flow::Vanished {
            self.flow = if stalled { Flow::Stalled } else { Flow::Passes };
        }
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

    /// Loses all that was written and not read.
    pub(crate) fn discard(&mut self) {
        self.bytes.clear();
        self.in_flight.clear();
        (self.arrived, self.waiting, self.held) = (0, 0, 0);
    }
}

/// What time does to it.
impl Lane {
    /// Lets arrive what is due, and sends off what the receiver has room for.
    pub(crate) fn advance(&mut self, now: Instant) {
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
            let at = self.next_arrival(now);
            self.in_flight.push_back((at, len));
            self.waiting -= len;
        }
        if self.fin == Fin::Queued && self.waiting == 0 {
            self.fin = Fin::Sent(self.next_arrival(now));
        }
    }

    /// When something that is sent off now arrives.
    pub(crate) fn next_arrival(&mut self, now: Instant) -> Instant {
        let jitter = self.chance.below(self.link.jitter.as_nanos() as u64 + 1);
        let at = now + self.link.latency + Duration::from_nanos(jitter);
        self.last_arrival = self.last_arrival.max(at);
        self.last_arrival
    }

    /// When a read gets something or the end, as far as is known.
    pub(crate) fn readable_at(&self, now: Instant) -> Option<Instant> {
        match self.flow {
            Flow::Stalled => None,
            _ if self.arrived > 0 => Some(now),
            _ => self.in_flight.front().map(|&(at, _)| at).or(self.ended_at()),
        }
    }

    /// When the end of the stream arrives, as far as is known, even if there is more to read before it.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        match self.fin {
            Fin::Sent(at) if self.flow != Flow::Stalled => Some(at),
            _ => None,
        }
    }

    /// When the first of what the reader has not read arrives, if anything passes.
    pub(crate) fn first_arrival(&self, now: Instant) -> Option<Instant> {
        if self.arrived > 0 {
            return Some(now);
        }
        self.in_flight.front().map(|&(at, _)| at).filter(|_| self.passes())
    }

    pub(crate) fn passes(&self) -> bool {
        self.flow == Flow::Passes
    }

    pub(crate) fn has_vanished(&self) -> bool {
        self.flow == Flow::Vanished
    }

    pub(crate) fn is_reader_gone(&self) -> bool {
        self.reader_gone
    }

    /// Whether what is written fails, though the wire did not.
    pub(crate) fn is_broken(&self) -> bool {
        // That the reader is gone is news from its side: over TCP by a reset, which has a way to go, and
        // else at once, unless nothing passes.
        let is_gone = self.reader_gone && !self.link.resets && self.passes();
        self.fin != Fin::None || is_gone
    }
}

impl Lane {
    /// How many bytes more the receiver's buffer takes, those in flight included.
    fn window(&self) -> usize {
        let buffer = self.link.receive_buffer.unwrap_or(usize::MAX);
        buffer.saturating_sub(self.bytes.len() - self.waiting - self.held)
    }

    /// Once in a while something else gets its turn first.
    fn dawdles(&mut self, cx: &Context<'_>, wakes: &mut Wakes) -> bool {
        let dawdles = self.chance.below(4) == 0;
        if dawdles {
            wakes.wake(cx.waker().clone());
        }
        dawdles
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
