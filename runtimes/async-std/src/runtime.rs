//! The clock, the tasks and the random numbers of async-std: [`AsyncStdRuntime`].

use sockless_core::{Instant, Seed};
use sockless_driver::{BoxFuture, Clock, Runtime, Spawn, Timer, async_io};

/// async-std: its timers and its threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStdRuntime;

impl Clock for AsyncStdRuntime {
    fn now(&self) -> Instant {
        async_io::now()
    }

    fn timer(&self, deadline: Instant) -> Box<dyn Timer> {
        async_io::timer(deadline)
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
    /// If the operating system has no random numbers: masking keys would be predictable.
    fn seed(&self) -> Seed {
        async_io::seed()
    }
}
