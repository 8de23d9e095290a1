//! A test's hand on a pipe: [`Wire`] counts what went over it and makes it fail.

use std::fmt;
use std::sync::Arc;

use crate::lane::Lane;
use crate::link::Link;
use crate::pipe::Pipe;

/// A pipe as seen from one of its ends, from [`SimIo::wire`](crate::SimIo::wire): for a test to keep
/// while the end itself belongs to what is tested.
///
/// Whatever it does happens at once, but what is under way keeps the time at which it will arrive.
#[derive(Clone)]
pub struct Wire {
    pub(crate) pipe: Arc<Pipe>,
    pub(crate) side: usize,
}

/// One of the two ways through a pipe, as the end sees it that the [`Wire`] came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireDirection {
    /// From the peer to this end.
    Inbound,
    /// From this end to the peer.
    Outbound,
}

/// What one end of a pipe has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireStats {
    /// The reads that gave bytes.
    pub reads: u64,
    /// The writes that took bytes.
    pub writes: u64,
    /// The bytes that were read.
    pub bytes_read: u64,
    /// The bytes that were written.
    pub bytes_written: u64,
    /// The most bytes that one write took.
    pub largest_write: usize,
    /// The most slices, of those that hold bytes, that one write was offered.
    pub most_slices: usize,
}

impl Wire {
    /// What this end has read and written so far.
    pub fn stats(&self) -> WireStats {
        self.pipe.stats(self.side)
    }

    /// Cuts the wire: both ends get [`ConnectionReset`](std::io::ErrorKind::ConnectionReset) for
    /// whatever they do, and what was under way is lost.
    pub fn cut(&self) {
        self.pipe.with(|state, _, _| state.cut());
    }

    /// Resets the connection from this end, as a process does that ends with data unread: this end gets
    /// [`ConnectionReset`](std::io::ErrorKind::ConnectionReset) from now on, and so does its peer once the
    /// reset has reached it, behind what left before. What the peer has not read by then is lost.
    pub fn reset(&self) {
        self.pipe.with(|state, now, _| state.reset(self.side, now));
    }

    /// Has both ends vanish for each other, as when a cable is pulled: nothing arrives any more in either
    /// direction, no end and no reset either, and nobody is told. What has arrived can be read; writers
    /// fill their buffers and then wait for ever.
    pub fn vanish(&self) {
        self.pipe.with(|state, now, _| state.vanish(now));
    }

    /// Ends one direction, as if its writer had shut it down: the reader gets what is under way and
    /// then the end of the stream, the writer gets [`BrokenPipe`](std::io::ErrorKind::BrokenPipe).
    pub fn end(&self, direction: WireDirection) {
        self.with_lane(direction, Lane::end);
    }

    /// Lets nothing pass in one direction until [`resume`](Self::resume): the reader waits, and the
    /// writer waits as soon as the link's capacity is used up.
    pub fn stall(&self, direction: WireDirection) {
        self.with_lane(direction, |lane| lane.set_stalled(true));
    }

    /// Lets pass what [`stall`](Self::stall) held up.
    pub fn resume(&self, direction: WireDirection) {
        self.with_lane(direction, |lane| lane.set_stalled(false));
    }

    /// Makes one direction behave as `link` from now on. Bytes under way are not dropped, even if they
    /// are more than its capacity, and new ones do not overtake them.
    pub fn set_link(&self, direction: WireDirection, link: Link) {
        self.with_lane(direction, |lane| lane.set_link(link));
    }

    fn with_lane(&self, direction: WireDirection, act: impl FnOnce(&mut Lane)) {
        self.pipe.with(|state, _, _| act(&mut state.lanes[self.lane(direction)]));
    }

    fn lane(&self, direction: WireDirection) -> usize {
        match direction {
            WireDirection::Inbound => 1 - self.side,
            WireDirection::Outbound => self.side,
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
