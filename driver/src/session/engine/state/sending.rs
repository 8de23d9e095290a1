//! Sending: messages, chunks and frames into the outgoing queue, and the tasks that wait for room
//! in it.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sockless_core::{
    Chunk, CloseCode, Closed, Frame, Instant, OutgoingMessage, Overflow, SendError,
};

use super::{State, Transport, Turn};
use crate::session::engine::waiters::{Slot, Wait};
use crate::session::error::{RawSendError, TrySendError};

/// The close reason for a peer that lets the outgoing queue overflow.
const NOT_READ: &str = "the peer does not read what it is sent";

impl State {
    /// Queues a message if there is room for it.
    pub(crate) fn try_send(
        &mut self,
        message: OutgoingMessage,
        clock: impl FnOnce() -> Instant,
    ) -> Result<(), TrySendError> {
        let (may_send, now) = (self.may_send() || self.replaces(&message), self.now_or(clock));
        let Some(connection) = self.machine.open_messages() else {
            return Err(TrySendError::Closed { message, closed: self.closed.clone() });
        };
        if !may_send {
            return Err(TrySendError::Full(message));
        }
        // Now only an extension can fail, which closes the connection.
        let spare = connection.extensions().next().map(|_| message.clone());
        let sent = connection.send(message, now);
        self.is_unparsed |= sent.is_err();
        self.ask_driver();
        match (sent, spare) {
            (Err(_), Some(message)) => {
                Err(TrySendError::Closed { message, closed: self.closed.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Queues the message, and waits while there is no room.
    #[inline]
    pub(crate) fn poll_send(
        &mut self,
        message: &mut Option<OutgoingMessage>,
        slot: &mut Slot,
        clock: impl Fn() -> Instant,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        if self.has_coded_enough() {
            return self.poll_next_turn(Wait::Room, slot, cx);
        }
        if self.may_send() || message.as_ref().is_some_and(|message| self.replaces(message)) {
            let now = self.now_or(&clock);
            if let Some(connection) = self.machine.open_messages()
                && let Some(outgoing) = message.take()
            {
                // It is open, and no other message is being sent: only an extension can fail.
                let sent = connection.send(outgoing, now);
                self.ask_driver();
                if sent.is_ok() {
                    return Poll::Ready(Ok(()));
                }
                self.is_unparsed = true;
            }
        }
        self.poll_sendable(slot, clock, cx)
    }

    /// Returns true if extensions have done so much in this turn that other tasks get theirs first.
    #[inline]
    fn has_coded_enough(&mut self) -> bool {
        self.machine.decoding().is_some()
            && self.driver.turn == Turn::Polling
            && self.has_moved_enough()
    }

    /// Waits for the next turn of the driver, at the end of this one if there is room then.
    #[cold]
    fn poll_next_turn<T>(&mut self, wait: Wait, slot: &mut Slot, cx: &Context<'_>) -> Poll<T> {
        self.wait(wait, slot, cx);
        self.ask_driver();
        Poll::Pending
    }

    /// Waits for room or, where no message may be sent any longer, for the end of the session.
    #[cold]
    fn poll_sendable(
        &mut self,
        slot: &mut Slot,
        clock: impl Fn() -> Instant,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        if self.machine.open_messages().is_some() {
            if self.machine.config().get_send_overflow() == Overflow::Wait {
                self.wait(Wait::Room, slot, cx);
                return Poll::Pending;
            }
            self.close_for_send_overflow(clock());
        }
        self.poll_closed(slot, cx).map(Err)
    }

    /// Waits until a message may be sent.
    pub(crate) fn poll_room(
        &mut self,
        slot: &mut Slot,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        if let Some(closed) = &self.closed {
            return Poll::Ready(Err(closed.clone()));
        }
        if self.may_send() {
            return Poll::Ready(Ok(()));
        }
        let wait = if self.holds(Wait::Room) { Wait::Closed } else { Wait::Room };
        self.wait(wait, slot, cx);
        Poll::Pending
    }

    /// Sends a ping, and returns its number among the [`pongs`](Self::pongs).
    pub(crate) fn ping(
        &mut self,
        payload: Bytes,
        clock: impl FnOnce() -> Instant,
    ) -> Result<u64, RawSendError> {
        if let Some(closed) = &self.closed {
            return Err(RawSendError::Closed(closed.clone()));
        }
        let now = self.now_or(clock);
        let connection = self.machine.messages();
        let sent = connection.map_or(Err(SendError::Closing), |it| it.ping(payload.clone(), now));
        sent.map_err(RawSendError::Invalid)?;
        self.ask_driver();
        Ok(self.pongs().note_ping(payload, now))
    }

    /// Reserves the outgoing queue for a message that is sent in chunks, once no other one is.
    pub(crate) fn poll_writer(
        &mut self,
        slot: &mut Slot,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        if let Some(closed) = &self.closed {
            return Poll::Ready(Err(closed.clone()));
        }
        if self.has_writer {
            self.wait(Wait::Writer, slot, cx);
            return Poll::Pending;
        }
        self.has_writer = true;
        Poll::Ready(Ok(()))
    }

    /// Ends the reservation of [`poll_writer`](Self::poll_writer).
    pub(crate) fn end_writer(&mut self) {
        self.has_writer = false;
        self.wake_waiters(Waker::noop());
    }

    /// Queues the chunk, and waits while there is no room.
    pub(crate) fn poll_send_chunk(
        &mut self,
        chunk: &mut Option<Chunk>,
        slot: &mut Slot,
        clock: impl FnOnce() -> Instant,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        if let Some(closed) = &self.closed {
            return Poll::Ready(Err(closed.clone()));
        }
        if self.has_coded_enough() {
            return self.poll_next_turn(Wait::ChunkRoom, slot, cx);
        }
        if !self.holds(Wait::ChunkRoom) {
            self.wait(Wait::ChunkRoom, slot, cx);
            return Poll::Pending;
        }
        let now = self.now_or(clock);
        // Asked first, because the task may be polled again before the session has ended.
        if self.machine.can_send_chunk()
            && let Some(connection) = self.machine.messages()
            && let Some(chunk) = chunk.take()
        {
            let sent = connection.send_chunk(chunk, now);
            self.ask_driver();
            if sent.is_ok() {
                return Poll::Ready(Ok(()));
            }
        }
        // Either side has begun to close: the cause is known only when it has ended.
        self.wait(Wait::Closed, slot, cx);
        Poll::Pending
    }

    /// Queues the frame, and waits while there is no room.
    pub(crate) fn poll_send_frame(
        &mut self,
        frame: &mut Option<Frame>,
        slot: &mut Slot,
        clock: impl Fn() -> Instant,
        cx: &Context<'_>,
    ) -> Poll<Result<(), RawSendError>> {
        if let Some(closed) = &self.closed {
            return Poll::Ready(Err(RawSendError::Closed(closed.clone())));
        }
        let (is_writable, now) = (self.machine.is_writable(), self.now_or(&clock));
        let Some(connection) = self.machine.open_frames() else {
            // It has ended; the driver is still to report how.
            self.wait(Wait::Closed, slot, cx);
            return Poll::Pending;
        };
        if !is_writable {
            if connection.config().get_send_overflow() == Overflow::Close {
                self.close_for_send_overflow(clock());
            }
            self.wait(Wait::ChunkRoom, slot, cx);
            return Poll::Pending;
        }
        if let Some(frame) = frame.take() {
            connection.send(frame, now).map_err(RawSendError::Invalid)?;
        }
        self.ask_driver();
        Poll::Ready(Ok(()))
    }

    /// The position in the outgoing bytes behind all that has been queued.
    pub(crate) fn queued(&mut self) -> u64 {
        if let Some(connection) = self.machine.messages() {
            connection.encode_waiting();
        }
        self.machine.outbound().queued()
    }

    /// Waits until the outgoing bytes before `position` have been flushed.
    pub(crate) fn poll_flushed(
        &mut self,
        position: u64,
        slot: &mut Slot,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        if self.flushed >= position {
            return Poll::Ready(Ok(()));
        }
        if self.transport == Transport::Gone
            && let Some(closed) = &self.closed
        {
            return Poll::Ready(Err(closed.clone()));
        }
        self.wait(Wait::Flushed, slot, cx);
        Poll::Pending
    }

    /// Returns true if there is room for a message, and no other one is being sent in chunks.
    #[inline]
    pub(super) fn may_send(&self) -> bool {
        !self.has_writer && self.machine.is_writable()
    }

    /// Returns true if the message takes the place of one that waits, and so needs no room.
    #[cold]
    fn replaces(&mut self, message: &OutgoingMessage) -> bool {
        let is_free = !self.has_writer;
        message.key().filter(|_| is_free).is_some_and(|key| {
            self.machine.open_messages().is_some_and(|connection| connection.is_waiting(key))
        })
    }

    /// Cancels the message with this key that waits.
    pub(crate) fn cancel(&mut self, key: u64) -> Option<OutgoingMessage> {
        let cancelled = self.machine.messages()?.cancel(key)?;
        // There may be room for the message of a task that waits.
        self.ask_driver();
        Some(cancelled)
    }

    fn close_for_send_overflow(&mut self, now: Instant) {
        self.close((CloseCode::TRY_AGAIN_LATER, NOT_READ).into(), now);
    }
}
