//! Who waits for something of a session, other than to receive: [`Waiters`].

use std::task::{Context, Waker};

use crate::shared::Shared;

/// What somebody may wait for, besides an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Closed,
    Flushed,
    Room,
}

/// A place among the [`Waiters`], kept by a future or a handle; 0 when it waits nowhere.
#[derive(Debug, Default)]
pub(crate) struct Slot(u64);

impl Slot {
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        self.0 != 0
    }
}

/// Room for this many waiters is kept: a sender that waits once is likely to wait again.
const KEPT_WAITERS: usize = 4;

/// Tasks that wait, in the order in which they came.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: Vec<(u64, Wait, Waker)>,
    last: u64,
}

impl Waiters {
    /// Waits in `slot`, in place of what waited there before.
    pub(crate) fn wait(&mut self, wait: Wait, slot: &mut Slot, cx: &Context<'_>) {
        let known = self.waiting.iter_mut().find(|(id, ..)| *id == slot.0);
        if let Some((_, waits_for, waker)) = known {
            *waits_for = wait;
            waker.clone_from(cx.waker());
            return;
        }
        self.last += 1;
        self.waiting.push((self.last, wait, cx.waker().clone()));
        slot.0 = self.last;
    }

    pub(crate) fn remove(&mut self, slot: &Slot) {
        self.waiting.retain(|(id, ..)| *id != slot.0);
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_WAITERS {
            self.waiting = Vec::new();
        }
    }

    /// Wakes all that wait for `wait`; whether `own` is among them, which is not woken.
    #[inline]
    pub(crate) fn wake(&mut self, wait: Wait, own: &Waker) -> bool {
        !self.waiting.is_empty() && self.wake_some(wait, own)
    }

    fn wake_some(&mut self, wait: Wait, own: &Waker) -> bool {
        let mut is_own = false;
        self.waiting.retain(|(_, waits_for, waker)| {
            if *waits_for != wait {
                return true;
            }
            if waker.will_wake(own) {
                is_own = true;
            } else {
                waker.wake_by_ref();
            }
            false
        });
        is_own
    }

    /// Wakes all that wait for `wait`.
    pub(crate) fn wake_for(&mut self, wait: Wait) {
        self.wake(wait, Waker::noop());
    }

    pub(crate) fn wake_all(&mut self) {
        for (_, _, waker) in std::mem::take(&mut self.waiting) {
            waker.wake();
        }
    }
}

/// A place among the waiters that is given up with the future that holds it.
pub(crate) struct Waiting<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) slot: Slot,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self { shared, slot: Slot::default() }
    }
}

impl Drop for Waiting<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shared.stop_waiting(&self.slot);
    }
}
