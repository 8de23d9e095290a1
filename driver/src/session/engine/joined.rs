//! Chunks put together again, or dropped: [`Joined`].

use bytestring::ByteString;
use sockless_core::{Chunk, Message};

/// The pieces of one message that have come so far, or that nobody wants.
#[derive(Debug, Default)]
pub(crate) enum Joined {
    #[default]
    Nothing,
    Binary(Vec<u8>),
    Dropped,
    Text(String),
}

impl Joined {
    /// Appends a piece.
    pub(crate) fn push(&mut self, piece: Chunk) {
        match (&mut *self, piece.data) {
            (Self::Binary(joined), Message::Binary(part)) => joined.extend_from_slice(&part),
            (Self::Text(joined), Message::Text(part)) => joined.push_str(&part),
            // The first piece: all pieces of one message are of one kind.
            (_, Message::Binary(part)) => *self = Self::Binary(part.into()),
            (_, Message::Text(part)) => *self = Self::Text((*part).to_owned()),
        }
    }

    /// How long it is so far.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Nothing | Self::Dropped => 0,
            Self::Binary(joined) => joined.len(),
            Self::Text(joined) => joined.len(),
        }
    }

    /// Whether nobody wants them.
    pub(crate) fn is_dropped(&self) -> bool {
        matches!(self, Self::Dropped)
    }

    /// All that was put together so far.
    pub(crate) fn into_message(self) -> Option<Message> {
        match self {
            Self::Nothing | Self::Dropped => None,
            Self::Binary(joined) => Some(Message::from(joined)),
            Self::Text(joined) => Some(Message::Text(ByteString::from(joined))),
        }
    }
}
