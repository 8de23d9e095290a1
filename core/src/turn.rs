//! The output of the call that drives a connection of either layer, and the bound of its turns.

use crate::event::Event;
use crate::limits::{CODING_COST, TURN_LEN};
use crate::outbound::Outbound;
use crate::time::Instant;

/// The next thing for a loop to do; see [`Connection::poll_output`](crate::Connection::poll_output).
///
/// `E` is what happens on the connection: an [`Event`], or for
/// [`RawConnection::poll_output`](crate::RawConnection::poll_output) a frame or the end.
#[derive(Debug)]
pub enum Output<'a, E = Event> {
    /// Something happened.
    Event(E),
    /// Bytes to write. Write once, and [`advance`](Outbound::advance) by what the transport took;
    /// or [`pop`](Outbound::pop) what is handed to a transport that owns what it writes. If neither
    /// was done by the next call, the transport is taken to be full.
    Write(Outbound<'a>),
    /// Shut down the writing half of the transport, and read until the peer ends its half. This
    /// occurs once.
    ShutdownWrite,
    /// The turn is over: wait.
    Wait(Wait),
    /// Drop the transport: the connection is over.
    Close,
}

/// The things to wait for; see [`Output::Wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Wait {
    /// Read when the transport has bytes, and append them to the read buffer; report the end of
    /// input with [`handle_eof`](crate::Connection::handle_eof). While it is false, do not read.
    pub read: bool,
    /// Bytes are left to write: go on when the transport accepts some.
    pub write: bool,
    /// Go on at this time, whatever happened. It may have passed already: then read what is there
    /// without waiting, and go on. `None` is never.
    pub until: Option<Instant>,
}

/// The part of a turn that is over, and what the next turn has to know of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// [`Queue::handed_out`](crate::outbound::Queue::handed_out) when bytes were last given out to
    /// be written. The lower half shows whether any were taken.
    offered: u32,
    /// The cost of what the turn has done, in units of [`EVENT_COST`].
    spent: u16,
    /// Bytes were given out in this turn.
    has_offered: bool,
    /// The deadlines that have passed were looked at: by then the read buffer has run out of bytes.
    has_judged: bool,
    /// Frames only: the last turn found that a deadline had passed.
    is_overdue: bool,
    /// The application takes no events for now.
    is_paused: bool,
}

/// The cost of an event besides its payload, in bytes, and the unit of all costs.
const EVENT_COST: usize = 64;

/// The cost of one write: a turn has at most 16.
const WRITE_COST: usize = TURN_LEN / 16;

impl Turn {
    /// Counts an event with a payload of `len` bytes.
    pub(crate) fn note_event(&mut self, len: usize) {
        self.spend(EVENT_COST + len);
    }

    /// Counts bytes that extensions have encoded or decoded.
    #[inline]
    pub(crate) fn note_coded(&mut self, len: usize) {
        if len > 0 {
            self.spend(len.saturating_mul(CODING_COST));
        }
    }

    /// Records that the bytes from the position `handed_out` on are given out to be written.
    pub(crate) fn note_offer(&mut self, handed_out: u64) {
        self.spend(WRITE_COST);
        self.has_offered = true;
        self.offered = handed_out as u32;
    }

    /// Returns true if the transport may accept bytes in this turn: unless it took none of those
    /// that were given out last.
    pub(crate) fn may_offer(&self, handed_out: u64) -> bool {
        !self.has_offered || (self.offered != handed_out as u32 && !self.is_spent())
    }

    /// Returns true if none of the bytes that were given out last were taken, or none were given
    /// out.
    pub(crate) fn is_blocked(&self, handed_out: u64) -> bool {
        !self.has_offered || self.offered == handed_out as u32
    }

    /// Returns true if the deadlines were looked at in this turn, and records that they are.
    pub(crate) fn judge(&mut self) -> bool {
        core::mem::replace(&mut self.has_judged, true)
    }

    pub(crate) fn has_judged(&self) -> bool {
        self.has_judged
    }

    /// Records whether a deadline has passed. Returns true if it had passed in the last turn too, so
    /// that the loop has read since.
    pub(crate) fn is_overdue(&mut self, has_passed: bool) -> bool {
        let was_overdue = core::mem::replace(&mut self.is_overdue, has_passed);
        has_passed && was_overdue
    }

    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.is_paused = paused;
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Begins the next turn, and returns this one.
    pub(crate) fn end(&mut self) -> Self {
        let next =
            Self { is_overdue: self.is_overdue, is_paused: self.is_paused, ..Self::default() };
        core::mem::replace(self, next)
    }

    fn spend(&mut self, cost: usize) {
        let units = u16::try_from(cost / EVENT_COST).unwrap_or(u16::MAX);
        self.spent = self.spent.saturating_add(units);
    }

    /// Ends the turn before all of `inbound` was taken.
    pub(crate) fn exhaust(&mut self) {
        self.spend(TURN_LEN);
    }

    pub(crate) fn is_spent(&self) -> bool {
        usize::from(self.spent) * EVENT_COST >= TURN_LEN
    }
}

impl Wait {
    /// Returns how long to wait from `now`; zero once the time has passed, and `None` for a wait
    /// without a limit.
    pub fn timeout(&self, now: Instant) -> Option<core::time::Duration> {
        self.until.map(|until| until.saturating_since(now))
    }
}
