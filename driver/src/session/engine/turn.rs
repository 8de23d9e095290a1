//! What a turn of the driver does to a session's state, besides the transport.

use std::io;
use std::task::Waker;

use bytes::Buf;
use sockless_core::Instant;

use crate::session::engine::buffers;
use crate::session::engine::drive::Round;
use crate::session::engine::shared::State;
use crate::session::engine::waiters::Wait;

impl State {
    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.now = now;
        self.in_turn = true;
        self.taken = 0;
        self.parked = false;
        buffers::give_back_staging(self.machine.outbound().lend(buffers::lend_staging()));
    }

    pub(crate) fn end_turn(&mut self) {
        self.in_turn = false;
        buffers::give_back_read(&mut self.inbound);
        if let Some(staging) = self.machine.outbound().reclaim() {
            buffers::give_back_staging(staging);
        }
    }

    /// Whether another round would find something to do.
    pub(crate) fn has_work(&mut self, round: &Round) -> bool {
        let to_write =
            !self.transport_over && !round.blocked && self.machine.outbound().has_remaining();
        let to_parse = self.unparsed && self.has_room();
        let to_read = !self.transport_over && (self.paused || round.to_read) && self.has_room();
        self.asked || to_write || to_parse || to_read
    }

    pub(crate) fn set_paused(&mut self, paused: bool) {
        if self.paused != paused {
            self.paused = paused;
            let now = self.now;
            if let Some(connection) = self.machine.messages() {
                connection.set_reading(!paused, now);
            }
        }
    }

    /// Makes room to read into: the thread's own buffer, or, while a frame is arriving that does not
    /// fit it, as much as has arrived so far and twice more, but no more than the frame lacks.
    pub(crate) fn make_room(&mut self) {
        buffers::renew_read(&mut self.inbound);
        let (len, missing) = (self.inbound.len(), self.missing());
        if self.inbound.capacity() - len < MIN_READ_LEN {
            let room = missing.min(len.saturating_mul(3));
            self.inbound.reserve(room.max(buffers::READ_LEN));
        }
        if missing > LONG_LEN && missing < self.inbound.capacity() - len {
            // Whatever follows would have to be moved out of the block, which the payload keeps.
            drop(self.inbound.split_off(len + missing));
        }
    }

    /// How much the frame that is arriving lacks, where it is left in the read buffer.
    pub(crate) fn missing(&self) -> usize {
        usize::try_from(self.machine.bytes_needed(&self.inbound)).unwrap_or(usize::MAX)
    }

    pub(crate) fn fail(&mut self, error: &io::Error) {
        let now = self.now;
        self.machine.handle_transport_error(error, now);
        self.input_over = true;
        self.unparsed = true;
    }

    /// The transport is gone: settles how the session ended, and tells all who wait.
    pub(crate) fn transport_ended(&mut self) {
        let now = self.now;
        self.machine.handle_eof(now);
        self.input_over = true;
        self.transport_over = true;
        self.unparsed = true;
        self.parse_ahead();
        let Self { waiters, wakes, .. } = self;
        waiters.wake_all(wakes);
    }

    /// Wakes all that wait for what was written to be flushed.
    pub(crate) fn wake_flushed(&mut self, own: &Waker) -> bool {
        !self.waiters.is_empty() && self.waiters.wake(&[Wait::Flushed], own, &mut self.wakes)
    }
}

/// A read with less room than this is not worth its system call.
const MIN_READ_LEN: usize = 4 << 10;

/// A frame that lacks more than this is worth a read that ends where it does.
const LONG_LEN: usize = 16 << 10;
