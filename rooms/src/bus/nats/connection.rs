//! One connection to the server, and the requests on it: [`Connection`].

use std::collections::{BTreeSet, VecDeque};
use std::error::Error as _;
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::datetime::{DateTime, add_std_duration};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::{ContextBuilder, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{ConsumerErrorKind, RawMessageErrorKind, StorageType, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};
#[cfg(feature = "rustls")]
use async_nats::rustls;
use async_nats::{Client, ConnectOptions, Event, RequestErrorKind, Subscriber};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::names::Names;
use super::record::{self, Record};
use super::slot::{Head, Slot, Slots};
use super::stream;
use super::{Settings, Shared, unavailable};
use crate::bus::BusSink;
use crate::bus::broker::REQUEST_TIMEOUT;
use crate::error::BusError;
use crate::lock;
use crate::name::RoomKey;
use crate::position::Position;

/// The interval at which the server has to answer; it may miss two.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// The most messages that wait for the bus's thread in one room. Later ones are lost, and read from
/// the log.
const MAX_WAITING: usize = 4096;

/// The messages that are read at once.
const PAGE: usize = 256;

/// The time for which a reader of a log stays known if it could not be deleted.
const READER_TTL: Duration = Duration::from_secs(30);

/// The bytes of a message besides the publication: its headers and position.
const OVERHEAD: usize = 2048;

/// A connection. Clones are the same one.
#[derive(Clone)]
pub(super) struct Connection(Arc<Inner>);

struct Inner {
    handle: Handle,
    shared: Arc<Shared>,
    sink: BusSink,
    client: Client,
    context: Context,
    names: Names,
    /// The namespaces whose streams are there.
    prepared: tokio::sync::Mutex<BTreeSet<String>>,
    /// The server's time, and when it was that.
    clock: Mutex<Option<(DateTime, Instant)>>,
    slots: Arc<Slots>,
    lost: watch::Receiver<bool>,
}

/// The outcome of an attempt to append a message.
pub(super) enum Stored {
    /// It has this number in the stream.
    At(u64),
    /// One with the same idempotency key has this number.
    Before(u64),
    /// Another message is the last one of the room.
    Conflict,
}

/// A message of a log.
pub(super) struct Entry {
    /// `None` if it is of no known form.
    pub(super) record: Option<Record>,
    pub(super) is_expired: bool,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(shared: Arc<Shared>, sink: BusSink) -> Result<Self, BusError> {
        let (lose, lost) = watch::channel(false);
        let options = options(&shared.settings).event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                lose.send_replace(true);
            }
            ready(())
        });
        let client = options.connect(&shared.settings.servers[..]).await.map_err(unavailable)?;
        if !client.is_server_compatible(2, 9, 0) {
            let version = client.server_info().version;
            return Err(BusError::Rejected(format!("expected NATS 2.9 or newer, got {version}")));
        }
        let context = ContextBuilder::new().timeout(REQUEST_TIMEOUT).ack_timeout(REQUEST_TIMEOUT);
        let context = context.backpressure_on_inflight(true).build(client.clone());
        client.request("$JS.API.INFO", Bytes::new()).await.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => {
                rejected("expected a server with JetStream (nats-server -js)")
            }
            _ => unavailable(error),
        })?;
        let names = Names::new(&shared.settings.common.prefix);
        Ok(Self(Arc::new(Inner {
            handle: Handle::current(),
            shared,
            sink,
            client,
            context,
            names,
            prepared: tokio::sync::Mutex::default(),
            clock: Mutex::default(),
            slots: Arc::default(),
            lost,
        })))
    }

    /// The runtime of the bus's thread.
    pub(super) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    pub(super) fn slot(&self, room: &RoomKey) -> Arc<Slot> {
        self.0.slots.slot(room)
    }

    /// Waits for a request, but not too long.
    pub(super) async fn within<T>(
        &self,
        request: impl Future<Output = Result<T, BusError>>,
    ) -> Result<T, BusError> {
        let too_late = |_| Err(unavailable("it did not answer in time"));
        tokio::select! {
            result = tokio::time::timeout(REQUEST_TIMEOUT, request) => {
                result.unwrap_or_else(too_late)
            }
            error = self.lost() => Err(error),
        }
    }

    /// Waits until the connection breaks.
    pub(super) async fn lost(&self) -> BusError {
        // The client drops the sender when it ends.
        let _ = self.0.lost.clone().wait_for(|is_lost| *is_lost).await;
        unavailable("the connection broke")
    }

    /// The length of the longest publication with its options.
    pub(super) fn max_len(&self, idempotency_key: Option<&str>) -> usize {
        let overhead = OVERHEAD + 3 * idempotency_key.map_or(0, str::len);
        self.0.client.max_payload().saturating_sub(overhead)
    }

    /// Begins to receive what is sent to a room.
    pub(super) async fn listen(&self, room: &RoomKey) -> Result<Subscriber, BusError> {
        self.0.client.subscribe(self.0.names.live(room)).await.map_err(unavailable)
    }

    pub(super) async fn signal(&self, room: &RoomKey, signal: &[u8]) -> Result<(), BusError> {
        let (live, signal) = (self.0.names.live(room), record::signal(signal));
        self.0.client.publish(live, signal).await.map_err(unavailable)
    }

    /// Appends a message behind the one with the number `expected`, which is 0 for the first one.
    /// `once` is the [identity](Names::once) of one with an idempotency key.
    pub(super) async fn store(
        &self,
        room: &RoomKey,
        message: Bytes,
        expected: u64,
        once: Option<&str>,
    ) -> Result<Stored, BusError> {
        let len = message.len();
        let mut publish =
            PublishMessage::build().payload(message).expected_last_subject_sequence(expected);
        if let Some(once) = once {
            publish = publish.message_id(once);
        }
        let subject = self.0.names.stored(room);
        let sent = self.0.context.send_publish(subject, publish).await;
        let stored = match sent {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        match stored {
            Ok(ack) if ack.duplicate => Ok(Stored::Before(ack.sequence)),
            Ok(ack) => Ok(Stored::At(ack.sequence)),
            Err(error) => match (error.kind(), rejection(&error)) {
                (PublishErrorKind::WrongLastSequence, _) => Ok(Stored::Conflict),
                // Of newer servers.
                (_, Some(error))
                    if error.kind() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT =>
                {
                    Ok(Stored::Conflict)
                }
                (PublishErrorKind::StreamNotFound, _) => {
                    self.is_gone(room.namespace()).await;
                    Ok(Stored::Conflict)
                }
                (PublishErrorKind::MaxPayloadExceeded, _) => {
                    Err(BusError::TooLong { len, limit: self.0.client.max_payload() })
                }
                (_, Some(error)) => Err(BusError::Rejected(error.to_string())),
                _ => Err(unavailable(error)),
            },
        }
    }

    /// Reads the last message of a room, and when it was stored.
    pub(super) async fn last(&self, slot: &Slot) -> Result<Option<(Head, DateTime)>, BusError> {
        let mut is_first = true;
        loop {
            self.prepare(slot.room.namespace()).await?;
            let stream = self.stream(&slot.room).await?;
            let subject = self.0.names.stored(&slot.room);
            match stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => {
                    let record = Record::from_bytes(&message.payload);
                    if record.is_none() {
                        self.report_unknown();
                    }
                    let position = record.and_then(|record| record.position());
                    let head = Head { sequence: message.sequence, position };
                    slot.advance(head);
                    return Ok(Some((head, message.time)));
                }
                Err(error) => match error.kind() {
                    RawMessageErrorKind::NoMessageFound => return Ok(None),
                    RawMessageErrorKind::JetStream(error)
                        if error.kind() == ErrorCode::STREAM_NOT_FOUND && is_first =>
                    {
                        is_first = false;
                        self.is_gone(slot.room.namespace()).await;
                    }
                    RawMessageErrorKind::JetStream(error) => {
                        return Err(BusError::Rejected(error.to_string()));
                    }
                    _ => return Err(unavailable(error)),
                },
            }
        }
    }

    /// Reads the position of the message with this number, if it is still there.
    pub(super) async fn position_at(
        &self,
        room: &RoomKey,
        sequence: u64,
    ) -> Result<Option<Position>, BusError> {
        match self.stream(room).await?.get_raw_message(sequence).await {
            Ok(message) => {
                Ok(Record::from_bytes(&message.payload).and_then(|record| record.position()))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Reads the last messages of a room, at most so many.
    pub(super) async fn read(
        &self,
        room: &RoomKey,
        most: usize,
        max_age: Duration,
    ) -> Result<VecDeque<Entry>, BusError> {
        let subject = self.0.names.stored(room);
        let reader = self.reader(room.namespace(), &subject, DeliverPolicy::All).await?;
        let consumer = &reader.consumer;
        let now = consumer.cached_info().created;
        let mut left = consumer.cached_info().num_pending;
        let mut entries = VecDeque::new();
        while left > 0 {
            let page = usize::try_from(left).map_or(PAGE, |left| left.min(PAGE));
            let mut messages =
                consumer.fetch().max_messages(page).messages().await.map_err(unavailable)?;
            let before = left;
            while let Some(message) = next(&mut messages).await {
                let message = message.map_err(unavailable)?;
                let info = message.info().map_err(|error| BusError::Invalid(error.to_string()))?;
                left = info.pending;
                let expiry = add_std_duration(info.published, max_age);
                let is_expired = expiry.is_ok_and(|expiry| expiry <= now);
                let record = Record::from_bytes(&message.payload);
                if record.is_none() {
                    self.report_unknown();
                }
                entries.push_back(Entry { record, is_expired });
                if entries.len() > most {
                    entries.pop_front();
                }
            }
            if left == before {
                // The rooms that were left have been dropped meanwhile.
                break;
            }
        }
        Ok(entries)
    }

    /// Returns true if a message that was stored at `time` is older than `age`.
    pub(super) fn is_older(&self, time: DateTime, age: Duration) -> bool {
        let Some((then, at)) = *lock(&self.0.clock) else { return false };
        let now = add_std_duration(then, at.elapsed());
        let due = add_std_duration(time, age);
        matches!((due, now), (Ok(due), Ok(now)) if due < now)
    }

    /// Makes sure that the stream of a namespace is there, with the settings of its rooms.
    async fn prepare(&self, namespace: &str) -> Result<(), BusError> {
        let mut prepared = self.0.prepared.lock().await;
        if prepared.contains(namespace) {
            return Ok(());
        }
        let history = self.0.shared.history(namespace);
        stream::prepare(&self.0.context, &self.0.names, namespace, &history, self.0.storage())
            .await?;
        // The server's time, as the creation of a reader that is not needed otherwise.
        self.reader(namespace, &self.0.names.all_stored(namespace), DeliverPolicy::New).await?;
        prepared.insert(namespace.to_owned());
        Ok(())
    }

    /// The stream has to be looked at again before it is used.
    async fn is_gone(&self, namespace: &str) {
        self.0.prepared.lock().await.remove(namespace);
    }

    /// The stream of a room, without asking the server for it.
    async fn stream(&self, room: &RoomKey) -> Result<Stream<()>, BusError> {
        let name = self.0.names.stream(room.namespace());
        self.0.context.get_stream_no_info(name).await.map_err(rejected)
    }

    /// Creates a reader of the messages with a subject.
    async fn reader(
        &self,
        namespace: &str,
        subject: &str,
        deliver_policy: DeliverPolicy,
    ) -> Result<Reader, BusError> {
        let config = pull::Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            filter_subject: subject.to_owned(),
            inactive_threshold: READER_TTL,
            memory_storage: true,
            ..pull::Config::default()
        };
        let stream = self.0.names.stream(namespace);
        let created = self.0.context.create_consumer_on_stream(config, &stream).await;
        let consumer = created.map_err(|error| match error.kind() {
            ConsumerErrorKind::JetStream(error) => BusError::Rejected(error.to_string()),
            _ => unavailable(error),
        })?;
        *lock(&self.0.clock) = Some((consumer.cached_info().created, Instant::now()));
        Ok(Reader { consumer, stream, context: self.0.context.clone() })
    }

    fn report_unknown(&self) {
        self.0.sink.invalid(&BusError::Invalid("a message of no known form".to_owned()));
    }
}

impl Inner {
    fn storage(&self) -> StorageType {
        if self.shared.settings.common.is_durable { StorageType::File } else { StorageType::Memory }
    }
}

/// A reader of a log, which is deleted on the server when it is dropped.
struct Reader {
    consumer: Consumer<pull::Config>,
    stream: String,
    context: Context,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let (context, stream) = (self.context.clone(), std::mem::take(&mut self.stream));
        let name = self.consumer.cached_info().name.clone();
        if let Ok(handle) = Handle::try_current() {
            // If it fails, the server deletes it a little later.
            handle
                .spawn(async move { context.delete_consumer_from_stream(name, stream).await.ok() });
        }
    }
}

fn options(settings: &Settings) -> ConnectOptions {
    let options = ConnectOptions::new()
        .name("sockless")
        // Each session of the bus has a client of its own, whose attempt to connect again may fail.
        .max_reconnects(settings.servers.len())
        .reconnect_delay_callback(|_| Duration::ZERO)
        .ignore_discovered_servers()
        .connection_timeout(REQUEST_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(MAX_WAITING);
    encrypted(authenticated(options, settings), settings)
}

/// With the user and the password of the first URL that has them.
fn authenticated(options: ConnectOptions, settings: &Settings) -> ConnectOptions {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let Some(server) = settings.servers.iter().find(|server| server.has_user_pass()) else {
        return options;
    };
    let user = decode(server.username().unwrap_or_default());
    match server.password() {
        Some(password) => options.user_and_password(user, decode(password)),
        None => options.token(user),
    }
}

#[cfg(feature = "rustls")]
fn encrypted(options: ConnectOptions, settings: &Settings) -> ConnectOptions {
    match &settings.common.tls {
        Some(connector) => {
            let config: Arc<rustls::ClientConfig> = connector.clone().into();
            options.tls_client_config(Arc::unwrap_or_clone(config)).require_tls(true)
        }
        None => unencrypted(options),
    }
}

#[cfg(not(feature = "rustls"))]
fn encrypted(options: ConnectOptions, _settings: &Settings) -> ConnectOptions {
    unencrypted(options)
}

/// A server that requires TLS is an error. Without this file, which does not exist, the client would
/// look for a cryptography provider, and panic if the program has none or several.
fn unencrypted(options: ConnectOptions) -> ConnectOptions {
    options.add_root_certificates("the server requires TLS: see NatsBus::tls".into())
}

/// The error of the server, if it is one.
fn rejection(error: &PublishError) -> Option<&jetstream::Error> {
    error.source()?.downcast_ref()
}

pub(super) fn rejected(error: impl std::fmt::Display) -> BusError {
    BusError::Rejected(error.to_string())
}

/// The next value of a stream.
pub(super) async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}
