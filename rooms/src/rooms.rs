//! All rooms of a server: [`Rooms`], and those of one kind: [`Namespace`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use sockless_core::CloseReason;
use sockless_driver::{Runtime, Session};

use crate::bus::{Bus, BusSink, LocalBus};
use crate::cell::RoomCell;
use crate::config::RoomConfig;
use crate::error::{BusError, PublishError};
use crate::kind::Kind;
use crate::lock;
use crate::machine::{Handle, Signal, SignalBody};
use crate::member::Join;
use crate::meter::adjust;
use crate::name::{RoomKey, RoomNameError, check_namespace};
use crate::outlet::Outlet;
use crate::position::Position;
use crate::publication::{Item, Publication};
use crate::stats::{Counters, RoomsStats};

/// The number of rooms that are subscribed to at once after an outage of the bus.
const INTEREST_BATCH: usize = 512;

/// The time between two rounds through the rooms that are shared with other servers. A presence that
/// expires does so within one.
const TICK: Duration = Duration::from_millis(500);

/// The number of ticks between two checks of a room for lost items: 25 s.
pub(crate) const CHECK_TICKS: u64 = 50;

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
pub struct Rooms(Arc<Inner>);

impl Rooms {
    /// Creates rooms within this process, without a broker. They use the clock and the tasks of
    /// `runtime`, such as `TokioRuntime` or, in a test, a `Sim`.
    pub fn local(runtime: impl Runtime) -> Self {
        Self::new(Box::new(LocalBus::default()), Arc::new(runtime)).0
    }

    /// Creates rooms that are shared with the other servers on `bus`.
    pub fn with_bus(bus: impl Bus, runtime: impl Runtime) -> Self {
        let (rooms, runtime) = Self::new(Box::new(bus), Arc::new(runtime));
        let checks = rooms.0.bus.may_lose_items();
        let tick = Inner::tick(Arc::downgrade(&rooms.0), runtime.clone(), checks);
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

    fn new(bus: Box<dyn Bus>, runtime: Arc<dyn Runtime>) -> (Self, Arc<dyn Runtime>) {
        let inner = Arc::new(Inner {
            node: crate::bus::random(&*runtime),
            runtime: runtime.clone(),
            bus,
            is_down: AtomicBool::new(false),
            cells: Mutex::default(),
            namespaces: Mutex::default(),
            changed: Mutex::default(),
            changing: Mutex::default(),
            counters: Counters::default(),
            incarnations: AtomicU32::new(0),
        });
        inner.bus.start(BusSink::new(&inner), runtime.clone());
        (Self(inner), runtime)
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
        let is_new = lock(&self.0.namespaces).insert(name.to_owned());
        assert!(is_new, "the namespace {name} has been created before: clone it");
        self.0.bus.add_namespace(name, config.get_history());
        let (inner, name) = (self.0.clone(), name.to_owned());
        let kind = Arc::new(Kind { inner, name, config, places: Mutex::default() });
        Namespace(kind)
    }

    /// Returns the counters of all rooms of this server.
    pub fn stats(&self) -> RoomsStats {
        let cells: Vec<_> = lock(&self.0.cells).values().cloned().collect();
        let members = cells.iter().map(|cell| cell.len()).sum();
        self.0.counters.read(cells.len(), members)
    }

    /// Returns true if the bus cannot be reached.
    pub fn is_bus_down(&self) -> bool {
        self.0.is_down()
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
pub struct Namespace(Arc<Kind>);

impl Namespace {
    /// Joins the room `room`: await the returned value, or add to it first.
    ///
    /// `room` may come from the client: the name is checked.
    pub fn join<'a>(&self, session: &'a Session, room: &'a str) -> Join<'a> {
        Join::new(self.0.clone(), session, room)
    }

    /// Publishes to all members of a room, from outside of a session. Returns the position of the
    /// message, if the bus counts messages.
    ///
    /// It is not cancel-safe: if the future is dropped, the message may be published or not. Use an
    /// [idempotency key](Publication::idempotency_key) to publish it again.
    ///
    /// # Errors
    ///
    /// [`PublishError::Name`], [`PublishError::TooLong`] and [`PublishError::Bus`].
    pub async fn publish(
        &self,
        room: &str,
        publication: impl Into<Publication>,
    ) -> Result<Option<Position>, PublishError> {
        let key = RoomKey::new(&self.0.name, room)?;
        self.0.publish(&key, publication.into()).await
    }

    /// Publishes to several rooms, one after the other; to each as with [`publish`](Self::publish).
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
        self.0.disconnect(room, &reason, is_meant, signal)
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
        self.0.disconnect(room, &reason, |_| true, signal)
    }

    /// Returns the number of members of a room that has members on this server: on all servers in
    /// rooms with [presence](RoomConfig::presence), elsewhere on this one. 0 for other rooms.
    pub fn occupancy(&self, room: &str) -> usize {
        let key = RoomKey::new(&self.0.name, room).ok();
        key.and_then(|key| self.0.inner.cell(&key)).map_or(0, |cell| cell.occupancy())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind { name, config, .. } = &*self.0;
        f.debug_struct("Namespace").field("name", name).field("config", config).finish()
    }
}

/// The contents of [`Rooms`].
///
/// Locks are taken in this order: `changing`, `cells`, a cell's own. While one of the latter two is
/// held, the bus is not called.
pub(crate) struct Inner {
    pub(crate) node: u64,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) bus: Box<dyn Bus>,
    is_down: AtomicBool,
    /// The rooms that have members.
    cells: Mutex<BTreeMap<RoomKey, Arc<RoomCell>>>,
    namespaces: Mutex<BTreeSet<String>>,
    /// The rooms that got their first member or lost their last, to be reported to the bus.
    changed: Mutex<Vec<RoomKey>>,
    changing: Mutex<()>,
    pub(crate) counters: Counters,
    incarnations: AtomicU32,
}

/// Time.
impl Inner {
    /// Looks after the rooms at intervals, for as long as they exist.
    async fn tick(rooms: Weak<Self>, runtime: Arc<dyn Runtime>, checks: bool) {
        let mut timer = runtime.timer(runtime.now() + TICK);
        let mut ticks = 0_u64;
        loop {
            std::future::poll_fn(|cx| timer.poll_expired(cx)).await;
            let Some(inner) = rooms.upgrade() else { return };
            let (now, is_connected) = (runtime.now(), !inner.is_down());
            ticks += 1;
            for cell in inner.all_cells() {
                if cell.kind.config.get_presence_ttl().is_some() {
                    cell.act(|room, effects| room.tick(now, is_connected, effects));
                }
                // A part of the rooms each time.
                if checks && is_connected && cell.turn() == ticks % CHECK_TICKS {
                    cell.act(|room, effects| room.check(effects));
                }
            }
            timer.reset(now + TICK);
        }
    }

    /// A number for the next presence of a room.
    pub(crate) fn next_incarnation(&self) -> u32 {
        self.incarnations.fetch_add(1, Ordering::Relaxed)
    }
}

/// Rooms with members.
impl Inner {
    /// Calls `act` with the room, which is created if it has no members yet. It does not vanish
    /// meanwhile.
    pub(crate) fn with_cell<T>(
        &self,
        kind: &Arc<Kind>,
        key: RoomKey,
        act: impl FnOnce(&Arc<RoomCell>) -> T,
    ) -> T {
        let mut cells = lock(&self.cells);
        let cell = cells.entry(key).or_insert_with_key(|key| {
            lock(&self.changed).push(key.clone());
            adjust!(ROOMS, 1);
            Arc::new(RoomCell::new(kind.clone(), key.clone()))
        });
        act(cell)
    }

    /// Removes a room that has no members any longer.
    pub(crate) fn remove_if_empty(&self, cell: &Arc<RoomCell>) {
        {
            let mut cells = lock(&self.cells);
            let is_known = cells.get(&cell.key).is_some_and(|known| Arc::ptr_eq(known, cell));
            if !is_known || cell.len() > 0 {
                return;
            }
            cells.remove(&cell.key);
            adjust!(ROOMS, -1);
            lock(&self.changed).push(cell.key.clone());
        }
        self.report_interest();
    }

    /// Reports to the bus which rooms have got their first member or lost their last. One task does
    /// so at a time, for all.
    pub(crate) fn report_interest(&self) {
        loop {
            let changing = match self.changing.try_lock() {
                Ok(changing) => changing,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // The task that holds it looks again.
                Err(TryLockError::WouldBlock) => return,
            };
            let changed: BTreeSet<_> =
                std::mem::take(&mut *lock(&self.changed)).into_iter().collect();
            if !changed.is_empty() {
                let (added, removed): (Vec<_>, Vec<_>) = {
                    let cells = lock(&self.cells);
                    changed.into_iter().partition(|key| cells.contains_key(key))
                };
                self.bus.set_interest(&added, &removed);
            }
            drop(changing);
            if lock(&self.changed).is_empty() {
                return;
            }
        }
    }

    pub(crate) fn cell(&self, room: &RoomKey) -> Option<Arc<RoomCell>> {
        lock(&self.cells).get(room).cloned()
    }

    fn all_cells(&self) -> Vec<Arc<RoomCell>> {
        lock(&self.cells).values().cloned().collect()
    }
}

/// Reports of the bus.
impl Inner {
    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Acquire)
    }

    pub(crate) fn subscribed(&self, room: &RoomKey, top: Option<Position>) {
        if let Some(cell) = self.cell(room) {
            let now = self.runtime.now();
            cell.act(|room, effects| room.subscribed(top, now, effects));
        }
    }

    pub(crate) fn item(&self, room: &RoomKey, item: Item) {
        if let Some(cell) = self.cell(room) {
            cell.act(|room, effects| room.item(item, effects));
        }
    }

    pub(crate) fn signal(&self, room: &RoomKey, signal: Bytes) {
        let Some(cell) = self.cell(room) else { return };
        let now = self.runtime.now();
        match Signal::from_bytes(signal) {
            Some(signal) => cell.act(|room, effects| room.signal(signal, now, effects)),
            None => self.bus_invalid(&BusError::Invalid("a signal of no known form".to_owned())),
        }
    }

    pub(crate) fn bus_down(&self, error: &BusError) {
        if self.is_down.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::warn!("the bus of the rooms cannot be reached: {error}");
        self.counters.bus_down();
        for cell in self.all_cells() {
            cell.act(|room, effects| room.bus_down(effects));
        }
    }

    pub(crate) fn bus_up(self: &Arc<Self>) {
        if self.is_down.swap(false, Ordering::AcqRel) {
            tracing::info!("the bus of the rooms can be reached again");
        }
        let cells = self.all_cells();
        for batch in cells.chunks(INTEREST_BATCH) {
            for cell in batch {
                cell.act(|room, effects| room.bus_up(effects));
            }
            lock(&self.changed).extend(batch.iter().map(|cell| cell.key.clone()));
            self.report_interest();
        }
    }

    pub(crate) fn bus_invalid(&self, error: &BusError) {
        tracing::debug!("the bus of the rooms reported something invalid: {error}");
        self.counters.bus_invalid();
    }
}
