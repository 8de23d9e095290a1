//! The duration of a session: [`Lifetime`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sockless_core::Instant;

use crate::runtime::Runtime;
use crate::session::Session;

/// The time from the start of a session to its end. A task that ends with the session notes the
/// end, since the program may be busy elsewhere before it calls
/// [`Reconnect::next`](super::Reconnect::next).
pub(super) struct Lifetime {
    opened_at: Instant,
    ended_at: Arc<OnceLock<Instant>>,
}

impl Lifetime {
    /// Starts the lifetime of `session` now. It does not keep the session open.
    pub(super) fn watch(session: &Session, runtime: &Arc<dyn Runtime>) -> Self {
        let ended_at = Arc::new(OnceLock::new());
        let (end, noted, clock) =
            (session.as_sender().end(), Arc::clone(&ended_at), Arc::clone(runtime));
        runtime.spawn(Box::pin(async move {
            end.await;
            let _ = noted.set(clock.now());
        }));
        Self { opened_at: runtime.now(), ended_at }
    }

    /// Returns the time at which the session ended. It is `now` if the task has not noted it yet.
    pub(super) fn ended_at(&self, now: Instant) -> Instant {
        self.ended_at.get().copied().unwrap_or(now)
    }

    /// Returns the duration of a session that ended at `ended_at`.
    pub(super) fn lasted(&self, ended_at: Instant) -> Duration {
        ended_at.saturating_since(self.opened_at)
    }
}
