//! The driver's side: its turns, and the events of the transport.

use std::io;
use std::task::Waker;

use bytes::BytesMut;
use sockless_core::limits::{CODING_COST, READ_LEN};
use sockless_core::{Instant, Outbound, TransportAction};

use super::{Order, State, Transport, Turn};
use crate::session::engine::buffers;
use crate::session::engine::waiters::Wait;

/// A read with less room than this is not worth its system call.
const MIN_READ_LEN: usize = 4 << 10;

/// A frame that lacks more than this is worth a read that stops at its end.
const LONG_LEN: usize = 16 << 10;

/// The number of bytes read and written in one turn after which other tasks get theirs. With more,
/// what a hundred busy connections move does not stay in the cache, and others wait longer. A byte
/// that extensions encode or decode counts as [`CODING_COST`], and so does 1 KiB for each message.
const TURN_LEN: u32 = 384 << 10;

/// The findings of one round of the driver.
pub(crate) struct Round {
    pub(crate) reading: Reading,
    /// The transport is full for now.
    pub(crate) is_blocked: bool,
    /// Something has happened that the handler waits for.
    pub(crate) for_handler: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The transport has no further bytes for now.
    Dry,
    /// The transport may have more bytes.
    More,
    /// The transport was not read, for want of room or because bytes that were read before come
    /// first.
    Deferred,
}

impl Round {
    pub(crate) fn new(for_handler: bool) -> Self {
        Self { reading: Reading::Dry, is_blocked: false, for_handler }
    }
}

/// Turns.
impl State {
    #[inline]
    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.driver.now = now;
        self.driver.turn = Turn::Polling;
        self.driver.taken = 0;
        self.driver.moved = 0;
        // The head of a response may be unsent, in memory that was lent already.
        if !self.has_unsent() {
            buffers::give_back_staging(self.machine.outbound().lend(buffers::lend_staging()));
        }
    }

    /// Records that bytes were read or written.
    #[inline]
    pub(crate) fn note_moved(&mut self, len: usize) {
        self.driver.moved =
            self.driver.moved.saturating_add(u32::try_from(len).unwrap_or(TURN_LEN));
    }

    /// Returns true once so much was read, encoded, decoded and written that other tasks get their
    /// turn.
    #[inline]
    pub(crate) fn has_moved_enough(&mut self) -> bool {
        if let Some(connection) = self.machine.decoding() {
            let coded = connection.take_coded();
            self.note_moved(coded.saturating_mul(CODING_COST));
        }
        self.driver.moved >= TURN_LEN
    }

    /// Ends a turn after which the driver will be polled again without being woken.
    #[inline]
    pub(crate) fn end_turn(&mut self) {
        self.driver.turn = Turn::Woken;
        self.record_metrics();
        buffers::give_back_read(&mut self.inbound);
        if let Some(staging) = self.machine.outbound().reclaim() {
            buffers::give_back_staging(staging);
        }
    }

    /// Has `waker` called when the driver is asked for something. The turn must have ended.
    #[inline]
    pub(crate) fn park_driver(&mut self, waker: &Waker) {
        self.driver.turn = Turn::Parked;
        self.wakes.replace(&mut self.driver.waker, waker);
        self.backlog.give_back();
    }

    /// The time of this turn.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.driver.now
    }

    #[inline]
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.driver.now = now;
    }

    /// Returns true if a task has asked the driver to look again since
    /// [`begin_settling`](Self::begin_settling).
    #[inline]
    pub(crate) fn is_asked(&self) -> bool {
        self.driver.is_asked
    }

    /// Requires another round, in which deadlines that have begun are looked at.
    #[inline]
    pub(crate) fn ask_for_round(&mut self) {
        self.driver.is_asked = true;
    }

    /// The driver does now what it was asked for.
    #[inline]
    pub(crate) fn begin_settling(&mut self) {
        self.driver.is_asked = false;
    }

    /// Returns true if another round would find something to do.
    #[inline]
    pub(crate) fn has_work(&mut self, round: &Round) -> bool {
        let has_transport = self.transport != Transport::Gone;
        let to_write = has_transport && !round.is_blocked && self.has_unsent();
        let to_parse = self.is_unparsed && self.has_room();
        let to_read = has_transport
            && (self.is_paused() || round.reading == Reading::Deferred)
            && self.has_room();
        self.driver.is_asked || to_write || to_parse || to_read
    }

    /// Returns true if the handler is to be dropped.
    #[inline]
    pub(crate) fn is_killed(&self) -> bool {
        self.order == Order::Kill
    }

    /// Returns true if the transport is to be dropped without waiting for it to shut down.
    #[inline]
    pub(crate) fn is_terminated(&self) -> bool {
        self.order >= Order::Terminate
    }
}

/// Reading.
impl State {
    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        self.transport == Transport::Paused
    }

    /// Returns true if nothing more will be read.
    #[inline]
    pub(crate) fn is_input_over(&self) -> bool {
        matches!(self.transport, Transport::Ended | Transport::Gone)
    }

    /// Returns true if bytes that were read before are still to be parsed.
    #[inline]
    pub(crate) fn is_unparsed(&self) -> bool {
        self.is_unparsed
    }

    /// Records whether the transport is left unread.
    #[inline]
    pub(crate) fn set_paused(&mut self, is_paused: bool) {
        match (self.transport, is_paused) {
            (Transport::Reads, true) => self.transport = Transport::Paused,
            (Transport::Paused, false) => self.transport = Transport::Reads,
            _ => return,
        }
        self.set_reading(!is_paused);
    }

    /// Records that the peer has ended a transport that is left unread. As much as the system
    /// holds is read ahead, but for what would grow.
    pub(crate) fn hang_up(&mut self) {
        if self.allowance == 0 {
            self.allowance = self.backlog.bytes().max(1);
        }
    }

    /// When the application last received something that had been read ahead.
    pub(crate) fn received_at(&self) -> Instant {
        self.received_at
    }

    /// The buffer to read into: the thread's own or, while a frame is arriving that does not fit in
    /// it, one with room for twice as much as has arrived, but for no more than the frame lacks.
    #[inline]
    pub(crate) fn read_buffer(&mut self) -> &mut BytesMut {
        buffers::renew_read(&mut self.inbound);
        let len = self.inbound.len();
        let needed = self.machine.bytes_needed(&self.inbound);
        let needed = usize::try_from(needed).unwrap_or(usize::MAX);
        if self.inbound.capacity() - len < MIN_READ_LEN {
            let room = needed.min(len.saturating_mul(3));
            self.inbound.reserve(room.max(READ_LEN));
        }
        if needed > LONG_LEN && needed < self.inbound.capacity() - len {
            // Bytes behind the frame would have to be moved out of the block, which its payload
            // keeps.
            drop(self.inbound.split_off(len + needed));
        }
        &mut self.inbound
    }

    /// Records that a read has brought bytes, or the end of input.
    #[inline]
    pub(crate) fn end_read(&mut self) {
        self.is_unparsed = true;
    }

    /// Records that the transport delivers nothing more.
    pub(crate) fn end_input(&mut self) {
        self.machine.handle_eof(self.driver.now);
        self.transport = Transport::Ended;
    }

    fn set_reading(&mut self, is_reading: bool) {
        if let Some(connection) = self.machine.messages() {
            connection.set_reading(is_reading, self.driver.now);
        }
    }
}

/// Writing.
impl State {
    #[inline]
    pub(crate) fn outbound(&mut self) -> Outbound<'_> {
        self.machine.outbound()
    }

    #[inline]
    pub(crate) fn has_unsent(&mut self) -> bool {
        self.machine.outbound().has_remaining()
    }

    /// Records that as much as possible was written. `is_blocked` if the transport is full, or was
    /// before.
    #[inline]
    pub(crate) fn end_write(&mut self, is_blocked: bool) {
        if is_blocked || !self.machine.is_open() {
            self.machine.handle_blocked(self.driver.now);
        }
    }

    /// Records whether the transport still holds bytes that were written. That counts only once the
    /// connection has begun to end.
    #[inline]
    pub(crate) fn note_flushed(&mut self, is_flushed: bool) {
        if !self.machine.is_open() {
            self.machine.handle_flushed(is_flushed, self.driver.now);
        }
    }

    /// Records that all written bytes were flushed. Returns true if the task of `own` waits for
    /// that.
    #[inline]
    pub(crate) fn end_flush(&mut self, own: &Waker) -> bool {
        self.flushed = self.machine.outbound().taken();
        !self.waiters.is_empty() && self.waiters.wake(&[Wait::Flushed], own, &mut self.wakes)
    }

    /// The action for the transport. Until all bytes have been written, it is kept open.
    #[inline]
    pub(crate) fn transport_action(&mut self) -> TransportAction {
        match self.machine.transport_action() {
            TransportAction::KeepOpen => TransportAction::KeepOpen,
            _ if self.has_unsent() => TransportAction::KeepOpen,
            action => action,
        }
    }
}

/// Deadlines, limits and the end of the transport.
impl State {
    #[inline]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    /// Enforces the deadlines that have passed. Another round follows, because a deadline that the
    /// peer may have met is enforced only after another read has brought nothing.
    pub(crate) fn handle_timeout(&mut self) {
        self.machine.handle_timeout(self.driver.now);
        self.look_again();
    }

    /// Sends the ping that is due, if nothing waits to be written before it. No other round follows
    /// for that, but for any other deadline that has passed.
    pub(crate) fn send_due_ping(&mut self) {
        if self.has_unsent() {
            return;
        }
        let now = self.driver.now;
        self.machine.handle_timeout(now);
        if !self.is_open() || self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.look_again();
        }
    }

    /// Ends the connection because the application has received nothing for too long.
    pub(crate) fn handle_stall(&mut self) {
        self.machine.handle_stall(self.driver.now);
    }

    /// Updates the session's account with the server's memory budget, and ends the session if it
    /// holds too much.
    #[inline]
    pub(crate) fn enforce_budget(&mut self) {
        if self.settle_account() {
            self.machine.handle_overload(self.driver.now);
            self.is_unparsed = true;
        }
    }

    /// Updates the session's account. Returns true if the session holds too much.
    #[inline]
    fn settle_account(&mut self) -> bool {
        let held = self.held();
        self.account.as_mut().is_some_and(|account| account.settle(held))
    }

    /// Ends the connection because the transport has failed.
    pub(crate) fn fail(&mut self, error: &io::Error) {
        self.machine.handle_transport_error(error, self.driver.now);
        self.transport = Transport::Ended;
        self.is_unparsed = true;
    }

    /// Records that the transport has been dropped: settles how the session ended, and wakes all
    /// tasks that wait.
    pub(crate) fn lose_transport(&mut self) {
        self.machine.handle_eof(self.driver.now);
        self.transport = Transport::Gone;
        self.is_unparsed = true;
        self.hang_up();
        self.parse_ahead();
        self.waiters.wake_all(&mut self.wakes);
        // The part of an unfinished message and the bytes to send that it held are gone.
        self.settle_account();
        self.record_metrics();
    }

    /// Records that the driver is dropped, and its transport with it.
    pub(crate) fn lose_driver(&mut self) {
        if self.transport != Transport::Gone {
            self.machine.abort(self.driver.now);
            self.lose_transport();
        }
    }
}
