//! The rooms that are in use on a connection: [`Slots`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::time::Instant;

use crate::lock;
use crate::name::RoomKey;
use crate::position::Position;

/// The last message of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its number in the stream.
    pub(super) sequence: u64,
    /// The room's position behind it; `None` if it is of no known form.
    pub(super) position: Option<Position>,
}

/// The rooms that have members here or are being published to.
#[derive(Default)]
pub(super) struct Slots(Mutex<BTreeMap<RoomKey, Weak<Slot>>>);

/// A room, for as long as something uses it.
pub(super) struct Slot {
    pub(super) room: RoomKey,
    /// Held by the one that publishes.
    pub(super) turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    slots: Arc<Slots>,
}

#[derive(Default)]
struct State {
    head: Option<Head>,
    /// When the last message was seen.
    seen: Option<Instant>,
}

impl Slots {
    /// Returns the slot of a room, and creates it if need be.
    pub(super) fn slot(self: &Arc<Self>, room: &RoomKey) -> Arc<Slot> {
        let mut slots = lock(&self.0);
        if let Some(slot) = slots.get(room).and_then(Weak::upgrade) {
            return slot;
        }
        let slot = Arc::new(Slot {
            room: room.clone(),
            turn: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            slots: self.clone(),
        });
        slots.insert(room.clone(), Arc::downgrade(&slot));
        slot
    }
}

impl Slot {
    pub(super) fn head(&self) -> Option<Head> {
        lock(&self.state).head
    }

    /// A message has been seen, which may be an earlier one than another that was. One of another
    /// epoch is not: the stream may have begun anew, with lower numbers.
    pub(super) fn advance(&self, head: Head) {
        let mut state = lock(&self.state);
        let epoch = |head: Head| head.position.map(|position| position.epoch);
        let is_later = |known: Head| known.sequence < head.sequence || epoch(known) != epoch(head);
        if state.head.is_none_or(is_later) {
            *state = State { head: Some(head), seen: Some(Instant::now()) };
        }
    }

    /// Forgets the head, unless another one has been seen.
    pub(super) fn forget(&self, head: Option<Head>) {
        let mut state = lock(&self.state);
        if state.head == head {
            state.head = None;
        }
    }

    /// When the last message was seen.
    pub(super) fn seen(&self) -> Option<Instant> {
        lock(&self.state).seen
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut slots = lock(&self.slots.0);
        // Another one may have taken its place.
        if slots.get(&self.room).is_some_and(|slot| slot.strong_count() == 0) {
            slots.remove(&self.room);
        }
    }
}
