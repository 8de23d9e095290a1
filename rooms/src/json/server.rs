//! The server of the envelope: [`JsonRooms`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::value::RawValue;
use sockless_core::{Closed, Message, OutgoingMessage};
use sockless_driver::{Request as Opening, Session};

use super::envelope::{Json, person, text_of};
use super::wire::{RefusalCode, Reply, Request, id_text, is_shallow};
use crate::config::RoomConfig;
use crate::error::{BusError, JoinError, MAX_KEY_LEN, PublishError};
use crate::limits::{Rate, Used};
use crate::member::Member;
use crate::name::MAX_NAME_LEN;
use crate::position::Position;
use crate::publication::Publication;
use crate::rooms::{Namespace, Rooms};

/// Serves rooms to clients that join them and publish by messages in JSON, as
/// [the envelope](super#the-envelope) states. A session may be in many rooms.
///
/// Clones serve the same rooms.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::rooms::json::{JsonRooms, SUBPROTOCOL};
/// use sockless::rooms::{History, RoomConfig, Rooms};
/// use sockless::sim::Sim;
/// use sockless::{Router, websocket};
///
/// Sim::check(0..10, |sim| async move {
///     let config = RoomConfig::default()
///         .history(History::last(100))
///         .presence()
///         .publish_rate(50, Duration::from_secs(10));
///     let rooms = JsonRooms::new(Rooms::local(sim.clone()))
///         .namespace("chat", config)
///         // Who a client is: best what a guard has attached to the request.
///         .identify(|request| request.query_param("name").map(|name| name.into_owned().into()));
///     let handler = websocket(move |session| rooms.clone().serve(session));
///     let app = sim.app(Router::new().route("/rooms", handler.protocol(SUBPROTOCOL)));
///
///     let mut ada = app.open("/rooms?name=ada").subprotocol(SUBPROTOCOL).await;
///     ada.send(r#"{"type":"join","room":"chat:lobby"}"#).await;
///     let joined = ada.recv().await;
///     assert!(joined.as_text().unwrap().starts_with(r#"{"type":"joined","room":"chat:lobby""#));
/// });
/// ```
///
/// # Limits
///
/// What a client sends is refused with a typed error, and no other member notices it, if it is not of
/// the envelope, exceeds a limit of the [`RoomConfig`] or a limit here, or is denied by
/// [`RoomConfig::authorize`]. The reason of a [`Denied`](crate::Denied) is sent to the client. How long
/// a message may be before it is looked at is a setting of the session:
/// [`Config::max_message_len`](sockless_core::Config::max_message_len).
#[derive(Clone)]
pub struct JsonRooms(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    rooms: Rooms,
    namespaces: BTreeMap<String, Namespace>,
    identify: Option<Arc<Identify>>,
    max_rooms: usize,
    requests: Rate,
}

type Identify = dyn Fn(&Opening) -> Option<ByteString> + Send + Sync;

impl JsonRooms {
    /// The most members that a `members` lists. Its `count` is that of all.
    pub const MAX_LISTED: usize = 1000;

    /// Serves `rooms`: those of the namespaces that are added.
    pub fn new(rooms: Rooms) -> Self {
        Self(Arc::new(Inner {
            rooms,
            namespaces: BTreeMap::new(),
            identify: None,
            max_rooms: 100,
            requests: Rate { units: 400, per: Duration::from_secs(10) },
        }))
    }

    /// Adds the rooms of a kind, which clients may join. Their names begin with `name` and a colon.
    /// Sets the [envelope](RoomConfig::envelope) in `config`.
    ///
    /// # Panics
    ///
    /// As [`Rooms::namespace`] does.
    #[must_use]
    #[track_caller]
    pub fn namespace(mut self, name: &str, config: RoomConfig) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        let namespace = inner.rooms.namespace(name, config.envelope(Json::new(name)));
        inner.namespaces.insert(name.to_owned(), namespace);
        self
    }

    /// Sets the [identity](crate::Join::identity) of the members of a session, from the request that
    /// opened it. Other members see it. Default: none.
    #[must_use]
    pub fn identify(
        mut self,
        identify: impl Fn(&Opening) -> Option<ByteString> + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.0).identify = Some(Arc::new(identify));
        self
    }

    /// Sets in how many rooms a session may be, at least 1. Default: 100.
    #[must_use]
    pub fn max_rooms(mut self, rooms: usize) -> Self {
        Arc::make_mut(&mut self.0).max_rooms = rooms.max(1);
        self
    }

    /// Sets how often a session may join, leave and ask for members within a time, all at once if it
    /// likes. A client that comes back joins all of its rooms at once. Default: 400 in 10 s.
    ///
    /// [`RoomConfig::publish_rate`] limits what is published.
    #[must_use]
    pub fn request_rate(mut self, requests: u64, per: Duration) -> Self {
        Arc::make_mut(&mut self.0).requests = Rate { units: requests, per };
        self
    }

    /// Returns the namespace with this name, to publish from outside of a session. The messages of
    /// clients are JSON texts.
    pub fn get(&self, namespace: &str) -> Option<&Namespace> {
        self.0.namespaces.get(namespace)
    }

    /// Serves a session until it ends; then it has left its rooms.
    ///
    /// # Errors
    ///
    /// The end of the session.
    pub async fn serve(self, mut session: Session) -> Result<(), Closed> {
        let identity = self.0.identify.as_ref().and_then(|identify| identify(session.request()));
        let mut seats =
            Seats { inner: &self.0, identity, members: BTreeMap::new(), used: Used::default() };
        loop {
            let message = session.recv().await?;
            if let Some(reply) = seats.answer(&session, &message).await {
                session.send(reply).await?;
            }
        }
    }
}

impl fmt::Debug for JsonRooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonRooms").field("namespaces", &self.0.namespaces).finish_non_exhaustive()
    }
}

/// The rooms that a session is in.
struct Seats<'a> {
    inner: &'a Inner,
    identity: Option<ByteString>,
    members: BTreeMap<String, Member>,
    /// The use of the rate of requests.
    used: Used,
}

/// Why something is refused.
struct Refusal {
    code: RefusalCode,
    message: String,
    retry_after: Option<Duration>,
}

impl Seats<'_> {
    /// Does what a client asks for. Returns the answer, unless the room has sent it.
    async fn answer(&mut self, session: &Session, message: &Message) -> Option<String> {
        let request = match parse(message) {
            Ok(request) => request,
            Err(refusal) => return Some(refusal.reply(&Request::default()).to_text()),
        };
        let answered = match &*request.kind {
            "join" => self.join(session, &request).await.map(|()| None),
            "leave" => self.leave(session, &request).map(Some),
            "publish" => self.publish(&request).await.map(Some),
            "members" => self.list(session, &request).map(|()| None),
            _ => Err(Refusal::new(RefusalCode::Invalid, "expected a known type of message")),
        };
        match answered {
            Ok(reply) => reply.map(|reply| reply.to_text()),
            Err(refusal) => Some(refusal.reply(&request).to_text()),
        }
    }

    async fn join(&mut self, session: &Session, request: &Request<'_>) -> Result<(), Refusal> {
        self.count(session)?;
        let (namespace, room) = request.room.split_once(':').ok_or_else(|| {
            Refusal::new(RefusalCode::Name, "expected a namespace, a colon and the name of a room")
        })?;
        let namespace = self.inner.namespaces.get(namespace).ok_or_else(|| {
            Refusal::new(RefusalCode::UnknownNamespace, "there is no such namespace")
        })?;
        if self.members.contains_key(&*request.room) {
            return Err(Refusal::new(RefusalCode::AlreadyJoined, "the session is in this room"));
        }
        let limit = self.inner.max_rooms;
        if self.members.len() >= limit {
            return Err(JoinError::TooManyRooms { limit }.into());
        }
        let since = request.since.as_deref().map(str::parse::<Position>).transpose();
        let since = since.map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()))?;
        let mut join = namespace.join(session, room).resume(since);
        if let Some(last) = request.last {
            join = join.last(last);
        }
        if let Some(data) = request.data {
            join = join.data(Bytes::copy_from_slice(data.get().as_bytes()));
        }
        if let Some(identity) = &self.identity {
            join = join.identity(identity.clone());
        }
        let member = join.await?;
        deliver_members(&member, &request.room);
        self.members.insert(request.room.clone().into_owned(), member);
        Ok(())
    }

    fn leave<'a>(
        &mut self,
        session: &Session,
        request: &'a Request<'_>,
    ) -> Result<Reply<'a>, Refusal> {
        self.count(session)?;
        self.members.remove(&*request.room).ok_or_else(Refusal::not_joined)?;
        let room = (&*request.room).into();
        Ok(Reply { kind: "left".into(), room, id: request.id, ..Reply::default() })
    }

    async fn publish<'a>(&self, request: &'a Request<'_>) -> Result<Reply<'a>, Refusal> {
        let member = self.members.get(&*request.room).ok_or_else(Refusal::not_joined)?;
        let mut publication = Publication::new(request.data.map_or("null", RawValue::get));
        for key in [&request.key, &request.conflate].into_iter().flatten() {
            if key.len() > MAX_KEY_LEN {
                let message = format!("expected a key of at most {MAX_KEY_LEN} bytes");
                return Err(Refusal::new(RefusalCode::TooLong, message));
            }
        }
        if let Some(key) = &request.key {
            publication = publication.idempotency_key(key.as_str());
        }
        if let Some(key) = &request.conflate {
            publication = publication.conflation_key(key.as_str());
        }
        let position = text_of(member.publish(publication).await?);
        let (kind, room) = ("published".into(), (&*request.room).into());
        Ok(Reply { kind, room, id: request.id, position, ..Reply::default() })
    }

    fn list(&mut self, session: &Session, request: &Request<'_>) -> Result<(), Refusal> {
        self.count(session)?;
        let member = self.members.get(&*request.room).ok_or_else(Refusal::not_joined)?;
        deliver_members(member, &request.room);
        Ok(())
    }

    /// Counts a request, unless the session has made too many.
    fn count(&mut self, session: &Session) -> Result<(), Refusal> {
        let counted = self.used.count(0, Some(self.inner.requests), None, session.now());
        counted.map_err(|retry_after| Refusal {
            code: RefusalCode::TooFast,
            message: "the session sends too many requests (JsonRooms::request_rate)".to_owned(),
            retry_after: Some(retry_after),
        })
    }
}

fn parse(message: &Message) -> Result<Request<'_>, Refusal> {
    let invalid = |message: &str| Refusal::new(RefusalCode::Invalid, message);
    let text = message.as_text().ok_or_else(|| invalid("expected text, got a binary message"))?;
    if !is_shallow(text) {
        return Err(invalid("expected a value that is nested less deeply"));
    }
    let request: Request<'_> = serde_json::from_str(text)
        .map_err(|error| invalid(&format!("expected an object of the envelope: {error}")))?;
    // What is refused is repeated in the answer.
    if request.room.len() > 2 * MAX_NAME_LEN + 1 {
        let message = format!("expected names of at most {MAX_NAME_LEN} bytes");
        return Err(Refusal::new(RefusalCode::Name, message));
    }
    Ok(request)
}

/// Sends a member the list of all members.
fn deliver_members(member: &Member, room: &str) {
    member.deliver_snapshot(|occupants, count| -> OutgoingMessage {
        let members = occupants.take(JsonRooms::MAX_LISTED).map(person).collect();
        let reply = Reply {
            kind: "members".into(),
            room: room.into(),
            you: Some(id_text(member.id())),
            count: Some(count as u64),
            members: Some(members),
            ..Reply::default()
        };
        reply.to_text().into()
    });
}

impl Refusal {
    fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    fn not_joined() -> Self {
        Self::new(RefusalCode::NotJoined, "the session is not in this room")
    }

    fn reply<'a>(self, request: &'a Request<'_>) -> Reply<'a> {
        let is_known = matches!(&*request.kind, "join" | "leave" | "publish" | "members");
        let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        Reply {
            kind: "error".into(),
            request: is_known.then(|| request.kind.to_string()),
            room: (&*request.room).into(),
            id: request.id,
            code: Some(self.code),
            message: Some(self.message),
            retry_after_ms: self.retry_after.map(millis),
            ..Reply::default()
        }
    }
}

impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Self {
        let code = match &error {
            JoinError::Name(_) => RefusalCode::Name,
            JoinError::Full { .. } => RefusalCode::Full,
            JoinError::Denied(denied) => {
                return Self::new(RefusalCode::Denied, denied.reason());
            }
            JoinError::TooManyRooms { .. } => RefusalCode::TooManyRooms,
            JoinError::TooLong { .. } => RefusalCode::TooLong,
        };
        Self::new(code, error.to_string())
    }
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        let code = match &error {
            PublishError::Name(_) => RefusalCode::Name,
            PublishError::TooLong { .. }
            | PublishError::Key { .. }
            | PublishError::Bus(BusError::TooLong { .. }) => RefusalCode::TooLong,
            PublishError::Denied(denied) => {
                return Self::new(RefusalCode::Denied, denied.reason());
            }
            PublishError::TooFast { retry_after } => {
                let retry_after = Some(*retry_after);
                let message = error.to_string();
                return Self { code: RefusalCode::TooFast, message, retry_after };
            }
            PublishError::Removed => RefusalCode::Removed,
            // What a broker reports is not for clients.
            PublishError::Bus(_) => {
                let message = "the servers cannot reach each other";
                return Self::new(RefusalCode::Unavailable, message);
            }
        };
        Self::new(code, error.to_string())
    }
}
