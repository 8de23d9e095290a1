//! The connections of a server, their stages and their peers: [`Registry`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::task::Waker;

use crate::session::engine::shared::Shared;

/// All connections of a server.
///
/// They share one lock. A connection takes it when it is accepted, when it first waits, when its
/// request head is complete, when its session begins and when it ends, but never for a message.
/// Most openings never wait, since their request is there when they are first polled.
#[derive(Default)]
pub(super) struct Registry {
    open: BTreeMap<u64, Stage>,
    /// The connections in [`Stage::Evictable`], the oldest first.
    evictable: BTreeSet<u64>,
    /// The peer of each connection. Like the next field, kept only if there is a limit.
    peers: BTreeMap<u64, IpAddr>,
    /// The number of connections of each peer.
    per_peer: BTreeMap<IpAddr, usize>,
    max_per_peer: Option<usize>,
    /// True once a request without an address was reported, which the limit does not count.
    has_warned: bool,
    next: u64,
    /// The number of connections that have ended so far.
    ended: u64,
    /// Tasks that wait for a connection to end.
    waiters: Vec<Waker>,
}

/// The stage of a connection.
enum Stage {
    /// Its request head is not complete, or it only reads its response: it may be dropped to make
    /// room.
    Evictable(Option<Waker>),
    /// It is being dropped to make room.
    Evicted,
    /// The service answers its request.
    Answering(Option<Waker>),
    Session(Weak<Shared>),
}

/// The first input of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// A transport, from which the request is to be read.
    Transport,
    /// A request, which another HTTP server has read.
    Request,
}

impl Registry {
    pub(super) fn limit_per_peer(&mut self, count: usize) {
        self.max_per_peer = Some(count);
    }

    /// Returns true once: for the first request without an address, if there is a limit per peer.
    pub(super) fn warns_of_missing_address(&mut self) -> bool {
        self.max_per_peer.is_some() && !std::mem::replace(&mut self.has_warned, true)
    }

    /// Adds a connection and returns its number, or `None` if its peer has as many as it may.
    pub(super) fn add(&mut self, peer: Option<IpAddr>, start: Start) -> Option<u64> {
        let id = self.next;
        if peer.is_some_and(|peer| !self.set_peer(id, peer)) {
            return None;
        }
        self.next += 1;
        let stage = match start {
            Start::Transport => {
                self.evictable.insert(id);
                Stage::Evictable(None)
            }
            Start::Request => Stage::Answering(None),
        };
        self.open.insert(id, stage);
        Some(id)
    }

    /// Sets the peer of a connection that does not have one; returns false if the peer has as many
    /// connections as it may.
    pub(super) fn set_peer(&mut self, id: u64, peer: IpAddr) -> bool {
        let Some(max) = self.max_per_peer else { return true };
        let own = self.per_peer.get(&peer).copied().unwrap_or(0);
        if own >= max {
            return false;
        }
        self.per_peer.insert(peer, own + 1);
        self.peers.insert(id, peer);
        true
    }

    /// Removes a connection that has ended. Returns the tasks that waited for one to end.
    #[must_use = "they have to be woken"]
    pub(super) fn remove(&mut self, id: u64) -> Vec<Waker> {
        let stage = self.open.remove(&id);
        self.ended += u64::from(stage.is_some());
        if matches!(stage, Some(Stage::Evictable(_))) {
            self.evictable.remove(&id);
        }
        if self.max_per_peer.is_some()
            && let Some(peer) = self.peers.remove(&id)
            && let Some(own) = self.per_peer.get_mut(&peer)
        {
            *own -= 1;
            if *own == 0 {
                self.per_peer.remove(&peer);
            }
        }
        std::mem::take(&mut self.waiters)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// True if a connection can be dropped to make room.
    pub(super) fn can_evict(&self) -> bool {
        !self.evictable.is_empty()
    }

    /// Wakes `waker` when the next connection ends, or can be dropped to make room.
    pub(super) fn wake_when_one_ends(&mut self, waker: &Waker) {
        if !self.waiters.iter().any(|waiter| waiter.will_wake(waker)) {
            self.waiters.push(waker.clone());
        }
    }

    /// Wakes `waker`, that of a connection's task, when the connection must be dropped before it
    /// has a session. Returns false if it must be dropped now.
    pub(super) fn set_waker(&mut self, id: u64, waker: Waker) -> bool {
        match self.open.get_mut(&id) {
            Some(Stage::Evicted) => return false,
            Some(Stage::Evictable(registered) | Stage::Answering(registered)) => {
                *registered = Some(waker);
            }
            Some(Stage::Session(_)) | None => {}
        }
        true
    }

    /// Evicts the oldest connection that may be dropped; returns `None` if there is no such
    /// connection.
    pub(super) fn evict_one(&mut self) -> Option<Eviction> {
        let id = self.evictable.pop_first()?;
        match std::mem::replace(self.open.get_mut(&id)?, Stage::Evicted) {
            Stage::Evictable(waker) => Some(Eviction(waker)),
            _ => None,
        }
    }

    pub(super) fn is_evicted(&self, id: u64) -> bool {
        matches!(self.open.get(&id), Some(Stage::Evicted))
    }

    /// The connection's request head is complete. Returns false if the connection was evicted
    /// before.
    pub(super) fn begin_answering(&mut self, id: u64) -> bool {
        let Some(stage) = self.open.get_mut(&id) else { return false };
        match stage {
            Stage::Evicted => return false,
            Stage::Evictable(waker) => {
                *stage = Stage::Answering(waker.take());
                self.evictable.remove(&id);
            }
            Stage::Answering(_) | Stage::Session(_) => {}
        }
        true
    }

    /// The connection was answered with a response, and ends once its peer has read it. Returns the
    /// tasks that waited for one to end: this one can be dropped.
    #[must_use = "they have to be woken"]
    pub(super) fn end_answering(&mut self, id: u64) -> Vec<Waker> {
        if let Some(stage) = self.open.get_mut(&id)
            && let Stage::Answering(waker) = stage
        {
            *stage = Stage::Evictable(waker.take());
            self.evictable.insert(id);
        }
        std::mem::take(&mut self.waiters)
    }

    pub(super) fn begin_session(&mut self, id: u64, shared: &Arc<Shared>) {
        if let Some(stage) = self.open.get_mut(&id) {
            *stage = Stage::Session(Arc::downgrade(shared));
        }
    }

    pub(super) fn sessions(&self) -> Vec<Arc<Shared>> {
        let of = |stage: &Stage| match stage {
            Stage::Session(shared) => shared.upgrade(),
            _ => None,
        };
        self.open.values().filter_map(of).collect()
    }

    /// Takes the wakers of the connections without a session.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        let of = |stage: &mut Stage| match stage {
            Stage::Evictable(waker) | Stage::Answering(waker) => waker.take(),
            _ => None,
        };
        self.open.values_mut().filter_map(of).collect()
    }
}

/// The waker of an evicted connection, if its task waits.
#[must_use = "its task has to be woken"]
pub(super) struct Eviction(pub(super) Option<Waker>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_without_connections_takes_no_memory() {
        let mut registry = Registry::default();
        registry.limit_per_peer(2);
        let peer = |n: u32| Some(IpAddr::V4(n.into()));
        let ids: Vec<_> =
            (0..100).map(|n| registry.add(peer(n / 2), Start::Transport).unwrap()).collect();
        assert_eq!(registry.add(peer(7), Start::Request), None);
        assert_eq!((registry.per_peer.len(), registry.len()), (50, 100));
        for id in ids {
            assert!(registry.remove(id).is_empty());
        }
        assert_eq!((registry.per_peer.len(), registry.peers.len()), (0, 0));
    }

    #[test]
    fn only_an_opening_connection_is_evicted_the_oldest_first() {
        let mut registry = Registry::default();
        let ids: Vec<_> = (0..3).map(|_| registry.add(None, Start::Transport).unwrap()).collect();
        let _ = registry.add(None, Start::Request).unwrap();
        assert!(registry.begin_answering(ids[0]));
        assert!(registry.evict_one().is_some() && registry.is_evicted(ids[1]));
        assert!(registry.can_evict());
        assert!(!registry.begin_answering(ids[1]), "it was evicted");
        assert!(!registry.set_waker(ids[1], Waker::noop().clone()), "it was evicted");
        let _ = registry.remove(ids[1]);
        assert!(registry.evict_one().is_some() && registry.is_evicted(ids[2]));
        let _ = registry.remove(ids[2]);
        assert!(registry.evict_one().is_none() && !registry.can_evict());
        assert_eq!((registry.len(), registry.ended()), (2, 2));
        registry.wake_when_one_ends(Waker::noop());
        assert_eq!(registry.end_answering(ids[0]).len(), 1, "there is one to evict");
        assert!(registry.evict_one().is_some());
    }
}
