//! A timer of compio that may be polled on any thread with a runtime: [`CompioTimer`].

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use compio::runtime::{JoinHandle, spawn};
use compio::time::sleep_until;
use sockless_core::Instant;
use sockless_driver::{Clock, Timer};

use crate::runtime::{CompioRuntime, to_std};

/// A task of the runtime that sleeps, and wakes whatever polled the timer last. A `Sleep` of compio
/// itself cannot leave its thread, which the futures of a session can.
pub(crate) struct CompioTimer {
    deadline: Instant,
    alarm: Option<Alarm>,
    waker: Arc<Mutex<Option<Waker>>>,
}

/// The task. Dropping it cancels it, on any thread.
struct Alarm {
    at: Instant,
    task: JoinHandle<()>,
}

impl CompioTimer {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self { deadline, alarm: None, waker: Arc::default() }
    }

    fn start_alarm(&self) -> Alarm {
        let (at, waker) = (self.deadline, self.waker.clone());
        let task = spawn(async move {
            sleep_until(to_std(at)).await;
            let waker = waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        });
        Alarm { at, task }
    }
}

impl Timer for CompioTimer {
    /// A later deadline leaves the task as it is: it wakes early once, and is started again.
    fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The waker is set before the task is looked at: from now on the task wakes it.
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if CompioRuntime.now() >= self.deadline {
            self.alarm = None;
            return Poll::Ready(());
        }
        let is_set = |alarm: &Alarm| alarm.at <= self.deadline && !alarm.task.is_finished();
        if !self.alarm.as_ref().is_some_and(is_set) {
            self.alarm = Some(self.start_alarm());
        }
        Poll::Pending
    }
}
