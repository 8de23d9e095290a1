//! Rooms over a Redis server: [`RedisBus`]. Feature `redis`.

mod connection;
mod guard;
mod serve;
mod stream;

use std::future::ready;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use sockless_driver::{BoxFuture, Dial, Runtime, timeout};
use thiserror::Error;

use super::broker::{Common, Epochs, REQUEST_TIMEOUT, common_settings};
use super::outbox::Outbox;
use super::{Bus, BusSink};
use crate::config::History;
use crate::error::BusError;
use crate::lock;
use crate::name::RoomKey;
use crate::position::Position;
use crate::publication::{Publication, Replay};
use connection::Connection;

/// The longest publication with its options, in bytes.
const MAX_PUBLICATION_LEN: usize = 32 << 20;

/// A connection to a Redis server, or one that speaks its protocol such as Valkey, over which several
/// servers share their rooms. Feature `redis`.
///
/// Redis 7.0 or newer is needed. All servers name the same Redis server and have the same
/// [prefix](Self::prefix) and [settings](crate::RoomConfig) of rooms. It works on every runtime that
/// implements [`Dial`], and uses one connection for all rooms of a server. While it is broken, it is
/// tried again after at most half a second.
///
/// ```no_run
/// use sockless::rooms::{RedisBus, Rooms};
/// use sockless::tokio::TokioRuntime;
///
/// # fn main() -> Result<(), sockless::rooms::RedisUrlError> {
/// let bus = RedisBus::new("redis://127.0.0.1:6379/0", TokioRuntime)?.prefix("shop");
/// let rooms = Rooms::with_bus(bus, TokioRuntime);
/// # let _ = rooms;
/// # Ok(())
/// # }
/// ```
///
/// # Guarantees
///
/// A publication is appended to the stream of its room, with the next offset, and sent to all servers
/// by one script, which Redis executes as a whole. What a server misses while its connection is
/// broken is read from the stream. A room of which Redis has lost the stream, or may have lost its
/// last messages, gets a new epoch: members that come back have a [gap](crate::Resumed::Gap). That is
/// after each restart of the server and after a failover to another one, unless it is
/// [`durable`](Self::durable).
///
/// Idempotency keys are remembered for 5 minutes. A publication may have 32 MiB with its options.
///
/// # What is stored
///
/// For a room `chat:lobby`, the keys `sockless:{chat:lobby}:meta` (a hash), `…:stream` (the history,
/// which expires with its last message) and `…:once:KEY` (idempotency keys). All of them are gone an
/// hour after the last message of the history has expired and the last member has left. Publications
/// are stored in the form of [`Publication::to_bytes`], and sent on the channel
/// `sockless/0:chat:lobby`, in which 0 is the number of the database.
pub struct RedisBus(Arc<Shared>);

/// The reason why a text is not the URL of a Redis server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "expected redis://[[user]:password@]host[:port][/database], or redis+unix:///path[?db=database] (for TLS, RedisBus::tls)"
)]
pub struct RedisUrlError(());

/// The state that the bus and its task share.
struct Shared {
    settings: Settings,
    host: OnceLock<(BusSink, Arc<dyn Runtime>)>,
    outbox: Mutex<Outbox<Connection>>,
    /// The epochs of new streams.
    epochs: Epochs,
    /// The subscriptions that were asked for and confirmed, on all connections.
    asked: AtomicU64,
    confirmed: AtomicU64,
}

#[derive(Clone)]
struct Settings {
    server: ConnectionInfo,
    dial: Arc<dyn Dial>,
    common: Common,
}

common_settings! {
    RedisBus:
    /// Sets the text with which the names of all keys and channels begin, so that several programs
    /// can use one Redis server. Default: `sockless`.
    prefix
    /// States that the server loses no message when it restarts and has no replica to fail over to,
    /// so that positions stay valid. Default: off.
    ///
    /// Redis does so with `appendonly yes`: with `appendfsync always` in any case, and with
    /// `everysec` unless the machine crashes. If the statement is wrong, messages can be lost without
    /// a gap.
    durable
}

impl RedisBus {
    /// Creates the bus of a server at `url`, such as `redis://127.0.0.1:6379/0` or
    /// `redis+unix:///run/redis.sock`, which `dial` connects to: the runtime, such as `TokioRuntime`.
    ///
    /// It connects in the background when [`Rooms`](crate::Rooms) begin to use it.
    ///
    /// # Errors
    ///
    /// [`RedisUrlError`] if `url` is not of this form.
    pub fn new(url: &str, dial: impl Dial) -> Result<Self, RedisUrlError> {
        let server = url.into_connection_info().map_err(|_| RedisUrlError(()))?;
        if !matches!(server.addr(), ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_)) {
            return Err(RedisUrlError(()));
        }
        Ok(Self::with(Settings { server, dial: Arc::new(dial), common: Common::default() }))
    }

    fn with(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            settings,
            host: OnceLock::new(),
            outbox: Mutex::default(),
            epochs: Epochs::default(),
            asked: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
        }))
    }

    /// Makes a request, if there is a connection.
    fn request<T: Send + 'static, F: Future<Output = Result<T, BusError>> + Send>(
        &self,
        request: impl FnOnce(Connection) -> F + Send + 'static,
    ) -> BoxFuture<'static, Result<T, BusError>> {
        let connection = lock(&self.0.outbox).connection();
        let (Some(connection), Some((_, runtime))) = (connection, self.0.host.get()) else {
            let error = BusError::Unavailable("there is no connection".to_owned());
            return Box::pin(ready(Err(error)));
        };
        let (shared, runtime) = (self.0.clone(), runtime.clone());
        Box::pin(async move {
            let result = within(&*runtime, request(connection)).await;
            if let Err(BusError::Rejected(error)) = &result
                && error.starts_with("READONLY")
            {
                // The server has become a replica: another one may be at its address.
                lock(&shared.outbox).break_connection();
            }
            result
        })
    }
}

/// Waits for a request, but not too long.
async fn within<T>(
    runtime: &dyn Runtime,
    request: impl Future<Output = Result<T, BusError>>,
) -> Result<T, BusError> {
    let mut timer = runtime.timer(runtime.now() + REQUEST_TIMEOUT);
    let result = timeout(&mut *timer, request).await;
    result.unwrap_or_else(|| Err(BusError::Unavailable("it did not answer in time".to_owned())))
}

impl Bus for RedisBus {
    fn start(&self, sink: BusSink, runtime: Arc<dyn Runtime>) {
        sink.down(&BusError::Unavailable("not connected yet".to_owned()));
        self.0.epochs.start(&*runtime);
        if self.0.host.set((sink.clone(), runtime.clone())).is_ok() {
            let task = serve::run(self.0.clone(), sink, runtime.clone());
            runtime.spawn(Box::pin(task));
        }
    }

    /// Redis closes a connection that it would have to drop messages of.
    fn may_lose_items(&self) -> bool {
        false
    }

    fn publish(
        &self,
        room: &RoomKey,
        publication: Arc<Publication>,
        history: &History,
    ) -> BoxFuture<'static, Result<Option<Position>, BusError>> {
        let bytes = publication.to_bytes();
        if bytes.len() > MAX_PUBLICATION_LEN {
            let error = BusError::TooLong { len: bytes.len(), limit: MAX_PUBLICATION_LEN };
            return Box::pin(ready(Err(error)));
        }
        let (room, history, fresh) = (room.clone(), history.clone(), self.0.epochs.fresh());
        self.request(move |connection| async move {
            let key = publication.get_idempotency_key();
            connection.append(&room, &bytes, key.map(|key| &**key), &history, fresh).await.map(Some)
        })
    }

    fn replay(
        &self,
        room: &RoomKey,
        after: Position,
        history: &History,
    ) -> BoxFuture<'static, Result<Replay, BusError>> {
        let (room, history, fresh) = (room.clone(), history.clone(), self.0.epochs.fresh());
        self.request(move |connection| async move {
            connection.replay(&room, after, &history, fresh).await
        })
    }

    fn signal(&self, room: &RoomKey, signal: Bytes) {
        lock(&self.0.outbox).signal(room, signal);
    }

    fn set_interest(&self, added: &[RoomKey], removed: &[RoomKey]) {
        lock(&self.0.outbox).set_interest(added, removed);
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        lock(&self.0.outbox).close();
    }
}
