//! The bus within one process: [`LocalBus`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::ready;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytestring::ByteString;
use sockless_core::Instant;
use sockless_driver::{BoxFuture, Runtime};

use super::{Bus, BusSink, Replay};
use crate::config::History;
use crate::error::BusError;
use crate::lock;
use crate::name::RoomKey;
use crate::position::{Epoch, Position};
use crate::publication::{Item, Publication};

/// The number of idempotency keys that a room remembers, and their lifetime.
const KEYS: usize = 1000;
const KEYS_AGE: Duration = Duration::from_secs(300);

/// The number of rooms without members whose history is kept. Beyond it, the one that would expire
/// first is dropped.
const MAX_IDLE: usize = 100_000;

/// A bus that keeps the streams of all rooms in memory.
///
/// The stream of a room is dropped with its last member unless it has a history, and otherwise when
/// that has expired.
#[derive(Default)]
pub(crate) struct LocalBus {
    host: OnceLock<(BusSink, Arc<dyn Runtime>)>,
    streams: Mutex<Streams>,
}

#[derive(Default)]
struct Streams {
    by_room: BTreeMap<RoomKey, Arc<Mutex<Stream>>>,
    /// Those of rooms without members, by the time when they are dropped.
    idle: BTreeSet<(Instant, RoomKey)>,
    epochs: u64,
}

/// The messages of one room.
struct Stream {
    top: Position,
    /// The last messages, and when each expires.
    items: VecDeque<(Instant, Item)>,
    bytes: usize,
    keys: VecDeque<(Instant, ByteString, Position)>,
    is_wanted: bool,
    /// The entry of the stream among the idle ones.
    idle_until: Option<Instant>,
}

impl LocalBus {
    fn now(&self) -> Instant {
        self.host.get().map_or(Instant::EPOCH, |(_, runtime)| runtime.now())
    }

    /// Calls `act` with the stream of a room, which is created if need be, and then drops those that
    /// nothing needs any longer.
    fn with_stream<T>(&self, room: &RoomKey, act: impl FnOnce(&mut Stream, Instant) -> T) -> T {
        let now = self.now();
        let stream = lock(&self.streams).stream(room, now);
        // The stream is locked alone: rooms do not wait for each other.
        let mut locked = lock(&stream);
        let result = act(&mut locked, now);
        if !locked.is_wanted || locked.idle_until.is_some() {
            drop(locked);
            lock(&self.streams).settle(room, &stream, now);
        }
        result
    }
}

impl Streams {
    fn stream(&mut self, room: &RoomKey, now: Instant) -> Arc<Mutex<Stream>> {
        self.drop_expired(now);
        if let Some(stream) = self.by_room.get(room) {
            return stream.clone();
        }
        self.epochs = self.epochs.wrapping_add(1);
        let stream = Arc::new(Mutex::new(Stream::new(Epoch(self.epochs))));
        self.by_room.insert(room.clone(), stream.clone());
        stream
    }

    /// Files a stream among the idle ones if it has no members, and drops it if it has no history
    /// either.
    fn settle(&mut self, room: &RoomKey, stream: &Arc<Mutex<Stream>>, now: Instant) {
        let mut locked = lock(stream);
        // Another task may have dropped it meanwhile.
        if !self.by_room.get(room).is_some_and(|known| Arc::ptr_eq(known, stream)) {
            return;
        }
        if let Some(until) = locked.idle_until.take() {
            self.idle.remove(&(until, room.clone()));
        }
        if locked.is_wanted {
            return;
        }
        match locked.expiry(now) {
            None => {
                // Another task that holds it may be about to subscribe, and files it later.
                if Arc::strong_count(stream) == 2 {
                    self.by_room.remove(room);
                }
            }
            Some(until) => {
                locked.idle_until = Some(until);
                self.idle.insert((until, room.clone()));
            }
        }
    }

    fn drop_expired(&mut self, now: Instant) {
        while let Some((until, _)) = self.idle.first()
            && (*until <= now || self.idle.len() > MAX_IDLE)
            && let Some((_, room)) = self.idle.pop_first()
        {
            // A task that holds it files it again.
            if self.by_room.get(&room).is_some_and(|stream| Arc::strong_count(stream) == 1) {
                self.by_room.remove(&room);
            }
        }
    }
}

impl Stream {
    fn new(epoch: Epoch) -> Self {
        Self {
            top: Position { epoch, offset: 0 },
            items: VecDeque::new(),
            bytes: 0,
            keys: VecDeque::new(),
            is_wanted: false,
            idle_until: None,
        }
    }

    /// Appends a message, unless its key is known. Returns its position, and the item if it is new.
    fn append(
        &mut self,
        publication: Arc<Publication>,
        history: &History,
        now: Instant,
    ) -> (Position, Option<Item>) {
        if let Some(key) = publication.get_idempotency_key() {
            while self.keys.front().is_some_and(|(until, ..)| *until <= now) {
                self.keys.pop_front();
            }
            if let Some((_, _, position)) = self.keys.iter().find(|(_, known, _)| known == key) {
                return (*position, None);
            }
            if self.keys.len() == KEYS {
                self.keys.pop_front();
            }
            self.keys.push_back((now + KEYS_AGE, key.clone(), self.top.next()));
        }
        self.top = self.top.next();
        let item = Item { position: Some(self.top), publication };
        if !history.is_none() {
            self.bytes += item.publication.cost();
            self.items.push_back((now + history.get_max_age(), item.clone()));
        }
        self.evict(|stream| {
            stream.items.len() > history.count() || stream.bytes > history.get_max_bytes()
        });
        (self.top, Some(item))
    }

    fn replay(&mut self, after: Position, now: Instant) -> Replay {
        self.evict(|stream| stream.items.front().is_some_and(|(until, _)| *until <= now));
        let kept = self.items.len() as u64;
        let oldest = Position { offset: self.top.offset - kept, ..self.top };
        let is_known = after.epoch == self.top.epoch
            && (oldest.offset..=self.top.offset).contains(&after.offset);
        if !is_known {
            return Replay::Gap { oldest, top: self.top };
        }
        let skipped = (after.offset - oldest.offset) as usize;
        let items = self.items.iter().skip(skipped).map(|(_, item)| item.clone()).collect();
        Replay::Complete { items, top: self.top }
    }

    fn evict(&mut self, is_due: impl Fn(&Self) -> bool) {
        while is_due(self)
            && let Some((_, item)) = self.items.pop_front()
        {
            self.bytes -= item.publication.cost();
        }
    }

    /// The time when all messages and keys have expired, if there are any.
    fn expiry(&self, now: Instant) -> Option<Instant> {
        let items = self.items.back().map(|(until, _)| *until);
        let keys = self.keys.back().map(|(until, ..)| *until);
        items.max(keys).filter(|until| *until > now)
    }
}

impl Bus for LocalBus {
    fn start(&self, sink: BusSink, runtime: Arc<dyn Runtime>) {
        let seed = runtime.seed();
        let mut epoch = [0; 8];
        epoch.copy_from_slice(&seed.as_bytes()[..8]);
        lock(&self.streams).epochs = u64::from_le_bytes(epoch);
        let _ = self.host.set((sink, runtime));
    }

    fn publish(
        &self,
        room: &RoomKey,
        publication: Arc<Publication>,
        history: &History,
    ) -> BoxFuture<'static, Result<Option<Position>, BusError>> {
        let position = self.with_stream(room, |stream, now| {
            let (position, item) = stream.append(publication, history, now);
            // Under the stream's lock, so that items are reported in order.
            if let (Some(item), true, Some((sink, _))) = (item, stream.is_wanted, self.host.get()) {
                sink.item(room, item);
            }
            position
        });
        Box::pin(ready(Ok(Some(position))))
    }

    fn replay(
        &self,
        room: &RoomKey,
        after: Position,
        _history: &History,
    ) -> BoxFuture<'static, Result<Replay, BusError>> {
        let replay = self.with_stream(room, |stream, now| stream.replay(after, now));
        Box::pin(ready(Ok(replay)))
    }

    fn set_interest(&self, added: &[RoomKey], removed: &[RoomKey]) {
        for room in removed {
            self.with_stream(room, |stream, _| stream.is_wanted = false);
        }
        for room in added {
            self.with_stream(room, |stream, _| {
                stream.is_wanted = true;
                if let Some((sink, _)) = self.host.get() {
                    sink.subscribed(room, Some(stream.top));
                }
            });
        }
    }
}
