//! Time, tasks and chance from async-std and the operating system.

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sockless::{Instant, Seed};
use sockless_driver::{BoxFuture, Clock, Runtime, Spawn, Timer};

/// async-std: its timers and its threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStdRuntime;

/// Any moment will do, as long as nothing happens before it.
static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

impl Clock for AsyncStdRuntime {
    fn now(&self) -> Instant {
        let epoch = *EPOCH;
        Instant::from_epoch(std::time::Instant::now().saturating_duration_since(epoch))
    }

    fn timer(&self, deadline: Instant) -> Box<dyn Timer> {
        Box::new(AsyncStdTimer {
            timer: async_io::Timer::at(in_stds_words(deadline)),
            expired: false,
        })
    }
}

impl Spawn for AsyncStdRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        async_std::task::spawn(task);
    }
}

impl Runtime for AsyncStdRuntime {
    /// # Panics
    ///
    /// When the operating system has no randomness: to go on would be to mask with known keys.
    fn seed(&self) -> Seed {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has randomness");
        Seed::new(bytes)
    }
}

struct AsyncStdTimer {
    timer: async_io::Timer,
    /// The timer has fired, which it tells only once.
    expired: bool,
}

impl Timer for AsyncStdTimer {
    fn reset(&mut self, deadline: Instant) {
        self.timer.set_at(in_stds_words(deadline));
        self.expired = false;
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.expired {
            ready!(Pin::new(&mut self.timer).poll(cx));
            self.expired = true;
        }
        Poll::Ready(())
    }
}

/// The deadline on the system's clock; one too far away for it becomes a year.
fn in_stds_words(deadline: Instant) -> std::time::Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let epoch = *EPOCH;
    epoch.checked_add(deadline.since_epoch()).unwrap_or_else(|| std::time::Instant::now() + YEAR)
}
