//! The chunks of a message, joined or dropped: [`Joined`].

use bytestring::ByteString;
use sockless_core::{Chunk, Message};

/// The chunks of one message that have been received so far.
#[derive(Debug, Default)]
pub(crate) enum Joined {
    #[default]
    Nothing,
    Binary(Vec<u8>),
    /// The chunks are dropped.
    Dropped,
    Text(String),
}

impl Joined {
    /// Appends a chunk.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        match (&mut *self, chunk.data) {
            (Self::Binary(joined), Message::Binary(part)) => joined.extend_from_slice(&part),
            (Self::Text(joined), Message::Text(part)) => joined.push_str(&part),
            // The first chunk; all chunks of one message are of one kind.
            (_, Message::Binary(part)) => *self = Self::Binary(part.into()),
            (_, Message::Text(part)) => *self = Self::Text((*part).to_owned()),
        }
    }

    /// The length so far.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Nothing | Self::Dropped => 0,
            Self::Binary(joined) => joined.len(),
            Self::Text(joined) => joined.len(),
        }
    }

    /// Returns true if the chunks are dropped.
    pub(crate) fn is_dropped(&self) -> bool {
        matches!(self, Self::Dropped)
    }

    /// The part of the message that has been received.
    pub(crate) fn into_message(self) -> Option<Message> {
        match self {
            Self::Nothing | Self::Dropped => None,
            Self::Binary(joined) => Some(Message::from(joined)),
            Self::Text(joined) => Some(Message::Text(ByteString::from(joined))),
        }
    }
}
