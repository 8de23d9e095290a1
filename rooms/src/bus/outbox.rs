//! The requests of rooms to the connection to a broker, until its task serves them: [`Outbox`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::name::RoomKey;

/// The most rooms that are subscribed to at once.
pub(super) const BATCH: usize = 512;

/// The most signals that wait, and their bytes. The oldest beyond that are lost.
const MAX_SIGNALS: usize = 4096;
const MAX_SIGNAL_BYTES: usize = 1 << 20;

/// The connection, and the commands that wait for it.
pub(super) struct Outbox<C> {
    connection: Option<C>,
    /// The rooms that have members here, while there is a connection.
    wanted: BTreeSet<RoomKey>,
    /// The rooms that got their first member, or lost their last.
    changes: BTreeMap<RoomKey, bool>,
    signals: VecDeque<(RoomKey, Bytes)>,
    signal_bytes: usize,
    is_broken: bool,
    is_closed: bool,
    waker: Option<Waker>,
}

/// The next work of the connection's task.
pub(super) enum Work {
    Batch(Batch),
    /// The connection is of no use any longer.
    Broken,
    /// The rooms are gone.
    Closed,
}

#[derive(Default)]
pub(super) struct Batch {
    pub(super) added: Vec<RoomKey>,
    pub(super) removed: Vec<RoomKey>,
    pub(super) signals: Vec<(RoomKey, Bytes)>,
}

impl<C> Default for Outbox<C> {
    fn default() -> Self {
        Self {
            connection: None,
            wanted: BTreeSet::new(),
            changes: BTreeMap::new(),
            signals: VecDeque::new(),
            signal_bytes: 0,
            is_broken: false,
            is_closed: false,
            waker: None,
        }
    }
}

impl<C: Clone> Outbox<C> {
    pub(super) fn connection(&self) -> Option<C> {
        self.connection.clone().filter(|_| !self.is_broken)
    }

    /// There is a connection, or none any longer. What waited for the last one is dropped.
    pub(super) fn connect(&mut self, connection: Option<C>) {
        let (waker, is_closed) = (self.waker.take(), self.is_closed);
        *self = Self { connection, waker, is_closed, ..Self::default() };
    }

    pub(super) fn set_interest(&mut self, added: &[RoomKey], removed: &[RoomKey]) {
        if self.connection.is_none() {
            return;
        }
        for room in removed {
            self.wanted.remove(room);
            self.changes.insert(room.clone(), false);
        }
        for room in added {
            self.wanted.insert(room.clone());
            self.changes.insert(room.clone(), true);
        }
        self.wake();
    }

    pub(super) fn signal(&mut self, room: &RoomKey, signal: Bytes) {
        if self.connection.is_none() {
            return;
        }
        self.signal_bytes += signal.len();
        self.signals.push_back((room.clone(), signal));
        while (self.signals.len() > MAX_SIGNALS || self.signal_bytes > MAX_SIGNAL_BYTES)
            && let Some((_, oldest)) = self.signals.pop_front()
        {
            self.signal_bytes -= oldest.len();
        }
        self.wake();
    }

    /// The connection is to be replaced.
    pub(super) fn break_connection(&mut self) {
        self.is_broken = true;
        self.wake();
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.wake();
    }

    pub(super) fn poll_closed(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.waker = Some(cx.waker().clone());
        if self.is_closed { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn poll_work(&mut self, cx: &Context<'_>) -> Poll<Work> {
        self.waker = Some(cx.waker().clone());
        if self.is_closed {
            return Poll::Ready(Work::Closed);
        }
        if self.is_broken {
            return Poll::Ready(Work::Broken);
        }
        if self.changes.is_empty() && self.signals.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Work::Batch(self.take_batch()))
    }

    /// The next rooms behind `last` that have members, in order.
    #[cfg(feature = "redis")]
    pub(super) fn wanted_after(&self, last: Option<&RoomKey>) -> Vec<RoomKey> {
        use std::ops::Bound;

        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.wanted.range((start, Bound::Unbounded)).take(BATCH).cloned().collect()
    }

    fn take_batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        while batch.added.len() + batch.removed.len() < BATCH
            && let Some((room, is_wanted)) = self.changes.pop_first()
        {
            if is_wanted { batch.added.push(room) } else { batch.removed.push(room) }
        }
        // Signals of a room follow its subscription.
        if self.changes.is_empty() {
            batch.signals = std::mem::take(&mut self.signals).into();
            self.signal_bytes = 0;
        }
        batch
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
