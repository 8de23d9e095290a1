//! A runtime of tokio on this thread, whose clock stands still while anything can run.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sockless_core::Instant;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant as TokioInstant, sleep_until};

use super::Idle;
use crate::tasks::Tasks;

/// The runtime for `tokio::spawn` and `tokio::time`.
///
/// The simulation's tasks run outside of it, in its context. It runs while they wait: then its tasks
/// run, and its clock advances to the next timer, its own or the simulation's.
pub(crate) struct Host {
    runtime: Runtime,
    /// The same instant on both clocks.
    started: (Instant, TokioInstant),
}

/// The time that the simulation's tasks may wait while those of tokio run.
const FAR: Duration = Duration::from_secs(30 * 24 * 3600);

impl Host {
    pub(crate) fn new(now: Instant) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without I/O needs nothing of the system");
        let entered = runtime.enter();
        let started = (now, TokioInstant::now());
        drop(entered);
        Self { runtime, started }
    }

    /// Calls `act` in the context of the runtime.
    pub(crate) fn within<T>(&self, act: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.enter();
        act()
    }

    /// Lets the tasks of tokio run, if there are any.
    pub(crate) fn turn(&self) {
        if self.has_tasks() {
            self.runtime.block_on(tokio::task::yield_now());
        }
    }

    /// Waits until a task can run or `alarm` is due.
    pub(crate) fn idle(&self, tasks: &Tasks, alarm: Option<Instant>) -> Idle {
        let (start, tokio_start) = self.started;
        let due = alarm.map(|alarm| tokio_start + alarm.saturating_since(start));
        let mut is_first = self.has_tasks();
        let is_woken = self.runtime.block_on(async {
            let due = due.unwrap_or_else(|| TokioInstant::now() + FAR);
            let mut alarm = pin!(sleep_until(due));
            poll_fn(|cx| {
                if tasks.has_ready() {
                    return Poll::Ready(true);
                }
                tasks.set_host(Some(cx.waker()));
                // The tasks of tokio that can run go before an alarm.
                if std::mem::take(&mut is_first) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                alarm.as_mut().poll(cx).map(|()| false)
            })
            .await
        });
        tasks.set_host(None);
        if is_woken {
            let elapsed = self.within(TokioInstant::now).duration_since(tokio_start);
            return Idle::Woken(start + elapsed);
        }
        match alarm {
            Some(_) => Idle::Alarm,
            None => Idle::Never { has_tasks: self.has_tasks() },
        }
    }

    /// Drops the tasks of tokio. Does not wait for threads of `spawn_blocking`.
    pub(crate) fn shut_down(self) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.runtime.shutdown_background()));
    }

    fn has_tasks(&self) -> bool {
        self.runtime.metrics().num_alive_tasks() > 0
    }
}
