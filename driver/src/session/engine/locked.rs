//! A session's state while it is locked: [`Locked`], which calls wakers after the lock is released.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use crate::session::engine::handler_turn::HandlerTurn;
use crate::session::engine::state::State;

/// The state, locked. When it is dropped, the tasks are woken that something has happened for.
pub(crate) struct Locked<'a>(Option<MutexGuard<'a, State>>);

impl Deref for Locked<'_> {
    type Target = State;

    #[inline]
    fn deref(&self) -> &State {
        self.0.as_ref().expect("the guard is present until it is dropped")
    }
}

impl DerefMut for Locked<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State {
        self.0.as_mut().expect("the guard is present until it is dropped")
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.as_ref().is_some_and(|state| state.has_wakes()) {
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
        let wakes = state.take_wakes();
        drop(state);
        wakes.fire(HandlerTurn::wake);
    }
}
