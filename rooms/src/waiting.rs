//! The tasks that wait at a room: members that join, and publishers that slow members hold up.

use std::task::{Context, Waker};

use sockless_core::Instant;

use crate::machine::{Room, SeatKey};
use crate::outlet::Outlet;

/// The tasks that wait at a room. Most rooms have none at most times.
#[derive(Default)]
pub(crate) struct Waiting {
    /// Members that wait for the bus.
    joining: Vec<(u32, Waker)>,
    /// The members for which so much waits that nothing is to be published, and when each of them is
    /// closed.
    slow: Vec<(SeatKey, Instant)>,
    /// The publishers that wait for them.
    paused: Vec<(u64, Waker)>,
    last_ticket: u64,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.joining.is_empty() && self.slow.is_empty() && self.paused.is_empty()
    }

    pub(crate) fn join(&mut self, number: u32, cx: &Context<'_>) {
        self.joining.push((number, cx.waker().clone()));
    }

    /// Takes the tasks of a member that waits for the bus.
    pub(crate) fn take_joining(&mut self, number: u32) -> impl Iterator<Item = Waker> {
        self.joining.extract_if(.., move |(known, _)| *known == number).map(|(_, waker)| waker)
    }

    /// A member has become so slow that publishers have to wait, until it is closed at `deadline`.
    pub(crate) fn slow(&mut self, key: SeatKey, deadline: Instant) {
        self.slow.push((key, deadline));
    }

    /// Forgets the members that are slow no longer, or gone. Returns true if publishers have to wait
    /// for others.
    pub(crate) fn is_paused(&mut self, room: &mut Room<Outlet>) -> bool {
        self.slow.retain(|(key, _)| room.seat(*key).is_some_and(|seat| seat.handle.is_over()));
        !self.slow.is_empty()
    }

    /// Takes the publishers that wait, to be woken.
    pub(crate) fn take_paused(&mut self) -> impl Iterator<Item = Waker> {
        self.paused.drain(..).map(|(_, waker)| waker)
    }

    /// Lets a publisher wait. Returns the time until which it does, at most.
    pub(crate) fn pause(&mut self, ticket: &mut Option<u64>, cx: &Context<'_>) -> Option<Instant> {
        let ticket = *ticket.get_or_insert_with(|| {
            self.last_ticket += 1;
            self.last_ticket
        });
        self.cancel(ticket);
        self.paused.push((ticket, cx.waker().clone()));
        self.slow.iter().map(|(_, deadline)| *deadline).min()
    }

    /// A publisher waits no longer.
    pub(crate) fn cancel(&mut self, ticket: u64) {
        self.paused.retain(|(known, _)| *known != ticket);
    }

    /// The members for which publishers have waited for too long.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<SeatKey> {
        let overdue = self.slow.iter().filter(|(_, deadline)| *deadline <= now);
        overdue.map(|(key, _)| *key).collect()
    }
}
