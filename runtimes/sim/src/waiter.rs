//! Tasks that wait for a pipe: [`Waiter`], and the wakers to call: [`Wakes`].

use std::sync::Arc;
use std::task::{Context, Waker};

use sockless_core::Instant;

use crate::time::{Alarm, Purpose, Time};
use crate::waits;

/// The wakers that an operation on a pipe calls or drops after it has released the pipe's lock,
/// since either may run code that needs the lock.
#[derive(Default)]
pub(crate) struct Wakes {
    due: Vec<Waker>,
    replaced: Vec<Waker>,
}

impl Wakes {
    pub(crate) fn wake(&mut self, waker: Waker) {
        self.due.push(waker);
    }

    #[inline]
    pub(crate) fn fire(self) {
        self.due.into_iter().for_each(Waker::wake);
    }
}

/// The task that waits for a condition at one end of a pipe, if there is one.
pub(crate) struct Waiter {
    waker: Option<Waker>,
    alarm: Alarm,
}

impl Waiter {
    pub(crate) fn new(time: &Arc<Time>) -> Self {
        Self { waker: None, alarm: Alarm::new(time, Purpose::Arrival) }
    }

    /// Makes the task of `cx` wait, in place of another.
    pub(crate) fn wait(&mut self, cx: &Context<'_>, wakes: &mut Wakes) {
        if waits::is_searching() {
            return waits::found();
        }
        if !self.waker.as_ref().is_some_and(|held| held.will_wake(cx.waker())) {
            wakes.replaced.extend(self.waker.replace(cx.waker().clone()));
        }
    }

    /// Removes the waiting task.
    #[inline]
    pub(crate) fn forget(&mut self, wakes: &mut Wakes) {
        wakes.replaced.extend(self.waker.take());
    }

    /// Returns true if no task waits, and no alarm is set.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.waker.is_none() && !self.alarm.may_be_set()
    }

    /// Wakes the waiting task at `at`, or now if that has passed; `None` if the time is unknown.
    pub(crate) fn settle(&mut self, at: Option<Instant>, now: Instant, wakes: &mut Wakes) {
        wakes.replaced.extend(match (at, &self.waker) {
            (Some(at), Some(waker)) if at > now => self.alarm.set(at, waker),
            (Some(_), Some(_)) => {
                wakes.due.extend(self.waker.take());
                self.alarm.clear()
            }
            (None, _) | (_, None) => self.alarm.clear(),
        });
    }
}
