//! Who waits for a pipe: [`Waiter`], and the wakers that are due.

use std::sync::Arc;
use std::task::{Context, Waker};

use sockless_core::Instant;

use crate::time::{Alarm, Time};

/// The wakers that an operation on a pipe calls or lets go of, once the pipe's lock is released:
/// either may run code that needs the lock.
#[derive(Default)]
pub(crate) struct Wakes {
    due: Vec<Waker>,
    replaced: Vec<Waker>,
}

impl Wakes {
    pub(crate) fn wake(&mut self, waker: Waker) {
        self.due.push(waker);
    }

    pub(crate) fn fire(self) {
        self.due.into_iter().for_each(Waker::wake);
    }
}

/// A task that waits for something at one end of a pipe.
pub(crate) struct Waiter {
    waker: Option<Waker>,
    alarm: Alarm,
}

impl Waiter {
    pub(crate) fn new(time: &Arc<Time>) -> Self {
        Self { waker: None, alarm: Alarm::new(time) }
    }

    /// Has the task of `cx` wait, and nobody else.
    pub(crate) fn wait(&mut self, cx: &Context<'_>, wakes: &mut Wakes) {
        if !self.waker.as_ref().is_some_and(|held| held.will_wake(cx.waker())) {
            wakes.replaced.extend(self.waker.replace(cx.waker().clone()));
        }
    }

    /// Nobody waits any more.
    pub(crate) fn forget(&mut self, wakes: &mut Wakes) {
        wakes.replaced.extend(self.waker.take());
    }

    /// Wakes who waits, if it is time, or else when it is; `None` is not as far as is known.
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
