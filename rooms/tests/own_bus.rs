//! A bus of one's own, written from the documentation of [`Bus`] alone, passes the suite.
//!
//! Its broker is a hub in memory. Each server has an inbox there, and one task that reports what comes
//! in, in order.

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{poll_fn, ready};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use common::router;
use common::suite::{check_released, config, conforms};
use sockless::bytes::Bytes;
use sockless::driver::Runtime;
use sockless::rooms::{
    Bus, BusError, BusSink, Epoch, History, Item, Position, Publication, Replay, RoomKey, Rooms,
};
use sockless::sim::Sim;
use sockless::{BoxFuture, Instant};

/// The broker: the logs of all rooms, and the servers.
#[derive(Clone, Default)]
struct Hub(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    logs: BTreeMap<RoomKey, Log>,
    servers: Vec<Server>,
}

/// The log of a room.
#[derive(Default)]
struct Log {
    top: u64,
    /// The last messages, and when each was published.
    kept: VecDeque<(Instant, Item)>,
    /// The idempotency keys, and the positions that they were published at.
    keys: BTreeMap<String, Position>,
}

#[derive(Default)]
struct Server {
    interest: BTreeSet<RoomKey>,
    inbox: VecDeque<Report>,
    waker: Option<Waker>,
    is_gone: bool,
}

enum Report {
    Subscribed(RoomKey, Position),
    Item(RoomKey, Item),
    Signal(RoomKey, Bytes),
}

/// The connection of one server.
struct HubBus {
    hub: Hub,
    server: usize,
    runtime: Mutex<Option<Arc<dyn Runtime>>>,
}

impl Hub {
    fn connect(&self) -> HubBus {
        let mut state = self.lock();
        state.servers.push(Server::default());
        HubBus { hub: self.clone(), server: state.servers.len() - 1, runtime: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Waits for the next report to a server; `None` once it is gone.
    async fn next(&self, server: usize) -> Option<Report> {
        poll_fn(|cx| {
            let server = &mut self.lock().servers[server];
            if server.is_gone {
                return Poll::Ready(None);
            }
            if let Some(report) = server.inbox.pop_front() {
                return Poll::Ready(Some(report));
            }
            server.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl State {
    fn publish(
        &mut self,
        room: &RoomKey,
        publication: Arc<Publication>,
        history: &History,
        now: Instant,
    ) -> Position {
        let log = self.logs.entry(room.clone()).or_default();
        let position = position(log.top + 1);
        if let Some(key) = publication.get_idempotency_key() {
            if let Some(known) = log.keys.get(&**key) {
                return *known;
            }
            log.keys.insert(key.to_string(), position);
        }
        log.top += 1;
        let item = Item { position: Some(position), publication };
        if !history.is_none() {
            log.kept.push_back((now, item.clone()));
        }
        log.evict(history, now);
        self.send(room, || Report::Item(room.clone(), item.clone()));
        position
    }

    /// Sends to all servers that are interested in the room.
    fn send(&mut self, room: &RoomKey, report: impl Fn() -> Report) {
        for server in self.servers.iter_mut().filter(|server| server.interest.contains(room)) {
            server.push(report());
        }
    }
}

impl Log {
    fn evict(&mut self, history: &History, now: Instant) {
        let bytes = |kept: &VecDeque<(Instant, Item)>| {
            kept.iter().map(|(_, item)| item.publication.to_bytes().len()).sum::<usize>()
        };
        while let Some((published, _)) = self.kept.front()
            && (self.kept.len() > history.count()
                || bytes(&self.kept) > history.get_max_bytes()
                || now.saturating_since(*published) >= history.get_max_age())
        {
            self.kept.pop_front();
        }
    }

    fn replay(&self, after: Position) -> Replay {
        let (top, oldest) = (position(self.top), position(self.top - self.kept.len() as u64));
        let is_known =
            after.epoch == top.epoch && (oldest.offset..=top.offset).contains(&after.offset);
        if !is_known {
            return Replay::Gap { oldest, top };
        }
        let items = self.kept.iter().map(|(_, item)| item.clone());
        let items = items.skip((after.offset - oldest.offset) as usize).collect();
        Replay::Complete { items, top }
    }
}

impl Server {
    fn push(&mut self, report: Report) {
        self.inbox.push_back(report);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The hub lives as long as its offsets: they need one epoch.
fn position(offset: u64) -> Position {
    Position { epoch: Epoch(0xC0FFEE), offset }
}

impl HubBus {
    fn now(&self) -> Instant {
        self.runtime.lock().unwrap().as_ref().map_or(Instant::EPOCH, |runtime| runtime.now())
    }
}

impl Bus for HubBus {
    fn start(&self, sink: BusSink, runtime: Arc<dyn Runtime>) {
        let (hub, server) = (self.hub.clone(), self.server);
        runtime.spawn(Box::pin(async move {
            while let Some(report) = hub.next(server).await {
                match report {
                    Report::Subscribed(room, top) => sink.subscribed(&room, Some(top)),
                    Report::Item(room, item) => sink.item(&room, item),
                    Report::Signal(room, signal) => sink.signal(&room, signal),
                }
            }
        }));
        *self.runtime.lock().unwrap() = Some(runtime);
    }

    fn may_lose_items(&self) -> bool {
        false
    }

    fn publish(
        &self,
        room: &RoomKey,
        publication: Arc<Publication>,
        history: &History,
    ) -> BoxFuture<'static, Result<Option<Position>, BusError>> {
        let position = self.hub.lock().publish(room, publication, history, self.now());
        Box::pin(ready(Ok(Some(position))))
    }

    fn replay(
        &self,
        room: &RoomKey,
        after: Position,
        history: &History,
    ) -> BoxFuture<'static, Result<Replay, BusError>> {
        let mut state = self.hub.lock();
        let log = state.logs.entry(room.clone()).or_default();
        log.evict(history, self.now());
        Box::pin(ready(Ok(log.replay(after))))
    }

    fn signal(&self, room: &RoomKey, signal: Bytes) {
        self.hub.lock().send(room, || Report::Signal(room.clone(), signal.clone()));
    }

    fn set_interest(&self, added: &[RoomKey], removed: &[RoomKey]) {
        let mut state = self.hub.lock();
        for room in removed {
            state.servers[self.server].interest.remove(room);
        }
        for room in added {
            let top = state.logs.get(room).map_or(0, |log| log.top);
            let server = &mut state.servers[self.server];
            server.interest.insert(room.clone());
            server.push(Report::Subscribed(room.clone(), position(top)));
        }
    }
}

impl Drop for HubBus {
    fn drop(&mut self) {
        let server = &mut self.hub.lock().servers[self.server];
        *server = Server { is_gone: true, waker: server.waker.take(), ..Server::default() };
        if let Some(waker) = server.waker.take() {
            waker.wake();
        }
    }
}

#[test]
fn a_bus_of_ones_own_conforms() {
    Sim::check(0..20, |sim| async move {
        let hub = Hub::default();
        let servers: Vec<_> = (0..3).map(|_| Rooms::with_bus(hub.connect(), sim.clone())).collect();
        let chats: Vec<_> = servers.iter().map(|rooms| rooms.namespace("chat", config())).collect();
        let apps: Vec<_> = chats.iter().map(|chat| sim.app(router(chat))).collect();
        conforms(&chats[0], apps.last().unwrap()).await;
        sim.sleep(Duration::from_secs(1)).await;
        servers.iter().for_each(check_released);
    });
}
