//! A server's connection to the simulated broker: [`Node`].

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use sockless_core::Instant;

use super::Broker;
use crate::bus::BusSink;
use crate::error::BusError;
use crate::lock;
use crate::name::RoomKey;
use crate::position::Position;
use crate::publication::Item;

/// A server, as the broker knows it.
#[derive(Default)]
pub(super) struct Node {
    pub(super) sink: Option<BusSink>,
    pub(super) interest: BTreeSet<RoomKey>,
    pub(super) is_partitioned: bool,
    /// The number of the connection, while there is one.
    connection: Option<u64>,
    connections: u64,
    /// Reports under way, with their times of arrival.
    reports: VecDeque<(Instant, Report)>,
    /// The task that delivers them.
    waker: Option<Waker>,
}

/// A report to the rooms of a server.
pub(super) enum Report {
    Up,
    Down,
    Subscribed(RoomKey, Position),
    Item(RoomKey, Item),
    Signal(RoomKey, Bytes),
    Garbage,
}

impl Node {
    pub(super) fn connection(&self) -> Option<u64> {
        self.connection
    }

    /// Returns whether the node is connected now and was not before.
    pub(super) fn connect(&mut self) -> bool {
        if self.is_partitioned || self.connection.is_some() || self.sink.is_none() {
            return false;
        }
        self.connections += 1;
        self.connection = Some(self.connections);
        true
    }

    /// Ends the connection, and loses what is under way.
    pub(super) fn disconnect(&mut self, is_noticed: bool) {
        if self.connection.take().is_none() {
            return;
        }
        self.interest.clear();
        self.reports.clear();
        if is_noticed {
            self.push(Instant::EPOCH, Report::Down);
        }
    }

    pub(super) fn push(&mut self, due: Instant, report: Report) {
        let last = self.reports.back().map_or(Instant::EPOCH, |(due, _)| *due);
        self.reports.push_back((due.max(last), report));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Delivers the reports to a node, in order.
pub(super) async fn deliver(broker: Arc<Broker>, node: usize) {
    let mut timer = broker.runtime.timer(Instant::EPOCH);
    loop {
        let next = poll_fn(|cx| {
            let mut state = lock(&broker.state);
            let node = &mut state.nodes[node];
            let Some(sink) = node.sink.clone().filter(|sink| !sink.is_closed()) else {
                return Poll::Ready(None);
            };
            node.waker = Some(cx.waker().clone());
            let Some((due, _)) = node.reports.front() else { return Poll::Pending };
            timer.reset(*due);
            if timer.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(node.reports.pop_front().map(|(_, report)| (sink, report)))
        });
        let Some((sink, report)) = next.await else { return };
        match report {
            Report::Up => sink.up(),
            Report::Down => sink.down(&BusError::Unavailable("the connection broke".to_owned())),
            Report::Subscribed(room, top) => sink.subscribed(&room, Some(top)),
            Report::Item(room, item) => sink.item(&room, item),
            Report::Signal(room, signal) => sink.signal(&room, signal),
            Report::Garbage => sink.invalid(&BusError::Invalid("\u{1b}[2J".to_owned())),
        }
    }
}
