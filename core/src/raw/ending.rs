//! The end of a connection, for frames and for messages alike: its phases, their deadlines and its
//! report.
//!
//! The message layer decides when Close frames are sent and answered (`connection/closing.rs`).
//! This file holds the part that does not depend on them:
//!
//! | phase | the transport | ended by |
//! |---|---|---|
//! | `CloseSent` | stays open | the peer's Close frame, or the end of the transport |
//! | `CloseReceived` | stays open | the end of the message that we are sending |
//! | `Lingering` | our half is shut down | the end of the transport |
//! | `Over` | as its [`TransportAction`] requires | – |
//!
//! Each phase has a deadline, which progress moves on: [`Config::write_timeout`] while bytes that
//! were queued before the end are unsent, because a peer that still reads them has not seen that we
//! are closing, and [`Config::closing_timeout`] after that. [`Ending::cap`] bounds all of it.

use alloc::boxed::Box;
use core::time::Duration;

use super::RawConnection;
use crate::close::CloseReason;
use crate::config::Config;
use crate::event::{Cause, Closed, Party, Timeout};
use crate::lifecycle::TransportAction;
use crate::observer::StateChange;
use crate::outbound::Queue;
use crate::time::Instant;

/// The state of a connection that has begun to end.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) by: Party,
    phase: Phase,
    pub(crate) sent: Option<CloseReason>,
    pub(crate) received: Option<CloseReason>,
    /// The deadline of ours that made us close, if one did.
    pub(crate) because: Option<Timeout>,
    /// When the connection began to end.
    pub(crate) began: Instant,
    /// The caller has been asked to shut down our half of the transport.
    pub(crate) is_shut_down: bool,
    /// When this phase began, or when the peer last made progress in it.
    since: Instant,
    /// The deadline of all phases together, but for the time that [`SLOWEST_RATE`] allows for what
    /// has been taken since the connection began to end.
    cap: Instant,
    /// [`Queue::taken`] when the connection began to end.
    taken_before: u64,
    /// The transport has not passed on all that it has taken.
    is_unflushed: bool,
    /// [`Queue::queued`] when this phase began: our Close frame and all before it.
    last_word: u64,
    /// [`Queue::taken`] at `since`.
    taken: u64,
    report: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// We have sent a Close frame and wait for the peer's.
    CloseSent,
    /// The peer has sent a Close frame. Ours is sent when the message that we are sending has
    /// ended.
    CloseReceived,
    /// We send nothing more. Input is discarded until the peer ends its half of the transport.
    Lingering,
    /// The end has been settled; the transport is still to be ended.
    Over(TransportAction),
}

/// The one report of how the connection ended.
#[derive(Clone, Debug)]
enum Report {
    /// The end has not been settled.
    Pending,
    Ready(Closed),
    Taken,
}

/// The slowest rate, in bytes per second, at which a peer may read what was sent before the end.
const SLOWEST_RATE: u64 = 1024;

/// The number of bytes accepted by the transport that may still be on their way to the peer.
const IN_FLIGHT_LEN: u64 = 256 << 10;

/// The limit of all phases in closing timeouts, apart from the time that [`SLOWEST_RATE`] allows.
const CAP: u32 = 12;

impl Ending {
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns true if input is discarded: in every phase but the one that waits for the peer's
    /// Close frame.
    pub(crate) fn discards_input(&self) -> bool {
        self.phase != Phase::CloseSent
    }

    pub(crate) fn has_sent_close(&self) -> bool {
        self.sent.is_some()
    }

    /// Returns true if our Close frame, or anything queued before it, is still unsent.
    pub(crate) fn is_unsent(&self, outbound: &Queue) -> bool {
        self.is_unflushed || (outbound.has_unsent() && outbound.taken() < self.last_word)
    }

    fn transport_action(&self) -> TransportAction {
        match self.phase {
            Phase::CloseSent | Phase::CloseReceived => TransportAction::KeepOpen,
            Phase::Lingering => TransportAction::ShutdownWrite,
            Phase::Over(action) => action,
        }
    }

    /// The deadline of the phase; `None` once the transport is to be dropped and all has been sent.
    fn deadline(&self, outbound: &Queue, config: &Config) -> Option<Instant> {
        if self.transport_action() == TransportAction::Close && !outbound.has_unsent() {
            return None;
        }
        let limit = match self.phase {
            Phase::CloseSent | Phase::Lingering if self.is_unsent(outbound) => {
                progress_timeout(config)
            }
            // A peer that has sent its Close frame may still be reading. One that broke off is not
            // waited for.
            Phase::Over(_) if self.received.is_some() && self.is_unsent(outbound) => {
                progress_timeout(config)
            }
            _ => config.closing_timeout,
        };
        let taken = outbound.taken().saturating_sub(self.taken_before);
        let cap = self.cap + Duration::from_secs(taken / SLOWEST_RATE);
        Some((self.since + limit).min(cap))
    }

    /// Returns true if bytes from the peer extend the deadline.
    fn waits_for_peer(&self) -> bool {
        matches!(self.phase, Phase::CloseSent | Phase::Lingering)
    }
}

/// How long the transport may accept none of the bytes that were queued before the end: as on an
/// open connection, and at least the time that an answer may take.
fn progress_timeout(config: &Config) -> Duration {
    const USUAL: Duration = Duration::from_secs(60);
    config.write_timeout.unwrap_or(USUAL).max(config.closing_timeout)
}

impl RawConnection {
    /// The state of the end, once either side has begun to end the connection.
    #[inline]
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.as_deref()
    }

    #[inline]
    pub(crate) fn ending_mut(&mut self) -> Option<&mut Ending> {
        self.ending.as_deref_mut()
    }

    /// Discards the end, for the layer that is put on top and ends the connection in its own way.
    pub(crate) fn reopen(&mut self) {
        self.ending = None;
    }

    /// The action for the transport; see [`transport_action`](Self::transport_action).
    #[inline]
    pub(crate) fn action(&self) -> TransportAction {
        self.ending().map_or(TransportAction::KeepOpen, Ending::transport_action)
    }

    pub(crate) fn ending_deadline(&self) -> Option<Instant> {
        self.ending()?.deadline(&self.outbound, &self.config)
    }

    /// The report of the end, once.
    #[inline]
    pub(crate) fn take_report(&mut self) -> Option<Closed> {
        let report = &mut self.ending_mut()?.report;
        if !matches!(report, Report::Ready(_)) {
            return None;
        }
        match core::mem::replace(report, Report::Taken) {
            Report::Ready(closed) => Some(closed),
            Report::Pending | Report::Taken => None,
        }
    }

    /// The party that began to end the connection, or `by`, which ends it now.
    pub(crate) fn ender(&self, by: Party) -> Party {
        self.ending().map_or(by, |ending| ending.by)
    }

    /// Enters a phase of the end, which `by` begins unless the end has begun.
    pub(crate) fn enter(&mut self, by: Party, phase: Phase, now: Instant) -> &mut Ending {
        let (taken, queued) = (self.outbound.taken(), self.outbound.queued());
        let in_flight = taken.min(IN_FLIGHT_LEN);
        let closing_timeout = self.config.closing_timeout;
        if self.ending.is_none() {
            self.watch.state(now, || StateChange::Closing(by));
        }
        let ending = self.ending.get_or_insert_with(|| {
            let longest = closing_timeout.saturating_mul(CAP);
            Box::new(Ending {
                by,
                phase,
                sent: None,
                received: None,
                because: None,
                began: now,
                is_shut_down: false,
                since: now,
                cap: now + longest.saturating_add(Duration::from_secs(in_flight / SLOWEST_RATE)),
                taken_before: taken,
                is_unflushed: false,
                last_word: queued,
                taken,
                report: Report::Pending,
            })
        });
        ending.phase = phase;
        ending.since = now;
        ending.taken = taken;
        ending.last_word = queued;
        ending
    }

    /// Enters a phase that settles how the connection ended, and prepares the report unless there
    /// has been one.
    pub(crate) fn settle(&mut self, by: Party, cause: Cause, phase: Phase, now: Instant) {
        self.incoming = None;
        let ending = self.enter(by, phase, now);
        if matches!(ending.report, Report::Pending) {
            let (sent, received) = (ending.sent.clone(), ending.received.clone());
            let closed = Closed::new(by, cause, sent, received);
            ending.report = Report::Ready(closed.clone());
            self.watch.state(now, || StateChange::Closed(closed));
        }
    }

    /// Sends what is queued, then shuts down our half of the transport.
    pub(super) fn linger(&mut self, by: Party, cause: Cause, now: Instant) {
        if self.ending.is_none() {
            let phase =
                if self.eof { Phase::Over(TransportAction::Close) } else { Phase::Lingering };
            self.settle(by, cause, phase, now);
        }
    }

    /// Ends the connection and drops what is queued.
    pub(crate) fn end_at_once(&mut self, by: Party, cause: Cause, now: Instant) {
        self.outbound.clear();
        self.settle(by, cause, Phase::Over(TransportAction::Close), now);
    }

    /// Records what the transport has taken and, if `has_received`, that bytes have come from the
    /// peer.
    #[inline]
    pub(crate) fn note_ending_progress(&mut self, has_received: bool, now: Instant) {
        let taken = self.outbound.taken();
        let Some(ending) = self.ending_mut() else { return };
        if taken != ending.taken && ending.phase != Phase::CloseReceived {
            ending.taken = taken;
            ending.since = now;
        }
        if has_received && ending.waits_for_peer() {
            ending.since = now;
        }
    }

    /// Records whether the transport has passed on all that it has taken.
    pub(crate) fn note_flushed(&mut self, is_flushed: bool, now: Instant) {
        let Some(ending) = self.ending_mut() else { return };
        if ending.is_unflushed == is_flushed {
            ending.is_unflushed = !is_flushed;
            ending.since = now;
        }
    }

    /// The peer has ended its half of the transport, and no phase waits for more from it.
    pub(crate) fn stop_lingering(&mut self) {
        if let Some(ending) = self.ending_mut() {
            ending.phase = Phase::Over(TransportAction::Close);
        }
    }

    /// The deadline of the last phase has passed: the transport is dropped with what it has not
    /// taken.
    pub(crate) fn abandon(&mut self) {
        self.stop_lingering();
        self.outbound.clear();
    }
}
