//! The errors of rooms.

use std::time::Duration;

use sockless_core::Escaped;
use thiserror::Error;

use crate::limits::Denied;
use crate::name::RoomNameError;

/// The length of the longest identity of a member, in bytes.
pub const MAX_IDENTITY_LEN: usize = 255;

/// The length of the longest data of a member, in bytes.
pub const MAX_DATA_LEN: usize = 4096;

/// The length of the longest idempotency key, conflation key and identity of a publication, in bytes.
pub const MAX_KEY_LEN: usize = 255;

/// The reason why a session did not join a room. Other members are not affected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The text is not the name of a room.
    #[error("not the name of a room: {0}")]
    Name(#[from] RoomNameError),
    /// The room has as many members as it may.
    #[error("the room has {limit} members, as many as it may (RoomConfig::max_members)")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// [`RoomConfig::authorize`](crate::RoomConfig::authorize) denied it.
    #[error("joining was denied: {0}")]
    Denied(#[from] Denied),
    /// The session is in as many rooms as it may.
    #[error(
        "the session is in {limit} rooms, as many as it may (RoomConfig::max_rooms_per_session)"
    )]
    TooManyRooms {
        /// The limit.
        limit: usize,
    },
    /// The identity or the data of the member is too long.
    #[error(
        "expected an identity of at most {MAX_IDENTITY_LEN} bytes and data of at most {MAX_DATA_LEN}, got {identity} and {data}"
    )]
    TooLong {
        /// The length of the identity in bytes.
        identity: usize,
        /// The length of the data in bytes.
        data: usize,
    },
}

/// The reason why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The text is not the name of a room.
    #[error("not the name of a room: {0}")]
    Name(#[from] RoomNameError),
    /// The message is too long.
    #[error("expected a message of at most {limit} bytes (RoomConfig::max_message_len), got {len}")]
    TooLong {
        /// The length of the message in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// One of the keys of the publication, or the identity that it is for, is too long.
    #[error("expected keys of at most {MAX_KEY_LEN} bytes, got one of {len}")]
    Key {
        /// The length of the longest one in bytes.
        len: usize,
    },
    /// [`RoomConfig::authorize`](crate::RoomConfig::authorize) denied it.
    #[error("publishing was denied: {0}")]
    Denied(#[from] Denied),
    /// The member publishes too much.
    #[error(
        "the member publishes too much (RoomConfig::publish_rate, publish_bytes): wait {retry_after:?}"
    )]
    TooFast {
        /// The time after which the same message may be published.
        retry_after: Duration,
    },
    /// The member has been removed from the room, or its session has ended while it waited.
    #[error("the member has been removed from the room")]
    Removed,
    /// The bus did not confirm the message. It may have been published.
    #[error("the bus did not confirm the message: {0}")]
    Bus(#[from] BusError),
}

/// The failure of a [`Bus`](crate::Bus).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BusError {
    /// The broker cannot be reached, or did not answer in time.
    #[error("the broker cannot be reached: {}", Escaped(.0))]
    Unavailable(String),
    /// The broker answered with something else than was expected.
    #[error("the broker sent something unexpected: {}", Escaped(.0))]
    Invalid(String),
    /// The broker reported an error, such as that it is out of memory.
    #[error("the broker rejected the request: {}", Escaped(.0))]
    Rejected(String),
    /// The message with its options is longer than the bus can send.
    #[error("expected a message of at most {limit} bytes on this bus, got {len}")]
    TooLong {
        /// The length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
}
