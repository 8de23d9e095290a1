//! The state of a reconnecting client, for other tasks: [`ReconnectWatch`].

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sockless_core::Instant;

use super::AttemptError;

/// The state of a [`Reconnect`](super::Reconnect).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReconnectState {
    /// [`next`](super::Reconnect::next) was not called yet.
    Idle,
    /// It opens a connection, or runs a hook before or after that.
    Connecting {
        /// The number of this attempt since the last stable connection, from 1.
        attempt: u32,
    },
    /// It returned a session. The state stays the same when the session ends, until
    /// [`next`](super::Reconnect::next) is awaited.
    Open,
    /// It waits for the next attempt.
    Waiting {
        /// The number of attempts since the last stable connection.
        attempt: u32,
        /// The start of the next attempt, on the runtime's clock.
        until: Instant,
    },
    /// It makes no further attempt: see [`Reconnect::retry_if`](super::Reconnect::retry_if).
    Stopped,
}

/// Observes the state of a [`Reconnect`](super::Reconnect) from any task, such as to show it to a
/// user, and ends its delays.
///
/// [`Reconnect::watch`](super::Reconnect::watch) returns one. A clone has seen the same states as
/// the original.
///
/// ```no_run
/// use sockless::Reconnect;
///
/// # async fn example() {
/// let feed = Reconnect::new(|| sockless::connect("ws://example.com/feed"));
/// let mut watch = feed.watch();
/// tokio::spawn(async move {
///     while let Some(state) = watch.changed().await {
///         println!("{state:?}");
///     }
/// });
/// # }
/// ```
pub struct ReconnectWatch {
    shared: Arc<SharedState>,
    /// The number of the state that was seen last.
    seen: u64,
    slot: u64,
}

impl ReconnectWatch {
    pub(super) fn new(shared: &Arc<SharedState>) -> Self {
        let mut watched = shared.lock();
        watched.slots += 1;
        Self { shared: Arc::clone(shared), seen: watched.number, slot: watched.slots }
    }

    /// Returns the state now.
    pub fn state(&self) -> ReconnectState {
        self.shared.lock().state
    }

    /// Returns the last error: of an attempt that failed, or the end of a session. `None` before there
    /// is one. It stays while a later session is open.
    pub fn last_error(&self) -> Option<Arc<AttemptError>> {
        self.shared.lock().last_error.clone()
    }

    /// Ends the delay before the next attempt, if there is one: the network is back, or the machine
    /// awake. In another state it does nothing.
    ///
    /// ```no_run
    /// use sockless::Reconnect;
    ///
    /// # async fn network_is_back() {}
    /// # async fn example() {
    /// let mut feed = Reconnect::new(|| sockless::connect("ws://example.com/feed"));
    /// let watch = feed.watch();
    /// tokio::spawn(async move {
    ///     loop {
    ///         network_is_back().await;
    ///         watch.retry_now();
    ///     }
    /// });
    /// let session = feed.next().await;
    /// # }
    /// ```
    pub fn retry_now(&self) {
        let retrier = {
            let mut watched = self.shared.lock();
            if !matches!(watched.state, ReconnectState::Waiting { .. }) {
                return;
            }
            watched.retry = true;
            watched.retrier.take()
        };
        if let Some(retrier) = retrier {
            retrier.wake();
        }
    }

    /// Waits until the state differs from the one that was seen last, and returns it; `None` once
    /// the [`Reconnect`](super::Reconnect) was dropped. Of several changes, the last one is
    /// returned.
    ///
    /// Cancel-safe: a change that was not returned is returned by the next call.
    pub async fn changed(&mut self) -> Option<ReconnectState> {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    fn poll_changed(&mut self, cx: &Context<'_>) -> Poll<Option<ReconnectState>> {
        let mut watched = self.shared.lock();
        if watched.number != self.seen {
            self.seen = watched.number;
            return Poll::Ready(Some(watched.state));
        }
        if watched.over {
            return Poll::Ready(None);
        }
        let replaced = watched.waiting.insert(self.slot, cx.waker().clone());
        // Without the lock: the last waker of a task may drop a future that has a watch.
        drop(watched);
        drop(replaced);
        Poll::Pending
    }
}

impl Clone for ReconnectWatch {
    fn clone(&self) -> Self {
        let mut clone = Self::new(&self.shared);
        clone.seen = self.seen;
        clone
    }
}

impl Drop for ReconnectWatch {
    fn drop(&mut self) {
        let removed = self.shared.lock().waiting.remove(&self.slot);
        // Without the lock, as in `poll_changed`.
        drop(removed);
    }
}

impl fmt::Debug for ReconnectWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectWatch").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// The state, and the tasks that wait for it to change.
///
/// It is not tokio's watch channel, since the driver does not depend on a runtime.
pub(super) struct SharedState(Mutex<Watched>);

struct Watched {
    state: ReconnectState,
    /// The number of changes so far.
    number: u64,
    /// True once the client was dropped.
    over: bool,
    /// The number of watches so far.
    slots: u64,
    /// One waker for each watch that waits, by its slot.
    waiting: BTreeMap<u64, Waker>,
    last_error: Option<Arc<AttemptError>>,
    /// A watch has ended the delay.
    retry: bool,
    /// The waker of the client during a delay.
    retrier: Option<Waker>,
}

impl SharedState {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Watched {
            state: ReconnectState::Idle,
            number: 0,
            over: false,
            slots: 0,
            waiting: BTreeMap::new(),
            last_error: None,
            retry: false,
            retrier: None,
        })))
    }

    pub(super) fn publish(&self, state: ReconnectState) {
        self.change(|watched| {
            watched.state = state;
            watched.number += 1;
            watched.retry = false;
        });
    }

    pub(super) fn set_error(&self, error: Arc<AttemptError>) {
        // The former one is dropped without the lock: it may be an error of the application.
        let _former = self.lock().last_error.replace(error);
    }

    /// Ready once a watch has ended the delay.
    pub(super) fn poll_retry(&self, cx: &Context<'_>) -> Poll<()> {
        let mut watched = self.lock();
        if std::mem::take(&mut watched.retry) {
            return Poll::Ready(());
        }
        let replaced = watched.retrier.replace(cx.waker().clone());
        // Without the lock, as in `poll_changed`.
        drop(watched);
        drop(replaced);
        Poll::Pending
    }

    pub(super) fn end(&self) {
        self.change(|watched| watched.over = true);
    }

    /// Releases the lock before it wakes the watchers, which may take it immediately.
    fn change(&self, change: impl FnOnce(&mut Watched)) {
        let waiting = {
            let mut watched = self.lock();
            change(&mut watched);
            std::mem::take(&mut watched.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Ignores poisoning: each change is complete before the next call.
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Wake;

    use super::*;

    /// A waker that is the last owner of a task whose future has a watch.
    struct Owner(#[expect(dead_code, reason = "it is dropped")] ReconnectWatch);

    impl Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_waker_that_owns_a_watch_is_dropped_without_the_lock() {
        let state = SharedState::new();
        let mut watch = ReconnectWatch::new(&state);
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(Owner(ReconnectWatch::new(&state))));
            let mut context = Context::from_waker(&waker);
            assert!(pin!(watch.changed()).poll(&mut context).is_pending());
        }
        drop(watch);
        assert!(state.lock().waiting.is_empty());
    }
}
