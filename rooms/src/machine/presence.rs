//! The members of a room on all servers: [`Presence`], a state machine without a clock.
//!
//! Each server publishes its own members, numbered by a version that each change increments, and
//! repeats the version at intervals. A server that has missed a change asks for the whole list. The
//! members of a server that is silent for too long are gone.

use std::collections::BTreeMap;
use std::time::Duration;

use sockless_core::Instant;

use super::signal::{Signal, SignalBody};
use crate::event::{Occupant, RoomEvent};

/// The number of members of other servers that are known in one room. Further ones are left out.
const MAX_REMOTE: usize = 100_000;

/// The presence of one room, as one server knows it.
pub(crate) struct Presence {
    node: u64,
    ttl: Duration,
    /// The members of this server, by their numbers.
    own: BTreeMap<u32, Occupant>,
    /// Members of this server whose sessions have ended, to be [removed](Self::leave).
    pub(super) gone: Vec<u32>,
    version: u64,
    next_beat: Instant,
    others: BTreeMap<u64, Other>,
    remote: usize,
}

/// Another server.
struct Other {
    version: u64,
    heard: Instant,
    members: BTreeMap<u32, Occupant>,
}

/// The consequences of an input.
#[derive(Default)]
pub(crate) struct Changes {
    /// For the members of this server.
    pub(crate) events: Vec<RoomEvent>,
    /// For the other servers.
    pub(crate) signals: Vec<SignalBody>,
}

impl Presence {
    /// `incarnation` differs from that of any earlier presence of the same room on this server.
    pub(crate) fn new(node: u64, incarnation: u32, ttl: Duration) -> Self {
        Self {
            node,
            ttl,
            own: BTreeMap::new(),
            gone: Vec::new(),
            version: u64::from(incarnation) << 32,
            next_beat: Instant::EPOCH,
            others: BTreeMap::new(),
            remote: 0,
        }
    }

    /// All members that are known.
    pub(crate) fn occupants(&self) -> impl Iterator<Item = &Occupant> {
        self.own.values().chain(self.others.values().flat_map(|other| other.members.values()))
    }

    pub(crate) fn len(&self) -> usize {
        self.own.len() + self.remote
    }

    /// A member has joined on this server.
    pub(crate) fn join(&mut self, occupant: Occupant) -> Changes {
        self.version += 1;
        self.own.insert(occupant.id.number, occupant.clone());
        let joined = SignalBody::Joined { version: self.version, occupant: occupant.clone() };
        Changes { events: vec![RoomEvent::Joined(occupant)], signals: vec![joined] }
    }

    /// A member of this server has left.
    pub(crate) fn leave(&mut self, number: u32) -> Changes {
        let Some(occupant) = self.own.remove(&number) else { return Changes::default() };
        self.version += 1;
        let left = SignalBody::Left { version: self.version, number };
        Changes { events: vec![RoomEvent::Left(occupant)], signals: vec![left] }
    }

    /// The other servers can be reached, for the first time or again: they may have missed changes,
    /// and this one theirs.
    pub(crate) fn reconnected(&mut self, now: Instant) -> Changes {
        for other in self.others.values_mut() {
            other.heard = now;
        }
        let signals = vec![SignalBody::Ask, self.state()];
        Changes { events: Vec::new(), signals }
    }

    /// Time has passed. `is_connected` is false while the silence of others means nothing.
    pub(crate) fn tick(&mut self, now: Instant, is_connected: bool) -> Changes {
        let mut changes = Changes::default();
        if now >= self.next_beat && !self.own.is_empty() {
            self.next_beat = now + self.ttl / 3;
            changes.signals.push(SignalBody::Beat { version: self.version });
        }
        if !is_connected {
            for other in self.others.values_mut() {
                other.heard = now;
            }
        }
        let silent = |other: &Other| now >= other.heard + self.ttl;
        let gone: Vec<_> =
            self.others.iter().filter(|(_, other)| silent(other)).map(|(node, _)| *node).collect();
        for node in gone {
            self.replace(node, None, &mut changes.events);
        }
        changes
    }

    /// Another server has sent a signal.
    pub(crate) fn signal(&mut self, signal: Signal, now: Instant) -> Changes {
        let mut changes = Changes::default();
        let Signal { node, body } = signal;
        if node == self.node {
            return changes;
        }
        if let Some(other) = self.others.get_mut(&node) {
            other.heard = now;
        }
        let known = self.others.get(&node).map(|other| other.version);
        match body {
            SignalBody::Ask => {
                if !self.own.is_empty() {
                    changes.signals.push(self.state());
                }
            }
            SignalBody::State { version, occupants } => {
                let members = occupants.into_iter().map(|occupant| (occupant.id.number, occupant));
                let other = Other { version, heard: now, members: members.collect() };
                let other = Some(other).filter(|other| !other.members.is_empty());
                self.replace(node, other, &mut changes.events);
            }
            SignalBody::Joined { version, occupant } => match known {
                Some(known) if version <= known => {}
                Some(known) if version == known + 1 => {
                    self.add(node, version, occupant, &mut changes.events);
                }
                // The first member of a room that had none there.
                _ if version as u32 == 1 => {
                    let members = BTreeMap::from([(occupant.id.number, occupant)]);
                    let other = Other { version, heard: now, members };
                    self.replace(node, Some(other), &mut changes.events);
                }
                _ => changes.signals.push(SignalBody::Ask),
            },
            SignalBody::Left { version, number } => match known {
                Some(known) if version == known + 1 => {
                    self.remove(node, version, number, &mut changes.events);
                }
                Some(known) if version > known + 1 => changes.signals.push(SignalBody::Ask),
                _ => {}
            },
            SignalBody::Beat { version } => {
                if known != Some(version) {
                    changes.signals.push(SignalBody::Ask);
                }
            }
            // Of the room, not of its presence.
            SignalBody::Disconnect { .. } | SignalBody::Close { .. } => {}
        }
        changes
    }

    /// The whole list of this server.
    fn state(&self) -> SignalBody {
        let occupants = self.own.values().cloned().collect();
        SignalBody::State { version: self.version, occupants }
    }

    fn add(&mut self, node: u64, version: u64, occupant: Occupant, events: &mut Vec<RoomEvent>) {
        let Some(other) = self.others.get_mut(&node) else { return };
        other.version = version;
        if self.remote < MAX_REMOTE
            && other.members.insert(occupant.id.number, occupant.clone()).is_none()
        {
            self.remote += 1;
            events.push(RoomEvent::Joined(occupant));
        }
    }

    fn remove(&mut self, node: u64, version: u64, number: u32, events: &mut Vec<RoomEvent>) {
        let Some(other) = self.others.get_mut(&node) else { return };
        other.version = version;
        if let Some(occupant) = other.members.remove(&number) {
            self.remote -= 1;
            events.push(RoomEvent::Left(occupant));
        }
        if other.members.is_empty() {
            self.others.remove(&node);
        }
    }

    /// Replaces all that is known of another server, and reports the differences.
    fn replace(&mut self, node: u64, other: Option<Other>, events: &mut Vec<RoomEvent>) {
        let before = self.others.remove(&node).map(|other| other.members).unwrap_or_default();
        self.remote -= before.len();
        let mut other = other;
        let empty = BTreeMap::new();
        if let Some(other) = &mut other {
            while self.remote + other.members.len() > MAX_REMOTE
                && other.members.pop_last().is_some()
            {}
        }
        let after = other.as_ref().map_or(&empty, |other| &other.members);
        for (number, occupant) in &before {
            if after.get(number) != Some(occupant) {
                events.push(RoomEvent::Left(occupant.clone()));
            }
        }
        for (number, occupant) in after {
            if before.get(number) != Some(occupant) {
                events.push(RoomEvent::Joined(occupant.clone()));
            }
        }
        if let Some(other) = other {
            self.remote += other.members.len();
            self.others.insert(node, other);
        }
    }
}
