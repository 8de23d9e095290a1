//! The bus within one process: [`LocalBus`].

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use sockless_core::Instant;
use sockless_driver::{BoxFuture, Runtime};

use super::{Bus, BusSink, Stream};
use crate::config::History;
use crate::error::BusError;
use crate::lock;
use crate::name::RoomKey;
use crate::position::{Epoch, Position};
use crate::publication::{Publication, Replay};

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
    by_room: BTreeMap<RoomKey, Arc<Mutex<Room>>>,
    /// Those of rooms without members, by the time when they are dropped.
    idle: BTreeSet<(Instant, RoomKey)>,
    epochs: u64,
}

/// The stream of a room, and what is known about it.
struct Room {
    stream: Stream,
    is_wanted: bool,
    /// The entry among the idle rooms.
    idle_until: Option<Instant>,
}

impl LocalBus {
    fn now(&self) -> Instant {
        self.host.get().map_or(Instant::EPOCH, |(_, runtime)| runtime.now())
    }

    /// Calls `act` with the stream of a room, which is created if need be, and then drops those that
    /// nothing needs any longer.
    fn with_room<T>(&self, room: &RoomKey, act: impl FnOnce(&mut Room, Instant) -> T) -> T {
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
    fn stream(&mut self, room: &RoomKey, now: Instant) -> Arc<Mutex<Room>> {
        self.drop_expired(now);
        if let Some(stream) = self.by_room.get(room) {
            return stream.clone();
        }
        self.epochs = self.epochs.wrapping_add(1);
        let stream = Arc::new(Mutex::new(Room {
            stream: Stream::new(Epoch(self.epochs)),
            is_wanted: false,
            idle_until: None,
        }));
        self.by_room.insert(room.clone(), stream.clone());
        stream
    }

    /// Files a stream among the idle ones if it has no members, and drops it if it has no history
    /// either.
    fn settle(&mut self, room: &RoomKey, stream: &Arc<Mutex<Room>>, now: Instant) {
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
        match locked.stream.expiry(now) {
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

impl Bus for LocalBus {
    fn start(&self, sink: BusSink, runtime: Arc<dyn Runtime>) {
        lock(&self.streams).epochs = super::random(&*runtime);
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
        let position = self.with_room(room, |local, now| {
            let (position, item) = local.stream.append(publication, history, now);
            // Under the stream's lock, so that items are reported in order.
            if let (Some(item), true, Some((sink, _))) = (item, local.is_wanted, self.host.get()) {
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
        let replay = self.with_room(room, |local, now| local.stream.replay(after, now));
        Box::pin(ready(Ok(replay)))
    }

    /// There is no other server.
    fn signal(&self, _room: &RoomKey, _signal: Bytes) {}

    fn set_interest(&self, added: &[RoomKey], removed: &[RoomKey]) {
        for room in removed {
            self.with_room(room, |local, _| local.is_wanted = false);
        }
        for room in added {
            self.with_room(room, |local, _| {
                local.is_wanted = true;
                if let Some((sink, _)) = self.host.get() {
                    sink.subscribed(room, Some(local.stream.top()));
                }
            });
        }
    }
}
