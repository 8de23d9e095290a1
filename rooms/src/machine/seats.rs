//! The places of a room's members, which stay the same while others leave: [`Seats`].

use crate::event::Resumed;

/// The key of a member: its place, and a number that no earlier member of the room has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeatKey {
    pub(crate) slot: u32,
    pub(crate) number: u32,
}

/// The place of a member.
pub(crate) struct Seat<H> {
    pub(crate) handle: H,
    pub(super) number: u32,
    pub(super) state: SeatState,
    pub(super) resumed: Resumed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeatState {
    /// It receives what is published.
    Live,
    /// It waits for the bus, to receive what it has missed.
    Waiting,
    /// Its session is gone, or it was removed; only its handle is left.
    Gone,
}

/// The places. They take 24 bytes beside the seats: a server may have a million rooms of one member.
pub(super) struct Seats<H> {
    slots: Box<[Slot<H>]>,
    taken: u32,
    /// The first of the free slots, or the number of slots.
    free: u32,
}

enum Slot<H> {
    Taken(Seat<H>),
    /// The slot that is to be taken after this one.
    Free {
        next: u32,
    },
}

impl<H> Seats<H> {
    pub(super) fn new() -> Self {
        Self { slots: Box::default(), taken: 0, free: 0 }
    }

    /// The number of seats that are taken.
    pub(super) fn len(&self) -> usize {
        self.taken as usize
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Seat<H>> {
        match self.slots.get(slot as usize)? {
            Slot::Taken(seat) => Some(seat),
            Slot::Free { .. } => None,
        }
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Seat<H>> {
        match self.slots.get_mut(slot as usize)? {
            Slot::Taken(seat) => Some(seat),
            Slot::Free { .. } => None,
        }
    }

    /// Takes a free slot, and returns its number.
    pub(super) fn insert(&mut self, seat: Seat<H>) -> u32 {
        if self.free as usize == self.slots.len() {
            self.grow();
        }
        let slot = self.free;
        if let Some(place) = self.slots.get_mut(slot as usize)
            && let Slot::Free { next } = *place
        {
            *place = Slot::Taken(seat);
            self.free = next;
            self.taken += 1;
        }
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Seat<H>> {
        let place = self.slots.get_mut(slot as usize)?;
        if matches!(place, Slot::Free { .. }) {
            return None;
        }
        let place = std::mem::replace(place, Slot::Free { next: self.free });
        self.free = slot;
        self.taken -= 1;
        match place {
            Slot::Taken(seat) => Some(seat),
            Slot::Free { .. } => None,
        }
    }

    /// The seats that are taken, with their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Seat<H>)> {
        (0..).zip(&mut self.slots).filter_map(|(slot, place)| match place {
            Slot::Taken(seat) => Some((slot, seat)),
            Slot::Free { .. } => None,
        })
    }

    /// Adds slots: a quarter rather than as many again, since most rooms stay as they are.
    fn grow(&mut self) {
        let mut slots = std::mem::take(&mut self.slots).into_vec();
        let more = slots.len() / 4 + 1;
        slots.reserve_exact(more);
        let first = slots.len() as u32 + 1;
        slots.extend((first..).take(more).map(|next| Slot::Free { next }));
        self.slots = slots.into_boxed_slice();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(number: u32) -> Seat<()> {
        Seat { handle: (), number, state: SeatState::Live, resumed: Resumed::New }
    }

    #[test]
    fn a_slot_is_taken_by_one_seat_at_a_time() {
        let mut seats = Seats::new();
        let slots: Vec<_> = (0..100).map(|number| seats.insert(seat(number))).collect();
        assert_eq!(slots, (0..100).collect::<Vec<_>>());
        for slot in [7, 99, 0] {
            assert_eq!(seats.remove(slot).map(|seat| seat.number), Some(slot));
            assert!(seats.remove(slot).is_none() && seats.get(slot).is_none());
        }
        assert_eq!(seats.len(), 97);
        // The last that was freed is taken first.
        let again: Vec<_> = (100..104).map(|number| seats.insert(seat(number))).collect();
        assert_eq!(again[..3], [0, 99, 7]);
        assert!(again[3] >= 100);
        let numbers: Vec<_> = seats.iter_mut().map(|(slot, seat)| (slot, seat.number)).collect();
        assert_eq!(numbers.len(), 101);
        assert!(numbers.contains(&(0, 100)) && numbers.contains(&(7, 102)));
        assert!(seats.get(1000).is_none() && seats.remove(1000).is_none());
    }
}
