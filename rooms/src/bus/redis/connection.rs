//! One connection to the server, and the requests on it: [`Connection`].

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, FromRedisValue, ProtocolVersion, RedisError, Value,
};
use sockless_driver::Io;

use super::Settings;
use super::stream::Stream;
use crate::bus::Replay;
use crate::config::History;
use crate::error::BusError;
use crate::name::RoomKey;
use crate::position::{Epoch, Position};
use crate::publication::{Item, Publication};

/// The time for which a room without members and messages stays known.
const ROOM_TTL: Duration = Duration::from_secs(3600);

const IDEMPOTENCY_TTL: Duration = Duration::from_secs(300);

/// The longest age of a history: ten years.
const MAX_AGE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The size of a page of a history, in bytes and messages. A message may be longer.
const PAGE_BYTES: usize = 4 << 20;
const PAGE_ITEMS: usize = 4096;

/// Offsets from here on are not counted exactly by Lua; no room gets there.
const MAX_OFFSET: u64 = 1 << 53;

/// The most requests that wait for their answers on a connection; others wait to be sent.
const MAX_REQUESTS: usize = 1024;

/// A connection. Clones are the same one.
#[derive(Clone)]
pub(super) struct Connection {
    requests: MultiplexedConnection,
    names: Arc<Names>,
}

/// The names on the server.
struct Names {
    prefix: String,
    channels: String,
    /// The run of the server, without which it may have lost messages.
    run: String,
    append: Script,
    replay: Script,
    tops: Script,
}

/// A script, with its source after that of the functions that all share.
struct Script {
    source: String,
    sha: String,
}

/// The future that does the work of a connection, until it breaks.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Connection {
    /// Connects. The driver has to be polled for as long as the connection is used.
    pub(super) async fn open(
        settings: &Settings,
        pushes: impl AsyncPushSender,
    ) -> Result<(Self, Driver), BusError> {
        let transport = dial(settings).await;
        let transport =
            transport.map_err(|error| BusError::Unavailable(format!("connecting: {error}")))?;
        let info = settings.server.redis_settings().clone();
        let info = info.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new()
            // Its timers are those of one runtime.
            .set_response_timeout(None)
            .set_push_sender(pushes)
            .set_concurrency_limit(MAX_REQUESTS);
        let opened =
            MultiplexedConnection::new_with_config(&info, Stream::new(transport), config).await;
        let (mut requests, driver) = opened.map_err(error_of)?;
        let mut driver: Driver = Box::pin(driver);
        let names = drive(&mut driver, Names::read(settings, &mut requests)).await??;
        Ok((Self { requests, names: Arc::new(names) }, driver))
    }

    /// Appends a publication and sends it to all servers.
    pub(super) async fn append(
        &self,
        room: &RoomKey,
        publication: &[u8],
        idempotency_key: Option<&str>,
        history: &History,
        fresh: Epoch,
    ) -> Result<Position, BusError> {
        let names = &*self.names;
        let (meta, stream) = (names.key(room, "meta"), names.key(room, "stream"));
        let (once, once_ttl) = match idempotency_key {
            Some(key) => (names.key(room, "once:") + key, millis(IDEMPOTENCY_TTL).to_string()),
            None => (meta.clone(), String::new()),
        };
        let age = history.get_max_age();
        let (epoch, offset) = self
            .call(&names.append, |command| {
                command.arg(3).arg(meta).arg(stream).arg(once);
                command.arg(&names.run).arg(millis(age) + millis(ROOM_TTL)).arg(text_of(fresh));
                command.arg(names.channel(room)).arg(publication);
                command.arg(history.count()).arg(history.get_max_bytes()).arg(millis(age));
                command.arg(once_ttl);
            })
            .await?;
        position_of(epoch, offset)
    }

    /// Reads the messages of a room that follow a position, page by page.
    pub(super) async fn replay(
        &self,
        room: &RoomKey,
        after: Position,
        history: &History,
        fresh: Epoch,
    ) -> Result<Replay, BusError> {
        let mut items = Vec::new();
        let mut last = after;
        loop {
            // A stream that another server appends to all the time has no end.
            let most = history.count().saturating_sub(items.len()).min(PAGE_ITEMS);
            let page = self.page(room, last, history, most, fresh).await?;
            let is_known = (page.oldest.offset..=page.top.offset).contains(&last.offset);
            if page.top.epoch != after.epoch || !is_known {
                return Ok(Replay::Gap { oldest: page.oldest, top: page.top });
            }
            let before = last;
            for item in page.items {
                last = last.next();
                if item.position != Some(last) {
                    return Err(invalid("a history that is not in order"));
                }
                items.push(item);
            }
            if last == page.top || items.len() >= history.count() {
                return Ok(Replay::Complete { items, top: last });
            }
            if last == before {
                return Err(invalid("a history that ends before its top"));
            }
        }
    }

    async fn page(
        &self,
        room: &RoomKey,
        after: Position,
        history: &History,
        most: usize,
        fresh: Epoch,
    ) -> Result<Page, BusError> {
        let names = &*self.names;
        let age = history.get_max_age();
        let values: Vec<Value> = self
            .call(&names.replay, |command| {
                command.arg(2).arg(names.key(room, "meta")).arg(names.key(room, "stream"));
                command.arg(&names.run).arg(millis(age) + millis(ROOM_TTL)).arg(text_of(fresh));
                command.arg(after.next().offset.min(MAX_OFFSET)).arg(millis(age));
                command.arg(PAGE_BYTES).arg(most);
            })
            .await?;
        Page::of(values)
    }

    /// Begins to receive what is sent to these rooms, and returns their tops.
    pub(super) async fn subscribe(
        &self,
        rooms: &[RoomKey],
        fresh: impl Fn() -> Epoch,
    ) -> Result<Vec<Position>, BusError> {
        let channels: Vec<_> = rooms.iter().map(|room| self.names.channel(room)).collect();
        self.requests.clone().subscribe(channels).await.map_err(error_of)?;
        self.tops(rooms, fresh).await
    }

    pub(super) async fn unsubscribe(&self, rooms: &[RoomKey]) -> Result<(), BusError> {
        let channels: Vec<_> = rooms.iter().map(|room| self.names.channel(room)).collect();
        self.requests.clone().unsubscribe(channels).await.map_err(error_of)
    }

    /// Returns the tops of rooms, which stay known for another while.
    pub(super) async fn tops(
        &self,
        rooms: &[RoomKey],
        fresh: impl Fn() -> Epoch,
    ) -> Result<Vec<Position>, BusError> {
        let names = &*self.names;
        let values: Vec<Value> = self
            .call(&names.tops, |command| {
                command.arg(2 * rooms.len());
                for room in rooms {
                    command.arg(names.key(room, "meta")).arg(names.key(room, "stream"));
                }
                command.arg(&names.run).arg(millis(ROOM_TTL));
                for _ in rooms {
                    command.arg(text_of(fresh()));
                }
            })
            .await?;
        let mut values = values.into_iter();
        let mut tops = Vec::new();
        while let (Some(epoch), Some(top)) = (values.next(), values.next()) {
            tops.push(position_of(epoch, read(top)?)?);
        }
        if tops.len() == rooms.len() { Ok(tops) } else { Err(invalid("too few positions")) }
    }

    pub(super) async fn signal(&self, signals: &[(RoomKey, Bytes)]) -> Result<(), BusError> {
        let mut pipeline = redis::pipe();
        for (room, signal) in signals {
            let payload = [b"s", &signal[..]].concat();
            pipeline.cmd("PUBLISH").arg(self.names.channel(room)).arg(payload).ignore();
        }
        pipeline.exec_async(&mut self.requests.clone()).await.map_err(error_of)
    }

    pub(super) async fn ping(&self) -> Result<(), BusError> {
        ping(&mut self.requests.clone()).await
    }

    /// Calls a script, whose source is sent again if the server has forgotten it.
    async fn call<T: FromRedisValue>(
        &self,
        script: &Script,
        args: impl FnOnce(&mut Cmd),
    ) -> Result<T, BusError> {
        let mut rest = Cmd::new();
        args(&mut rest);
        let call = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script);
            for arg in rest.args_iter() {
                if let redis::Arg::Simple(arg) = arg {
                    command.arg(arg);
                }
            }
            command
        };
        let mut requests = self.requests.clone();
        let called = call("EVALSHA", &script.sha).query_async(&mut requests).await;
        match called {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                call("EVAL", &script.source).query_async(&mut requests).await.map_err(error_of)
            }
            result => result.map_err(error_of),
        }
    }
}

/// A page of a history.
struct Page {
    oldest: Position,
    top: Position,
    items: Vec<Item>,
}

impl Page {
    fn of(values: Vec<Value>) -> Result<Self, BusError> {
        let mut values = values.into_iter();
        let (Some(epoch), Some(top), Some(oldest)) = (values.next(), values.next(), values.next())
        else {
            return Err(invalid("a history without a position"));
        };
        let top = position_of(epoch, read(top)?)?;
        let at = |offset| Ok::<_, BusError>(Position { offset: read(offset)?, ..top });
        let oldest = at(oldest)?;
        let mut items = Vec::new();
        while let (Some(offset), Some(publication)) = (values.next(), values.next()) {
            let publication = read::<Vec<u8>>(publication)?.into();
            let publication = Publication::from_bytes(publication);
            let publication =
                publication.ok_or_else(|| invalid("a publication of no known form"))?;
            items.push(Item { position: Some(at(offset)?), publication: Arc::new(publication) });
        }
        Ok(Self { oldest, top, items })
    }
}

impl Names {
    async fn read(
        settings: &Settings,
        requests: &mut MultiplexedConnection,
    ) -> Result<Self, BusError> {
        // While it loads its data it answers this with an error.
        ping(requests).await?;
        let run = if settings.common.is_durable {
            "durable".to_owned()
        } else {
            let mut info = redis::cmd("INFO");
            let info: String = info.arg("server").query_async(requests).await.map_err(error_of)?;
            let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
            let run = run.filter(|run| !run.is_empty() && run.len() <= 64);
            run.ok_or_else(|| invalid("no run_id in INFO"))?.to_owned()
        };
        let prefix = settings.common.prefix.clone();
        let channels = format!("{prefix}/{}:", settings.server.redis_settings().db());
        let append = Script::load(include_str!("append.lua"), requests).await?;
        let replay = Script::load(include_str!("replay.lua"), requests).await?;
        let tops = Script::load(include_str!("tops.lua"), requests).await?;
        Ok(Self { prefix, channels, run, append, replay, tops })
    }

    /// The keys of a room are in one slot of a cluster.
    fn key(&self, room: &RoomKey, part: &str) -> String {
        format!("{}:{{{}}}:{part}", self.prefix, room.as_str())
    }

    fn channel(&self, room: &RoomKey) -> String {
        format!("{}{}", self.channels, room.as_str())
    }
}

impl Script {
    async fn load(body: &str, requests: &mut MultiplexedConnection) -> Result<Self, BusError> {
        let source = [include_str!("head.lua"), body].concat();
        let mut load = redis::cmd("SCRIPT");
        let sha = load.arg("LOAD").arg(&source).query_async(requests).await.map_err(error_of)?;
        Ok(Self { source, sha })
    }
}

async fn ping(requests: &mut MultiplexedConnection) -> Result<(), BusError> {
    redis::cmd("PING").exec_async(requests).await.map_err(error_of)
}

/// Polls the driver until `future` is ready.
pub(super) async fn drive<F: Future>(
    driver: &mut Driver,
    future: F,
) -> Result<F::Output, BusError> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let ended = |()| Err(BusError::Unavailable("the connection broke".to_owned()));
        if let Poll::Ready(error) = driver.as_mut().poll(cx).map(ended) {
            return Poll::Ready(error);
        }
        // `future` may wait for a reply that the driver has received.
        future.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// Opens the transport to the server.
async fn dial(settings: &Settings) -> io::Result<Box<dyn Io>> {
    let (host, port) = match settings.server.addr() {
        ConnectionAddr::Unix(path) => return settings.dial.connect_unix(path).await,
        ConnectionAddr::Tcp(host, port) => (host, *port),
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    let addrs = match host.parse::<IpAddr>() {
        Ok(ip) => vec![(ip, port).into()],
        Err(_) => settings.dial.resolve(host, port).await?,
    };
    let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    for addr in addrs {
        result = settings.dial.connect(addr).await;
        if result.is_ok() {
            break;
        }
    }
    #[cfg(feature = "rustls")]
    if let Some(connector) = &settings.common.tls {
        return connector.connect(host, result?).await.map_err(io::Error::other);
    }
    result
}

/// Reads a value of an answer.
pub(super) fn read<T: FromRedisValue>(value: Value) -> Result<T, BusError> {
    T::from_redis_value(value).map_err(|error| BusError::Invalid(error.to_string()))
}

fn position_of(epoch: Value, offset: u64) -> Result<Position, BusError> {
    let epoch: String = read(epoch)?;
    let epoch =
        u64::from_str_radix(&epoch, 16).map_err(|_| invalid("an epoch of no known form"))?;
    Ok(Position { epoch: Epoch(epoch), offset })
}

fn text_of(epoch: Epoch) -> String {
    format!("{:x}", epoch.0)
}

fn millis(time: Duration) -> u64 {
    time.min(MAX_AGE).as_millis().max(1) as u64
}

fn invalid(what: &str) -> BusError {
    BusError::Invalid(what.to_owned())
}

/// An error of the server is one that it reported; others are of the connection.
fn error_of(error: RedisError) -> BusError {
    match (error.code(), error.detail()) {
        (Some(code), detail) => {
            BusError::Rejected(format!("{code} {}", detail.unwrap_or_default()))
        }
        _ if error.kind() == redis::ErrorKind::Parse => BusError::Invalid(error.to_string()),
        _ => BusError::Unavailable(error.to_string()),
    }
}
