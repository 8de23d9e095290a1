//! The events of a room, and how they become messages: [`RoomEvent`] and [`Envelope`].

use bytes::Bytes;
use bytestring::ByteString;
use sockless_core::OutgoingMessage;

use crate::position::Position;
use crate::publication::{Item, MemberId};

/// An event that the members of a room receive, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// A message was published.
    Message(Item),
    /// The member has joined or resumed, as stated. It is the first event of each member.
    Welcome(Welcome),
    /// Messages were lost: all that were published after the last one that the member received, up
    /// to the position. Only rooms with a history report this.
    Gap {
        /// The place where the messages continue, if the bus knows it.
        position: Option<Position>,
    },
    /// The member read too slowly, and the oldest messages that waited for it were dropped; see
    /// [`Lag::DropOldest`](crate::Lag::DropOldest).
    Dropped {
        /// The number of messages.
        count: u64,
    },
    /// A member has joined, on any server. Only rooms with
    /// [presence](crate::RoomConfig::presence) report this, to all other members.
    Joined(Occupant),
    /// A member has left, or its server is gone.
    Left(Occupant),
    /// The bus cannot be reached. Messages from other servers are not received meanwhile.
    Interrupted,
    /// The bus can be reached again. If messages were lost, a gap follows.
    Restored,
}

/// A member of a room, as other members see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// The membership.
    pub id: MemberId,
    /// The identity that it joined with; see [`Join::identity`](crate::Join::identity).
    pub identity: Option<ByteString>,
    /// The data that it joined with; see [`Join::data`](crate::Join::data).
    pub data: Bytes,
}

/// The result of joining a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The place in the stream at which the member joined: it receives all messages behind it.
    /// `None` if the bus does not know it, for example because it cannot be reached.
    pub position: Option<Position>,
    /// The fate of the messages that the member has missed.
    pub resumed: Resumed,
}

/// The fate of the messages between the position that a member resumed from and the time when it
/// joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resumed {
    /// The member joined without a position.
    New,
    /// The member receives all of them, in order and once, before any later message.
    Complete,
    /// At least one of them is no longer known, or their number is not. None is delivered: the
    /// member needs the current state of the room from elsewhere.
    Gap,
}

/// The form in which the members of a room receive its events.
///
/// An event is encoded once for all members that receive it, while the room waits: `encode` must be
/// quick, and must not use rooms or sessions. [`Plain`] is the default.
///
/// ```
/// use sockless::OutgoingMessage;
/// use sockless::rooms::{Envelope, RoomEvent};
///
/// /// One letter, then the position or the text.
/// struct Letters;
///
/// impl Envelope for Letters {
///     fn encode(&self, _room: &str, event: &RoomEvent) -> Option<OutgoingMessage> {
///         match event {
///             RoomEvent::Message(item) => {
///                 let text = item.publication.message().as_text().unwrap_or_default();
///                 Some(format!("m{text}").into())
///             }
///             RoomEvent::Gap { .. } => Some("g".into()),
///             _ => None,
///         }
///     }
/// }
/// ```
pub trait Envelope: Send + Sync + 'static {
    /// Returns the message for `event` in `room`, or `None` if the members are not to receive it.
    ///
    /// A member for which [`RoomEvent::Gap`] has no message is disconnected with 1013 when one
    /// occurs, so that no gap is silent.
    fn encode(&self, room: &str, event: &RoomEvent) -> Option<OutgoingMessage>;
}

/// The [`Envelope`] that sends the messages of a room as they were published, and nothing else.
///
/// Clients do not learn positions, so they cannot resume.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Envelope for Plain {
    fn encode(&self, _room: &str, event: &RoomEvent) -> Option<OutgoingMessage> {
        match event {
            RoomEvent::Message(item) => Some(item.publication.message().clone().into()),
            _ => None,
        }
    }
}
