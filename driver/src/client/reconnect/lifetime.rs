//! How long a session lasted: [`Lifetime`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sockless_core::Instant;

use crate::runtime::Runtime;
use crate::session::Session;

/// From when to when a session was open. Its end is noted when it comes, by a task that ends with the
/// session, and not when somebody asks for the next one: the program may be busy until then.
pub(super) struct Lifetime {
    opened_at: Instant,
    ended_at: Arc<OnceLock<Instant>>,
}

impl Lifetime {
    /// That of `session`, which has opened now. It does not keep the session open.
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

    /// When it ended, which the caller has learnt `now`, perhaps before the task that notes it.
    pub(super) fn ended_at(&self, now: Instant) -> Instant {
        self.ended_at.get().copied().unwrap_or(now)
    }

    /// How long it lasted, for one that ended at `ended_at`.
    pub(super) fn lasted(&self, ended_at: Instant) -> Duration {
        ended_at.saturating_since(self.opened_at)
    }
}
