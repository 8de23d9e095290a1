//! The expected end of each cell: the latest time, and the cause.

use std::time::Duration;

use sockless_core::{Cause, Closed, Party, Timeout};

use crate::cell::{Cell, End, Settings, Stand, Watch};
use sockless_tests::opened::SECOND;

/// The limit for ends that are noticed when they happen.
pub(crate) const PROMPT: Duration = Duration::from_secs(2);

/// The time that a peer waits for the answer to its Close frame.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The time for which our process stands still.
pub(crate) const STANDSTILL: Duration = Duration::from_secs(30);

impl Cell {
    /// The time after the peer's end within which the session must end; `None` if nothing bounds it: no
    /// deadline is set, nothing is to be sent, and the transport does not report its end.
    pub(crate) fn within(self) -> Option<Duration> {
        let by_deadline = self.by_deadline(self.sends());
        // Behind unread bytes it is seen at once, or when a deadline has passed.
        let is_seen = !self.is_paused() || self.watch == Watch::Known;
        match self.end {
            End::Fin if is_seen => Some(PROMPT),
            // Its writes fail.
            End::Rst if is_seen || self.sends() => Some(PROMPT),
            // Each second a transport that is left unread is asked for its end.
            End::StreamReset => Some(PROMPT),
            // With what was sent unread it is a reset.
            End::CloseAndDrop if is_seen || self.sends() => Some(PROMPT),
            End::Standstill => Some(STANDSTILL + PATIENCE + PROMPT),
            // The message that is being written may be ended first.
            End::CloseAndWait if self.stand == Stand::Write => Some(self.farewell() + PROMPT),
            End::CloseAndWait if !self.is_paused() && !self.is_raw() => Some(PROMPT),
            End::CloseAndWait if is_seen => Some(PATIENCE + PROMPT),
            // Meanwhile the peer reads.
            End::CloseAndWait => {
                self.by_deadline(false).map(|deadline| deadline.max(PATIENCE + PROMPT))
            }
            End::Drips | End::Unfinished if !self.is_paused() && !self.is_raw() => {
                let unfinished = self.of_settings(45 * SECOND, 2 * SECOND) + self.farewell();
                Some(unfinished.max(by_deadline.unwrap_or_default()))
            }
            End::Answers => Some(PROMPT),
            End::ReadsSlowly => Some(8 * SECOND + self.farewell()),
            End::ReadsBehind => Some(16 * SECOND + self.farewell()),
            _ => by_deadline,
        }
    }

    /// The lifetime of a session whose peer sends nothing; with `blocked` it does not read either.
    fn by_deadline(self, blocked: bool) -> Option<Duration> {
        let stalls = self.is_paused() && self.watch == Watch::Unknown;
        match self.settings {
            // The latest is `stall_timeout`, of those that a session of messages cannot escape; one of
            // frames has no other, but `write_timeout`.
            Settings::Short if !self.is_raw() || self.is_paused() || blocked => {
                Some(3 * SECOND + self.farewell())
            }
            // `write_timeout`.
            Settings::Default if blocked => Some(60 * SECOND + self.farewell()),
            // `stall_timeout`, where the end of the transport is not known.
            Settings::Default if stalls => Some(300 * SECOND + self.farewell()),
            _ => None,
        }
    }

    /// How long the end takes that we begin: the closing handshake, and some round trips. A peer that goes
    /// on sending may be about to answer, for twelve closing timeouts at most.
    pub(crate) fn farewell(self) -> Duration {
        let closing = self.of_settings(5 * SECOND, self.short_closing());
        if self.end == End::Drips { 12 * closing + SECOND } else { closing + SECOND }
    }

    fn of_settings(self, default: Duration, short: Duration) -> Duration {
        match self.settings {
            Settings::Default => default,
            Settings::Short => short,
        }
    }

    /// The differences between the expected and the actual end of a session.
    pub(crate) fn complaint(self, closed: &Closed) -> Option<String> {
        let demanded = self.demanded();
        let is_met = demanded.iter().any(|demanded| demanded.is_met_by(closed));
        (!is_met).then(|| format!("closed {demanded:?}, got {closed:?}"))
    }

    /// The ends of which it may be any.
    fn demanded(self) -> Vec<Demanded> {
        use Demanded::{Clean, Eof, Handshake, Late, Returned, Transport};
        // Whatever is not seen ends by a deadline, and so does what takes longer than the short ones.
        let is_seen = !self.is_paused() || self.watch == Watch::Known;
        let or_late = |mut demanded: Vec<Demanded>, is_late: bool| {
            demanded.extend(is_late.then_some(Late));
            demanded
        };
        let is_short = self.settings == Settings::Short;
        // The socket is dropped, in some places with what was sent unread, which is a reset.
        let gone = if self.sends() { vec![Eof, Transport] } else { vec![Eof] };
        match self.end {
            End::Fin => or_late(vec![Eof], !is_seen),
            End::Rst => or_late(vec![Transport, Eof], !is_seen && !self.sends()),
            End::StreamReset => vec![Transport],
            End::CloseAndWait | End::Standstill if self.is_raw() => {
                or_late(gone, is_short || !is_seen)
            }
            End::CloseAndWait if self.stand == Stand::Write && !self.is_paused() => {
                vec![Handshake, Eof, Transport]
            }
            End::CloseAndWait | End::Standstill if !self.is_paused() => vec![Clean(Party::Peer)],
            End::CloseAndWait | End::Standstill => {
                or_late(vec![Handshake, Eof, Transport], is_short || !is_seen)
            }
            End::CloseAndDrop if self.is_raw() => or_late(gone, !is_seen),
            End::CloseAndDrop if self.sends() => vec![Handshake, Eof, Transport],
            End::CloseAndDrop if !self.is_paused() => vec![Handshake],
            // Short deadlines ping, which a dropped socket answers with a reset.
            End::CloseAndDrop if is_short => or_late(vec![Handshake, Eof, Transport], !is_seen),
            End::CloseAndDrop => or_late(vec![Handshake, Eof], !is_seen),
            End::ReadsSlowly | End::ReadsBehind if self.is_raw() => vec![Returned],
            End::Answers | End::ReadsSlowly | End::ReadsBehind => vec![Clean(Party::Local)],
            End::Vanish | End::NeverReads | End::Drips | End::Unfinished => self.deadlines(),
        }
    }

    /// The deadlines of which any may come first.
    fn deadlines(self) -> Vec<Demanded> {
        // A session of frames knows no messages.
        let is_unfinished = matches!(self.end, End::Drips | End::Unfinished) && !self.is_raw();
        let timeouts = match self.settings {
            Settings::Short => return vec![Demanded::Late],
            Settings::Default if self.sends() && is_unfinished => {
                vec![Timeout::Message, Timeout::Write]
            }
            Settings::Default if self.sends() => vec![Timeout::Write],
            Settings::Default if self.is_paused() && is_unfinished => {
                vec![Timeout::Message, Timeout::Stall]
            }
            Settings::Default if is_unfinished => vec![Timeout::Message],
            Settings::Default => vec![Timeout::Stall],
        };
        timeouts.into_iter().map(Demanded::Timeout).collect()
    }

    /// True if the handler gets all that the peer has sent: it receives, and nothing was lost, by a reset or
    /// because we closed.
    pub(crate) fn delivers_all(self) -> bool {
        let receives = matches!(self.stand, Stand::Recv | Stand::Reader | Stand::RawRecv);
        receives && !matches!(self.end, End::Rst | End::Answers)
    }
}

/// A way in which a session is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demanded {
    /// By the closing handshake that this side began, with a Close frame in both directions.
    Clean(Party),
    /// By the handler's return, without a Close frame.
    Returned,
    /// By the peer's Close frame, answered or not.
    Handshake,
    /// By the peer, without a Close frame.
    Eof,
    /// By the peer, and the transport failed.
    Transport,
    /// By us, because of this deadline.
    Timeout(Timeout),
    /// By us, because of any deadline; then the peer's end may have come to light.
    Late,
}

impl Demanded {
    fn is_met_by(self, closed: &Closed) -> bool {
        let by = closed.by();
        match (self, closed.cause()) {
            (Self::Clean(party), Cause::ClosingHandshake) => by == party && closed.is_clean(),
            (Self::Returned, Cause::Aborted) => by == Party::Local && closed.sent().is_none(),
            (Self::Handshake, Cause::ClosingHandshake) => by == Party::Peer,
            (Self::Eof, Cause::Eof) | (Self::Transport, Cause::Transport(_)) => by == Party::Peer,
            (Self::Timeout(demanded), Cause::Timeout(timeout)) => {
                by == Party::Local && demanded == *timeout
            }
            (Self::Late, Cause::Timeout(_)) => by == Party::Local,
            (Self::Late, Cause::Eof | Cause::Transport(_)) => {
                by == Party::Local && closed.sent().is_some()
            }
            _ => false,
        }
    }
}
