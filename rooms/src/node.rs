//! The server as one of those on a bus: [`Node`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use sockless_driver::Runtime;

use crate::bus::Bus;
use crate::stats::Counters;

/// What all rooms of a server use.
pub(crate) struct Node {
    /// The number of the server, which no other on the bus has.
    pub(crate) id: u64,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) bus: Box<dyn Bus>,
    pub(crate) counters: Counters,
    is_down: AtomicBool,
    incarnations: AtomicU32,
}

impl Node {
    pub(crate) fn new(bus: Box<dyn Bus>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            id: crate::bus::random(&*runtime),
            runtime,
            bus,
            counters: Counters::default(),
            is_down: AtomicBool::new(false),
            incarnations: AtomicU32::new(0),
        }
    }

    /// Returns true if the bus cannot be reached.
    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Acquire)
    }

    /// Notes whether the bus can be reached. Returns true if that is a change.
    pub(crate) fn set_down(&self, is_down: bool) -> bool {
        self.is_down.swap(is_down, Ordering::AcqRel) != is_down
    }

    /// A number for the next presence of a room.
    pub(crate) fn next_incarnation(&self) -> u32 {
        self.incarnations.fetch_add(1, Ordering::Relaxed)
    }
}
