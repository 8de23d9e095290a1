//! Messages to publish: [`Publication`], and [`Item`], one in a room's stream.

mod wire;

use std::sync::Arc;

use bytestring::ByteString;
use sockless_core::Message;

use crate::position::Position;

/// A message for the members of a room, with its options.
///
/// Every type that converts into a [`Message`] converts into a publication for all members.
///
/// ```
/// use sockless::rooms::Publication;
///
/// let usual: Publication = "hello".into();
/// // Published once, even if it is sent again because the answer was lost.
/// let paid = Publication::new("paid").idempotency_key("invoice-7");
/// // A member that lags receives only the last position of the cursor.
/// let cursor = Publication::new(vec![12, 34]).excluding_sender().conflation_key("cursor-ada");
/// # let _ = (usual, paid, cursor);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    message: Message,
    audience: Audience,
    sender: Option<MemberId>,
    sender_identity: Option<ByteString>,
    idempotency_key: Option<ByteString>,
    conflation_key: Option<ByteString>,
}

/// The members that a [`Publication`] is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Audience {
    #[default]
    Everyone,
    /// All but the sender.
    Others,
    /// The members with this identity.
    Identity(ByteString),
}

/// The identity of a membership: one session in one room. A session that joins again is another
/// member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// The process that serves the member's session.
    pub node: u64,
    /// The number of the member in the room among those of the node.
    pub number: u32,
}

impl Publication {
    /// Creates a publication of `message` for all members, the sender included.
    pub fn new(message: impl Into<Message>) -> Self {
        Self {
            message: message.into(),
            audience: Audience::Everyone,
            sender: None,
            sender_identity: None,
            idempotency_key: None,
            conflation_key: None,
        }
    }

    /// Sends it to all members but the one that publishes it. From outside of a session, to all.
    ///
    /// A session that resumes is another member than it was before, and receives it from the history.
    #[must_use]
    pub fn excluding_sender(mut self) -> Self {
        self.audience = Audience::Others;
        self
    }

    /// Sends it only to the members that joined with `identity`, wherever they are.
    #[must_use]
    pub fn only_to(mut self, identity: impl Into<ByteString>) -> Self {
        self.audience = Audience::Identity(identity.into());
        self
    }

    /// Publishes it only once: while the room remembers another publication with the same key, this
    /// one is not published, and publishing it returns the position of the first.
    ///
    /// A room remembers keys as its [`Bus`](crate::Bus) states; the local one the last 1,000 of a
    /// room, for 5 minutes.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<ByteString>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Lets it replace an earlier publication with the same key that still waits for a slow member;
    /// see [`Lag::Conflate`](crate::Lag::Conflate).
    #[must_use]
    pub fn conflation_key(mut self, key: impl Into<ByteString>) -> Self {
        self.conflation_key = Some(key.into());
        self
    }

    /// Returns the message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Returns the member that published it; `None` if it was published from outside of a session.
    pub fn sender(&self) -> Option<MemberId> {
        self.sender
    }

    /// Returns the identity with which the member that published it has joined, if any.
    pub fn sender_identity(&self) -> Option<&ByteString> {
        self.sender_identity.as_ref()
    }

    /// Returns the key that [`idempotency_key`](Self::idempotency_key) set.
    pub fn get_idempotency_key(&self) -> Option<&ByteString> {
        self.idempotency_key.as_ref()
    }

    /// Returns the key that [`conflation_key`](Self::conflation_key) set.
    pub fn get_conflation_key(&self) -> Option<&ByteString> {
        self.conflation_key.as_ref()
    }

    pub(crate) fn set_sender(&mut self, sender: MemberId) {
        self.sender = Some(sender);
    }

    pub(crate) fn set_sender_identity(&mut self, identity: Option<ByteString>) {
        self.sender_identity = identity;
    }

    /// Returns true if it is for the member with this id and identity.
    #[inline]
    pub(crate) fn is_for(&self, member: MemberId, identity: Option<&ByteString>) -> bool {
        match &self.audience {
            Audience::Everyone => true,
            Audience::Others => self.sender != Some(member),
            Audience::Identity(wanted) => identity == Some(wanted),
        }
    }

    /// The length of the longest of its keys, which rooms remember.
    pub(crate) fn max_key_len(&self) -> usize {
        let identity = match &self.audience {
            Audience::Identity(identity) => Some(identity),
            Audience::Everyone | Audience::Others => None,
        };
        let keys = [&self.idempotency_key, &self.conflation_key].into_iter().flatten();
        keys.chain(identity).map(|key| key.len()).max().unwrap_or(0)
    }

    /// The memory in bytes that it takes, roughly.
    pub(crate) fn cost(&self) -> usize {
        let len = |key: &Option<ByteString>| key.as_ref().map_or(0, |key| key.len());
        size_of::<Self>()
            + self.message.len()
            + len(&self.sender_identity)
            + len(&self.idempotency_key)
            + len(&self.conflation_key)
    }
}

impl<M: Into<Message>> From<M> for Publication {
    fn from(message: M) -> Self {
        Self::new(message)
    }
}

/// A publication in the stream of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place. `None` on a bus that does not count the messages of a room.
    pub position: Option<Position>,
    /// The message and its options.
    pub publication: Arc<Publication>,
}

/// The answer of [`Bus::replay`](crate::Bus::replay).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// All messages after the position.
    Complete {
        /// The messages, without a gap, in order.
        items: Vec<Item>,
        /// The position of the last message of the stream.
        top: Position,
    },
    /// At least one message after the position is no longer known, or the position is not one of
    /// this stream.
    Gap {
        /// The position before the oldest message that is known.
        oldest: Position,
        /// The position of the last message of the stream.
        top: Position,
    },
}
