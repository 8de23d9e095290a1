//! The clock, the tasks and the random numbers of smol: [`SmolRuntime`].

use sockless_core::{Instant, Seed};
use sockless_driver::{BoxFuture, Clock, Runtime, Spawn, Timer, async_io};

/// smol: its timers, and the global executor of [`smol::spawn`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SmolRuntime;

impl Clock for SmolRuntime {
    fn now(&self) -> Instant {
        async_io::now()
    }

    fn timer(&self, deadline: Instant) -> Box<dyn Timer> {
        async_io::timer(deadline)
    }
}

impl Spawn for SmolRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        smol::spawn(task).detach();
    }
}

impl Runtime for SmolRuntime {
    /// # Panics
    ///
    /// If the operating system has no random numbers: masking keys would be predictable.
    fn seed(&self) -> Seed {
        async_io::seed()
    }
}
