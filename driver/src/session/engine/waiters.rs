//! The tasks that wait for something else than an item of a session: [`Waiters`].
//!
//! `event-listener` would take a listener of its own for each wait, and wakes by count; here a task is woken
//! when its own condition holds, under the lock that the session has anyway.

use std::task::{Context, Waker};

/// A condition that a task may wait for, besides an item. `State::holds` evaluates it, both for the
/// task before it waits and for the driver before it wakes the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The session is over.
    Closed,
    /// More has been flushed.
    Flushed,
    /// A pong has come.
    Pong,
    /// A whole message may be sent.
    Room,
    /// A chunk of a message, or a frame, may be sent.
    ChunkRoom,
    /// No message is being sent in chunks.
    Writer,
}

/// Wakers that were taken under the session's lock, to be called or dropped once it is released:
/// either may run code that needs the lock.
#[derive(Default)]
pub(crate) struct Wakes {
    due: Option<Waker>,
    more: Option<Box<More>>,
}

/// Wakers beyond the first, which are rare.
#[derive(Default)]
struct More {
    due: Vec<Waker>,
    replaced: Vec<Waker>,
}

impl Wakes {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_none() && self.more.is_none()
    }

    #[inline]
    pub(crate) fn push(&mut self, waker: Waker) {
        match self.due {
            None => self.due = Some(waker),
            Some(_) => self.more.get_or_insert_default().due.push(waker),
        }
    }

    /// Keeps a waker that is to be dropped, until the lock is released.
    fn drop_later(&mut self, waker: Waker) {
        self.more.get_or_insert_default().replaced.push(waker);
    }

    /// Replaces the waker in `slot` by a clone of `waker`, unless both wake the same task.
    #[inline]
    pub(crate) fn replace(&mut self, slot: &mut Option<Waker>, waker: &Waker) {
        if !slot.as_ref().is_some_and(|held| held.will_wake(waker))
            && let Some(replaced) = slot.replace(waker.clone())
        {
            self.drop_later(replaced);
        }
    }

    /// Passes the wakers that are due to `wake`. The lock must have been released.
    pub(crate) fn fire(self, wake: impl Fn(Waker)) {
        if let Some(waker) = self.due {
            wake(waker);
        }
        if let Some(more) = self.more {
            more.due.into_iter().for_each(wake);
        }
    }
}

/// A place among the [`Waiters`], kept by a future or a handle. 0 while it does not wait.
#[derive(Debug, Default)]
pub(crate) struct Slot(u64);

impl Slot {
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        self.0 != 0
    }
}

/// The number of waiters whose memory is kept: a sender that has waited is likely to wait again.
const KEPT_WAITERS: usize = 4;

/// Tasks that wait, in the order in which they began to.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: Vec<(u64, Wait, Waker)>,
    last: u64,
}

impl Waiters {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Registers the task of `cx` in `slot`, in place of the former one.
    pub(crate) fn wait(
        &mut self,
        wait: Wait,
        slot: &mut Slot,
        cx: &Context<'_>,
        wakes: &mut Wakes,
    ) {
        let known = self.waiting.iter_mut().find(|(id, ..)| *id == slot.0);
        if let Some((_, waits_for, waker)) = known {
            *waits_for = wait;
            if !waker.will_wake(cx.waker()) {
                wakes.drop_later(std::mem::replace(waker, cx.waker().clone()));
            }
            return;
        }
        self.last += 1;
        self.waiting.push((self.last, wait, cx.waker().clone()));
        slot.0 = self.last;
    }

    pub(crate) fn remove(&mut self, slot: &Slot, wakes: &mut Wakes) {
        for (_, _, waker) in self.waiting.extract_if(.., |(id, ..)| *id == slot.0) {
            wakes.drop_later(waker);
        }
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_WAITERS {
            self.waiting = Vec::new();
        }
    }

    /// Wakes all tasks that wait for one of `waits`. Returns whether `own` is among them, which is
    /// not woken.
    pub(crate) fn wake(&mut self, waits: &[Wait], own: &Waker, wakes: &mut Wakes) -> bool {
        let mut is_own = false;
        for (_, _, waker) in self.waiting.extract_if(.., |(_, wait, _)| waits.contains(wait)) {
            if waker.will_wake(own) {
                // It can be dropped under the lock: its task is the one that runs.
                is_own = true;
            } else {
                wakes.push(waker);
            }
        }
        is_own
    }

    pub(crate) fn wake_all(&mut self, wakes: &mut Wakes) {
        for (_, _, waker) in std::mem::take(&mut self.waiting) {
            wakes.push(waker);
        }
    }
}
