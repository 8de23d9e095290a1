//! The bus within one process: [`LocalBus`].

use std::collections::BTreeSet;
use std::future::ready;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use sockless_core::Instant;
use sockless_driver::{BoxFuture, Runtime};

use super::{Bus, BusSink, Stream};
use crate::config::History;
use crate::error::BusError;
use crate::keyed::{HasKey, Keyed};
use crate::lock;
use crate::name::RoomKey;
use crate::position::{Epoch, Position};
use crate::publication::{Publication, Replay};

/// The number of rooms without members whose history is kept. Beyond it, the one that would expire
/// first is dropped.
const MAX_IDLE: usize = 100_000;

/// The number of counters of [`Epochs`], which take 4 KiB.
const LOSSES: usize = 1024;

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
    rooms: BTreeSet<Keyed<Room>>,
    /// Those of rooms without members, by the time when they are dropped.
    idle: BTreeSet<(Instant, RoomKey)>,
    epochs: Epochs,
}

/// The epochs of streams. A room whose stream was dropped gets another one, unless the stream never had
/// a message: then its only position is still right.
///
/// Nothing is kept for a room that was dropped. A room shares a counter with some others, and is in
/// another epoch when a stream with messages of one of them was dropped too: a gap too many, and
/// never one too few.
#[derive(Default)]
struct Epochs {
    seed: u64,
    /// How many streams with messages were dropped, of the rooms that share each counter.
    losses: Vec<u32>,
}

/// The stream of a room. Rooms do not wait for each other: each has a lock.
struct Room {
    key: RoomKey,
    stream: Mutex<Stream<Vacancy>>,
}

/// The note of a room without members, until that is [settled](Streams::settle).
#[derive(Default)]
struct Vacancy {
    /// The entry among the idle rooms.
    idle_until: Option<Instant>,
    /// It has members again.
    is_over: bool,
}

fn is_wanted(stream: &Stream<Vacancy>) -> bool {
    stream.note().is_none_or(|vacancy| vacancy.is_over)
}

impl HasKey for Room {
    fn key(&self) -> &RoomKey {
        &self.key
    }
}

impl LocalBus {
    fn now(&self) -> Instant {
        self.host.get().map_or(Instant::EPOCH, |(_, runtime)| runtime.now())
    }

    /// Calls `act` with the stream of a room, which is created if need be, and then drops those that
    /// nothing needs any longer.
    fn with_room<T>(
        &self,
        room: &RoomKey,
        act: impl FnOnce(&mut Stream<Vacancy>, Instant) -> T,
    ) -> T {
        let now = self.now();
        let room = lock(&self.streams).room(room, now);
        let mut stream = lock(&room.stream);
        let result = act(&mut stream, now);
        let is_settled = stream.note().is_none();
        drop(stream);
        if !is_settled {
            lock(&self.streams).settle(&room, now);
        }
        result
    }
}

impl Streams {
    fn room(&mut self, key: &RoomKey, now: Instant) -> Arc<Room> {
        self.drop_expired(now);
        if let Some(Keyed(room)) = self.rooms.get(key) {
            return room.clone();
        }
        let mut stream = Stream::new(self.epochs.of(key));
        stream.set_note(Some(Vacancy::default()));
        let room = Arc::new(Room { key: key.clone(), stream: Mutex::new(stream) });
        self.rooms.insert(Keyed(room.clone()));
        room
    }

    /// Files a stream among the idle ones if it has no members, and drops it if it has no history
    /// either.
    fn settle(&mut self, room: &Arc<Room>, now: Instant) {
        let key = &room.key;
        let mut stream = lock(&room.stream);
        // Another task may have dropped it meanwhile.
        if !self.rooms.get(key).is_some_and(|Keyed(known)| Arc::ptr_eq(known, room)) {
            return;
        }
        let Some(vacancy) = stream.note_mut() else { return };
        if let Some(until) = vacancy.idle_until.take() {
            self.idle.remove(&(until, key.clone()));
        }
        if vacancy.is_over {
            stream.set_note(None);
            return;
        }
        match stream.expiry(now) {
            None => {
                // Another task that holds it may be about to subscribe, and files it later.
                if Arc::strong_count(room) == 2 {
                    self.epochs.dropped(key, &stream);
                    self.rooms.remove(key);
                }
            }
            Some(until) => {
                let idle_until = Some(until);
                stream.set_note(Some(Vacancy { idle_until, is_over: false }));
                self.idle.insert((until, key.clone()));
            }
        }
    }

    fn drop_expired(&mut self, now: Instant) {
        while let Some((until, _)) = self.idle.first()
            && (*until <= now || self.idle.len() > MAX_IDLE)
            && let Some((_, room)) = self.idle.pop_first()
        {
            // A task that holds it files it again.
            if let Some(Keyed(known)) = self.rooms.get(&room)
                && Arc::strong_count(known) == 1
            {
                self.epochs.dropped(&room, &lock(&known.stream));
                self.rooms.remove(&room);
            }
        }
    }
}

impl Epochs {
    fn new(seed: u64) -> Self {
        Self { seed, losses: vec![0; LOSSES] }
    }

    fn of(&self, room: &RoomKey) -> Epoch {
        let losses = self.losses.get(self.counter(room)).copied().unwrap_or_default();
        Epoch(self.hash(&(room.as_str(), losses)))
    }

    fn dropped(&mut self, room: &RoomKey, stream: &Stream<Vacancy>) {
        let counter = self.counter(room);
        if stream.top().offset > 0
            && let Some(losses) = self.losses.get_mut(counter)
        {
            *losses = losses.wrapping_add(1);
        }
    }

    fn counter(&self, room: &RoomKey) -> usize {
        (self.hash(&room.as_str()) % LOSSES as u64) as usize
    }

    fn hash(&self, value: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, value).hash(&mut hasher);
        hasher.finish()
    }
}

impl Bus for LocalBus {
    fn start(&self, sink: BusSink, runtime: Arc<dyn Runtime>) {
        lock(&self.streams).epochs = Epochs::new(super::random(&*runtime));
        let _ = self.host.set((sink, runtime));
    }

    fn may_lose_items(&self) -> bool {
        false
    }

    fn publish(
        &self,
        room: &RoomKey,
        publication: Arc<Publication>,
        history: &History,
    ) -> BoxFuture<'static, Result<Option<Position>, BusError>> {
        let position = self.with_room(room, |stream, now| {
            let (position, item) = stream.append(publication, history, now);
            // Under the stream's lock, so that items are reported in order.
            if let (Some(item), true, Some((sink, _))) = (item, is_wanted(stream), self.host.get())
            {
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
        let replay = self.with_room(room, |stream, now| stream.replay(after, now));
        Box::pin(ready(Ok(replay)))
    }

    /// There is no other server.
    fn signal(&self, _room: &RoomKey, _signal: Bytes) {}

    fn set_interest(&self, added: &[RoomKey], removed: &[RoomKey]) {
        for room in removed {
            self.with_room(room, |stream, _| match stream.note_mut() {
                Some(vacancy) => vacancy.is_over = false,
                None => stream.set_note(Some(Vacancy::default())),
            });
        }
        for room in added {
            self.with_room(room, |stream, _| {
                if let Some(vacancy) = stream.note_mut() {
                    vacancy.is_over = true;
                }
                if let Some((sink, _)) = self.host.get() {
                    sink.subscribed(room, Some(stream.top()));
                }
            });
        }
    }
}
