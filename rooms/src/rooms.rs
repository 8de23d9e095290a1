//! All rooms of a server: [`Rooms`], and those of one kind: [`Namespace`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use bytestring::ByteString;
use sockless_core::CloseReason;
use sockless_driver::{Runtime, Sender};

use crate::bus::{Bus, BusSink, LocalBus};
use crate::config::RoomConfig;
use crate::error::PublishError;
use crate::kind::Kind;
use crate::lock;
use crate::machine::{Handle, Signal, SignalBody};
use crate::member::Join;
use crate::name::{RoomKey, RoomNameError, check_namespace};
use crate::node::Node;
use crate::outlet::Outlet;
use crate::position::Position;
use crate::publication::Publication;
use crate::registry::Registry;
use crate::stats::RoomsStats;

/// The rooms of a server.
///
/// Clones are the same rooms. They are created once, and shared by all handlers.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::rooms::{History, RoomConfig, Rooms};
/// use sockless::tokio::TokioRuntime;
///
/// let rooms = Rooms::local(TokioRuntime);
/// let history = History::last(100).max_age(Duration::from_secs(120));
/// let chat = rooms.namespace("chat", RoomConfig::default().history(history));
/// # let _ = chat;
/// ```
#[derive(Clone)]
pub struct Rooms {
    registry: Arc<Registry>,
    /// The names that have been used.
    namespaces: Arc<Mutex<BTreeSet<String>>>,
}

impl Rooms {
    /// Creates rooms within this process, without a broker. They use the clock and the tasks of
    /// `runtime`, such as `TokioRuntime` or, in a test, a `Sim`.
    pub fn local(runtime: impl Runtime) -> Self {
        Self::new(Box::new(LocalBus::default()), Arc::new(runtime))
    }

    /// Creates rooms that are shared with the other servers on `bus`.
    pub fn with_bus(bus: impl Bus, runtime: impl Runtime) -> Self {
        let rooms = Self::new(Box::new(bus), Arc::new(runtime));
        let Node { runtime, bus, .. } = &*rooms.registry.node;
        let registry = Arc::downgrade(&rooms.registry);
        let tick = Registry::tick(registry, runtime.clone(), bus.may_lose_items());
        runtime.spawn(Box::pin(tick));
        rooms
    }

    /// Creates rooms that are shared with the other servers on the Redis server at `url`, such as
    /// `redis://127.0.0.1:6379/0`: those of a [`RedisBus`](crate::RedisBus), which has more settings.
    /// Feature `redis`.
    ///
    /// It connects in the background; until then, sessions join as during an outage.
    ///
    /// ```no_run
    /// use sockless::rooms::{History, RoomConfig, Rooms};
    /// use sockless::tokio::TokioRuntime;
    ///
    /// # fn main() -> Result<(), sockless::rooms::RedisUrlError> {
    /// let rooms = Rooms::redis("redis://127.0.0.1:6379/0", TokioRuntime)?;
    /// let chat = rooms.namespace("chat", RoomConfig::default().history(History::last(100)));
    /// # let _ = chat;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RedisUrlError`](crate::RedisUrlError) if `url` is not that of a Redis server.
    ///
    /// # Panics
    ///
    /// Panics where the runtime cannot start a task, such as outside of a tokio runtime.
    #[cfg(feature = "redis")]
    pub fn redis(
        url: &str,
        runtime: impl Runtime + sockless_driver::Dial + Clone,
    ) -> Result<Self, crate::RedisUrlError> {
        let bus = crate::RedisBus::new(url, runtime.clone())?;
        Ok(Self::with_bus(bus, runtime))
    }

    /// Creates rooms that are shared with the other servers on the NATS server at `url`, such as
    /// `nats://127.0.0.1:4222`: those of a [`NatsBus`](crate::NatsBus), which has more settings.
    /// Feature `nats`.
    ///
    /// It connects in the background; until then, sessions join as during an outage.
    ///
    /// ```no_run
    /// use sockless::rooms::{History, RoomConfig, Rooms};
    /// use sockless::tokio::TokioRuntime;
    ///
    /// # fn main() -> Result<(), sockless::rooms::NatsUrlError> {
    /// let rooms = Rooms::nats("nats://127.0.0.1:4222", TokioRuntime)?;
    /// let chat = rooms.namespace("chat", RoomConfig::default().history(History::last(100)));
    /// # let _ = chat;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NatsUrlError`](crate::NatsUrlError) if `url` is not that of a NATS server.
    ///
    /// # Panics
    ///
    /// Panics where the runtime cannot start a task, such as outside of a tokio runtime.
    #[cfg(feature = "nats")]
    pub fn nats(url: &str, runtime: impl Runtime) -> Result<Self, crate::NatsUrlError> {
        Ok(Self::with_bus(crate::NatsBus::new(url)?, runtime))
    }

    fn new(bus: Box<dyn Bus>, runtime: Arc<dyn Runtime>) -> Self {
        let registry = Arc::new(Registry::new(Arc::new(Node::new(bus, runtime.clone()))));
        let reports: Weak<Registry> = Arc::downgrade(&registry);
        registry.node.bus.start(BusSink::new(reports), runtime);
        registry.started();
        Self { registry, namespaces: Arc::default() }
    }

    /// Returns the rooms of one kind, with their settings.
    ///
    /// # Panics
    ///
    /// Panics if `name` is not the name of a namespace (see [`RoomKey`]), or has been used before.
    #[track_caller]
    pub fn namespace(&self, name: &str, config: RoomConfig) -> Namespace {
        if let Err(error) = check_namespace(name) {
            panic!("not the name of a namespace: {error}");
        }
        let is_new = lock(&self.namespaces).insert(name.to_owned());
        assert!(is_new, "the namespace {name} has been created before: clone it");
        let registry = self.registry.clone();
        let node = registry.node.clone();
        node.bus.add_namespace(name, config.get_history());
        let kind = Kind {
            node,
            directory: registry.clone(),
            name: name.to_owned(),
            config,
            places: Mutex::default(),
        };
        Namespace { kind: Arc::new(kind), registry }
    }

    /// Returns the counters of all rooms of this server.
    pub fn stats(&self) -> RoomsStats {
        let cells = self.registry.all_cells();
        let members = cells.iter().map(|cell| cell.len()).sum();
        self.registry.node.counters.read(cells.len(), members)
    }

    /// Returns true if the bus cannot be reached.
    pub fn is_bus_down(&self) -> bool {
        self.registry.node.is_down()
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// The rooms of one kind, such as chats: they share settings, and their names are separate from
/// those of other namespaces. From [`Rooms::namespace`].
///
/// Clones are the same rooms.
///
/// A room exists while it has members; joining one creates it.
///
/// ```
/// use sockless::rooms::{Namespace, RoomConfig, Rooms};
/// use sockless::sim::Sim;
/// use sockless::{BoxError, Router, Session, websocket};
///
/// async fn handle(mut session: Session, chat: Namespace) -> Result<(), BoxError> {
///     let room = session.request().param_str("room").unwrap_or("lobby").to_owned();
///     let member = chat.join(&session, &room).await?;
///     loop {
///         let message = session.recv().await?;
///         member.publish(message).await?;
///     }
///     // When the handler returns, the member leaves.
/// }
///
/// Sim::check(0..10, |sim| async move {
///     let chat = Rooms::local(sim.clone()).namespace("chat", RoomConfig::default());
///     let handler = {
///         let chat = chat.clone();
///         websocket(move |session| handle(session, chat.clone()))
///     };
///     let app = sim.app(Router::new().route("/chat/{room}", handler));
///
///     let mut ada = app.open("/chat/rust").await;
///     let mut bob = app.open("/chat/rust").await;
///     sim.settle().await;
///     ada.send("hello").await;
///     bob.expect("hello").await;
///     ada.expect("hello").await;
///
///     chat.publish("rust", "from outside of a session").await.unwrap();
///     bob.expect("from outside of a session").await;
/// });
/// ```
#[derive(Clone)]
pub struct Namespace {
    kind: Arc<Kind>,
    registry: Arc<Registry>,
}

impl Namespace {
    /// Joins the room `room`: await the returned value, or add to it first.
    ///
    /// `session` is a [`Session`](sockless_driver::Session), or a [`Sender`] of one, such as after
    /// `split`. `room` may come from the client: the name is checked.
    ///
    /// ```
    /// use sockless::rooms::Namespace;
    /// use sockless::{Error, Session};
    ///
    /// /// Publishes what the client sends, and follows it from one room to the next.
    /// async fn handle(session: Session, chat: Namespace) -> Result<(), Error> {
    ///     let (sender, mut receiver) = session.split();
    ///     let mut member = chat.join(&sender, "lobby").await?;
    ///     loop {
    ///         let message = receiver.recv().await?;
    ///         match message.as_text().and_then(|text| text.strip_prefix("go to ")) {
    ///             Some(room) => member = chat.join(&sender, room).await?,
    ///             None => drop(member.publish(message).await?),
    ///         }
    ///     }
    /// }
    /// # let _ = handle;
    /// ```
    pub fn join<'a>(&self, session: &'a impl AsRef<Sender>, room: &'a str) -> Join<'a> {
        Join::new(self.registry.clone(), self.kind.clone(), session.as_ref(), room)
    }

    /// Publishes to all members of a room, from outside of a session. Returns the position of the
    /// message, if the bus counts messages.
    ///
    /// It is not cancel-safe: if the future is dropped, the message may be published or not. Use an
    /// [idempotency key](Publication::idempotency_key) to publish it again.
    ///
    /// # Errors
    ///
    /// [`PublishError::Name`], [`PublishError::TooLong`], [`PublishError::Key`] and
    /// [`PublishError::Bus`].
    pub async fn publish(
        &self,
        room: &str,
        publication: impl Into<Publication>,
    ) -> Result<Option<Position>, PublishError> {
        let key = RoomKey::new(&self.kind.name, room)?;
        self.kind.publish(&key, publication.into()).await
    }

    /// Publishes to several rooms, one after the other; to each as with [`publish`](Self::publish).
    ///
    /// It is not cancel-safe: if the future is dropped, the message was published to some of the rooms.
    ///
    /// # Errors
    ///
    /// The first error of [`publish`](Self::publish), at which it stops.
    pub async fn publish_to_all(
        &self,
        rooms: impl IntoIterator<Item = impl AsRef<str>>,
        publication: impl Into<Publication>,
    ) -> Result<(), PublishError> {
        let publication = publication.into();
        for room in rooms {
            self.publish(room.as_ref(), publication.clone()).await?;
        }
        Ok(())
    }

    /// Closes the sessions of the members of a room that joined with `identity`, on all servers.
    /// Returns how many were closed on this one.
    ///
    /// A server that cannot be reached does not learn of it: reject the client where it joins, too.
    ///
    /// # Errors
    ///
    /// [`RoomNameError`] if `room` is not a name.
    pub fn disconnect(
        &self,
        room: &str,
        identity: &str,
        reason: impl Into<CloseReason>,
    ) -> Result<usize, RoomNameError> {
        let (identity, reason) = (ByteString::from(identity), reason.into());
        let signal = SignalBody::Disconnect { identity: identity.clone(), reason: reason.clone() };
        let is_meant = move |outlet: &Outlet| outlet.identity() == Some(&identity);
        self.remove(room, &reason, is_meant, signal)
    }

    /// Closes the sessions of all members of a room, on all servers. Returns how many were closed on
    /// this one. The history of the room stays.
    ///
    /// A server that cannot be reached does not learn of it.
    ///
    /// # Errors
    ///
    /// [`RoomNameError`] if `room` is not a name.
    pub fn close(
        &self,
        room: &str,
        reason: impl Into<CloseReason>,
    ) -> Result<usize, RoomNameError> {
        let reason = reason.into();
        let signal = SignalBody::Close { reason: reason.clone() };
        self.remove(room, &reason, |_| true, signal)
    }

    /// Returns the number of members of a room that has members on this server: on all servers in
    /// rooms with [presence](RoomConfig::presence), elsewhere on this one. 0 for other rooms.
    pub fn occupancy(&self, room: &str) -> usize {
        let key = RoomKey::new(&self.kind.name, room).ok();
        key.and_then(|key| self.registry.cell(&key)).map_or(0, |cell| cell.occupancy())
    }

    /// Closes the sessions of those members that are meant, and sends `body` to the other servers.
    fn remove(
        &self,
        room: &str,
        reason: &CloseReason,
        is_meant: impl Fn(&Outlet) -> bool,
        body: SignalBody,
    ) -> Result<usize, RoomNameError> {
        let key = RoomKey::new(&self.kind.name, room)?;
        let node = &self.registry.node;
        node.bus.signal(&key, Signal { node: node.id, body }.to_bytes());
        let Some(cell) = self.registry.cell(&key) else { return Ok(0) };
        let (count, todo) = cell.input(|room, effects| room.disconnect(reason, is_meant, effects));
        cell.perform(todo);
        Ok(count)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind { name, config, .. } = &*self.kind;
        f.debug_struct("Namespace").field("name", name).field("config", config).finish()
    }
}
