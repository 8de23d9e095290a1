//! The logs of the simulated broker: [`Logs`].

use std::collections::BTreeMap;
use std::sync::Arc;

use sockless_core::Instant;

use crate::bus::Stream;
use crate::config::History;
use crate::name::RoomKey;
use crate::position::{Epoch, Position};
use crate::publication::{Item, Publication, Replay};

/// The streams of all rooms.
pub(super) struct Logs {
    streams: BTreeMap<RoomKey, Stream>,
    epoch: Epoch,
}

impl Logs {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self { streams: BTreeMap::new(), epoch }
    }

    pub(super) fn append(
        &mut self,
        room: &RoomKey,
        publication: Arc<Publication>,
        history: &History,
        now: Instant,
    ) -> (Position, Option<Item>) {
        self.stream(room).append(publication, history, now)
    }

    pub(super) fn replay(&mut self, room: &RoomKey, after: Position, now: Instant) -> Replay {
        self.stream(room).replay(after, now)
    }

    pub(super) fn top(&mut self, room: &RoomKey) -> Position {
        self.stream(room).top()
    }

    pub(super) fn forget(&mut self) {
        self.streams.clear();
    }

    pub(super) fn evict(&mut self) {
        self.streams.values_mut().for_each(Stream::clear);
    }

    fn stream(&mut self, room: &RoomKey) -> &mut Stream {
        let epoch = &mut self.epoch;
        self.streams.entry(room.clone()).or_insert_with(|| {
            epoch.0 = epoch.0.wrapping_add(1);
            Stream::new(*epoch)
        })
    }
}
