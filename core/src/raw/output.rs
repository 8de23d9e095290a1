//! One call that drives a connection of frames: [`RawConnection::poll_output`], and the parts of a turn
//! that both layers have.

use bytes::BytesMut;

use super::{Phase, RawConnection};
use crate::event::Closed;
use crate::frame::Frame;
use crate::lifecycle::{Closing, ClosingStep, Lifecycle, TransportAction};
use crate::outbound::Outbound;
use crate::time::Instant;
use crate::turn::{Output, Wait};

impl RawConnection {
    /// Returns the next thing to do, as [`Connection::poll_output`](crate::Connection::poll_output)
    /// does: this is all that a loop calls, besides reporting what it read and sending what it has to
    /// send. An event is a frame, or the end of the connection, once and last, as of
    /// [`poll_frame`](Self::poll_frame).
    ///
    /// ```
    /// use std::io::{self, Read, Write};
    /// use std::net::{Shutdown, TcpStream};
    ///
    /// use bytes::BytesMut;
    /// use sockless_core::{Frame, Instant, Output, RawConnection, Wait};
    ///
    /// /// Runs a turn of a proxy over a socket that does not block: frames that arrive here leave by
    /// /// `other`. Returns what to wait for, or `None` at the end.
    /// fn turn(
    ///     connection: &mut RawConnection,
    ///     stream: &mut TcpStream,
    ///     inbound: &mut BytesMut,
    ///     other: &mut RawConnection,
    ///     now: Instant,
    /// ) -> Option<Wait> {
    ///     loop {
    ///         // What the other peer has not read is not read here either.
    ///         connection.set_paused(!other.is_writable());
    ///         match connection.poll_output(inbound, now) {
    ///             Output::Event(Ok(frame)) => drop(other.send(frame, now)),
    ///             Output::Event(Err(_closed)) => other.close(now),
    ///             Output::Write(mut outbound) => match stream.write(outbound.chunk()) {
    ///                 Ok(len) => outbound.advance(len),
    ///                 Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
    ///                 Err(error) => connection.handle_transport_error(error.to_string(), now),
    ///             },
    ///             Output::ShutdownWrite => drop(stream.shutdown(Shutdown::Write)),
    ///             Output::Wait(wait) => return Some(wait),
    ///             Output::Close => return None,
    ///         }
    ///     }
    /// }
    /// # let _ = turn;
    /// ```
    ///
    /// The order and the bound of a turn are those of a connection of messages, and so is the rule
    /// that a passed deadline is enforced only after the next read.
    pub fn poll_output(
        &mut self,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Output<'_, Result<Frame, Closed>> {
        self.watch.at(now);
        if let Some(event) = self.event_of_turn(inbound, now) {
            return Output::Event(event);
        }
        if self.may_write() {
            return Output::Write(self.offer());
        }
        self.enforce_deadline(now);
        if let Some(closed) = self.take_report() {
            return Output::Event(Err(closed));
        }
        if let Some(output) = self.transport_output() {
            return output;
        }
        Output::Wait(self.end_turn(now))
    }

    /// Pauses or resumes frames: while paused, [`poll_output`](Self::poll_output) returns none, and
    /// [`Wait::read`](Wait#structfield.read) is false, so that the peer's frames wait in its own memory.
    /// Queued bytes are still written.
    ///
    /// For a proxy, while its other end is full. Once the connection has begun to end, the pause has no
    /// effect. The transport's end is not seen while paused; see
    /// [`handle_stall`](Self::handle_stall).
    pub fn set_paused(&mut self, paused: bool) {
        self.turn.set_paused(paused);
    }

    /// Returns true if the loop should read: there is room for answers to what may arrive, or the
    /// connection is ending and reads until its end. After the end of input it returns false.
    #[inline]
    pub fn wants_read(&self) -> bool {
        self.has_room() && !self.eof && !self.is_over()
    }

    /// Returns true while bytes wait to be written. Those that were
    /// [popped](crate::Outbound::pop) do not count.
    #[inline]
    pub fn wants_write(&self) -> bool {
        self.outbound.remaining() > 0
    }

    /// Returns how far the connection is between open and closed. Close frames are frames like others
    /// here, and not reported.
    pub fn state(&self) -> Lifecycle {
        let Some(ending) = self.ending() else { return Lifecycle::Open };
        let has_unsent = self.has_unsent();
        let waits_for = match ending.phase() {
            Phase::Over(TransportAction::Close) if !has_unsent => return Lifecycle::Closed,
            Phase::CloseReceived => ClosingStep::LocalMessage,
            Phase::CloseSent if !ending.is_unsent(&self.outbound) => ClosingStep::PeerClose,
            Phase::Lingering | Phase::Over(_) if !has_unsent => ClosingStep::TransportEnd,
            Phase::CloseSent | Phase::Lingering | Phase::Over(_) => ClosingStep::Output,
        };
        Lifecycle::Closing(Closing {
            since: ending.began,
            by: ending.by,
            is_close_sent: ending.has_sent_close(),
            is_close_received: ending.received.is_some(),
            waits_for,
        })
    }

    /// The next frame or the end, unless there is no room for the answer to it or the turn has taken
    /// enough.
    fn event_of_turn(
        &mut self,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Result<Frame, Closed>> {
        if !self.has_room() || self.turn.is_spent() {
            return self.take_report().map(Err);
        }
        let event = self.poll_frame(inbound, now)?;
        self.turn.note_event(event.as_ref().map_or(0, |frame| frame.payload.len()));
        Some(event)
    }

    /// Enforces a deadline that has passed, once all is written that the transport accepts. It had
    /// passed in the last turn as well, so the loop has read since: of a process that stood still, what
    /// came in time may be unread.
    fn enforce_deadline(&mut self, now: Instant) {
        if self.turn.judge() {
            return;
        }
        let is_blocked = self.turn.is_blocked(self.outbound.handed_out());
        self.handle_progress(is_blocked || !self.wants_write(), now);
        let has_passed = self.poll_timeout().is_some_and(|deadline| deadline <= now);
        if self.turn.is_overdue(has_passed) {
            self.handle_timeout(now);
        }
    }

    fn end_turn(&mut self, now: Instant) -> Wait {
        let turn = self.turn.end();
        Wait {
            read: self.wants_read() && !turn.is_spent(),
            write: self.wants_write(),
            until: if turn.is_spent() { Some(now) } else { self.poll_timeout() },
        }
    }
}

/// The parts of a turn that both layers have.
impl RawConnection {
    /// Returns true if bytes wait, and the transport may accept some of them in this turn.
    pub(crate) fn may_write(&self) -> bool {
        self.wants_write() && self.turn.may_offer(self.outbound.handed_out())
    }

    /// Gives out the bytes to write.
    pub(crate) fn offer(&mut self) -> Outbound<'_> {
        self.turn.note_offer(self.outbound.handed_out());
        Outbound(&mut self.outbound)
    }

    /// The action for the transport, once all bytes have been sent.
    pub(crate) fn transport_output<E>(&mut self) -> Option<Output<'static, E>> {
        if self.has_unsent() {
            return None;
        }
        match self.action() {
            TransportAction::KeepOpen => None,
            TransportAction::Close => Some(Output::Close),
            TransportAction::ShutdownWrite => {
                let ending = self.ending_mut()?;
                let is_done = core::mem::replace(&mut ending.is_shut_down, true);
                (!is_done).then_some(Output::ShutdownWrite)
            }
        }
    }

    /// Returns true if there is room for answers to further input, and the application takes events.
    #[inline]
    fn has_room(&self) -> bool {
        !self.is_open() || (self.is_writable() && !self.turn.is_paused())
    }

    /// Returns true if nothing is left to send or to wait for.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        !self.is_open() && self.action() == TransportAction::Close && !self.has_unsent()
    }
}
