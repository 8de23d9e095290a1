//! Membership: [`Join`] and [`Member`].

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use bytestring::ByteString;
#[cfg(feature = "json")]
use sockless_core::OutgoingMessage;
use sockless_driver::{BoxFuture, Sender};

use crate::cell::RoomCell;
use crate::config::Lag;
use crate::error::{JoinError, MAX_DATA_LEN, MAX_IDENTITY_LEN, PublishError};
use crate::event::{Occupant, Resumed, Welcome};
use crate::kind::Kind;
use crate::limits::{Action, Attempt};
use crate::machine::{SeatKey, Start};
use crate::name::RoomKey;
use crate::outlet::Outlet;
use crate::pause::pause;
use crate::position::Position;
use crate::publication::{MemberId, Publication};
use crate::registry::Registry;

/// Joining a room: add to it, then await it for a [`Member`]. From
/// [`Namespace::join`](crate::Namespace::join).
///
/// Cancel-safe: if the future is dropped, the session has not joined.
///
/// # Errors
///
/// A [`JoinError`].
///
/// ```
/// use sockless::rooms::{Namespace, Position, Resumed};
/// use sockless::{BoxError, Session};
///
/// async fn handle(session: Session, chat: Namespace) -> Result<(), BoxError> {
///     // The client sends the position of the last message that it has received.
///     let since = session.request().query_param("since");
///     let since: Option<Position> = since.map(|text| text.parse()).transpose()?;
///     let member = chat.join(&session, "lobby").identity("ada").resume(since).await?;
///     if member.resumed() == Resumed::Gap {
///         session.send("load everything").await?;
///     }
///     session.closed().await;
///     Ok(())
/// }
/// # let _ = handle;
/// ```
#[must_use = "a session joins when this is awaited"]
pub struct Join<'a> {
    registry: Arc<Registry>,
    kind: Arc<Kind>,
    session: &'a Sender,
    room: &'a str,
    start: Start,
    identity: Option<ByteString>,
    data: Bytes,
    lag: Option<Lag>,
}

impl<'a> Join<'a> {
    pub(crate) fn new(
        registry: Arc<Registry>,
        kind: Arc<Kind>,
        session: &'a Sender,
        room: &'a str,
    ) -> Self {
        Self {
            registry,
            kind,
            session,
            room,
            start: Start::Now,
            identity: None,
            data: Bytes::new(),
            lag: None,
        }
    }

    /// Delivers first what was published after `position`, the place of the last message that the
    /// client has received. With `None` the member joins as a new one.
    ///
    /// The position may be one of another server, and may come from the client: a position that does
    /// not exist is a [gap](Resumed::Gap).
    pub fn resume(mut self, position: impl Into<Option<Position>>) -> Self {
        if let Some(position) = position.into() {
            self.start = Start::After(position);
        }
        self
    }

    /// Delivers first the last `count` messages, as far as the history still has them. A member that
    /// [resumes](Self::resume) receives what it has missed instead.
    pub fn last(mut self, count: u64) -> Self {
        if !matches!(self.start, Start::After(_)) {
            self.start = Start::Last(count);
        }
        self
    }

    /// Sets who the member is: for publications that are [only for it](Publication::only_to), for
    /// [`Namespace::disconnect`](crate::Namespace::disconnect), and for others to see in rooms with
    /// [presence](crate::RoomConfig::presence). Several members may have the same identity. At most
    /// [`MAX_IDENTITY_LEN`] bytes. Default: none.
    pub fn identity(mut self, identity: impl Into<ByteString>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Sets data about the member, such as a name and a color in JSON, that the others see in rooms
    /// with [presence](crate::RoomConfig::presence). At most [`MAX_DATA_LEN`] bytes.
    pub fn data(mut self, data: impl Into<Bytes>) -> Self {
        self.data = data.into();
        self
    }

    /// Sets what happens if this member reads too slowly. Default: as
    /// [`RoomConfig::lag`](crate::RoomConfig::lag).
    pub fn lag(mut self, lag: Lag) -> Self {
        self.lag = Some(lag);
        self
    }

    async fn join(self) -> Result<Member, JoinError> {
        let Self { registry, kind, session, room, start, identity, data, lag } = self;
        let key = RoomKey::new(&kind.name, room)?;
        let identity_len = identity.as_ref().map_or(0, |identity| identity.len());
        if identity_len > MAX_IDENTITY_LEN || data.len() > MAX_DATA_LEN {
            return Err(JoinError::TooLong { identity: identity_len, data: data.len() });
        }
        if let Some(authorize) = kind.config.get_authorize() {
            let (identity, request) = (identity.as_deref(), session.request());
            let attempt = Attempt { action: Action::Join, room, identity, request };
            authorize(&attempt)?;
        }
        let place = kind.take_place(session.request())?;
        let limit = kind.config.get_max_members();
        let outlet = Outlet::new(session.clone(), identity, lag);
        let (cell, entered) = registry.with_cell(&kind, key, |cell| {
            if cell.len() >= limit {
                return Err(JoinError::Full { limit });
            }
            let entered = cell.input(|room, effects| room.join(outlet, data, start, effects));
            Ok((cell.clone(), entered))
        })?;
        let ((key, welcome), todo) = entered;
        // From here on, dropping the member leaves the room.
        let member = Member { cell, key };
        place.keep();
        member.cell.perform(todo);
        registry.report_interest();
        let welcome = match welcome {
            Some(welcome) => welcome,
            None => member.wait(session, &kind).await,
        };
        if matches!(start, Start::After(_)) {
            kind.node.counters.resumed(welcome.resumed == Resumed::Complete);
        }
        Ok(member)
    }
}

impl<'a> IntoFuture for Join<'a> {
    type Output = Result<Member, JoinError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.join())
    }
}

impl fmt::Debug for Join<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join")
            .field("room", &self.room)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

const UNKNOWN: Welcome = Welcome { position: None, resumed: Resumed::New };

/// A session's membership in a room. Dropping it leaves the room, as the end of the handler that
/// owns it does.
///
/// What is published in the room is sent to the session, as the namespace's
/// [`Envelope`](crate::Envelope) states. Once the session has ended, or was too slow, nothing is sent
/// any longer, and the handler learns of it from its session.
pub struct Member {
    cell: Arc<RoomCell>,
    key: SeatKey,
}

impl Member {
    /// Publishes to all members of the room. Returns the position of the message, if the bus counts
    /// messages.
    ///
    /// Messages that one member publishes, each after the other is complete, reach every member in
    /// that order. All members receive the messages of a room in the same order.
    ///
    /// It waits while a member is too slow whose policy is [`Lag::Wait`]. A member that is removed
    /// meanwhile, or whose session ends, has [`PublishError::Removed`].
    ///
    /// It is not cancel-safe: if the future is dropped, the message may be published or not. Use an
    /// [idempotency key](Publication::idempotency_key) to publish it again.
    ///
    /// # Errors
    ///
    /// [`PublishError::TooLong`], [`PublishError::Key`], [`PublishError::Denied`], [`PublishError::TooFast`],
    /// [`PublishError::Removed`] and [`PublishError::Bus`]. The member stays in the room.
    pub async fn publish(
        &self,
        publication: impl Into<Publication>,
    ) -> Result<Option<Position>, PublishError> {
        let mut publication = publication.into();
        publication.set_sender(self.id());
        let admitted = self.cell.admit(self.key, &publication)?;
        if !admitted.may_publish {
            pause(&self.cell, self.key).await?;
        }
        publication.set_sender_identity(admitted.identity);
        self.cell.kind.publish(&self.cell.key, publication).await
    }

    /// Returns the identity of this membership.
    pub fn id(&self) -> MemberId {
        MemberId { node: self.cell.kind.node.id, number: self.key.number }
    }

    /// Returns the room with its namespace.
    pub fn room(&self) -> &RoomKey {
        &self.cell.key
    }

    /// Returns what became of the messages that the member had missed when it joined.
    pub fn resumed(&self) -> Resumed {
        self.cell.resumed(self.key)
    }

    /// Returns the members of the room on all servers, this one included, in rooms with
    /// [presence](crate::RoomConfig::presence); elsewhere nothing.
    ///
    /// Members of other servers are known soon after the first member has joined here. Changes are
    /// reported as [`RoomEvent::Joined`](crate::RoomEvent::Joined) and
    /// [`RoomEvent::Left`](crate::RoomEvent::Left).
    pub fn occupants(&self) -> Vec<Occupant> {
        self.cell.occupants()
    }

    /// Returns the number of members: on all servers in rooms with
    /// [presence](crate::RoomConfig::presence), elsewhere on this server.
    pub fn occupancy(&self) -> usize {
        self.cell.occupancy()
    }

    /// Returns the place in the stream up to which this member has been sent everything: it receives
    /// what is published behind it. `None` if the bus does not know it.
    ///
    /// A state of the room that is read from elsewhere after this was called, as after a
    /// [gap](Resumed::Gap), contains everything up to this position.
    pub fn position(&self) -> Option<Position> {
        self.cell.position()
    }

    /// Sends this member, in order with the events of the room, a message that is made of all members
    /// that are known at that time, and of their number.
    #[cfg(feature = "json")]
    pub(crate) fn deliver_snapshot(
        &self,
        encode: impl FnOnce(&mut dyn Iterator<Item = &Occupant>, usize) -> OutgoingMessage,
    ) {
        self.cell.deliver_snapshot(self.key, encode);
    }

    /// Waits for the bus, for as long as the settings state.
    async fn wait(&self, session: &Sender, kind: &Kind) -> Welcome {
        let number = self.key.number;
        let mut sleep = session.sleep(kind.config.get_resume_timeout());
        poll_fn(|cx| {
            if let Poll::Ready(welcome) = self.cell.poll_welcome(number, cx) {
                return Poll::Ready(welcome);
            }
            if !kind.node.is_down() && Pin::new(&mut sleep).poll(cx).is_pending() {
                return Poll::Pending;
            }
            let (welcome, todo) = self.cell.input(|room, effects| room.join_now(self.key, effects));
            self.cell.perform(todo);
            Poll::Ready(welcome.unwrap_or(UNKNOWN))
        })
        .await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.cell.leave(self.key);
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("room", self.room())
            .field("id", &self.id())
            .field("resumed", &self.resumed())
            .finish()
    }
}
