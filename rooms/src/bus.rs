//! The connection between the servers that share rooms: [`Bus`].

#[cfg(any(feature = "nats", feature = "redis"))]
mod broker;
mod local;
#[cfg(feature = "nats")]
mod nats;
#[cfg(any(feature = "nats", feature = "redis"))]
mod outbox;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sim")]
mod sim;
mod stream;

use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use sockless_driver::{BoxFuture, Runtime};

use crate::config::History;
use crate::error::BusError;
use crate::name::RoomKey;
use crate::position::Position;
use crate::publication::{Item, Publication, Replay};

pub(crate) use local::LocalBus;
#[cfg(feature = "nats")]
pub use nats::{NatsBus, NatsUrlError};
#[cfg(feature = "redis")]
pub use redis::{RedisBus, RedisUrlError};
#[cfg(feature = "sim")]
pub use sim::{SimBroker, SimBus};
pub(crate) use stream::Stream;

/// What rooms need from the outside: a log of messages for each room, which all servers append to
/// and read.
///
/// [`Rooms::local`](crate::Rooms::local) has one in the process. A bus over a broker connects
/// several servers.
///
/// To write one, begin with `rooms/tests/own_bus.rs` in the source: a broker in memory and a bus to
/// it, with the suite that every bus has to pass.
///
/// # Requirements
///
/// * **Append and send are one operation.** A message that is published gets the next offset of its
///   room, is kept as its [`History`] states, and is sent to all servers that are interested in the
///   room. If the broker can lose what it sends, that is a gap in the offsets, which rooms close
///   from the history.
/// * **Offsets count.** The first message of a stream has offset 1 and each later one exactly 1
///   more. A stream that cannot go on counting, because its offsets were lost, gets another epoch. A
///   bus that cannot count sends items without a position, and has no history.
/// * **Order.** [`BusSink::item`] is called for the items of a room in the order of their offsets,
///   never for two of them at once, and for each item behind the position that
///   [`BusSink::subscribed`] reports: after that, or before, since items wait for it. An item that
///   comes twice is ignored.
/// * **No waiting.** [`set_interest`](Self::set_interest), [`signal`](Self::signal) and the creation of a future return at
///   once. What takes time is done in tasks of the bus.
/// * **Bounded.** A future completes within a few seconds, if need be with
///   [`BusError::Unavailable`].
pub trait Bus: Send + Sync + 'static {
    /// Begins: the bus reports to `sink` from now on, and uses the tasks and the clock of `runtime`.
    /// Called once, before all other methods.
    ///
    /// A bus that is not connected at once calls [`BusSink::down`] first.
    fn start(&self, sink: BusSink, runtime: Arc<dyn Runtime>);

    /// Returns true if items can be lost on the way while the broker can be reached, as with most
    /// publish-subscribe systems. Rooms with a history then look for lost items at intervals.
    /// Default: true.
    fn may_lose_items(&self) -> bool {
        true
    }

    /// Announces the namespace `name`, whose rooms have this history, before any of them is used.
    /// Default: does nothing, since the other methods state the history where they need it.
    fn add_namespace(&self, name: &str, history: &History) {
        let _ = (name, history);
    }

    /// Publishes a message, and returns its position.
    ///
    /// If a message of the room with the same
    /// [idempotency key](Publication::get_idempotency_key) was published before, as far as the bus
    /// remembers its keys, nothing is published, and the position is that of the first one. A bus
    /// states for how long it remembers them.
    fn publish(
        &self,
        room: &RoomKey,
        publication: Arc<Publication>,
        history: &History,
    ) -> BoxFuture<'static, Result<Option<Position>, BusError>>;

    /// Reads the messages of a room that follow a position, at most the number that the history
    /// keeps: all of them, or [`Replay::Gap`]. The position may be one that a client has made up, of
    /// an offset that does not exist or of another epoch, which is a gap.
    fn replay(
        &self,
        room: &RoomKey,
        after: Position,
        history: &History,
    ) -> BoxFuture<'static, Result<Replay, BusError>>;

    /// Sends bytes to all servers that are interested in the room. They are not kept, and may be
    /// lost. The signals of a server arrive in the order in which this was called. It may be called
    /// while the bus calls a method of the [`BusSink`].
    fn signal(&self, room: &RoomKey, signal: Bytes);

    /// Begins to receive the items of the rooms in `added`, and stops for those in `removed`.
    ///
    /// The bus calls [`BusSink::subscribed`] for each room of `added`, also for one that was added
    /// before. It need not remember the set: after [`BusSink::up`] all rooms are added again, in
    /// batches.
    fn set_interest(&self, added: &[RoomKey], removed: &[RoomKey]);
}

/// The receiver of what a [`Bus`] reports. Clones are the same receiver.
///
/// Its methods deliver to the sessions of this server before they return, and never wait. They do
/// nothing once the rooms are gone.
#[derive(Clone)]
pub struct BusSink(Weak<dyn Reports>);

/// The rooms, as a bus knows them: the methods of [`BusSink`].
pub(crate) trait Reports: Send + Sync {
    fn subscribed(&self, room: &RoomKey, top: Option<Position>);
    fn item(&self, room: &RoomKey, item: Item);
    fn signal(&self, room: &RoomKey, signal: Bytes);
    fn down(&self, error: &BusError);
    fn up(&self);
    fn invalid(&self, error: &BusError);
}

impl BusSink {
    pub(crate) fn new(rooms: Weak<dyn Reports>) -> Self {
        Self(rooms)
    }

    /// Reports that all items of `room` behind `top` will be reported.
    ///
    /// `top` is the position of the last message of the room: one with offset 0 before the
    /// first, and `None` on a bus that does not count messages.
    pub fn subscribed(&self, room: &RoomKey, top: Option<Position>) {
        self.with(|rooms| rooms.subscribed(room, top));
    }

    /// Reports a message that was published in `room`, on any server.
    pub fn item(&self, room: &RoomKey, item: Item) {
        self.with(|rooms| rooms.item(room, item));
    }

    /// Reports a [signal](Bus::signal) for `room`, from any server.
    pub fn signal(&self, room: &RoomKey, signal: Bytes) {
        self.with(|rooms| rooms.signal(room, signal));
    }

    /// Reports that the broker cannot be reached: items may be lost from now on.
    pub fn down(&self, error: &BusError) {
        self.with(|rooms| rooms.down(error));
    }

    /// Reports that the broker can be reached. All rooms are subscribed to anew.
    pub fn up(&self) {
        self.with(|rooms| rooms.up());
    }

    /// Reports that the broker sent something that is not valid, and that was ignored.
    pub fn invalid(&self, error: &BusError) {
        self.with(|rooms| rooms.invalid(error));
    }

    /// Returns true if the rooms are gone, so that the tasks of the bus can end.
    pub fn is_closed(&self) -> bool {
        self.0.strong_count() == 0
    }

    fn with(&self, act: impl FnOnce(&dyn Reports)) {
        if let Some(rooms) = self.0.upgrade() {
            act(&*rooms);
        }
    }
}

impl fmt::Debug for BusSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusSink").field("is_closed", &self.is_closed()).finish()
    }
}

/// A random number of the runtime, such as the first epoch of a bus.
pub(crate) fn random(runtime: &dyn Runtime) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&runtime.seed().as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}
