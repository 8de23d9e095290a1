//! The state of a reconnecting client, for other tasks: [`ReconnectWatch`].

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sockless_driver::ReconnectState;

use super::AttemptError;
use crate::waiters::{Place, Waiters};

/// Observes the state of a [`Reconnect`](super::Reconnect) from any task of its thread, such as to
/// show it to a user.
///
/// [`Reconnect::watch`](super::Reconnect::watch) returns one. A clone has seen the same states as
/// the original.
#[derive(Clone)]
pub struct ReconnectWatch {
    shared: Rc<SharedState>,
    /// The number of the state that was seen last.
    seen: u64,
}

impl ReconnectWatch {
    pub(super) fn new(shared: &Rc<SharedState>) -> Self {
        Self { shared: Rc::clone(shared), seen: shared.number.get() }
    }

    /// Returns the state now.
    pub fn state(&self) -> ReconnectState {
        self.shared.state.get()
    }

    /// Returns the error after which the last attempt but the first was made or is waited for;
    /// `None` before there is one. It stays while a session is open.
    pub fn last_error(&self) -> Option<Arc<AttemptError>> {
        self.shared.last_error.borrow().clone()
    }

    /// Ends the delay before the next attempt, if there is one. In another state it does nothing.
    pub fn retry_now(&self) {
        self.shared.retry_now();
    }

    /// Waits until the state differs from the one that was seen last, and returns it; `None` once
    /// the [`Reconnect`](super::Reconnect) was dropped. Of several changes, the last one is
    /// returned.
    ///
    /// Cancel-safe: a change that was not returned is returned by the next call.
    pub async fn changed(&mut self) -> Option<ReconnectState> {
        let place = self.shared.watchers.place();
        let seen = &mut self.seen;
        poll_fn(|cx| self.shared.poll_changed(seen, &place, cx)).await
    }
}

impl fmt::Debug for ReconnectWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectWatch").field("state", &self.state()).finish_non_exhaustive()
    }
}

pub(super) struct SharedState {
    state: Cell<ReconnectState>,
    /// The number of changes so far.
    number: Cell<u64>,
    /// True once the client was dropped.
    is_over: Cell<bool>,
    last_error: RefCell<Option<Arc<AttemptError>>>,
    watchers: Waiters,
    /// True once a delay is to end.
    retry: Cell<bool>,
    /// The client's task during a delay.
    retrier: RefCell<Option<Waker>>,
}

impl SharedState {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            state: Cell::new(ReconnectState::Idle),
            number: Cell::new(0),
            is_over: Cell::new(false),
            last_error: RefCell::new(None),
            watchers: Waiters::default(),
            retry: Cell::new(false),
            retrier: RefCell::new(None),
        })
    }

    pub(super) fn publish(&self, state: ReconnectState) {
        self.state.set(state);
        self.number.set(self.number.get() + 1);
        self.retry.set(false);
        self.watchers.wake();
    }

    pub(super) fn set_error(&self, error: Arc<AttemptError>) {
        // The former one is dropped without the borrow: it may be an error of the application.
        let _former = self.last_error.borrow_mut().replace(error);
    }

    pub(super) fn retry_now(&self) {
        if !matches!(self.state.get(), ReconnectState::Waiting { .. }) {
            return;
        }
        self.retry.set(true);
        let retrier = self.retrier.borrow_mut().take();
        if let Some(retrier) = retrier {
            retrier.wake();
        }
    }

    /// Ready once a delay is to end.
    pub(super) fn poll_retry(&self, cx: &Context<'_>) -> Poll<()> {
        if self.retry.take() {
            return Poll::Ready(());
        }
        let replaced = self.retrier.borrow_mut().replace(cx.waker().clone());
        // Without the borrow: the last waker of a task may drop a watch.
        drop(replaced);
        Poll::Pending
    }

    pub(super) fn end(&self) {
        self.is_over.set(true);
        self.watchers.wake();
    }

    fn poll_changed(
        &self,
        seen: &mut u64,
        place: &Place<'_>,
        cx: &Context<'_>,
    ) -> Poll<Option<ReconnectState>> {
        if self.number.get() != *seen {
            *seen = self.number.get();
            return Poll::Ready(Some(self.state.get()));
        }
        if self.is_over.get() {
            return Poll::Ready(None);
        }
        place.wait(cx);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use sockless_core::Instant;

    use super::*;

    fn once<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn each_watch_sees_the_last_change_once() {
        let state = SharedState::new();
        let mut watch = ReconnectWatch::new(&state);
        assert_eq!(once(watch.changed()), Poll::Pending);
        state.publish(ReconnectState::Connecting { attempt: 1 });
        state.publish(ReconnectState::Open);
        let mut clone = watch.clone();
        for watch in [&mut watch, &mut clone] {
            assert_eq!(once(watch.changed()), Poll::Ready(Some(ReconnectState::Open)));
            assert_eq!(once(watch.changed()), Poll::Pending);
        }
        state.end();
        assert_eq!(once(watch.changed()), Poll::Ready(None));
    }

    #[test]
    fn only_a_delay_can_be_ended() {
        let state = SharedState::new();
        let cx = Context::from_waker(Waker::noop());
        state.retry_now();
        assert!(state.poll_retry(&cx).is_pending());

        let until = Instant::from_epoch(Duration::from_secs(1));
        state.publish(ReconnectState::Waiting { attempt: 1, until });
        ReconnectWatch::new(&state).retry_now();
        assert!(state.poll_retry(&cx).is_ready());
        assert!(state.poll_retry(&cx).is_pending());
    }
}
