//! Both closing handshakes, and failures. `raw/ending.rs` has the phases and their deadlines.
//!
//! | phase | the peer's Close frame | the end of input | the deadline |
//! |---|---|---|---|
//! | open | is answered: `Over` | `Over` | fails the connection: `Over` |
//! | `CloseSent` | `Over` | `Over` | unsent bytes: `Over`; else `Lingering` |
//! | `CloseReceived` | – | answers: `Over` | answers: `Over` |
//! | `Lingering`, `Over` | discarded | drops the transport | drops the transport |

use bytes::BytesMut;

use super::Connection;
use crate::close::CloseReason;
use crate::error::ProtocolError;
use crate::event::{Cause, Event, Party, Timeout};
use crate::extension::Codecs;
use crate::lifecycle::TransportAction;
use crate::raw::{Ending, Phase};
use crate::role::Role;
use crate::time::Instant;

impl Connection {
    /// Sends our Close frame first (RFC 6455 §7.1.2).
    pub(super) fn start_closing(
        &mut self,
        reason: CloseReason,
        because: Option<Timeout>,
        now: Instant,
    ) {
        if !self.is_open() {
            return;
        }
        self.encode_waiting();
        if !self.is_open() {
            return; // An extension has failed.
        }
        self.raw.watch.at(now);
        self.push_close(&reason);
        let ending = self.raw.enter(Party::Local, Phase::CloseSent, now);
        ending.sent = Some(reason);
        ending.because = because;
    }

    /// Handles the peer's Close frame.
    pub(super) fn peer_closed(&mut self, reason: CloseReason, now: Instant) -> Option<Event> {
        self.encode_waiting();
        if let Some(ending) = self.raw.ending_mut() {
            // It answers ours, or both were sent at the same time.
            ending.received = Some(reason);
            let cause = ending.because.map_or(Cause::ClosingHandshake, Cause::Timeout);
            self.finish_handshake(cause, now);
            return self.take_report();
        }
        self.raw.enter(Party::Peer, Phase::CloseReceived, now).received = Some(reason.clone());
        // After the end of the transport, our unfinished message reaches no one.
        if self.sending.is_none() || self.raw.eof {
            self.answer_close(now);
        }
        Some(Event::PeerClosed(reason))
    }

    /// Answers with the peer's own code and text (RFC 6455 §5.5.1: typically the one received).
    fn answer_close(&mut self, now: Instant) {
        let Some(ending) = self.raw.ending_mut() else {
            return;
        };
        let reason = ending.received.clone().unwrap_or(CloseReason::EMPTY);
        ending.sent = Some(reason.clone());
        self.push_close(&reason);
        self.finish_handshake(Cause::ClosingHandshake, now);
    }

    /// Sends the answer that was held back until our message had ended.
    pub(super) fn answer_close_after_message(&mut self, now: Instant) {
        if self.is_in(Phase::CloseReceived) {
            self.answer_close(now);
        }
    }

    /// Returns true if a chunk of a message may be sent: while open, and to end the message that
    /// was begun before the peer closed.
    pub(super) fn may_send_chunk(&self) -> bool {
        self.is_open() || (self.sending.is_some() && self.is_in(Phase::CloseReceived))
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.raw.ending().is_some_and(|ending| ending.phase() == phase)
    }

    /// Settles the end once both sides have sent a Close frame. The server drops the transport, the
    /// client waits for that (RFC 6455 §7.1.1).
    fn finish_handshake(&mut self, cause: Cause, now: Instant) {
        let by = self.raw.ender(Party::Peer);
        let action = match self.role() {
            Role::Client if !self.raw.eof => TransportAction::KeepOpen,
            Role::Client | Role::Server => TransportAction::Close,
        };
        self.settle(by, cause, Phase::Over(action), now);
    }

    /// Fails the connection (RFC 6455 §7.1.7).
    #[cold]
    pub(super) fn fail_protocol(
        &mut self,
        error: ProtocolError,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Event> {
        inbound.clear();
        self.fail_with(Cause::Protocol(error), &error.close_reason(), now);
        self.take_report()
    }

    /// Sends `reason` unless a Close frame has been sent, and does not wait for an answer. Input is
    /// read and discarded until the peer ends its half, because a reset would destroy what we sent.
    pub(super) fn fail_with(&mut self, cause: Cause, reason: &CloseReason, now: Instant) {
        self.raw.watch.at(now);
        let has_sent_close = self.raw.ending().is_some_and(Ending::has_sent_close);
        if !has_sent_close {
            self.push_close(reason);
        }
        let action =
            if self.raw.eof { TransportAction::Close } else { TransportAction::ShutdownWrite };
        let ending = self.raw.enter(Party::Local, Phase::Over(action), now);
        if !has_sent_close {
            ending.sent = Some(reason.clone());
        }
        self.settle(Party::Local, cause, Phase::Over(action), now);
    }

    /// Sends a Close frame ahead of the frames that have not begun to be sent.
    pub(super) fn fail_now(&mut self, reason: CloseReason, now: Instant) {
        if self.is_open() || self.is_in(Phase::CloseReceived) {
            self.raw.outbound.drop_frames();
            self.fail_with(Cause::Failed, &reason, now);
        }
    }

    /// Ends the connection and drops what is queued.
    pub(super) fn end_at_once(&mut self, by: Party, cause: Cause, now: Instant) {
        self.drop_messages();
        self.raw.end_at_once(by, cause, now);
    }

    /// Settles the end once the transport and the read buffer deliver nothing more.
    pub(super) fn end_of_input(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        inbound.clear();
        let by = self.raw.ender(Party::Peer);
        let because = self.raw.ending().and_then(|ending| ending.because);
        let cause = because.map_or(Cause::Eof, Cause::Timeout);
        self.settle(by, cause, Phase::Over(TransportAction::Close), now);
        self.take_report()
    }

    /// Acts on the end of the transport in the phases that need no further input.
    pub(super) fn ending_saw_eof(&mut self, now: Instant) {
        match self.raw.ending().map(Ending::phase) {
            None | Some(Phase::CloseSent) => {}
            Some(Phase::CloseReceived) => self.answer_close(now),
            Some(Phase::Lingering | Phase::Over(_)) => self.raw.stop_lingering(),
        }
    }

    /// Acts on the deadline of the phase, which has passed.
    pub(super) fn enforce_ending_deadline(&mut self, now: Instant) {
        let Some(ending) = self.raw.ending() else {
            return;
        };
        match ending.phase() {
            Phase::CloseSent => {
                let (by, because) = (ending.by, ending.because);
                if ending.is_unsent(&self.raw.outbound) {
                    let because = because.unwrap_or(Timeout::Write);
                    return self.end_at_once(by, Cause::Timeout(because), now);
                }
                let because = because.unwrap_or(Timeout::Closing);
                self.settle(by, Cause::Timeout(because), Phase::Lingering, now);
            }
            Phase::CloseReceived => self.answer_close(now),
            Phase::Lingering | Phase::Over(_) => self.raw.abandon(),
        }
    }

    /// The report of the end, once.
    pub(super) fn take_report(&mut self) -> Option<Event> {
        self.raw.take_report().map(Event::Closed)
    }

    fn settle(&mut self, by: Party, cause: Cause, phase: Phase, now: Instant) {
        self.drop_messages();
        self.raw.settle(by, cause, phase, now);
    }

    /// Drops the state of messages in both directions: none is received or sent any longer.
    fn drop_messages(&mut self) {
        self.waiting = None;
        self.assembly = None;
        self.sending = None;
        self.codecs = Codecs::default();
    }
}
