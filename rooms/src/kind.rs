//! The rooms of one kind: [`Kind`], the contents of a [`Namespace`](crate::Namespace).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sockless_driver::Request;

use crate::config::RoomConfig;
use crate::error::{JoinError, MAX_KEY_LEN, PublishError};
use crate::lock;
use crate::name::RoomKey;
use crate::node::Node;
use crate::position::Position;
use crate::publication::Publication;

/// The contents of a [`Namespace`].
pub(crate) struct Kind {
    pub(crate) node: Arc<Node>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) name: String,
    pub(crate) config: RoomConfig,
    /// The number of rooms that each session is in, by the address of its request, if that is
    /// limited. No two sessions that are in a room have the same.
    pub(crate) places: Mutex<BTreeMap<usize, usize>>,
}

/// The list of the rooms with members.
pub(crate) trait Directory: Send + Sync {
    /// A room may have lost its last member.
    fn vacated(&self, room: &RoomKey);
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
        let len = publication.max_key_len();
        if len > MAX_KEY_LEN {
            return Err(PublishError::Key { len });
        }
        let history = self.config.get_history();
        let published = self.node.bus.publish(room, Arc::new(publication), history).await;
        self.node.counters.published(published.is_ok());
        Ok(published?)
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
