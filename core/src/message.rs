//! The data that applications exchange: [`Message`], and [`Chunk`] for messages too long to hold.

mod convert;

use core::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use crate::escape::Escaped;

/// A whole data message, text or binary (RFC 6455 §5.6).
///
/// Clones share the payload: cloning a message to send it to many peers copies no data.
///
/// ```
/// use sockless::Message;
///
/// let greeting: Message = "hello".into();
/// assert_eq!(greeting.as_text(), Some("hello"));
/// assert_eq!(greeting, "hello");
/// assert_eq!(greeting.len(), 5);
/// assert!(Message::from([1, 2, 3]).is_binary());
/// ```
///
/// # Conversions
///
/// Text becomes a text message, and bytes become a binary one:
///
/// | from | copies the payload |
/// |---|---|
/// | `String`, `Box<str>`, `Cow::Owned`, `ByteString` | no |
/// | `&str`, `&String`, `Cow::Borrowed` | yes; [`from_static`](Self::from_static) does not |
/// | `Vec<u8>`, `Box<[u8]>`, `Cow::Owned`, `Bytes`, `BytesMut` | no |
/// | `&[u8]`, `&Vec<u8>`, `[u8; N]`, `&[u8; N]`, `Cow::Borrowed` | yes |
/// | `&Message`, `&ByteString`, `&Bytes` | no |
///
/// [`text`](Self::text) and [`binary`](Self::binary) name the kind. A message equals a `str` or a
/// `String` if it is a text message with that text, and equals bytes if it is a binary message with
/// those bytes.
///
/// `Display` writes text [escaped](crate::Escaped), since it may come from a peer, and a binary
/// message as its length. Use [`as_text`](Self::as_text) for the text as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// A binary message.
    Binary(Bytes),
    /// A text message, which is valid UTF-8.
    Text(ByteString),
}

impl Message {
    /// Returns a text message.
    ///
    /// ```
    /// use sockless::Message;
    ///
    /// assert_eq!(Message::text(format!("{} apples", 3)), "3 apples");
    /// ```
    pub fn text(text: impl Into<ByteString>) -> Self {
        Self::Text(text.into())
    }

    /// Returns a text message without copying the text.
    ///
    /// ```
    /// use sockless::Message;
    ///
    /// const GREETING: Message = Message::from_static("welcome");
    /// assert_eq!(GREETING, "welcome");
    /// ```
    pub const fn from_static(text: &'static str) -> Self {
        Self::Text(ByteString::from_static(text))
    }

    /// Returns a binary message.
    ///
    /// ```
    /// use sockless::Message;
    ///
    /// assert_eq!(Message::binary(vec![1, 2, 3]), [1, 2, 3]);
    /// assert!(Message::binary("text, as bytes").is_binary());
    /// ```
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

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

    /// Returns the text of a text message without copying it.
    ///
    /// ```
    /// use sockless::{Closed, Message, Session};
    ///
    /// async fn greet(mut session: Session) -> Result<(), Closed> {
    ///     match session.recv().await?.into_text() {
    ///         Ok(name) => session.send(format!("hello, {name}")).await,
    ///         Err(message) => session.send(format!("expected a name, got a {message}")).await,
    ///     }
    /// }
    /// # let _ = greet;
    /// ```
    ///
    /// # Errors
    ///
    /// The message itself, if it is binary.
    pub fn into_text(self) -> Result<ByteString, Self> {
        match self {
            Self::Binary(_) => Err(self),
            Self::Text(text) => Ok(text),
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

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(bytes) => write!(f, "binary message of {} bytes", bytes.len()),
            Self::Text(text) => Escaped(text).fmt(f),
        }
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
