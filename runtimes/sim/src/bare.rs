//! A direction of a simulated connection without tasks: [`BareLink`].

use std::io::IoSlice;

use bytes::BytesMut;
use sockless_core::Instant;

use crate::lane::Lane;
use crate::link::Link;
use crate::rng::Chance;

/// One direction of a simulated connection as a plain value, for tests of a loop that has no
/// executor.
///
/// It has the latency, bandwidth and buffers of its [`Link`], and cuts what is written as
/// [`short_reads`](Link::short_reads) and [`short_writes`](Link::short_writes) ask for. It does not
/// wait: the caller passes the time, and asks when something arrives next. Properties that need
/// tasks or a second direction do nothing here: [`resets`](Link::resets),
/// [`ending_unknown`](Link::ending_unknown), [`held_until_flush`](Link::held_until_flush).
///
/// ```
/// use std::time::Duration;
///
/// use sockless::proto::Instant;
/// use sockless::sim::{BareLink, Link};
///
/// let mut link = BareLink::new(Link::default().latency(Duration::from_millis(80)), 1);
/// assert_eq!(link.write(b"hello", Instant::EPOCH), 5);
/// assert_eq!(link.read(Instant::EPOCH), None);
///
/// let arrival = link.next_arrival().expect("the bytes are in flight");
/// assert_eq!(arrival, Instant::EPOCH + Duration::from_millis(80));
/// assert_eq!(link.read(arrival).as_deref(), Some(&b"hello"[..]));
/// ```
#[derive(Debug)]
pub struct BareLink {
    lane: Lane,
    is_over: bool,
}

impl BareLink {
    /// Creates a direction whose random choices are drawn from `seed`.
    pub fn new(link: Link, seed: u64) -> Self {
        let link = link.held_until_flush(false);
        Self { lane: Lane::new(link, Chance::new(seed)), is_over: false }
    }

    /// Writes bytes and returns how many were accepted, from 0 while the [capacity](Link::capacity)
    /// is used up to all of them. After [`end`](Self::end), bytes are accepted and dropped.
    pub fn write(&mut self, bytes: &[u8], now: Instant) -> usize {
        if self.lane.is_broken() {
            return bytes.len();
        }
        self.lane.advance(now);
        let written = self.lane.write(&[IoSlice::new(bytes)]);
        self.lane.advance(now);
        written
    }

    /// Ends the stream after the bytes that were written.
    pub fn end(&mut self, now: Instant) {
        self.lane.end();
        self.lane.advance(now);
    }

    /// Returns true if the stream was ended by [`end`](Self::end).
    pub fn has_ended(&self) -> bool {
        self.lane.is_broken()
    }

    /// Returns bytes that have arrived by `now`, or `None` if nothing has. An empty buffer is
    /// the end of the stream, and is returned once.
    pub fn read(&mut self, now: Instant) -> Option<BytesMut> {
        self.lane.advance(now);
        if self.next_arrival().is_none_or(|at| at > now) {
            return None;
        }
        let mut bytes = BytesMut::with_capacity(self.lane.arrived());
        self.is_over = self.lane.read(&mut bytes) == 0;
        self.lane.advance(now);
        Some(bytes)
    }

    /// Returns when [`read`](Self::read) returns something next, if anything is in flight; a time
    /// in the past if it has arrived.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.lane.readable_at(Instant::EPOCH).filter(|_| !self.is_over)
    }
}
