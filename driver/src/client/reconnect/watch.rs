//! What a reconnecting client is doing, for others to see: [`ReconnectWatch`].

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sockless_core::Instant;

/// What a [`Reconnect`](super::Reconnect) is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReconnectState {
    /// Nothing was asked of it yet.
    Idle,
    /// It connects, or runs the hook on a new session.
    Connecting {
        /// The number of this attempt, from 1, since a connection last proved stable.
        attempt: u32,
    },
    /// It has given a session away, and was not asked for the next one since that ended.
    Open,
    /// It waits before the next attempt.
    Waiting {
        /// How many attempts there have been since a connection last proved stable.
        attempt: u32,
        /// When the next one begins, on the runtime's clock.
        until: Instant,
    },
    /// It tries no more.
    Stopped,
}

/// Sees what a [`Reconnect`](super::Reconnect) is doing, from any task. A clone has seen what the
/// original has.
pub struct ReconnectWatch {
    board: Arc<Board>,
    /// The state that was seen last, by its number.
    seen: u64,
    slot: u64,
}

impl ReconnectWatch {
    pub(super) fn new(board: &Arc<Board>) -> Self {
        let mut notes = board.lock();
        notes.slots += 1;
        Self { board: Arc::clone(board), seen: notes.number, slot: notes.slots }
    }

    /// What it is doing now.
    pub fn state(&self) -> ReconnectState {
        self.board.lock().state
    }

    /// Waits until it does something else than was seen last, and says what; `None` once the
    /// [`Reconnect`](super::Reconnect) has been dropped. What came and went in between is passed over.
    ///
    /// Cancel-safe: a change is either returned or still to be seen.
    pub async fn changed(&mut self) -> Option<ReconnectState> {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    fn poll_changed(&mut self, cx: &Context<'_>) -> Poll<Option<ReconnectState>> {
        let mut notes = self.board.lock();
        if notes.number != self.seen {
            self.seen = notes.number;
            return Poll::Ready(Some(notes.state));
        }
        if notes.over {
            return Poll::Ready(None);
        }
        notes.waiting.insert(self.slot, cx.waker().clone());
        Poll::Pending
    }
}

impl Clone for ReconnectWatch {
    fn clone(&self) -> Self {
        let mut clone = Self::new(&self.board);
        clone.seen = self.seen;
        clone
    }
}

impl Drop for ReconnectWatch {
    fn drop(&mut self) {
        self.board.lock().waiting.remove(&self.slot);
    }
}

impl fmt::Debug for ReconnectWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectWatch").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Where the state stands.
pub(super) struct Board(Mutex<Notes>);

struct Notes {
    state: ReconnectState,
    number: u64,
    over: bool,
    slots: u64,
    waiting: BTreeMap<u64, Waker>,
}

impl Board {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Notes {
            state: ReconnectState::Idle,
            number: 0,
            over: false,
            slots: 0,
            waiting: BTreeMap::new(),
        })))
    }

    pub(super) fn publish(&self, state: ReconnectState) {
        self.tell(|notes| {
            notes.state = state;
            notes.number += 1;
        });
    }

    pub(super) fn end(&self) {
        self.tell(|notes| notes.over = true);
    }

    /// The lock is released before the watchers are woken: they may look at once.
    fn tell(&self, change: impl FnOnce(&mut Notes)) {
        let waiting = {
            let mut notes = self.lock();
            change(&mut notes);
            std::mem::take(&mut notes.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Every change is whole before the next call, so that a panic under the lock poisons nothing.
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
