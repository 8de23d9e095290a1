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
    due: Few,
    replaced: Few,
}

/// A few wakers, oldest first. There is hardly ever more than one, which needs no memory.
#[derive(Default)]
enum Few {
    #[default]
    None,
    One(Waker),
    Many(Vec<Waker>),
}

impl Wakes {
    pub(crate) fn wake(&mut self, waker: Waker) {
        self.due.push(waker);
    }

    #[inline]
    pub(crate) fn fire(self) {
        match self.due {
            Few::None => {}
            Few::One(waker) => waker.wake(),
            Few::Many(wakers) => wakers.into_iter().for_each(Waker::wake),
        }
    }

    /// Returns true if there is nothing to call or drop.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        matches!((&self.due, &self.replaced), (Few::None, Few::None))
    }

    /// Drops a waker that is no longer needed.
    #[inline]
    fn replace(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.replaced.push(waker);
        }
    }
}

impl Few {
    fn push(&mut self, waker: Waker) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(waker),
            Self::One(first) => Self::Many(vec![first, waker]),
            Self::Many(mut wakers) => {
                wakers.push(waker);
                Self::Many(wakers)
            }
        };
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
            wakes.replace(self.waker.replace(cx.waker().clone()));
        }
    }

    /// Removes the waiting task.
    #[inline]
    pub(crate) fn forget(&mut self, wakes: &mut Wakes) {
        wakes.replace(self.waker.take());
    }

    /// The waiting task waits for something of which no time is known.
    #[inline]
    pub(crate) fn cease(&mut self, wakes: &mut Wakes) {
        wakes.replace(self.alarm.clear());
    }

    /// Returns true if no task waits, and no alarm is set.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.waker.is_none() && !self.alarm.may_be_set()
    }

    /// Wakes the waiting task at `at`, or now if that has passed; `None` if the time is unknown.
    pub(crate) fn settle(&mut self, at: Option<Instant>, now: Instant, wakes: &mut Wakes) {
        let replaced = match (at, &self.waker) {
            (Some(at), Some(waker)) if at > now => self.alarm.set(at, waker),
            (Some(_), Some(_)) => {
                if let Some(waker) = self.waker.take() {
                    wakes.wake(waker);
                }
                self.alarm.clear()
            }
            (None, _) | (_, None) => self.alarm.clear(),
        };
        wakes.replace(replaced);
    }
}
