//! A session's state under its lock: [`Locked`], which wakes once the lock is released.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use crate::session::engine::shared::State;

/// The state, locked. When it is let go of, those are woken that something has happened for.
pub(crate) struct Locked<'a>(Option<MutexGuard<'a, State>>);

impl Deref for Locked<'_> {
    type Target = State;

    #[inline]
    fn deref(&self) -> &State {
        self.0.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for Locked<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State {
        self.0.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.as_ref().is_some_and(|state| !state.wakes.is_empty()) {
            self.unlock_and_wake();
        }
    }
}

impl<'a> Locked<'a> {
    #[inline]
    pub(crate) fn new(state: MutexGuard<'a, State>) -> Self {
        Self(Some(state))
    }

    #[inline(never)]
    fn unlock_and_wake(&mut self) {
        let Some(mut state) = self.0.take() else { return };
        let wakes = std::mem::take(&mut state.wakes);
        drop(state);
        wakes.fire();
    }
}
