//! The task that keeps the bus connected.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use sockless_driver::{Runtime, Timer};

use super::connection::{Connection, Driver, drive, read};
use super::{Shared, within};
use crate::bus::BusSink;
use crate::bus::broker::{Delays, report_down, until_closed};
use crate::bus::outbox::{Batch, Work};
use crate::error::BusError;
use crate::lock;
use crate::name::RoomKey;
use crate::position::Position;
use crate::publication::{Item, Publication};

/// The interval at which the server has to answer.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// The number of pings between two rounds that keep the rooms known: 10 minutes.
const PINGS_OF_A_ROUND: u32 = 300;

/// Connects, again and again, until the rooms are gone.
pub(super) async fn run(shared: Arc<Shared>, sink: BusSink, runtime: Arc<dyn Runtime>) {
    let mut delays = Delays::new();
    loop {
        let opened = {
            let pushes = pushes(Arc::downgrade(&shared), sink.clone());
            let opening = within(&*runtime, Connection::open(&shared.settings, pushes));
            until_closed(&shared.outbox, opening).await
        };
        let delay = match opened {
            None => return,
            Some(Err(error)) => {
                fail(&sink, &error);
                delays.after(Duration::ZERO)
            }
            Some(Ok((connection, driver))) => {
                let begun = runtime.now();
                lock(&shared.outbox).connect(Some(connection.clone()));
                sink.up();
                let end = serve(&shared, &sink, &*runtime, connection, driver).await;
                lock(&shared.outbox).connect(None);
                let Err(error) = end else { return };
                fail(&sink, &error);
                delays.after(runtime.now().saturating_since(begun))
            }
        };
        let mut timer = runtime.timer(runtime.now() + delay);
        if until_closed(&shared.outbox, poll_fn(|cx| timer.poll_expired(cx))).await.is_none() {
            return;
        }
    }
}

fn fail(sink: &BusSink, error: &BusError) {
    report_down("Redis", sink, error);
}

/// Works on a connection until it breaks, which is an error, or the rooms are gone.
async fn serve(
    shared: &Arc<Shared>,
    sink: &BusSink,
    runtime: &dyn Runtime,
    connection: Connection,
    mut driver: Driver,
) -> Result<(), BusError> {
    let work = work(shared, sink, runtime, &connection);
    drive(&mut driver, work).await?
}

async fn work(
    shared: &Shared,
    sink: &BusSink,
    runtime: &dyn Runtime,
    connection: &Connection,
) -> Result<(), BusError> {
    let mut timer = runtime.timer(runtime.now() + PING_INTERVAL);
    let mut pings = 0_u32;
    let mut round = Round::default();
    loop {
        match next(shared, &mut *timer).await {
            Some(Work::Closed) => return Ok(()),
            Some(Work::Broken) => {
                return Err(BusError::Unavailable("the connection is to be replaced".to_owned()));
            }
            Some(Work::Batch(batch)) => {
                within(runtime, perform(shared, sink, connection, batch)).await?;
            }
            None => {
                pings += 1;
                round.is_due |= pings.is_multiple_of(PINGS_OF_A_ROUND);
                within(runtime, connection.ping()).await?;
                within(runtime, round.go_on(shared, connection)).await?;
                timer.reset(runtime.now() + PING_INTERVAL);
            }
        }
    }
}

/// The next work, or none if the timer expires first.
async fn next(shared: &Shared, timer: &mut dyn Timer) -> Option<Work> {
    poll_fn(|cx| {
        if timer.poll_expired(cx).is_ready() {
            return Poll::Ready(None);
        }
        lock(&shared.outbox).poll_work(cx).map(Some)
    })
    .await
}

async fn perform(
    shared: &Shared,
    sink: &BusSink,
    connection: &Connection,
    batch: Batch,
) -> Result<(), BusError> {
    let Batch { added, removed, signals } = batch;
    if !removed.is_empty() {
        connection.unsubscribe(&removed).await?;
    }
    if !added.is_empty() {
        shared.asked.fetch_add(added.len() as u64, Ordering::Relaxed);
        let tops = connection.subscribe(&added, || shared.epochs.fresh()).await?;
        for (room, top) in added.iter().zip(tops) {
            sink.subscribed(room, Some(top));
        }
    }
    if !signals.is_empty() {
        connection.signal(&signals).await?;
    }
    Ok(())
}

/// A round through all rooms, which keeps them known.
#[derive(Default)]
struct Round {
    is_due: bool,
    last: Option<RoomKey>,
}

impl Round {
    async fn go_on(&mut self, shared: &Shared, connection: &Connection) -> Result<(), BusError> {
        if !self.is_due {
            return Ok(());
        }
        let rooms = lock(&shared.outbox).wanted_after(self.last.as_ref());
        self.last = rooms.last().cloned();
        self.is_due = self.last.is_some();
        if !rooms.is_empty() {
            connection.tops(&rooms, || shared.epochs.fresh()).await?;
        }
        Ok(())
    }
}

/// The receiver of what the server sends without being asked. It reports to the rooms at once, so
/// nothing waits.
fn pushes(
    shared: Weak<Shared>,
    sink: BusSink,
) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
    move |push| {
        let Some(shared) = shared.upgrade() else { return Ok(()) };
        match push.kind {
            PushKind::Message => {
                if let Err(error) = receive(&channels(&shared), push.data, &sink) {
                    sink.invalid(&error);
                }
            }
            // The connection remembers each confirmation.
            PushKind::Subscribe => {
                let confirmed = shared.confirmed.fetch_add(1, Ordering::Relaxed);
                if confirmed >= shared.asked.load(Ordering::Relaxed) {
                    lock(&shared.outbox).break_connection();
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn channels(shared: &Shared) -> String {
    let settings = &shared.settings;
    format!("{}/{}:", settings.common.prefix, settings.server.redis_settings().db())
}

/// Reports an item or a signal.
fn receive(channels: &str, data: Vec<Value>, sink: &BusSink) -> Result<(), BusError> {
    let mut data = data.into_iter();
    let (Some(channel), Some(payload)) = (data.next(), data.next()) else {
        return Err(BusError::Invalid("a message without a channel".to_owned()));
    };
    let (channel, payload): (String, Vec<u8>) = (read(channel)?, read(payload)?);
    let room = channel.strip_prefix(channels).and_then(|room| RoomKey::parse(room).ok());
    let room = room.ok_or_else(|| BusError::Invalid("a message of another channel".to_owned()))?;
    let mut payload = Bytes::from(payload);
    match payload.first() {
        Some(b's') => sink.signal(&room, payload.slice(1..)),
        Some(b'i') => {
            let item = item_of(payload.split_off(1));
            let unknown = || BusError::Invalid("a publication of no known form".to_owned());
            sink.item(&room, item.ok_or_else(unknown)?);
        }
        _ => return Err(BusError::Invalid("a message of no known form".to_owned())),
    }
    Ok(())
}

/// The position, a space and the publication.
fn item_of(mut bytes: Bytes) -> Option<Item> {
    let len = bytes.iter().take(40).position(|byte| *byte == b' ')?;
    let position = str::from_utf8(&bytes[..len]).ok()?.parse::<Position>().ok()?;
    let publication = Arc::new(Publication::from_bytes(bytes.split_off(len + 1))?);
    Some(Item { position: Some(position), publication })
}
