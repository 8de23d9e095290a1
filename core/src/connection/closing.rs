//! The end of a connection: both closing handshakes, failures, and what becomes of the transport.
//!
//! | phase | the peer's Close frame | what else ends it |
//! |---|---|---|
//! | open | answered: over | the transport ends, a failure: over |
//! | `CloseSent` | over | the same, and the closing timeout |
//! | `CloseReceived` | – | our message ends, or the closing timeout: answered, over |
//! | `Over` | – | the transport is ended as [`Transport`] says, by the closing timeout at the latest |

use alloc::boxed::Box;

use bytes::BytesMut;

use super::{Connection, Transport};
use crate::close::CloseReason;
use crate::error::ProtocolError;
use crate::event::{Cause, Closed, Event, Party, Timeout};
use crate::extension::Codecs;
use crate::raw::Role;
use crate::time::Instant;

/// How far the end of a connection has come.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    by: Party,
    phase: Phase,
    sent: Option<CloseReason>,
    received: Option<CloseReason>,
    /// The deadline of ours that made us close, if one did.
    because: Option<Timeout>,
    /// When this phase is given up.
    deadline: Instant,
    /// Whether the end has been settled; it is reported once.
    told: bool,
    /// The report, until it is taken.
    report: Option<Closed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// We have sent a Close frame, and wait for the peer's.
    CloseSent,
    /// The peer has sent a Close frame; ours waits until the message we are sending ends.
    CloseReceived,
    /// Nothing more is said; this is what the transport is still for.
    Over(Transport),
}

impl Ending {
    /// Whether what arrives means nothing any more.
    pub(super) fn is_deaf(&self) -> bool {
        self.phase != Phase::CloseSent
    }

    /// Whether our Close frame has been queued.
    pub(super) fn sent_close(&self) -> bool {
        self.sent.is_some()
    }

    pub(super) fn report(&mut self) -> Option<Event> {
        self.report.take().map(Event::Closed)
    }

    pub(super) fn transport(&self) -> Transport {
        match self.phase {
            Phase::CloseSent | Phase::CloseReceived => Transport::KeepOpen,
            Phase::Over(transport) => transport,
        }
    }

    /// When the phase is given up; never, once the transport is to be dropped and all is sent.
    pub(super) fn deadline(&self, drained: bool) -> Option<Instant> {
        let waits = !(drained && self.transport() == Transport::Close);
        waits.then_some(self.deadline)
    }
}

impl Connection {
    /// Sends our Close frame first (RFC 6455 §7.1.2).
    pub(super) fn start_closing(
        &mut self,
        reason: CloseReason,
        because: Option<Timeout>,
        now: Instant,
    ) {
        if self.ending.is_some() {
            return;
        }
        self.push_close(&reason);
        let ending = self.ending_from(Party::Local, Phase::CloseSent, now);
        ending.sent = Some(reason);
        ending.because = because;
    }

    /// The peer's Close frame has come.
    pub(super) fn peer_closed(&mut self, reason: CloseReason, now: Instant) -> Option<Event> {
        if let Some(ending) = &mut self.ending {
            // It answers ours, or crossed it on the way.
            ending.received = Some(reason);
            let cause = ending.because.map_or(Cause::Handshake, Cause::Timeout);
            self.finish_handshake(cause, now);
            return self.ending.as_mut()?.report();
        }
        let ending = self.ending_from(Party::Peer, Phase::CloseReceived, now);
        ending.received = Some(reason.clone());
        // Once the transport has ended, nobody is left to end our message for.
        if self.sending.is_none() || self.eof {
            self.answer_close(now);
        }
        Some(Event::PeerClosed(reason))
    }

    /// Answers with the peer's own code and text (RFC 6455 §5.5.1: typically the one received).
    fn answer_close(&mut self, now: Instant) {
        let Some(ending) = &mut self.ending else {
            return;
        };
        let reason = ending.received.clone().unwrap_or(CloseReason::EMPTY);
        ending.sent = Some(reason.clone());
        self.push_close(&reason);
        self.finish_handshake(Cause::Handshake, now);
    }

    /// The message that our answer waited for has ended.
    pub(super) fn answer_close_that_waits(&mut self) {
        if let Some(ending) = &self.ending
            && ending.phase == Phase::CloseReceived
        {
            // The clock is not read for this: the time that the answer had left is the transport's.
            let deadline = ending.deadline;
            self.answer_close(deadline);
        }
    }

    /// Whether a piece of a message may be sent: while open, and to end what was begun before the
    /// peer closed.
    pub(super) fn may_send_part(&self) -> bool {
        self.ending
            .as_ref()
            .is_none_or(|ending| ending.phase == Phase::CloseReceived && self.sending.is_some())
    }

    /// Both Close frames have crossed. The server drops the transport, the client waits for that
    /// (RFC 6455 §7.1.1).
    fn finish_handshake(&mut self, cause: Cause, now: Instant) {
        let by = self.ender(Party::Peer);
        let exit = match self.role() {
            Role::Client if !self.eof => Transport::KeepOpen,
            Role::Client | Role::Server => Transport::Close,
        };
        self.end(by, cause, exit, now);
    }

    /// Fails the connection (RFC 6455 §7.1.7).
    #[cold]
    pub(super) fn fail(
        &mut self,
        error: ProtocolError,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Event> {
        inbound.clear();
        self.fail_with(Cause::Protocol(error), &error.close_reason(), now);
        self.ending.as_mut()?.report()
    }

    /// Tells the peer why, unless it has been told something already, and waits no more for what it
    /// has to say; but reads on until it ends, so that a reset does not eat what we said.
    pub(super) fn fail_with(&mut self, cause: Cause, reason: &CloseReason, now: Instant) {
        let sent = self.ending.as_ref().is_some_and(|ending| ending.sent_close());
        if !sent {
            self.push_close(reason);
        }
        let exit = if self.eof { Transport::Close } else { Transport::ShutdownWrite };
        let ending = self.ending_from(Party::Local, Phase::Over(exit), now);
        if !sent {
            ending.sent = Some(reason.clone());
        }
        self.end(Party::Local, cause, exit, now);
    }

    /// Ends the connection and drops what waits to be sent.
    pub(super) fn end_at_once(&mut self, by: Party, cause: Cause, now: Instant) {
        self.raw.outbound.clear();
        self.pong = None;
        self.end(by, cause, Transport::Close, now);
    }

    /// The transport delivers nothing more, and neither does the read buffer.
    pub(super) fn end_of_input(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        inbound.clear();
        let by = self.ender(Party::Peer);
        self.end(by, Cause::Eof, Transport::Close, now);
        self.ending.as_mut()?.report()
    }

    /// What an end of input means once the peer has nothing more to say.
    pub(super) fn ending_saw_eof(&mut self, now: Instant) {
        let Some(ending) = &mut self.ending else {
            return;
        };
        match ending.phase {
            Phase::CloseSent => {}
            Phase::CloseReceived => self.answer_close(now),
            Phase::Over(_) => ending.phase = Phase::Over(Transport::Close),
        }
    }

    /// The deadline of the phase has passed.
    pub(super) fn give_up_ending(&mut self, now: Instant) {
        let Some(ending) = &mut self.ending else {
            return;
        };
        match ending.phase {
            Phase::CloseSent => {
                let (by, because) = (ending.by, ending.because.unwrap_or(Timeout::Closing));
                self.end_at_once(by, Cause::Timeout(because), now);
            }
            Phase::CloseReceived => self.answer_close(now),
            Phase::Over(_) => {
                ending.phase = Phase::Over(Transport::Close);
                self.raw.outbound.clear();
            }
        }
    }

    /// Who began to end the connection, or else `by`, who ends it now.
    pub(super) fn ender(&self, by: Party) -> Party {
        self.ending.as_ref().map_or(by, |ending| ending.by)
    }

    /// Reports the end, unless it was reported before.
    fn end(&mut self, by: Party, cause: Cause, exit: Transport, now: Instant) {
        self.assembly = None;
        self.sending = None;
        self.raw.incoming = None;
        self.codecs = Codecs::default();
        let was_over = matches!(&self.ending, Some(ending) if ending.told);
        let ending = self.ending_from(by, Phase::Over(exit), now);
        if was_over {
            return;
        }
        ending.told = true;
        let (sent, received) = (ending.sent.clone(), ending.received.clone());
        ending.report = Some(Closed::new(by, cause, sent, received));
    }

    /// The ending, made if this is its beginning, moved to `phase` with a deadline of its own.
    fn ending_from(&mut self, by: Party, phase: Phase, now: Instant) -> &mut Ending {
        let deadline = now + self.raw.config.closing_timeout;
        let ending = self.ending.get_or_insert_with(|| {
            Box::new(Ending {
                by,
                phase,
                sent: None,
                received: None,
                because: None,
                deadline,
                report: None,
                told: false,
            })
        });
        ending.phase = phase;
        ending.deadline = deadline;
        ending
    }
}
