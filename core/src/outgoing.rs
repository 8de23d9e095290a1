//! What is sent: [`OutgoingMessage`] is a message with how to send it, [`Broadcast`] one for many peers.

use alloc::sync::Arc;
use alloc::vec::Vec;
#[cfg(feature = "std")]
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::message::Message;

/// A message with how to send it. Whatever becomes a [`Message`] becomes one; so do
/// [`Message::uncompressed`] and a [`Broadcast`].
#[derive(Clone, Debug)]
pub struct OutgoingMessage(pub(crate) Content);

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Broadcast(Broadcast),
    Message {
        message: Message,
        /// Whether an extension may compress it.
        compress: bool,
    },
}

impl OutgoingMessage {
    /// The message.
    pub fn message(&self) -> &Message {
        match &self.0 {
            Content::Broadcast(broadcast) => broadcast.message(),
            Content::Message { message, .. } => message,
        }
    }

    /// The message alone.
    pub fn into_message(self) -> Message {
        match self.0 {
            Content::Broadcast(broadcast) => broadcast.message().clone(),
            Content::Message { message, .. } => message,
        }
    }

    fn compress(&self) -> bool {
        match &self.0 {
            Content::Broadcast(broadcast) => broadcast.compress(),
            Content::Message { compress, .. } => *compress,
        }
    }
}

/// Two are equal when the same message is sent in the same way, to however many.
impl PartialEq for OutgoingMessage {
    fn eq(&self, other: &Self) -> bool {
        (self.message(), self.compress()) == (other.message(), other.compress())
    }
}

impl Eq for OutgoingMessage {}

impl<M: Into<Message>> From<M> for OutgoingMessage {
    fn from(message: M) -> Self {
        Self(Content::Message { message: message.into(), compress: true })
    }
}

impl Message {
    /// The message, to be sent as it is by connections that compress: for payloads that are compressed
    /// already, and for secrets that must not share a compression context with what a stranger chose
    /// (RFC 7692 §8).
    ///
    /// ```
    /// use sockless_core::{Config, Connection, Instant, Message, Negotiated};
    ///
    /// # let mut connection = Connection::server(Negotiated::default(), Default::default(), Instant::EPOCH);
    /// let photo = Message::from(vec![0xFF, 0xD8, 0xFF]);
    /// connection.send(photo.uncompressed())?;
    /// # Ok::<(), sockless_core::SendError>(())
    /// ```
    pub fn uncompressed(self) -> OutgoingMessage {
        OutgoingMessage(Content::Message { message: self, compress: false })
    }
}

/// One message for many peers: it is encoded once for all that share their extensions' parameters, and
/// what goes out to them is one block of memory.
///
/// That takes connections of servers, whose frames are not masked, and extensions for which what was
/// sent before does not count, as permessage-deflate without context takeover. For any other
/// connection the message is encoded by itself.
///
/// ```
/// use sockless_core::{Broadcast, Connection, Instant, Negotiated};
///
/// # let mut peers: Vec<Connection> = Vec::new();
/// let news = Broadcast::new("the round begins");
/// for peer in &mut peers {
///     peer.send(&news)?;
/// }
/// # Ok::<(), sockless_core::SendError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Broadcast(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    message: Message,
    compress: bool,
    /// Its frames, for each way in which connections encode it.
    #[cfg(feature = "std")]
    encodings: Mutex<Vec<(Encoding, Bytes)>>,
}

/// What the bytes on the wire depend on, besides the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) codecs: Vec<(&'static str, u64)>,
    pub(crate) max_send_frame_len: usize,
}

impl Broadcast {
    /// A message for many peers.
    pub fn new(message: impl Into<OutgoingMessage>) -> Self {
        match message.into().0 {
            Content::Broadcast(broadcast) => broadcast,
            Content::Message { message, compress } => Self(Arc::new(Shared {
                message,
                compress,
                #[cfg(feature = "std")]
                encodings: Mutex::default(),
            })),
        }
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// Whether an extension may compress it.
    pub(crate) fn compress(&self) -> bool {
        self.0.compress
    }

    /// The frames in the given encoding, made by `encode` unless they have been made before.
    #[cfg(feature = "std")]
    pub(crate) fn frames<E>(
        &self,
        encoding: Encoding,
        encode: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        // Nothing panics under the lock but what `encode` may; the list is whole all the same.
        let mut encodings = self.0.encodings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, frames)) = encodings.iter().find(|(known, _)| *known == encoding) {
            return Ok(frames.clone());
        }
        let frames = encode()?;
        encodings.push((encoding, frames.clone()));
        Ok(frames)
    }

    /// The frames, made by `encode`: without the standard library there is no lock to share them by.
    #[cfg(not(feature = "std"))]
    pub(crate) fn frames<E>(
        &self,
        _encoding: Encoding,
        encode: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        encode()
    }
}

impl From<Broadcast> for OutgoingMessage {
    fn from(broadcast: Broadcast) -> Self {
        Self(Content::Broadcast(broadcast))
    }
}

impl From<&Broadcast> for OutgoingMessage {
    fn from(broadcast: &Broadcast) -> Self {
        broadcast.clone().into()
    }
}
