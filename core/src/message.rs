//! The data that applications exchange: [`Message`], and [`Chunk`] for messages too long to hold.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

/// A whole data message, text or binary (RFC 6455 §5.6).
///
/// Clones share the payload: cloning a message to send it to many peers copies no data.
///
/// ```
/// use sockless::Message;
///
/// let greeting: Message = "hello".into();
/// assert_eq!(greeting.as_text(), Some("hello"));
/// assert_eq!(greeting.len(), 5);
/// assert!(Message::from(vec![1, 2, 3]).is_binary());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// A binary message.
    Binary(Bytes),
    /// A text message, which is valid UTF-8.
    Text(ByteString),
}

impl Message {
    /// Returns the length of the payload in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Returns `true` if the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if this is a text message.
    pub const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Returns `true` if this is a binary message.
    pub const fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    /// Returns the text of a text message; `None` for a binary message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Binary(_) => None,
            Self::Text(text) => Some(text),
        }
    }

    /// Returns the payload of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Binary(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }

    /// Returns the payload of either kind without copying it.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Binary(bytes) => bytes,
            Self::Text(text) => text.into_bytes(),
        }
    }
}

impl From<&'static str> for Message {
    fn from(text: &'static str) -> Self {
        Self::Text(ByteString::from_static(text))
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<ByteString> for Message {
    fn from(text: ByteString) -> Self {
        Self::Text(text)
    }
}

impl From<&'static [u8]> for Message {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Binary(Bytes::from_static(bytes))
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

/// A part of a message that is received or sent incrementally.
///
/// All chunks of a message are of one kind. A chunk of text never splits a character.
///
/// ```
/// use sockless_core::{Chunk, Connection, Instant, Negotiated};
///
/// let mut server =
///     Connection::server(Negotiated::default(), Default::default(), Instant::EPOCH);
/// server.send_chunk(Chunk { data: "first, ".into(), last: false }, Instant::EPOCH)?;
/// server.send_chunk(Chunk { data: "second".into(), last: true }, Instant::EPOCH)?;
/// # Ok::<(), sockless_core::SendError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The data of this chunk; it may be empty.
    pub data: Message,
    /// True if this is the last chunk of the message.
    pub last: bool,
}
