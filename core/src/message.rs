//! What applications exchange: [`Message`], and [`Chunk`] of a message too long to hold.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

/// A whole data message (RFC 6455 §5.6).
///
/// Both kinds share their bytes: a clone copies a pointer, so one message can go to ten thousand
/// peers.
///
/// ```
/// use sockless_core::Message;
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
    /// A text message: UTF-8, checked when it was received.
    Text(ByteString),
}

impl Message {
    /// The length of the payload in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is a text message.
    pub const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether this is a binary message.
    pub const fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    /// The text of a text message, `None` of a binary one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Binary(_) => None,
            Self::Text(text) => Some(text),
        }
    }

    /// The payload's bytes, of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Binary(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }

    /// The payload's bytes, of either kind, without a copy.
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

/// ChunkInfo of a message that is received or sent bit by bit.
///
/// All pieces of one message are of one kind. A piece of text never splits a character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The part itself; it may be empty.
    pub data: Message,
    /// Whether this is the end of the message.
    pub last: bool,
}
