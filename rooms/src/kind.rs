//! The rooms of one kind: [`Kind`], the contents of a [`Namespace`](crate::Namespace).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sockless_core::CloseReason;
use sockless_driver::Request;

use crate::config::RoomConfig;
use crate::error::{JoinError, PublishError};
use crate::lock;
use crate::machine::{Signal, SignalBody};
use crate::name::{RoomKey, RoomNameError};
use crate::outlet::Outlet;
use crate::position::Position;
use crate::publication::Publication;
use crate::rooms::Inner;

/// The contents of a [`Namespace`].
pub(crate) struct Kind {
    pub(crate) inner: Arc<Inner>,
    pub(crate) name: String,
    pub(crate) config: RoomConfig,
    /// The number of rooms that each session is in, by the address of its request, if that is
    /// limited. No two sessions that are in a room have the same.
    pub(crate) places: Mutex<BTreeMap<usize, usize>>,
}

impl Kind {
    /// Counts another room of a session.
    pub(crate) fn take_place<'a>(&'a self, request: &'a Request) -> Result<Place<'a>, JoinError> {
        if let Some(limit) = self.config.get_max_rooms() {
            let mut places = lock(&self.places);
            let taken = places.entry(address(request)).or_default();
            if *taken >= limit {
                return Err(JoinError::TooManyRooms { limit });
            }
            *taken += 1;
        }
        Ok(Place { kind: self, request, is_kept: false })
    }

    /// A session has left a room.
    pub(crate) fn free_place(&self, request: &Request) {
        if self.config.get_max_rooms().is_none() {
            return;
        }
        let mut places = lock(&self.places);
        if let Some(taken) = places.get_mut(&address(request)) {
            *taken -= 1;
            if *taken == 0 {
                places.remove(&address(request));
            }
        }
    }

    pub(crate) async fn publish(
        &self,
        room: &RoomKey,
        publication: Publication,
    ) -> Result<Option<Position>, PublishError> {
        let (len, limit) = (publication.message().len(), self.config.get_max_message_len());
        if len > limit {
            return Err(PublishError::TooLong { len, limit });
        }
        let history = self.config.get_history();
        let published = self.inner.bus.publish(room, Arc::new(publication), history).await;
        self.inner.counters.published(published.is_ok());
        Ok(published?)
    }

    pub(crate) fn disconnect(
        &self,
        room: &str,
        reason: &CloseReason,
        is_meant: impl Fn(&Outlet) -> bool,
        body: SignalBody,
    ) -> Result<usize, RoomNameError> {
        let key = RoomKey::new(&self.name, room)?;
        let inner = &self.inner;
        inner.bus.signal(&key, Signal { node: inner.node, body }.to_bytes());
        let Some(cell) = inner.cell(&key) else { return Ok(0) };
        let (count, todo) = cell.input(|room, effects| room.disconnect(reason, is_meant, effects));
        cell.perform(todo);
        Ok(count)
    }
}

/// A room that has been counted for a session, given back unless the session joins.
pub(crate) struct Place<'a> {
    kind: &'a Kind,
    request: &'a Request,
    is_kept: bool,
}

impl Place<'_> {
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.kind.free_place(self.request);
        }
    }
}

fn address(request: &Request) -> usize {
    std::ptr::from_ref(request).addr()
}
