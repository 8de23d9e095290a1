//! The standard library's threads as a runtime of the driver: [`ThreadRuntime`].

use sockless_core::{Instant, Seed};
use sockless_driver::{BoxFuture, Clock, Runtime, Spawn, Timer};

use crate::wait::{ThreadTimer, block_on, now};

/// Runs each task in a thread of its own, which waits for the sockets and timers of the task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadRuntime;

impl Clock for ThreadRuntime {
    fn now(&self) -> Instant {
        now()
    }

    fn timer(&self, deadline: Instant) -> Box<dyn Timer> {
        Box::new(ThreadTimer::new(deadline))
    }
}

impl Spawn for ThreadRuntime {
    /// If the system has no thread, the task is dropped: its session ends.
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let thread = std::thread::Builder::new().name(IO_THREAD.into());
        if let Err(error) = thread.spawn(|| block_on(task)) {
            tracing::warn!(%error, "a connection was dropped, since no thread could be started for it");
        }
    }
}

impl Runtime for ThreadRuntime {
    /// # Panics
    ///
    /// If the operating system has no random numbers: masking keys would be predictable.
    fn seed(&self) -> Seed {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system provides random numbers");
        Seed::new(bytes)
    }
}

/// The name of threads that drive a connection; systems show 15 bytes of it.
const IO_THREAD: &str = "sockless-io";
