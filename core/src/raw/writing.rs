//! Progress of the bytes to be sent, and the deadline for the next of it.

use super::RawConnection;
use crate::time::Instant;

/// The progress of the bytes to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Writing {
    /// No bytes are queued, or it is not known since when.
    Free,
    /// Bytes have been queued, and [`Outbound::taken`](crate::Outbound::taken) has been `taken`,
    /// since `since`. `blocked` once the transport has been reported to be full, so that any
    /// progress is the peer's.
    Waits { taken: u64, since: Instant, blocked: bool },
}

impl RawConnection {
    /// Records the progress of writing. Returns true if a transport that was full has accepted
    /// bytes, which shows that the peer reads.
    pub(crate) fn note_written(&mut self, is_blocked: bool, now: Instant) -> bool {
        let (taken, has_unsent) = (self.outbound.taken(), self.outbound.has_unsent());
        if let Writing::Waits { taken: before, blocked, .. } = &mut self.writing
            && has_unsent
            && *before == taken
        {
            *blocked |= is_blocked;
            return false;
        }
        let made_room = matches!(
            self.writing, Writing::Waits { blocked: true, taken: before, .. } if before != taken
        );
        self.writing = match has_unsent {
            false => Writing::Free,
            true => Writing::Waits { taken, since: now, blocked: is_blocked },
        };
        made_room
    }

    /// Returns true if no deadline of writing runs.
    #[inline]
    pub(crate) fn is_writing_free(&self) -> bool {
        matches!(self.writing, Writing::Free)
    }

    /// When [`Config::write_timeout`](crate::Config::write_timeout) will have passed without
    /// progress.
    pub(crate) fn write_deadline(&self) -> Option<Instant> {
        match self.writing {
            Writing::Waits { taken, since, .. } if taken == self.outbound.taken() => {
                let timeout = self.config.write_timeout.filter(|_| self.has_unsent());
                timeout.map(|timeout| since + timeout)
            }
            _ => None,
        }
    }
}
