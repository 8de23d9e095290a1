//! Messages to send: [`OutgoingMessage`], a message with its options, and [`Broadcast`], one for
//! many peers.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use once_cell::race::OnceBox;

use crate::message::Message;

/// A message with the options for sending it: the argument of every `send` method.
///
/// Every type that converts into a [`Message`] converts into an `OutgoingMessage` with the usual
/// options. [`Message::uncompressed`], [`latest`](Self::latest) and [`priority`](Self::priority)
/// return one with other options, and a [`Broadcast`] converts into one.
///
/// ```
/// use sockless_core::{Message, OutgoingMessage};
///
/// let usual = OutgoingMessage::from("compressed where that was negotiated");
/// let photo = Message::from(vec![0xFF, 0xD8, 0xFF]).uncompressed();
/// assert_eq!(photo.message().len(), 3);
/// # let _ = usual;
/// ```
#[derive(Clone, Debug)]
pub struct OutgoingMessage(pub(crate) Content);

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Broadcast(Broadcast),
    Message {
        message: Message,
        /// True if an extension may compress it.
        compress: bool,
    },
    Placed(Box<Placed>),
}

/// A message with a place of its own in the queue of those that wait.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) content: Content,
    /// It replaces the message with the same key.
    pub(crate) key: Option<u64>,
    pub(crate) priority: Priority,
}

/// The place of a message among those that wait to be sent; see [`OutgoingMessage::priority`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before all others.
    Urgent,
    /// As messages without a priority.
    #[default]
    Normal,
    /// After all others: for what is long and can wait.
    Bulk,
}

impl Content {
    pub(crate) fn message(&self) -> &Message {
        match self {
            Self::Broadcast(broadcast) => broadcast.message(),
            Self::Message { message, .. } => message,
            Self::Placed(placed) => placed.content.message(),
        }
    }

    fn compress(&self) -> bool {
        match self {
            Self::Broadcast(broadcast) => broadcast.compress(),
            Self::Message { compress, .. } => *compress,
            Self::Placed(placed) => placed.content.compress(),
        }
    }

    /// The message without its place.
    fn unplaced(self) -> Self {
        match self {
            Self::Placed(placed) => placed.content,
            content => content,
        }
    }

    fn place(&self) -> (Option<u64>, Priority) {
        match self {
            Self::Placed(placed) => (placed.key, placed.priority),
            Self::Broadcast(_) | Self::Message { .. } => (None, Priority::Normal),
        }
    }
}

impl OutgoingMessage {
    /// Returns the message.
    pub fn message(&self) -> &Message {
        self.0.message()
    }

    /// Returns the message without its options.
    pub fn into_message(self) -> Message {
        match self.0.unplaced() {
            Content::Message { message, .. } => message,
            content => content.message().clone(),
        }
    }

    pub(crate) fn compress(&self) -> bool {
        self.0.compress()
    }

    /// Lets the message replace one that was sent with the same `key` and still waits, and be
    /// replaced by the next one: for a state of which only the latest matters, such as a position or
    /// a price. The place in the queue is that of the message it replaces.
    ///
    /// A message waits while 16 KiB or more before it are unsent, or a message is being sent in
    /// chunks; until it is sent it can be [cancelled](crate::Connection::cancel).
    ///
    /// ```
    /// use sockless_core::{Connection, Instant, Message, Negotiated};
    ///
    /// # let now = Instant::EPOCH;
    /// let mut connection = Connection::server(Negotiated::default(), Default::default(), now);
    /// connection.send(Message::from("x = 1").latest(7), now)?;
    /// connection.send(Message::from("x = 2").latest(7), now)?;
    /// assert_eq!(connection.outbound().chunk(), b"\x81\x05x = 2");
    /// # Ok::<(), sockless_core::SendError>(())
    /// ```
    pub fn latest(self, key: u64) -> Self {
        let (_, priority) = self.0.place();
        self.placed(Some(key), priority)
    }

    /// Lets the message pass those that wait and are less urgent. Messages of one priority are sent
    /// in their order; a message without a priority is [`Priority::Normal`].
    ///
    /// It passes no bytes that are encoded: up to 16 KiB, or one message, and no message that is
    /// being sent in chunks, which the protocol does not allow to be interrupted (RFC 6455 §5.4). So
    /// send what is long as many messages of [`Priority::Bulk`], not as one in chunks. The queue is
    /// bounded for all priorities together, by [`Config::high_water`](crate::Config::high_water).
    ///
    /// ```
    /// use sockless_core::{Connection, Instant, Message, Negotiated, Priority};
    ///
    /// # let now = Instant::EPOCH;
    /// let mut connection = Connection::server(Negotiated::default(), Default::default(), now);
    /// connection.send(Message::from("part 1 of a file").priority(Priority::Bulk), now)?;
    /// connection.send("move", now)?;
    /// assert_eq!(&connection.outbound().chunk()[..6], b"\x81\x04move");
    /// # Ok::<(), sockless_core::SendError>(())
    /// ```
    pub fn priority(self, priority: Priority) -> Self {
        let (key, _) = self.0.place();
        self.placed(key, priority)
    }

    /// Returns the key of a message that [replaces](Self::latest) others.
    pub fn key(&self) -> Option<u64> {
        self.0.place().0
    }

    /// Returns the key and the priority of a message with a place of its own.
    #[cfg(feature = "record")]
    pub(crate) fn own_place(&self) -> Option<(Option<u64>, Priority)> {
        matches!(self.0, Content::Placed(_)).then(|| self.0.place())
    }

    fn placed(self, key: Option<u64>, priority: Priority) -> Self {
        let content = self.0.unplaced();
        Self(Content::Placed(Box::new(Placed { content, key, priority })))
    }
}

/// Two are equal if their messages and options are; a [`Broadcast`] equals the same message sent to
/// one peer.
impl PartialEq for OutgoingMessage {
    fn eq(&self, other: &Self) -> bool {
        let parts = |this: &Self| (this.0.compress(), this.0.place());
        self.message() == other.message() && parts(self) == parts(other)
    }
}

impl Eq for OutgoingMessage {}

impl<M: Into<Message>> From<M> for OutgoingMessage {
    fn from(message: M) -> Self {
        Self(Content::Message { message: message.into(), compress: true })
    }
}

/// A value that a session's `send` methods accept.
///
/// It is implemented for every type that converts into an [`OutgoingMessage`]: text, bytes, a
/// [`Message`], a [`Broadcast`]. To send a type of your own, implement `From` for [`Message`]:
///
/// ```
/// use sockless::{Closed, Message, Session};
///
/// struct Move {
///     from: u8,
///     to: u8,
/// }
///
/// impl From<Move> for Message {
///     fn from(chosen: Move) -> Self {
///         Self::from([chosen.from, chosen.to])
///     }
/// }
///
/// async fn open(session: &Session) -> Result<(), Closed> {
///     session.send(Move { from: 12, to: 28 }).await
/// }
/// # let _ = open;
/// ```
///
/// Any other value is an error of compilation that names the ways to send it:
///
/// ```compile_fail,E0277
/// # async fn open(session: &sockless::Session) -> Result<(), sockless::Closed> {
/// session.send(64_u32).await
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a message",
    label = "expected text, bytes, a `Message`, an `OutgoingMessage` or a `Broadcast`",
    note = "`Message::text(..)` and `Message::binary(..)` make a message of text and of bytes",
    note = "to send a value as JSON, use `send_json` (feature `json`); in another format, `send_as`",
    note = "to send a type of your own, implement `From<{Self}>` for `Message`"
)]
pub trait IntoOutgoing {
    /// Converts the value into a message with its options.
    fn into_outgoing(self) -> OutgoingMessage;
}

// An error of a `send` names the trait above rather than the conversions behind it.
#[diagnostic::do_not_recommend]
impl<M: Into<OutgoingMessage>> IntoOutgoing for M {
    fn into_outgoing(self) -> OutgoingMessage {
        self.into()
    }
}

impl Message {
    /// Sends the message without compression where compression was negotiated: for payloads that
    /// are compressed already, and for secrets that must not share a compression context with text
    /// that an attacker chose (RFC 7692 §8).
    ///
    /// ```
    /// use sockless_core::{Config, Connection, Instant, Message, Negotiated};
    ///
    /// # let now = Instant::EPOCH;
    /// # let mut connection = Connection::server(Negotiated::default(), Default::default(), now);
    /// let photo = Message::from(vec![0xFF, 0xD8, 0xFF]);
    /// connection.send(photo.uncompressed(), now)?;
    /// # Ok::<(), sockless_core::SendError>(())
    /// ```
    pub fn uncompressed(self) -> OutgoingMessage {
        OutgoingMessage(Content::Message { message: self, compress: false })
    }

    /// Lets the message replace one of the same `key` that waits: see [`OutgoingMessage::latest`].
    pub fn latest(self, key: u64) -> OutgoingMessage {
        OutgoingMessage::from(self).latest(key)
    }

    /// Lets the message pass those that wait and are less urgent: see
    /// [`OutgoingMessage::priority`].
    pub fn priority(self, priority: Priority) -> OutgoingMessage {
        OutgoingMessage::from(self).priority(priority)
    }
}

/// One message for many peers, encoded once for all of them.
///
/// Connections that agreed on the same extensions with the same parameters share one encoding, and
/// its memory. That requires the server's end, whose frames are not masked, and extensions that
/// encode each message independently, such as permessage-deflate without context takeover. For any
/// other connection the message is encoded separately, with the same result for the peer.
///
/// A clone is the same broadcast. Create it once per message, not once per peer:
///
/// ```
/// use sockless_core::{Broadcast, Connection, Instant, Negotiated};
///
/// # let mut peers: Vec<Connection> = Vec::new();
/// # let now = Instant::EPOCH;
/// let news = Broadcast::new("the round begins");
/// for peer in &mut peers {
///     peer.send(&news, now)?;
/// }
/// # Ok::<(), sockless_core::SendError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Broadcast(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    message: Message,
    compress: bool,
    /// Its frames in each encoding that has been needed so far.
    encoded: OnceBox<Encoded>,
}

/// The frames in one encoding. The list only grows, so that it needs no lock, which `std` would have to
/// supply.
#[derive(Debug)]
struct Encoded {
    encoding: Encoding,
    frames: Bytes,
    next: OnceBox<Self>,
}

/// The parameters, besides the message, that determine the bytes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) codecs: Vec<(&'static str, u64)>,
    pub(crate) max_send_frame_len: usize,
}

impl Broadcast {
    /// Creates a broadcast of `message`, which may be [uncompressed](Message::uncompressed). To give
    /// it a place in the queue of each peer, convert the broadcast into an [`OutgoingMessage`].
    pub fn new(message: impl Into<OutgoingMessage>) -> Self {
        match message.into().0.unplaced() {
            Content::Broadcast(broadcast) => broadcast,
            content => Self(Arc::new(Shared {
                compress: content.compress(),
                message: content.message().clone(),
                encoded: OnceBox::new(),
            })),
        }
    }

    /// Returns the message.
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// Returns true if an extension may compress it.
    pub(crate) fn compress(&self) -> bool {
        self.0.compress
    }

    /// The frames in `encoding`, made by `encode` unless they have been made before. Threads that need them
    /// at the same time may make them more than once, and share those of the first.
    pub(crate) fn frames<E>(
        &self,
        encoding: Encoding,
        encode: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let mut end = match find(&self.0.encoded, &encoding) {
            Ok(frames) => return Ok(frames),
            Err(end) => end,
        };
        let mut encoded = Box::new(Encoded { encoding, frames: encode()?, next: OnceBox::new() });
        loop {
            let frames = encoded.frames.clone();
            let Err(refused) = end.set(encoded) else { return Ok(frames) };
            // Another thread has appended to the list.
            end = match find(end, &refused.encoding) {
                Ok(frames) => return Ok(frames),
                Err(end) => end,
            };
            encoded = refused;
        }
    }
}

/// The frames in `encoding`, or the end of the list if it does not contain them.
fn find<'a>(
    mut list: &'a OnceBox<Encoded>,
    encoding: &Encoding,
) -> Result<Bytes, &'a OnceBox<Encoded>> {
    while let Some(encoded) = list.get() {
        if encoded.encoding == *encoding {
            return Ok(encoded.frames.clone());
        }
        list = &encoded.next;
    }
    Err(list)
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
