//! The rooms of a server that have members: [`Registry`].

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::time::Duration;

use bytes::Bytes;
use sockless_driver::Runtime;

use crate::bus::Reports;
use crate::cell::{CHECK_TICKS, RoomCell};
use crate::error::BusError;
use crate::keyed::Keyed;
use crate::kind::{Directory, Kind};
use crate::lock;
use crate::machine::Signal;
use crate::meter::adjust;
use crate::name::RoomKey;
use crate::node::Node;
use crate::position::Position;
use crate::publication::Item;

/// The number of rooms that are subscribed to at once after an outage of the bus.
const INTEREST_BATCH: usize = 512;

/// The time between two rounds through the rooms that are shared with other servers. A presence that
/// expires does so within one.
const TICK: Duration = Duration::from_millis(500);

/// The rooms that have members, and their part of the bus.
///
/// Locks are taken in this order: `changing`, `cells`, a cell's own. While one of the latter two is
/// held, the bus is not called.
pub(crate) struct Registry {
    pub(crate) node: Arc<Node>,
    cells: Mutex<BTreeSet<Keyed<RoomCell>>>,
    /// The rooms that got their first member or lost their last, to be reported to the bus.
    changed: Mutex<Vec<RoomKey>>,
    changing: Mutex<()>,
    /// The state of the bus is known to those who watch the logs and the counters. It is not an outage
    /// that a bus is not connected yet while it starts.
    is_outage_reported: AtomicBool,
}

impl Registry {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            cells: Mutex::default(),
            changed: Mutex::default(),
            changing: Mutex::default(),
            is_outage_reported: AtomicBool::new(true),
        }
    }

    /// The bus has started. If it fails to connect, that is an outage.
    pub(crate) fn started(&self) {
        self.is_outage_reported.store(false, Relaxed);
    }

    /// Looks after the rooms at intervals, for as long as they exist. `checks` states whether items
    /// can be lost.
    pub(crate) async fn tick(rooms: Weak<Self>, runtime: Arc<dyn Runtime>, checks: bool) {
        let mut timer = runtime.timer(runtime.now() + TICK);
        let mut ticks = 0_u64;
        loop {
            std::future::poll_fn(|cx| timer.poll_expired(cx)).await;
            let Some(registry) = rooms.upgrade() else { return };
            let (now, is_connected) = (runtime.now(), !registry.node.is_down());
            ticks += 1;
            for cell in registry.all_cells() {
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

    /// Calls `act` with the room, which is created if it has no members yet. It does not vanish
    /// meanwhile.
    pub(crate) fn with_cell<T>(
        &self,
        kind: &Arc<Kind>,
        key: RoomKey,
        act: impl FnOnce(&Arc<RoomCell>) -> T,
    ) -> T {
        let mut cells = lock(&self.cells);
        if let Some(Keyed(cell)) = cells.get(&key) {
            return act(cell);
        }
        lock(&self.changed).push(key.clone());
        adjust!(ROOMS, 1);
        let cell = Arc::new(RoomCell::new(kind.clone(), key));
        cells.insert(Keyed(cell.clone()));
        act(&cell)
    }

    pub(crate) fn cell(&self, room: &RoomKey) -> Option<Arc<RoomCell>> {
        lock(&self.cells).get(room).map(|Keyed(cell)| cell.clone())
    }

    pub(crate) fn all_cells(&self) -> Vec<Arc<RoomCell>> {
        lock(&self.cells).iter().map(|Keyed(cell)| cell.clone()).collect()
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
                    changed.into_iter().partition(|key| cells.contains(key))
                };
                self.node.bus.set_interest(&added, &removed);
            }
            drop(changing);
            if lock(&self.changed).is_empty() {
                return;
            }
        }
    }
}

impl Directory for Registry {
    fn vacated(&self, room: &RoomKey) {
        {
            let mut cells = lock(&self.cells);
            // Another member may have joined meanwhile.
            if cells.get(room).is_none_or(|Keyed(cell)| cell.len() > 0) {
                return;
            }
            cells.remove(room);
            adjust!(ROOMS, -1);
            lock(&self.changed).push(room.clone());
        }
        self.report_interest();
    }
}

impl Reports for Registry {
    fn subscribed(&self, room: &RoomKey, top: Option<Position>) {
        if let Some(cell) = self.cell(room) {
            let now = self.node.runtime.now();
            cell.act(|room, effects| room.subscribed(top, now, effects));
        }
    }

    fn item(&self, room: &RoomKey, item: Item) {
        if let Some(cell) = self.cell(room) {
            cell.act(|room, effects| room.item(item, effects));
        }
    }

    fn signal(&self, room: &RoomKey, signal: Bytes) {
        let Some(cell) = self.cell(room) else { return };
        let now = self.node.runtime.now();
        match Signal::from_bytes(signal) {
            Some(signal) => cell.act(|room, effects| room.signal(signal, now, effects)),
            None => self.invalid(&BusError::Invalid("a signal of no known form".to_owned())),
        }
    }

    fn down(&self, error: &BusError) {
        if !self.is_outage_reported.swap(true, Relaxed) {
            tracing::warn!("the rooms have no connection to other servers: {error}");
            self.node.counters.bus_down();
        }
        if !self.node.set_down(true) {
            return;
        }
        for cell in self.all_cells() {
            cell.act(|room, effects| room.bus_down(effects));
        }
    }

    fn up(&self) {
        self.is_outage_reported.store(false, Relaxed);
        if self.node.set_down(false) {
            tracing::info!("the rooms are connected to other servers");
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

    fn invalid(&self, error: &BusError) {
        tracing::debug!("the bus of the rooms reported something invalid: {error}");
        self.node.counters.bus_invalid();
    }
}
