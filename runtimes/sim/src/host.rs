//! The part that runs while no task of the simulation can: the runtime of tokio, with the feature `tokio`.

#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "tokio")]
pub(crate) use self::tokio::Host;
#[cfg(not(feature = "tokio"))]
pub(crate) use none::Host;

use sockless_core::Instant;

/// The end of a wait for the next task or alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// The alarm is due.
    Alarm,
    /// There is no alarm, and nothing wakes a task. True if tokio's tasks run nevertheless.
    Never { has_tasks: bool },
    /// A task was woken at this time.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only tokio wakes tasks"))]
    Woken(Instant),
}

#[cfg(not(feature = "tokio"))]
mod none {
    use sockless_core::Instant;

    use super::Idle;
    use crate::tasks::Tasks;

    /// Nothing runs beside the simulation's tasks.
    pub(crate) struct Host;

    impl Host {
        pub(crate) fn new(_now: Instant) -> Self {
            Self
        }

        /// Calls `act` in the host's context.
        pub(crate) fn within<T>(&self, act: impl FnOnce() -> T) -> T {
            act()
        }

        pub(crate) fn turn(&self) {}

        pub(crate) fn idle(&self, _tasks: &Tasks, alarm: Option<Instant>) -> Idle {
            if alarm.is_some() { Idle::Alarm } else { Idle::Never { has_tasks: false } }
        }

        pub(crate) fn shut_down(self) {}
    }
}
