//! Counters: [`RoomsStats`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::meter::count;

/// The counters of all rooms of a server, since it started, and what there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomsStats {
    /// Rooms that have members on this server now.
    pub rooms: usize,
    /// Members on this server now, in all rooms.
    pub members: usize,
    /// Messages that were published here.
    pub published: u64,
    /// Messages that the bus did not take.
    pub publish_failed: u64,
    /// Messages and other events that were given to sessions, or wait for slow ones.
    pub delivered: u64,
    /// Messages of these that had to wait because the session was slow.
    pub lagged: u64,
    /// Messages that were dropped by [`Lag::DropOldest`](crate::Lag::DropOldest).
    pub dropped: u64,
    /// Messages that were replaced by [`Lag::Conflate`](crate::Lag::Conflate).
    pub conflated: u64,
    /// Publications that had to wait for slow members; see [`Lag::Wait`](crate::Lag::Wait).
    pub paused: u64,
    /// Sessions that were closed because they were too slow.
    pub closed_for_lag: u64,
    /// Gaps that were reported to members that were connected.
    pub gaps: u64,
    /// Members that resumed and missed nothing.
    pub resumed: u64,
    /// Members that resumed with a gap.
    pub resumed_with_gap: u64,
    /// Reads of a history.
    pub history_reads: u64,
    /// Outages of the bus. That it is not connected yet when it starts is not one, unless connecting
    /// fails.
    pub bus_outages: u64,
    /// Reports of the bus that were not valid.
    pub bus_invalid: u64,
}

macro_rules! counters {
    ($($name:ident)+) => {
        #[derive(Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64,)+
        }

        impl Counters {
            pub(crate) fn read(&self, rooms: usize, members: usize) -> RoomsStats {
                RoomsStats { rooms, members, $($name: self.$name.load(Relaxed),)+ }
            }
        }
    };
}

counters! {
    published publish_failed delivered lagged dropped conflated paused closed_for_lag gaps resumed
    resumed_with_gap history_reads bus_outages bus_invalid
}

impl Counters {
    pub(crate) fn published(&self, is_ok: bool) {
        let counter = if is_ok { &self.published } else { &self.publish_failed };
        counter.fetch_add(1, Relaxed);
        count!(ROOMS_PUBLISHED, 1, "result" => if is_ok { "ok" } else { "failed" });
    }

    pub(crate) fn delivered(&self, count: u64) {
        self.delivered.fetch_add(count, Relaxed);
        count!(ROOMS_DELIVERED, count);
    }

    pub(crate) fn lagged(&self, dropped: u64, is_conflated: bool) {
        self.lagged.fetch_add(1, Relaxed);
        self.dropped.fetch_add(dropped, Relaxed);
        self.conflated.fetch_add(u64::from(is_conflated), Relaxed);
        count!(ROOMS_LAGGED, 1);
        count!(ROOMS_DROPPED, dropped, "reason" => "oldest");
        count!(ROOMS_DROPPED, u64::from(is_conflated), "reason" => "conflated");
    }

    pub(crate) fn paused(&self) {
        self.paused.fetch_add(1, Relaxed);
        count!(ROOMS_PAUSED, 1);
    }

    pub(crate) fn closed_for_lag(&self) {
        self.closed_for_lag.fetch_add(1, Relaxed);
        count!(ROOMS_CLOSED_FOR_LAG, 1);
    }

    pub(crate) fn gap(&self) {
        self.gaps.fetch_add(1, Relaxed);
        count!(ROOMS_GAPS, 1);
    }

    pub(crate) fn resumed(&self, is_complete: bool) {
        let counter = if is_complete { &self.resumed } else { &self.resumed_with_gap };
        counter.fetch_add(1, Relaxed);
        count!(ROOMS_RESUMED, 1, "result" => if is_complete { "complete" } else { "gap" });
    }

    pub(crate) fn read_history(&self) {
        self.history_reads.fetch_add(1, Relaxed);
        count!(ROOMS_HISTORY_READS, 1);
    }

    pub(crate) fn bus_down(&self) {
        self.bus_outages.fetch_add(1, Relaxed);
        count!(ROOMS_BUS_OUTAGES, 1);
    }

    pub(crate) fn bus_invalid(&self) {
        self.bus_invalid.fetch_add(1, Relaxed);
        count!(ROOMS_BUS_INVALID, 1);
    }
}
