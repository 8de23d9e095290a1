//! The end of a connection: both closing handshakes, failures, and what becomes of the transport.
//!
//! | phase | the peer's Close frame | what else ends it |
//! |---|---|---|
//! | open | answered: over | the transport ends, a failure: over |
//! | `CloseSent` | over | the same; no progress before our Close frame has left: over; no answer after: `Unanswered` |
//! | `CloseReceived` | – | our message ends, or the closing timeout: answered, over |
//! | `Unanswered` | – | reported; shut down, and read until the peer ends or is silent for the closing timeout |
//! | `Over` | – | the transport is ended as [`TransportAction`] says, by the closing timeout at the latest |
//!
//! A peer that still reads what was sent before our Close frame has not seen that, and cannot have answered.
//! So the closing timeout begins when the transport has taken the frame, and begins again with what the peer
//! sends; before that, [`Config::write_timeout`] bounds the time without progress. [`Ending::cap`] bounds all
//! of it.

use alloc::boxed::Box;

use core::time::Duration;

use bytes::{Buf, BytesMut};

use super::{Connection, TransportAction};
use crate::close::CloseReason;
use crate::config::Config;
use crate::error::ProtocolError;
use crate::event::{Cause, Closed, Event, Party, Timeout};
use crate::extension::Codecs;
use crate::outbound::Outbound;
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
    /// When this phase began, or the peer last made progress in it.
    since: Instant,
    /// When all of it is given up, whatever progress is made.
    cap: Instant,
    /// How many bytes have been queued once our Close frame has.
    last_word: u64,
    /// How many bytes had been taken at `since`.
    taken: u64,
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
    /// Our Close frame has left, and the peer has not answered it in time.
    Unanswered,
    /// Nothing more is said; this is what the transport is still for.
    Over(TransportAction),
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

    pub(super) fn transport_action(&self) -> TransportAction {
        match self.phase {
            Phase::CloseSent | Phase::CloseReceived => TransportAction::KeepOpen,
            Phase::Unanswered => TransportAction::ShutdownWrite,
            Phase::Over(transport) => transport,
        }
    }

    /// When the phase is given up; never, once the transport is to be dropped and all is sent.
    pub(super) fn deadline(&self, outbound: &Outbound, config: &Config) -> Option<Instant> {
        if self.transport_action() == TransportAction::Close && !outbound.has_remaining() {
            return None;
        }
        let limit = match self.phase {
            Phase::CloseSent if self.is_unsent(outbound) => progress_timeout(config),
            // A peer that has said goodbye may still read; one that broke off is owed no more.
            Phase::Over(_) if self.received.is_some() && self.is_unsent(outbound) => {
                progress_timeout(config)
            }
            _ => config.closing_timeout,
        };
        Some((self.since + limit).min(self.cap))
    }

    /// Whether our Close frame, or what was queued before it, still waits for the transport.
    fn is_unsent(&self, outbound: &Outbound) -> bool {
        outbound.has_remaining() && outbound.taken() < self.last_word
    }

    /// Whether what the peer sends gives it more time to answer.
    fn waits_for_peer(&self) -> bool {
        matches!(self.phase, Phase::CloseSent | Phase::Unanswered)
    }
}

/// How long the transport may take nothing of what was sent before the end: what holds for an open
/// connection, and at least as long as an answer may take.
fn progress_timeout(config: &Config) -> Duration {
    const USUAL: Duration = Duration::from_secs(60);
    config.write_timeout.unwrap_or(USUAL).max(config.closing_timeout)
}

/// How slowly the peer may take what was sent before the end, in bytes a second.
const SLOWEST: u64 = 1024;

/// How much of what the transport has taken may still be on its way to the peer.
const ON_ITS_WAY: u64 = 256 << 10;

/// How many closing timeouts an ending may take, besides the time that the slowest peer takes.
const CAP: u32 = 12;

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
            let cause = ending.because.map_or(Cause::ClosingHandshake, Cause::Timeout);
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
        self.finish_handshake(Cause::ClosingHandshake, now);
    }

    /// The message that our answer waited for has ended.
    pub(super) fn answer_close_that_waits(&mut self) {
        if let Some(ending) = &self.ending
            && ending.phase == Phase::CloseReceived
        {
            let now = self.timers.now();
            self.answer_close(now);
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
            Role::Client if !self.eof => TransportAction::KeepOpen,
            Role::Client | Role::Server => TransportAction::Close,
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
        let exit = if self.eof { TransportAction::Close } else { TransportAction::ShutdownWrite };
        let ending = self.ending_from(Party::Local, Phase::Over(exit), now);
        if !sent {
            ending.sent = Some(reason.clone());
        }
        self.end(Party::Local, cause, exit, now);
    }

    /// Ends the connection and drops what waits to be sent.
    pub(super) fn end_at_once(&mut self, by: Party, cause: Cause, now: Instant) {
        self.raw.outbound.clear();
        self.end(by, cause, TransportAction::Close, now);
    }

    /// The transport delivers nothing more, and neither does the read buffer.
    pub(super) fn end_of_input(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        inbound.clear();
        let by = self.ender(Party::Peer);
        let because = self.ending.as_ref().and_then(|ending| ending.because);
        let cause = because.map_or(Cause::Eof, Cause::Timeout);
        self.end(by, cause, TransportAction::Close, now);
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
            Phase::Unanswered | Phase::Over(_) => {
                ending.phase = Phase::Over(TransportAction::Close)
            }
        }
    }

    /// Takes note of what the transport has taken and, if `has_received`, of what came from the peer.
    pub(super) fn note_ending_progress(&mut self, has_received: bool, now: Instant) {
        let taken = self.raw.outbound.taken();
        let Some(ending) = &mut self.ending else { return };
        if taken != ending.taken && ending.phase != Phase::CloseReceived {
            ending.taken = taken;
            ending.since = now;
        }
        if has_received && ending.waits_for_peer() {
            ending.since = now;
        }
    }

    /// The deadline of the phase has passed.
    pub(super) fn give_up_ending(&mut self, now: Instant) {
        let Some(ending) = &mut self.ending else {
            return;
        };
        match ending.phase {
            Phase::CloseSent => {
                let (by, because) = (ending.by, ending.because);
                if ending.is_unsent(&self.raw.outbound) {
                    let because = because.unwrap_or(Timeout::Write);
                    return self.end_at_once(by, Cause::Timeout(because), now);
                }
                let because = because.unwrap_or(Timeout::Closing);
                self.end_in(Phase::Unanswered, by, Cause::Timeout(because), now);
            }
            Phase::CloseReceived => self.answer_close(now),
            Phase::Unanswered | Phase::Over(_) => {
                ending.phase = Phase::Over(TransportAction::Close);
                self.raw.outbound.clear();
            }
        }
    }

    /// Who began to end the connection, or else `by`, who ends it now.
    pub(super) fn ender(&self, by: Party) -> Party {
        self.ending.as_ref().map_or(by, |ending| ending.by)
    }

    /// Reports the end, unless it was reported before.
    fn end(&mut self, by: Party, cause: Cause, exit: TransportAction, now: Instant) {
        self.end_in(Phase::Over(exit), by, cause, now);
    }

    fn end_in(&mut self, phase: Phase, by: Party, cause: Cause, now: Instant) {
        self.pong = None;
        self.assembly = None;
        self.sending = None;
        self.raw.incoming = None;
        self.codecs = Codecs::default();
        let was_over = matches!(&self.ending, Some(ending) if ending.told);
        let ending = self.ending_from(by, phase, now);
        if was_over {
            return;
        }
        ending.told = true;
        let (sent, received) = (ending.sent.clone(), ending.received.clone());
        ending.report = Some(Closed::new(by, cause, sent, received));
    }

    /// The ending, made if this is its beginning, moved to `phase`, which begins now.
    fn ending_from(&mut self, by: Party, phase: Phase, now: Instant) -> &mut Ending {
        let outbound = &self.raw.outbound;
        let (taken, queued) = (outbound.taken(), outbound.queued());
        let rest = outbound.remaining() as u64 + taken.min(ON_ITS_WAY);
        let closing_timeout = self.raw.config.closing_timeout;
        let ending = self.ending.get_or_insert_with(|| {
            let longest = closing_timeout.saturating_mul(CAP);
            Box::new(Ending {
                by,
                phase,
                sent: None,
                received: None,
                because: None,
                since: now,
                cap: now + longest.saturating_add(Duration::from_secs(rest / SLOWEST)),
                last_word: queued,
                taken,
                report: None,
                told: false,
            })
        });
        ending.phase = phase;
        ending.since = now;
        ending.taken = taken;
        ending.last_word = queued;
        ending
    }
}
