//! The connections of a host: how many there are, whose they are, and how far each has come.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::task::Waker;

use crate::session::engine::shared::Shared;

/// All connections of a host. They share one lock: each takes it when it comes, when it first waits,
/// when its request's head is whole, when its session begins and when it goes, and never for a
/// message.
#[derive(Default)]
pub(super) struct Registry {
    open: BTreeMap<u64, Stage>,
    /// Those of `open` that may be dropped to make room, the oldest first.
    evictable: BTreeSet<u64>,
    /// The address that counts a connection; kept only where there is a limit, as is the next.
    peers: BTreeMap<u64, IpAddr>,
    /// How many connections each peer has.
    per_peer: BTreeMap<IpAddr, usize>,
    max_per_peer: Option<usize>,
    next: u64,
    /// How many have gone so far.
    gone: u64,
    /// Tasks that wait for a connection to go.
    waiters: Vec<Waker>,
}

/// How far a connection has come.
enum Stage {
    /// Its request's head is not whole, or it only reads its answer: it may be dropped to make room.
    Evictable(Option<Waker>),
    /// It is being dropped to make room.
    Evicted,
    /// Its request is being answered.
    Answering(Option<Waker>),
    Session(Weak<Shared>),
}

/// Where a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begins {
    /// With a transport, on which everything is still to come.
    Opening,
    /// With a request whose head is whole.
    Answering,
}

impl Registry {
    pub(super) fn limit_per_peer(&mut self, count: usize) {
        self.max_per_peer = Some(count);
    }

    /// Adds a connection, unless its peer has as many as it may.
    pub(super) fn add(&mut self, peer: Option<IpAddr>, begins: Begins) -> Option<u64> {
        let id = self.next;
        if let (Some(peer), Some(max)) = (peer, self.max_per_peer) {
            let own = self.per_peer.get(&peer).copied().unwrap_or(0);
            if own >= max {
                return None;
            }
            self.per_peer.insert(peer, own + 1);
            self.peers.insert(id, peer);
        }
        self.next += 1;
        let stage = match begins {
            Begins::Opening => {
                self.evictable.insert(id);
                Stage::Evictable(None)
            }
            Begins::Answering => Stage::Answering(None),
        };
        self.open.insert(id, stage);
        Some(id)
    }

    /// Removes a connection that is over; gives the tasks that waited for one to go.
    #[must_use = "they have to be woken"]
    pub(super) fn remove(&mut self, id: u64) -> Vec<Waker> {
        self.evictable.remove(&id);
        if self.open.remove(&id).is_some() {
            self.gone += 1;
        }
        if let Some(peer) = self.peers.remove(&id)
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

    pub(super) fn gone(&self) -> u64 {
        self.gone
    }

    /// Whether a connection could be dropped to make room.
    pub(super) fn can_make_room(&self) -> bool {
        !self.evictable.is_empty()
    }

    /// Has `waker` woken when the next connection goes.
    pub(super) fn wake_when_one_goes(&mut self, waker: &Waker) {
        if !self.waiters.iter().any(|waiter| waiter.will_wake(waker)) {
            self.waiters.push(waker.clone());
        }
    }

    /// Has the task of a connection woken when the connection is to be dropped before it is a session.
    pub(super) fn set_waker(&mut self, id: u64, waker: Waker) {
        if let Some(stage) = self.open.get_mut(&id)
            && let Stage::Evictable(registered) | Stage::Answering(registered) = stage
        {
            *registered = Some(waker);
        }
    }

    /// Marks the oldest connection that may be dropped as one to drop, and gives its task. `None` when
    /// there is none.
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

    /// The connection's request has come; false when the connection is to be dropped all the same.
    pub(super) fn begin_answering(&mut self, id: u64) -> bool {
        self.evictable.remove(&id);
        let Some(stage) = self.open.get_mut(&id) else { return false };
        if let Stage::Evictable(waker) = stage {
            *stage = Stage::Answering(waker.take());
        }
        !matches!(stage, Stage::Evicted)
    }

    /// The connection was answered with a response, so it is over once its peer has read that.
    pub(super) fn end_answering(&mut self, id: u64) {
        if let Some(stage) = self.open.get_mut(&id)
            && let Stage::Answering(waker) = stage
        {
            *stage = Stage::Evictable(waker.take());
            self.evictable.insert(id);
        }
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

    /// The tasks of the connections that are no sessions yet.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        let of = |stage: &mut Stage| match stage {
            Stage::Evictable(waker) | Stage::Answering(waker) => waker.take(),
            _ => None,
        };
        self.open.values_mut().filter_map(of).collect()
    }
}

/// A connection was marked to be dropped; its task has to be woken, if it waits.
#[must_use = "its task has to be woken"]
pub(super) struct Eviction(pub(super) Option<Waker>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_without_connections_is_forgotten() {
        let mut registry = Registry::default();
        registry.limit_per_peer(2);
        let peer = |n: u32| Some(IpAddr::V4(n.into()));
        let ids: Vec<_> =
            (0..100).map(|n| registry.add(peer(n / 2), Begins::Opening).unwrap()).collect();
        assert_eq!(registry.add(peer(7), Begins::Answering), None);
        assert_eq!((registry.per_peer.len(), registry.len()), (50, 100));
        for id in ids {
            assert!(registry.remove(id).is_empty());
        }
        assert_eq!((registry.per_peer.len(), registry.peers.len()), (0, 0));
    }

    #[test]
    fn only_what_is_opening_is_evicted_the_oldest_first() {
        let mut registry = Registry::default();
        let ids: Vec<_> = (0..3).map(|_| registry.add(None, Begins::Opening).unwrap()).collect();
        let _ = registry.add(None, Begins::Answering).unwrap();
        assert!(registry.begin_answering(ids[0]));
        assert!(registry.evict_one().is_some() && registry.is_evicted(ids[1]));
        assert!(registry.can_make_room());
        assert!(!registry.begin_answering(ids[1]), "it is being dropped");
        let _ = registry.remove(ids[1]);
        assert!(registry.evict_one().is_some() && registry.is_evicted(ids[2]));
        let _ = registry.remove(ids[2]);
        assert!(registry.evict_one().is_none() && !registry.can_make_room());
        assert_eq!((registry.len(), registry.gone()), (2, 2));
    }
}
