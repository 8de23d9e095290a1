//! The members that wait for the bus, and what comes meanwhile: [`CatchUp`].

use std::collections::VecDeque;

use super::link::Start;
use super::seats::SeatKey;
use crate::event::{Resumed, Welcome};
use crate::position::Position;
use crate::publication::Item;

/// The number of items that may come, and their bytes, while a read is under way. The oldest beyond
/// that are read again.
const MAX_HELD: usize = 1024;
const MAX_HELD_BYTES: usize = 1 << 20;

/// The state while members or the room itself wait for the bus. At most one read is under way.
#[derive(Default)]
pub(super) struct CatchUp {
    pub(super) waiters: Vec<Waiter>,
    /// The results of members that have waited, until they ask.
    pub(super) welcomes: Vec<(u32, Welcome)>,
    pub(super) reading: Option<Position>,
    /// Items that came meanwhile.
    pub(super) held: VecDeque<Item>,
    held_bytes: usize,
    pub(super) fruitless: u32,
}

/// A member that waits.
pub(super) struct Waiter {
    pub(super) key: SeatKey,
    pub(super) since: Option<Position>,
    /// The number of messages that a new member is to receive of the history. Once the position of
    /// the first is known, `since` is the one before.
    pub(super) last: Option<u64>,
    /// A read has begun since the member came.
    pub(super) was_read: bool,
}

impl Waiter {
    pub(super) fn new(key: SeatKey, start: Start) -> Self {
        let (since, last) = match start {
            Start::Now => (None, None),
            Start::After(position) => (Some(position), None),
            Start::Last(count) => (None, Some(count)),
        };
        Self { key, since, last, was_read: false }
    }

    /// The position from which a read has to begin for the member, in a room that is at `top`.
    pub(super) fn reads_from(&mut self, top: Position) -> Option<Position> {
        if let (None, Some(last)) = (self.since, self.last) {
            self.since = Some(Position { offset: top.offset.saturating_sub(last), ..top });
        }
        self.since
    }

    /// The result if the member receives everything behind `since`.
    pub(super) fn resumed(&self) -> Resumed {
        if self.last.is_some() { Resumed::New } else { Resumed::Complete }
    }

    pub(super) fn start(&self) -> Start {
        match (self.since, self.last) {
            (Some(position), _) => Start::After(position),
            (None, Some(count)) => Start::Last(count),
            (None, None) => Start::Now,
        }
    }

    /// The result if the bus does not answer.
    pub(super) fn unresolved(&self) -> Resumed {
        if self.since.is_some() && self.last.is_none() { Resumed::Gap } else { Resumed::New }
    }
}

impl CatchUp {
    /// Returns true if nothing waits any longer.
    pub(super) fn is_idle(&self) -> bool {
        self.waiters.is_empty()
            && self.welcomes.is_empty()
            && self.held.is_empty()
            && self.reading.is_none()
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// The answer of a read that is under way is no longer of interest.
    pub(super) fn stop_reading(&mut self) {
        self.reading = None;
        self.clear_held();
    }

    pub(super) fn hold(&mut self, item: Item) {
        self.held_bytes += item.publication.cost();
        self.held.push_back(item);
        while (self.held.len() > MAX_HELD || self.held_bytes > MAX_HELD_BYTES)
            && let Some(oldest) = self.held.pop_front()
        {
            self.held_bytes -= oldest.publication.cost();
        }
    }

    pub(super) fn clear_held(&mut self) {
        self.held_bytes = 0;
        self.held = VecDeque::new();
    }

    pub(super) fn take_held(&mut self) -> VecDeque<Item> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }
}
