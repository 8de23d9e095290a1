//! The messages of one room, for buses that keep them in memory: [`Stream`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use sockless_core::Instant;

use crate::config::History;
use crate::position::{Epoch, Position};
use crate::publication::{Item, Publication, Replay};

/// The number of idempotency keys that a room remembers, and their lifetime.
const KEYS: usize = 1000;
const KEYS_AGE: Duration = Duration::from_secs(300);

/// The messages of one room, and a note of the bus, which most streams do not have.
pub(crate) struct Stream<N = ()> {
    top: Position,
    /// Apart, since most rooms without a history keep nothing.
    kept: Option<Box<Kept<N>>>,
}

struct Kept<N> {
    note: Option<N>,
    /// The last messages, and when each expires.
    items: VecDeque<(Instant, Item)>,
    bytes: usize,
    keys: VecDeque<(Instant, ByteString, Position)>,
}

impl<N> Stream<N> {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self { top: Position { epoch, offset: 0 }, kept: None }
    }

    /// Appends a message, unless its key is known. Returns its position, and the item if it is new.
    pub(crate) fn append(
        &mut self,
        publication: Arc<Publication>,
        history: &History,
        now: Instant,
    ) -> (Position, Option<Item>) {
        let next = self.top.next();
        if let Some(key) = publication.get_idempotency_key()
            && let Some(known) = self.kept.get_or_insert_default().remember(key, next, now)
        {
            return (known, None);
        }
        self.top = next;
        let item = Item { position: Some(next), publication };
        if !history.is_none() {
            self.kept.get_or_insert_default().push(item.clone(), history, now);
        }
        (next, Some(item))
    }

    pub(crate) fn replay(&mut self, after: Position, now: Instant) -> Replay {
        if let Some(kept) = &mut self.kept {
            kept.evict(|kept| kept.items.front().is_some_and(|(until, _)| *until <= now));
        }
        let items = self.kept.iter().flat_map(|kept| &kept.items);
        let kept = self.kept.as_ref().map_or(0, |kept| kept.items.len()) as u64;
        let oldest = Position { offset: self.top.offset - kept, ..self.top };
        let is_known = after.epoch == self.top.epoch
            && (oldest.offset..=self.top.offset).contains(&after.offset);
        if !is_known {
            return Replay::Gap { oldest, top: self.top };
        }
        let skipped = (after.offset - oldest.offset) as usize;
        let items = items.skip(skipped).map(|(_, item)| item.clone()).collect();
        Replay::Complete { items, top: self.top }
    }

    /// Forgets all messages; the positions go on counting.
    #[cfg(feature = "sim")]
    pub(crate) fn clear(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.evict(|_| true);
        }
    }

    pub(crate) fn note(&self) -> Option<&N> {
        self.kept.as_ref()?.note.as_ref()
    }

    pub(crate) fn note_mut(&mut self) -> Option<&mut N> {
        self.kept.as_mut()?.note.as_mut()
    }

    /// Changes the note. Without one, frees what keeps nothing.
    pub(crate) fn set_note(&mut self, note: Option<N>) {
        if note.is_some() || self.kept.is_some() {
            self.kept.get_or_insert_default().note = note;
        }
        self.kept
            .take_if(|kept| kept.note.is_none() && kept.items.is_empty() && kept.keys.is_empty());
    }

    pub(crate) fn top(&self) -> Position {
        self.top
    }

    /// The time when all messages and keys have expired, if there are any.
    pub(crate) fn expiry(&self, now: Instant) -> Option<Instant> {
        let kept = self.kept.as_ref()?;
        let items = kept.items.back().map(|(until, _)| *until);
        let keys = kept.keys.back().map(|(until, ..)| *until);
        items.max(keys).filter(|until| *until > now)
    }
}

impl<N> Default for Kept<N> {
    fn default() -> Self {
        Self { note: None, items: VecDeque::new(), bytes: 0, keys: VecDeque::new() }
    }
}

impl<N> Kept<N> {
    /// Notes that the message with this key has a position, or returns the position of an earlier
    /// one.
    fn remember(&mut self, key: &ByteString, next: Position, now: Instant) -> Option<Position> {
        while self.keys.front().is_some_and(|(until, ..)| *until <= now) {
            self.keys.pop_front();
        }
        if let Some((_, _, position)) = self.keys.iter().find(|(_, known, _)| known == key) {
            return Some(*position);
        }
        if self.keys.len() == KEYS {
            self.keys.pop_front();
        }
        self.keys.push_back((now + KEYS_AGE, key.clone(), next));
        None
    }

    fn push(&mut self, item: Item, history: &History, now: Instant) {
        self.bytes += item.publication.cost();
        self.items.push_back((now + history.get_max_age(), item));
        self.evict(|kept| {
            kept.items.len() > history.count() || kept.bytes > history.get_max_bytes()
        });
    }

    fn evict(&mut self, is_due: impl Fn(&Self) -> bool) {
        while is_due(self)
            && let Some((_, item)) = self.items.pop_front()
        {
            self.bytes -= item.publication.cost();
        }
    }
}
