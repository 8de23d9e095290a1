//! The log of a room: what is published, read and resumed.

use std::collections::VecDeque;

use async_nats::datetime::DateTime;

use super::connection::{Connection, Entry, Stored};
use super::names::Names;
use super::record::{self, Record};
use super::slot::{Head, Slot};
use super::stream::{mark_interval, max_messages};
use crate::bus::Replay;
use crate::config::History;
use crate::error::BusError;
use crate::name::RoomKey;
use crate::position::Position;
use crate::publication::Publication;

impl Connection {
    /// Appends a publication behind the last message of its room, which sends it to all servers.
    pub(super) async fn append(
        &self,
        room: &RoomKey,
        publication: &Publication,
    ) -> Result<Option<Position>, BusError> {
        let bytes = publication.to_bytes();
        let key = publication.get_idempotency_key().map(|key| &**key);
        let (len, limit) = (bytes.len(), self.max_len(key));
        if len > limit {
            return Err(BusError::TooLong { len, limit });
        }
        let once = key.map(|key| Names::once(room, key));
        let slot = self.slot(room);
        let _turn = slot.turn.lock().await;
        let mut head = slot.head();
        loop {
            if head.is_none() {
                head = self.last(&slot).await?.map(|(head, _)| head);
            }
            let position = match head.and_then(|head| head.position) {
                Some(position) => position.next(),
                None => Position { epoch: self.shared().epochs.fresh(), offset: 1 },
            };
            let expected = head.map_or(0, |head| head.sequence);
            let message = record::item(position, &bytes);
            match self.store(room, message, expected, once.as_deref()).await? {
                Stored::At(sequence) => {
                    slot.advance(Head { sequence, position: Some(position) });
                    return Ok(Some(position));
                }
                Stored::Before(sequence) => return self.position_at(room, sequence).await,
                Stored::Conflict => {
                    slot.forget(head);
                    head = None;
                }
            }
        }
    }

    /// Reads the messages of a room that follow a position.
    pub(super) async fn replay(&self, room: &RoomKey, after: Position) -> Result<Replay, BusError> {
        let (top, _) = self.top(&self.slot(room)).await?;
        if top == after {
            return Ok(Replay::Complete { items: Vec::new(), top });
        }
        let history = self.shared().history(room.namespace());
        let (most, max_age) = (max_messages(&history), history.get_max_age());
        let entries = self.read(room, most, max_age).await?;
        Ok(replay_of(entries, after, top, &history))
    }

    /// Returns the position of a room whose items are received from now on, which stays known while
    /// they are.
    pub(super) async fn arrive(&self, slot: &Slot) -> Result<Position, BusError> {
        let (top, time) = self.top(slot).await?;
        let interval = mark_interval(&self.shared().history(slot.room.namespace()));
        if time.is_some_and(|time| self.is_older(time, interval)) {
            self.keep(slot).await?;
        }
        Ok(top)
    }

    /// Stores the position of a room anew if its last message is not young, so that it does not expire
    /// with that. A room without a history may forget it.
    pub(super) async fn keep(&self, slot: &Slot) -> Result<(), BusError> {
        if self.shared().history(slot.room.namespace()).is_none() {
            return Ok(());
        }
        let Some(head @ Head { sequence, position: Some(position) }) = slot.head() else {
            return self.top(slot).await.map(|_| ());
        };
        match self.store(&slot.room, record::mark(position), sequence, None).await? {
            Stored::At(sequence) => slot.advance(Head { sequence, position: Some(position) }),
            // Another server was first.
            Stored::Before(_) | Stored::Conflict => {
                slot.forget(Some(head));
                self.last(slot).await?;
            }
        }
        Ok(())
    }

    /// Reads the position of a room and when it was stored. One that has none gets one.
    async fn top(&self, slot: &Slot) -> Result<(Position, Option<DateTime>), BusError> {
        loop {
            let last = self.last(slot).await?;
            if let Some((Head { position: Some(position), .. }, time)) = last {
                return Ok((position, Some(time)));
            }
            let expected = last.map_or(0, |(head, _)| head.sequence);
            let position = Position { epoch: self.shared().epochs.fresh(), offset: 0 };
            let stored = self.store(&slot.room, record::mark(position), expected, None).await?;
            if let Stored::At(sequence) = stored {
                slot.advance(Head { sequence, position: Some(position) });
                return Ok((position, None));
            }
        }
    }
}

/// The answer that follows from the last messages of a room. Without any, it is at `top`.
fn replay_of(
    entries: VecDeque<Entry>,
    after: Position,
    top: Position,
    history: &History,
) -> Replay {
    let last = entries.back().and_then(|entry| entry.record.as_ref());
    let top = last.and_then(Record::position).unwrap_or(top);
    let mut oldest = top;
    let (mut items, mut bytes) = (Vec::new(), 0);
    for Entry { record, is_expired } in entries.into_iter().rev() {
        match record {
            Some(Record::Mark(position)) if position == oldest => {}
            Some(Record::Item(item)) if item.position == Some(oldest) && !is_expired => {
                bytes += item.publication.cost();
                if items.len() == history.count() || bytes > history.get_max_bytes() {
                    break;
                }
                oldest = oldest.previous();
                items.push(item);
            }
            // Those before belong to another epoch, or are of no known form.
            _ => break,
        }
    }
    let is_known = after.epoch == top.epoch && (oldest.offset..=top.offset).contains(&after.offset);
    if !is_known {
        return Replay::Gap { oldest, top };
    }
    items.retain(|item| item.position.is_some_and(|position| position.is_after(after)));
    items.reverse();
    Replay::Complete { items, top }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::position::Epoch;
    use crate::publication::Item;

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch(1), offset }
    }

    fn item(position: Position) -> Item {
        Item { position: Some(position), publication: Arc::new(Publication::new("x")) }
    }

    fn entry(record: Option<Record>) -> Entry {
        Entry { record, is_expired: false }
    }

    fn log(first: u64, last: u64) -> VecDeque<Entry> {
        (first..=last).map(|offset| entry(Some(Record::Item(item(at(offset)))))).collect()
    }

    fn complete(first: u64, last: u64) -> Replay {
        let items = (first..=last).map(|offset| item(at(offset))).collect();
        Replay::Complete { items, top: at(last) }
    }

    const HISTORY: History = History::last(5);

    #[test]
    fn the_last_messages_are_known() {
        let replay = |after| replay_of(log(1, 9), at(after), at(9), &HISTORY);
        assert_eq!(replay(9), complete(10, 9));
        assert_eq!(replay(6), complete(7, 9));
        assert_eq!(replay(4), complete(5, 9));
        for after in [0, 3, 10, u64::MAX] {
            assert_eq!(replay(after), Replay::Gap { oldest: at(4), top: at(9) });
        }
        let other = Position { epoch: Epoch(2), offset: 9 };
        let gap = Replay::Gap { oldest: at(4), top: at(9) };
        assert_eq!(replay_of(log(1, 9), other, at(9), &HISTORY), gap);
    }

    #[test]
    fn marks_repeat_the_position() {
        let mut entries = log(1, 3);
        entries.push_front(entry(Some(Record::Mark(at(0)))));
        entries.push_back(entry(Some(Record::Mark(at(3)))));
        entries.push_back(entry(Some(Record::Mark(at(3)))));
        assert_eq!(replay_of(entries, at(0), at(3), &HISTORY), complete(1, 3));
        let mark = VecDeque::from([entry(Some(Record::Mark(at(7))))]);
        assert_eq!(replay_of(mark, at(7), at(0), &HISTORY), complete(8, 7));
    }

    #[test]
    fn what_is_not_of_one_piece_is_a_gap() {
        let gap = |oldest, top| Replay::Gap { oldest: at(oldest), top: at(top) };
        // A message is missing, another epoch, something of no known form.
        let mut missing = log(1, 9);
        missing.remove(6);
        let mut renewed = log(1, 9);
        renewed[6] = entry(Some(Record::Mark(Position { epoch: Epoch(2), offset: 7 })));
        let mut garbage = log(1, 9);
        garbage[6] = entry(None);
        for entries in [missing, renewed, garbage] {
            assert_eq!(replay_of(entries, at(6), at(9), &HISTORY), gap(7, 9));
        }
        let mut ends = log(1, 9);
        ends.push_back(entry(None));
        assert_eq!(replay_of(ends, at(8), at(9), &HISTORY), gap(9, 9));
        assert_eq!(replay_of(VecDeque::new(), at(8), at(9), &HISTORY), gap(9, 9));
    }

    #[test]
    fn age_and_bytes_limit_what_is_known() {
        let gap = Replay::Gap { oldest: at(7), top: at(9) };
        let mut entries = log(1, 9);
        entries.iter_mut().take(7).for_each(|entry| entry.is_expired = true);
        assert_eq!(replay_of(entries, at(6), at(9), &HISTORY), gap);
        let bytes = 2 * item(at(1)).publication.cost();
        let history = HISTORY.max_bytes(bytes).max_age(Duration::MAX);
        assert_eq!(replay_of(log(1, 9), at(6), at(9), &history), gap);
    }
}
