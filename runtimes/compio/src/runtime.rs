//! The clock, the tasks and the random numbers of compio: [`CompioRuntime`].

use std::sync::LazyLock;
use std::time::Duration;

use sockless_core::{Instant, Seed};
use sockless_driver::local::LocalBoxFuture;
use sockless_driver::{BoxFuture, Clock, Runtime, Spawn, Timer};

use crate::timer::CompioTimer;

/// The compio runtime of the thread on which it is used.
///
/// # Panics
///
/// Starting a task, and waiting for a timer, panics on a thread without a compio runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompioRuntime;

/// An arbitrary time, fixed before it is first compared with another.
static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(now);

impl Clock for CompioRuntime {
    fn now(&self) -> Instant {
        let epoch = *EPOCH;
        Instant::from_epoch(now().saturating_duration_since(epoch))
    }

    fn timer(&self, deadline: Instant) -> Box<dyn Timer> {
        Box::new(CompioTimer::new(deadline))
    }
}

impl Spawn for CompioRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        spawn_local(task);
    }
}

impl Runtime for CompioRuntime {
    /// # Panics
    ///
    /// If the operating system has no random numbers: masking keys would be predictable.
    fn seed(&self) -> Seed {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system provides random numbers");
        Seed::new(bytes)
    }
}

/// Starts `task` on the runtime of this thread: for
/// [`Server::serve_local`](sockless_driver::Server::serve_local).
///
/// # Panics
///
/// On a thread without a compio runtime.
pub fn spawn_local(task: LocalBoxFuture<'static, ()>) {
    compio::runtime::spawn(task).detach();
}

/// Converts a deadline to the system's clock; one that is out of its range becomes a year from now.
pub(crate) fn to_std(deadline: Instant) -> std::time::Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let epoch = *EPOCH;
    let year = now() + YEAR;
    epoch.checked_add(deadline.since_epoch()).map_or(year, |deadline| deadline.min(year))
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that the driver is given")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
