//! The thread of the bus, which keeps it connected.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use tokio::runtime::Builder;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval, sleep, timeout};

use super::connection::{Connection, next};
use super::record::Record;
use super::slot::{Head, Slot};
use super::stream::mark_interval;
use super::{Shared, unavailable};
use crate::bus::BusSink;
use crate::bus::broker::{Delays, REQUEST_TIMEOUT, report_down, until_closed};
use crate::bus::outbox::{BATCH, Batch, Work};
use crate::error::BusError;
use crate::lock;
use crate::name::RoomKey;

/// The interval between two looks for rooms whose last message gets old.
const KEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Starts the thread, which ends with the rooms.
pub(super) fn start(shared: Arc<Shared>, sink: BusSink) {
    let failed = sink.clone();
    let thread = std::thread::Builder::new().name("sockless-nats".to_owned());
    let started = thread.spawn(move || match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            runtime.block_on(run(&shared, &sink));
            // A look-up of the server's name may still take a while.
            runtime.shutdown_background();
        }
        Err(error) => fail(&sink, &unavailable(format_args!("no runtime: {error}"))),
    });
    if let Err(error) = started {
        fail(&failed, &unavailable(format_args!("no thread: {error}")));
    }
}

/// Connects, again and again, until the rooms are gone.
async fn run(shared: &Arc<Shared>, sink: &BusSink) {
    let mut delays = Delays::new();
    loop {
        let begun = Instant::now();
        let Some(end) = session(shared, sink).await else { return };
        fail(sink, &end);
        let delay = delays.after(begun.elapsed());
        if until_closed(&shared.outbox, sleep(delay)).await.is_none() {
            return;
        }
    }
}

fn fail(sink: &BusSink, error: &BusError) {
    report_down("NATS", sink, error);
}

/// Connects, and works until the connection breaks, which is an error, or the rooms are gone.
async fn session(shared: &Arc<Shared>, sink: &BusSink) -> Option<BusError> {
    // A task of its own: the client can panic at what is not the protocol, which ends the task alone.
    let mut opening = JoinSet::new();
    opening.spawn(timeout(REQUEST_TIMEOUT, Connection::open(shared.clone(), sink.clone())));
    let connection = match until_closed(&shared.outbox, opening.join_next()).await?? {
        Ok(Ok(Ok(connection))) => connection,
        Ok(Ok(Err(error))) => return Some(error),
        Ok(Err(_)) => return Some(unavailable("it did not answer in time")),
        Err(error) => return Some(BusError::Invalid(error.to_string())),
    };
    lock(&shared.outbox).connect(Some(connection.clone()));
    sink.up();
    let end = work(shared, sink, &connection).await;
    lock(&shared.outbox).connect(None);
    end.err()
}

async fn work(
    shared: &Arc<Shared>,
    sink: &BusSink,
    connection: &Connection,
) -> Result<(), BusError> {
    let mut readers = Readers::new();
    let mut ticks = interval(KEEP_INTERVAL);
    loop {
        let work = tokio::select! {
            work = poll_fn(|cx| lock(&shared.outbox).poll_work(cx)) => work,
            error = connection.lost() => return Err(error),
            _ = ticks.tick() => {
                connection.within(keep(connection, &readers)).await?;
                continue;
            }
        };
        match work {
            Work::Closed => return Ok(()),
            Work::Broken => return Err(unavailable("the connection is to be replaced")),
            Work::Batch(batch) => {
                connection.within(perform(shared, sink, connection, batch, &mut readers)).await?;
            }
        }
    }
}

/// The rooms whose items are received.
type Readers = BTreeMap<RoomKey, Reader>;

/// The task that receives what is sent to a room.
struct Reader {
    slot: Arc<Slot>,
    task: JoinHandle<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn perform(
    shared: &Arc<Shared>,
    sink: &BusSink,
    connection: &Connection,
    batch: Batch,
    readers: &mut Readers,
) -> Result<(), BusError> {
    let Batch { added, removed, signals } = batch;
    for room in removed {
        readers.remove(&room);
    }
    let mut arriving = JoinSet::new();
    for room in added {
        let slot = match readers.get(&room) {
            Some(reader) => reader.slot.clone(),
            None => {
                let subscriber = connection.listen(&room).await?;
                let slot = connection.slot(&room);
                let task = receive_all(subscriber, slot.clone(), sink.clone(), shared.clone());
                let reader = Reader { slot: slot.clone(), task: tokio::spawn(task) };
                readers.insert(room, reader);
                slot
            }
        };
        // The subscription is sent before the question, and so what is stored after the answer comes.
        let (connection, sink) = (connection.clone(), sink.clone());
        arriving.spawn(async move {
            let top = connection.arrive(&slot).await?;
            sink.subscribed(&slot.room, Some(top));
            Ok(())
        });
    }
    join_all(arriving).await?;
    for (room, signal) in signals {
        connection.signal(&room, &signal).await?;
    }
    Ok(())
}

/// Lets the positions of rooms stay known whose last messages get old.
async fn keep(connection: &Connection, readers: &Readers) -> Result<(), BusError> {
    let mut keeping = JoinSet::new();
    for Reader { slot, .. } in readers.values() {
        let interval = mark_interval(&connection.shared().history(slot.room.namespace()));
        if slot.seen().is_some_and(|seen| seen.elapsed() < interval) || keeping.len() == BATCH {
            continue;
        }
        let (connection, slot) = (connection.clone(), slot.clone());
        keeping.spawn(async move { connection.keep(&slot).await });
    }
    join_all(keeping).await
}

/// Waits for all, or the first that fails.
async fn join_all(mut tasks: JoinSet<Result<(), BusError>>) -> Result<(), BusError> {
    while let Some(result) = tasks.join_next().await {
        result.map_err(unavailable)??;
    }
    Ok(())
}

async fn receive_all(
    mut subscriber: Subscriber,
    slot: Arc<Slot>,
    sink: BusSink,
    shared: Arc<Shared>,
) {
    while let Some(message) = next(&mut subscriber).await {
        receive(message, &slot, &sink);
    }
    lock(&shared.outbox).break_connection();
}

/// Reports an item or a signal.
fn receive(message: Message, slot: &Slot, sink: &BusSink) {
    let Some(record) = Record::from_bytes(&message.payload) else {
        sink.invalid(&BusError::Invalid("a message of no known form".to_owned()));
        return;
    };
    let headers = message.headers.as_ref();
    let sequence = headers.and_then(|headers| headers.get("Nats-Sequence")?.as_str().parse().ok());
    if let (Some(sequence), Some(position)) = (sequence, record.position()) {
        slot.advance(Head { sequence, position: Some(position) });
    }
    match record {
        Record::Item(item) => sink.item(&slot.room, item),
        Record::Signal(signal) => sink.signal(&slot.room, signal),
        Record::Mark(_) => {}
    }
}
