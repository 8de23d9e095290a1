//! What a client receives: [`ClientEvent`].

use std::time::Duration;

use bytestring::ByteString;
use serde::de::DeserializeOwned;
use sockless_core::{Closed, Message};

use super::super::wire::{Person, RefusalCode};
use crate::event::Resumed;
use crate::position::Position;

/// An event of a [`RoomsClient`](super::RoomsClient).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// There is a connection. Rooms are joined again.
    Connected,
    /// The connection has ended. Another one follows, if it can be opened.
    Disconnected(Closed),
    /// The client is in a room, for the first time or again.
    Joined {
        /// The room.
        room: ByteString,
        /// What became of the messages since it was in the room before.
        /// [`Gap`](Resumed::Gap): some may be lost.
        resumed: Resumed,
    },
    /// A message was published.
    Item(ClientItem),
    /// Messages were lost while the client was connected.
    Gap {
        /// The room.
        room: ByteString,
    },
    /// The client read too slowly, and the server dropped messages, and maybe events of members.
    /// [`Members`](Self::Members) follows.
    Dropped {
        /// The room.
        room: ByteString,
        /// The number of messages.
        count: u64,
    },
    /// All members of a room at this time, after it was joined.
    Members {
        /// The room.
        room: ByteString,
        /// The id of this client among them.
        you: String,
        /// The number of all members.
        count: u64,
        /// The members, of a large room some of them. Empty in rooms without presence.
        members: Vec<RoomMember>,
    },
    /// Another member has joined.
    MemberJoined {
        /// The room.
        room: ByteString,
        /// The member.
        member: RoomMember,
    },
    /// A member has left.
    MemberLeft {
        /// The room.
        room: ByteString,
        /// The member.
        member: RoomMember,
    },
    /// What the client published is in the room.
    Published {
        /// The room.
        room: ByteString,
        /// What was published.
        id: PublishId,
        /// Its position, if messages of the room are counted.
        position: Option<Position>,
    },
    /// The server refused something. A room that may not be joined is forgotten.
    Refused {
        /// The room.
        room: ByteString,
        /// What was published and refused; `None` if the room may not be joined.
        id: Option<PublishId>,
        /// The reason.
        code: RefusalCode,
        /// The reason, for people.
        message: String,
        /// The time after which the same may succeed.
        retry_after: Option<Duration>,
    },
    /// The server cannot reach the other servers, so messages may be late.
    Interrupted {
        /// The room.
        room: ByteString,
    },
    /// The server can reach the other servers again.
    Restored {
        /// The room.
        room: ByteString,
    },
}

impl ClientEvent {
    /// Returns true if it reports that messages were lost: the state of the room has to be read from
    /// elsewhere.
    pub fn is_gap(&self) -> bool {
        matches!(
            self,
            Self::Joined { resumed: Resumed::Gap, .. } | Self::Gap { .. } | Self::Dropped { .. }
        )
    }
}

/// A message of a room.
#[derive(Clone, Debug)]
pub struct ClientItem {
    pub(super) room: ByteString,
    pub(super) position: Option<Position>,
    pub(super) sender: Option<RoomMember>,
    pub(super) message: Message,
}

impl ClientItem {
    /// Returns the room.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// Returns the position, if messages of the room are counted.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Returns the member that published it; `None` if it was published from outside of a session.
    /// Its data is not known.
    pub fn sender(&self) -> Option<&RoomMember> {
        self.sender.as_ref()
    }

    /// Returns the message: JSON as text, or binary.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Returns the value of the message.
    ///
    /// # Errors
    ///
    /// The error of serde, if the message is not such a value.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.message.as_text().unwrap_or_default())
    }
}

/// A member of a room, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomMember {
    id: String,
    identity: Option<String>,
    data: Option<String>,
}

impl RoomMember {
    /// Returns the id of the membership, which no other one has.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the identity, which several members may have.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Returns the data that the member joined with, as JSON.
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref()
    }

    pub(super) fn new(person: Person<'_>) -> Self {
        let Person { id, identity, data } = person;
        Self { id, identity, data: data.map(|data| data.get().to_owned()) }
    }
}

/// Names a message that a client has published, from [`RoomsClient::publish`](super::RoomsClient::publish).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishId(pub(super) u64);
