//! A value in a set by the name of its room: [`Keyed`].

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::name::RoomKey;

/// Something of a room that has the room's key.
pub(crate) trait HasKey {
    fn key(&self) -> &RoomKey;
}

/// A shared value in the order of the keys. In a set of these the key is held once, by the value.
pub(crate) struct Keyed<T>(pub(crate) Arc<T>);

impl<T: HasKey> Borrow<RoomKey> for Keyed<T> {
    fn borrow(&self) -> &RoomKey {
        self.0.key()
    }
}

impl<T: HasKey> Ord for Keyed<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key().cmp(other.0.key())
    }
}

impl<T: HasKey> PartialOrd for Keyed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: HasKey> PartialEq for Keyed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl<T: HasKey> Eq for Keyed<T> {}
