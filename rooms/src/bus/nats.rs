//! Rooms over a NATS server: [`NatsBus`]. Feature `nats`.

mod connection;
mod log;
mod names;
mod record;
mod serve;
mod slot;
mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex};

use async_nats::ServerAddr;
use bytes::Bytes;
use sockless_driver::{BoxFuture, Runtime};
use thiserror::Error;

use super::broker::{Common, Epochs, common_settings};
use super::outbox::Outbox;
use super::{Bus, BusSink};
use crate::config::History;
use crate::error::BusError;
use crate::lock;
use crate::name::RoomKey;
use crate::position::Position;
use crate::publication::{Publication, Replay};
use connection::Connection;

/// A connection to a NATS server with JetStream, over which several servers share their rooms.
/// Feature `nats`.
///
/// NATS 2.9 or newer is needed, with JetStream (`nats-server -js`), and 2.10.19 or newer if the streams
/// have replicas: older ones can store two messages in one place there. All servers name the same NATS
/// server or cluster and have the same [prefix](Self::prefix) and [settings](crate::RoomConfig) of
/// rooms. The connection has a thread of its own with a tokio runtime, whatever the program's runtime
/// is, and serves all rooms of a server. While it is broken, it is tried again after at most half a
/// second.
///
/// ```no_run
/// use sockless::rooms::{NatsBus, Rooms};
/// use sockless::tokio::TokioRuntime;
///
/// # fn main() -> Result<(), sockless::rooms::NatsUrlError> {
/// let bus = NatsBus::new("nats://127.0.0.1:4222")?.prefix("shop");
/// let rooms = Rooms::with_bus(bus, TokioRuntime);
/// # let _ = rooms;
/// # Ok(())
/// # }
/// ```
///
/// # Guarantees
///
/// JetStream appends a publication to the log of its room only if the message before it is still the
/// last one, so that offsets count, and sends what it has stored to all servers. If two servers
/// publish to one room at the same time, one of them tries again. A server has one publication to a
/// room under way at a time: one room takes as many a second as there are round trips to the NATS
/// server.
///
/// What a server misses while its connection is broken, or what NATS drops on the way, is read from
/// the log. Logs are in the NATS server's memory: a room whose log was lost with it gets a new epoch,
/// and members that come back have a [gap](crate::Resumed::Gap). With [`durable`](Self::durable) logs
/// survive a restart.
///
/// Idempotency keys are remembered for 5 minutes. If the publication that has the key is no longer
/// in the history, publishing returns no position. A publication may be as long as the server's
/// `max_payload`, by default 1 MiB, with its options and some 100 bytes more.
///
/// The server is trusted: messages of any length are received from it. If it does not speak the
/// protocol, the client of NATS can panic, which ends the connection and nothing else.
///
/// # What is stored
///
/// For the rooms of a namespace `chat`, the stream `sockless-chat` with a subject for each room,
/// `sockless.chat.room.NAME`. In names, all bytes but ASCII letters, digits, `-` and `_` are written as
/// `=` and two hexadecimal digits. The stream sends what it has stored to `sockless.chat.live.NAME`. It is created, and its limits and
/// subjects are kept up to date; other settings of a stream that exists stay, such as its replicas.
///
/// A message is an `i`, the position, a space and the publication in the form of
/// [`Publication::to_bytes`], or an `m`, the position and a space: the position of a room without a
/// message, and of one that has members and has had no message for a while.
///
/// JetStream keeps messages for at least 10 minutes and has no limit for the bytes of one room: a
/// shorter [`History::max_age`], and [`History::max_bytes`], limit what is read. A room without
/// members is forgotten with its last message.
pub struct NatsBus(Arc<Shared>);

/// The reason why a text is not the URL of a NATS server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "expected nats://[user:password@|token@]host[:port], or several of them with commas between (for TLS, NatsBus::tls)"
)]
pub struct NatsUrlError(());

/// The state that the bus and its thread share.
struct Shared {
    settings: Settings,
    outbox: Mutex<Outbox<Connection>>,
    namespaces: Mutex<BTreeMap<String, History>>,
    /// The epochs of new logs.
    epochs: Epochs,
}

#[derive(Clone)]
struct Settings {
    servers: Vec<ServerAddr>,
    common: Common,
}

common_settings! {
    NatsBus:
    /// Sets the text with which the names of all streams and subjects begin, so that several programs
    /// can use one NATS server. It is encoded as the names of rooms are. Default: `sockless`.
    prefix
    /// Stores the logs in files, so that positions stay valid when the NATS server restarts. A stream
    /// that exists stays where it is: delete it first. Default: in memory.
    ///
    /// When its machine crashes, a NATS server without replicas can lose the messages of its
    /// `sync_interval`, by default 2 minutes, without a gap. Set that to `always`, or give the streams
    /// replicas.
    durable
}

impl NatsBus {
    /// Creates the bus of a server at `url`, such as `nats://127.0.0.1:4222`; without a port, at
    /// 4222. For a cluster, several URLs can be given with commas between them.
    ///
    /// It connects in the background when [`Rooms`](crate::Rooms) begin to use it.
    ///
    /// # Errors
    ///
    /// [`NatsUrlError`] if `url` is not of this form.
    pub fn new(url: &str) -> Result<Self, NatsUrlError> {
        let servers = url.split(',').map(server).collect::<Option<_>>();
        Ok(Self::with(Settings {
            servers: servers.ok_or(NatsUrlError(()))?,
            common: Common::default(),
        }))
    }

    fn with(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            settings,
            outbox: Mutex::default(),
            namespaces: Mutex::default(),
            epochs: Epochs::default(),
        }))
    }

    /// Makes a request on the bus's thread, if there is a connection.
    fn request<T: Send + 'static, F: Future<Output = Result<T, BusError>> + Send + 'static>(
        &self,
        request: impl FnOnce(Connection) -> F + Send + 'static,
    ) -> BoxFuture<'static, Result<T, BusError>> {
        let Some(connection) = lock(&self.0.outbox).connection() else {
            return Box::pin(ready(Err(unavailable("there is no connection"))));
        };
        Box::pin(async move {
            let limited = connection.clone();
            let task = connection
                .handle()
                .spawn(async move { limited.within(request(limited.clone())).await });
            task.await.unwrap_or_else(|_| Err(unavailable("the rooms are gone")))
        })
    }
}

/// The server at a URL of the form that is supported.
fn server(url: &str) -> Option<ServerAddr> {
    let url: ServerAddr = url.strip_prefix("nats://").map(|_| url)?.parse().ok()?;
    let path = url.clone().into_inner();
    let is_bare = matches!(path.path(), "" | "/") && path.query().is_none();
    (is_bare && !url.host().is_empty()).then_some(url)
}

impl Shared {
    fn history(&self, namespace: &str) -> History {
        lock(&self.namespaces).get(namespace).cloned().unwrap_or(History::NONE)
    }
}

fn unavailable(what: impl fmt::Display) -> BusError {
    BusError::Unavailable(what.to_string())
}

impl Bus for NatsBus {
    fn start(&self, sink: BusSink, runtime: Arc<dyn Runtime>) {
        sink.down(&unavailable("not connected yet"));
        self.0.epochs.start(&*runtime);
        serve::start(self.0.clone(), sink);
    }

    fn add_namespace(&self, name: &str, history: &History) {
        lock(&self.0.namespaces).insert(name.to_owned(), history.clone());
    }

    fn publish(
        &self,
        room: &RoomKey,
        publication: Arc<Publication>,
        _history: &History,
    ) -> BoxFuture<'static, Result<Option<Position>, BusError>> {
        let room = room.clone();
        self.request(move |connection| async move { connection.append(&room, &publication).await })
    }

    fn replay(
        &self,
        room: &RoomKey,
        after: Position,
        _history: &History,
    ) -> BoxFuture<'static, Result<Replay, BusError>> {
        let room = room.clone();
        self.request(move |connection| async move { connection.replay(&room, after).await })
    }

    fn signal(&self, room: &RoomKey, signal: Bytes) {
        lock(&self.0.outbox).signal(room, signal);
    }

    fn set_interest(&self, added: &[RoomKey], removed: &[RoomKey]) {
        lock(&self.0.outbox).set_interest(added, removed);
    }
}

impl Drop for NatsBus {
    fn drop(&mut self) {
        lock(&self.0.outbox).close();
    }
}
