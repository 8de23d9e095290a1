//! The decision about another attempt, and its delay: [`Policy`].

use std::fmt;
use std::time::Duration;

use sockless_core::Seed;
use sockless_driver::{Backoff, Retry};

use super::AttemptError;

pub(super) struct Policy {
    pub(super) backoff: Backoff,
    pub(super) retry_if: RetryIf,
    pub(super) stable_after: Duration,
    /// The number of attempts since the last stable session.
    attempt: u32,
    /// True once the delays have a seed.
    is_seeded: bool,
}

type RetryIf = Box<dyn FnMut(&AttemptError, u32) -> Retry>;

impl Default for Policy {
    fn default() -> Self {
        Self {
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
            retry_if: Box::new(|error, _| error.is_transient().into()),
            stable_after: Duration::from_secs(5),
            attempt: 0,
            is_seeded: false,
        }
    }
}

impl Policy {
    pub(super) fn set_seed(&mut self, seed: &Seed) {
        self.backoff.set_seed(seed);
        self.is_seeded = true;
    }

    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Counts an attempt, and returns its number. `seed` is called if there is no seed yet.
    pub(super) fn begin(&mut self, seed: impl FnOnce() -> Seed) -> u32 {
        if !self.is_seeded {
            self.set_seed(&seed());
        }
        self.attempt = self.attempt.saturating_add(1);
        self.attempt
    }

    /// A session has ended after `duration`.
    pub(super) fn session_lasted(&mut self, duration: Duration) {
        if duration >= self.stable_after {
            self.attempt = 0;
            self.backoff.reset();
        }
    }

    /// Returns the delay before the next attempt; `None` if there is to be none.
    pub(super) fn delay_after(&mut self, error: &AttemptError) -> Option<Duration> {
        match (self.retry_if)(error, self.attempt) {
            Retry::Stop => None,
            Retry::Backoff => Some(self.backoff.next_delay()),
            Retry::After(delay) => Some(delay),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("attempt", &self.attempt)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use sockless_core::{Cause, CloseCode, CloseReason, Closed, Party};

    use super::*;
    use crate::error::ConnectError;

    const MS: Duration = Duration::from_millis(1);

    fn policy() -> Policy {
        let mut policy = Policy::default();
        policy.backoff.set_initial(100 * MS);
        policy.backoff.set_max(400 * MS);
        policy
    }

    fn closed(code: CloseCode) -> AttemptError {
        let reason = Some(CloseReason::from(code));
        let closed = Closed::new(Party::Peer, Cause::ClosingHandshake, reason.clone(), reason);
        AttemptError::Closed(closed)
    }

    const LOST: AttemptError = AttemptError::Connect(ConnectError::Failed);

    #[test]
    fn delays_grow_until_a_session_was_stable() {
        let mut policy = policy();
        for (attempt, limit) in [(1, 100), (2, 200), (3, 400), (4, 400)] {
            assert_eq!(policy.begin(|| Seed::new([7; 32])), attempt);
            assert!(policy.delay_after(&LOST).unwrap() <= limit * MS);
        }
        policy.session_lasted(Duration::from_secs(4));
        assert_eq!(policy.attempt(), 4, "a short session is not stable");
        policy.session_lasted(Duration::from_secs(5));
        assert_eq!(policy.attempt(), 0);
        assert!(policy.delay_after(&closed(CloseCode::GOING_AWAY)).unwrap() <= 100 * MS);
    }

    #[test]
    fn the_seed_is_drawn_once_and_determines_the_delays() {
        let delays = |seed: u8| {
            let mut policy = policy();
            policy.begin(|| Seed::new([seed; 32]));
            policy.begin(|| panic!("it has a seed"));
            [(); 4].map(|()| policy.delay_after(&LOST).unwrap())
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }

    #[test]
    fn what_would_come_again_is_permanent() {
        let mut policy = policy();
        policy.begin(|| Seed::new([7; 32]));
        let refused = AttemptError::Connect(ConnectError::Refused("invalid URL".to_owned()));
        for permanent in
            [refused, closed(CloseCode::POLICY_VIOLATION), AttemptError::Hook("no number".into())]
        {
            assert_eq!(policy.delay_after(&permanent), None, "{permanent}");
        }
        assert!(policy.delay_after(&AttemptError::Connect(ConnectError::Timeout)).is_some());
    }

    #[test]
    fn the_condition_may_choose_the_delay() {
        let mut policy = policy();
        policy.retry_if = Box::new(|_, attempts| match attempts {
            1 => Retry::After(7 * MS),
            _ => Retry::Stop,
        });
        policy.begin(|| Seed::new([7; 32]));
        assert_eq!(policy.delay_after(&LOST), Some(7 * MS));
        policy.begin(|| Seed::new([7; 32]));
        assert_eq!(policy.delay_after(&LOST), None);
    }
}
