//! The tasks that wait for a condition: [`Waiters`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::task::{Context, Waker};

/// The wakers of the futures that wait for one condition. Each future has one place, which it leaves when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Waiters(RefCell<Places>);

#[derive(Debug, Default)]
struct Places {
    last: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Waiters {
    /// Returns the place of a future, which does not wait yet.
    pub(crate) fn place(&self) -> Place<'_> {
        let mut places = self.0.borrow_mut();
        places.last += 1;
        Place { waiters: self, number: places.last }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().wakers.is_empty()
    }

    /// Wakes all that wait. They wait again if the condition does not hold.
    pub(crate) fn wake(&self) {
        // Released before: a waker may run a task immediately.
        let wakers = std::mem::take(&mut self.0.borrow_mut().wakers);
        wakers.into_values().for_each(Waker::wake);
    }
}

/// The place of one future among the [`Waiters`].
#[derive(Debug)]
pub(crate) struct Place<'a> {
    waiters: &'a Waiters,
    number: u64,
}

impl Place<'_> {
    /// Wakes the task of `cx` at the next [`wake`](Waiters::wake).
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        let replaced = self.waiters.0.borrow_mut().wakers.insert(self.number, cx.waker().clone());
        // Dropped here, without the borrow: it may own a future that has a place too.
        drop(replaced);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let removed = self.waiters.0.borrow_mut().wakers.remove(&self.number);
        // As in `wait`.
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_left_when_it_is_dropped() {
        let waiters = Waiters::default();
        let cx = Context::from_waker(Waker::noop());
        let (first, second) = (waiters.place(), waiters.place());
        first.wait(&cx);
        first.wait(&cx);
        second.wait(&cx);
        assert_eq!(waiters.0.borrow().wakers.len(), 2);
        drop(first);
        assert!(!waiters.is_empty());
        drop(second);
        assert!(waiters.is_empty());
    }
}
