//! The state machine of one room on one server: [`Room`].
//!
//! It reads no clock, starts no task and does no I/O. Its inputs are methods; what is to be done
//! goes to [`Effects`], in order.

mod announce;
mod catch_up;
mod link;
mod presence;
mod seats;
mod signal;
mod waiting;

use bytes::Bytes;
use bytestring::ByteString;
use sockless_core::{CloseReason, Instant};

use crate::event::{Resumed, RoomEvent, Welcome};
use crate::position::Position;
use crate::publication::{Item, MemberId};
use link::{Link, Place};
use seats::{Seat, SeatState, Seats};
use waiting::{CatchUp, Waiter};

pub(crate) use link::Start;
pub(crate) use presence::Presence;
pub(crate) use seats::SeatKey;
pub(crate) use signal::{Signal, SignalBody};

/// The surroundings of a room, which act for it.
pub(crate) trait Effects<H> {
    /// The number of this server.
    fn node(&self) -> u64;

    /// `event` is the one that the next calls of [`deliver`](Self::deliver) are about.
    fn begin(&mut self, event: &RoomEvent);

    /// Delivers the event to a member. Returns false if its session is gone.
    fn deliver(&mut self, handle: &mut H, key: SeatKey, kind: Delivery) -> bool;

    /// Reads the messages after a position from the bus; the answer is
    /// [`Room::replayed`], and only one read is made at a time.
    fn read(&mut self, after: Position);

    /// Sends a signal to the other servers.
    fn signal(&mut self, signal: SignalBody);

    /// The member with this number, which waited, has joined: [`Room::take_welcome`].
    fn joined(&mut self, number: u32);
}

/// The kind of a delivery, which decides if it counts as lag of the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Live,
    /// From the history, to a member that resumes.
    History,
}

/// One room on this server: its members, and its place in the stream of messages.
pub(crate) struct Room<H> {
    seats: Seats<H>,
    place: Place,
    /// The state that most rooms do not have.
    extra: Option<Box<Extra>>,
}

#[derive(Default)]
struct Extra {
    /// While members or the room itself wait for the bus.
    catch_up: Option<Box<CatchUp>>,
    /// If members are to know of each other.
    presence: Option<Box<Presence>>,
}

/// The member's side that the room needs.
pub(crate) trait Handle {
    fn identity(&self) -> Option<&ByteString>;

    /// Closes the member's session.
    fn close(&self, reason: &CloseReason);
}

impl<H: Handle> Room<H> {
    pub(crate) fn new(has_history: bool, presence: Option<Presence>) -> Self {
        let extra = |presence| Extra { presence: Some(Box::new(presence)), ..Extra::default() };
        Self {
            seats: Seats::new(),
            place: Place::new(has_history),
            extra: presence.map(|presence| Box::new(extra(presence))),
        }
    }

    /// Returns true if nothing is left of any member.
    pub(crate) fn is_empty(&self) -> bool {
        self.seats.len() == 0
    }

    /// The number of seats that are taken.
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Returns how the member has joined.
    pub(crate) fn resumed(&self, key: SeatKey) -> Resumed {
        self.seats.get(key.slot).map_or(Resumed::New, |seat| seat.resumed)
    }

    pub(crate) fn seat(&mut self, key: SeatKey) -> Option<&mut Seat<H>> {
        let seat = self.seats.get_mut(key.slot)?;
        (seat.number == key.number && seat.state != SeatState::Gone).then_some(seat)
    }
}

/// Members.
impl<H: Handle> Room<H> {
    /// Adds a member. Returns how it joined, unless that
    /// depends on the bus.
    pub(crate) fn join(
        &mut self,
        handle: H,
        data: Bytes,
        start: Start,
        effects: &mut impl Effects<H>,
    ) -> (SeatKey, Option<Welcome>) {
        self.place.last_number = self.place.last_number.wrapping_add(1);
        let number = self.place.last_number;
        let slot = self.seats.insert(Seat {
            handle,
            number,
            state: SeatState::Waiting,
            resumed: Resumed::New,
        });
        let key = SeatKey { slot, number };
        self.announce(key, data, effects);
        if let Some(resumed) = self.place.link().resolve(start, self.place.has_history) {
            return (key, Some(self.welcome(key, resumed, effects)));
        }
        self.catch_up().waiters.push(Waiter::new(key, start));
        self.read_on(effects);
        (key, None)
    }

    /// Lets a member that still waits for the bus join now, with a gap if it resumes. Returns how it
    /// joined.
    pub(crate) fn join_now(
        &mut self,
        key: SeatKey,
        effects: &mut impl Effects<H>,
    ) -> Option<Welcome> {
        if let Some(welcome) = self.take_welcome(key.number) {
            return Some(welcome);
        }
        let catch_up = self.waiting()?;
        let at = catch_up.waiters.iter().position(|waiter| waiter.key == key)?;
        let waiter = catch_up.waiters.swap_remove(at);
        let welcome = self.welcome(key, waiter.unresolved(), effects);
        self.drop_catch_up();
        Some(welcome)
    }

    /// Takes the result of a member that has waited.
    pub(crate) fn take_welcome(&mut self, number: u32) -> Option<Welcome> {
        let catch_up = self.waiting()?;
        let at = catch_up.welcomes.iter().position(|(known, _)| *known == number)?;
        let (_, welcome) = catch_up.welcomes.swap_remove(at);
        self.drop_catch_up();
        Some(welcome)
    }

    /// Removes what is left of a member.
    pub(crate) fn leave(&mut self, key: SeatKey, effects: &mut impl Effects<H>) -> Option<H> {
        if self.seats.get(key.slot)?.number != key.number {
            return None;
        }
        if let Some(catch_up) = self.waiting() {
            catch_up.waiters.retain(|waiter| waiter.key != key);
            catch_up.welcomes.retain(|(number, _)| *number != key.number);
            self.drop_catch_up();
        }
        let handle = self.seats.remove(key.slot)?.handle;
        self.is_gone(key.number);
        self.announce_gone(effects);
        Some(handle)
    }

    /// Closes the sessions of the members that `is_meant` selects, and removes them. Returns their
    /// number.
    pub(crate) fn disconnect(
        &mut self,
        reason: &CloseReason,
        is_meant: impl Fn(&H) -> bool,
        effects: &mut impl Effects<H>,
    ) -> usize {
        let mut removed = Vec::new();
        for (_, seat) in self.seats.iter_mut() {
            if seat.state != SeatState::Gone && is_meant(&seat.handle) {
                seat.state = SeatState::Gone;
                seat.handle.close(reason);
                removed.push(seat.number);
            }
        }
        removed.iter().for_each(|number| self.is_gone(*number));
        self.announce_gone(effects);
        removed.len()
    }

    /// Removes a member whose session has ended or, with a reason, is closed.
    pub(crate) fn expel(
        &mut self,
        key: SeatKey,
        reason: Option<&CloseReason>,
        effects: &mut impl Effects<H>,
    ) {
        let Some(seat) = self.seat(key) else { return };
        seat.state = SeatState::Gone;
        reason.into_iter().for_each(|reason| seat.handle.close(reason));
        self.is_gone(key.number);
        self.announce_gone(effects);
    }

    /// Makes a member live, and reports to it how it has joined.
    fn welcome(
        &mut self,
        key: SeatKey,
        resumed: Resumed,
        effects: &mut impl Effects<H>,
    ) -> Welcome {
        let position = self.top();
        let welcome = Welcome { position, resumed };
        effects.begin(&RoomEvent::Welcome(welcome));
        self.deliver_to(key, Delivery::Live, effects);
        if let Some(seat) = self.seat(key) {
            (seat.state, seat.resumed) = (SeatState::Live, resumed);
        }
        welcome
    }

    /// The place until which the live members have received everything.
    pub(crate) fn top(&self) -> Option<Position> {
        match self.place.link() {
            Link::Unconfirmed { known: top } | Link::Live { top } => top,
            Link::Recovering { top } => Some(top),
        }
    }
}

/// Items.
impl<H: Handle> Room<H> {
    /// The bus reports all items after `top` from now on.
    pub(crate) fn subscribed(
        &mut self,
        top: Option<Position>,
        now: Instant,
        effects: &mut impl Effects<H>,
    ) {
        let Link::Unconfirmed { known } = self.place.link() else { return };
        self.place.set_link(match (known, top) {
            (Some(known), Some(top)) if self.place.has_history && known != top => {
                Link::Recovering { top: known }
            }
            _ => Link::Live { top },
        });
        if known.is_none() && self.place.has_history {
            // Members that joined while the bus could not be reached.
            self.deliver(&RoomEvent::Gap { position: top }, effects);
        }
        self.deliver_held(effects);
        self.welcome_waiters(effects);
        self.read_on(effects);
        self.present(effects, |presence| presence.reconnected(now));
        self.announce_gone(effects);
    }

    /// Looks for items that were lost on the way.
    pub(crate) fn check(&mut self, effects: &mut impl Effects<H>) {
        if let Link::Live { top: Some(top) } = self.place.link()
            && self.place.has_history
        {
            self.read_from(top, effects);
        }
    }

    /// An item has been published.
    pub(crate) fn item(&mut self, item: Item, effects: &mut impl Effects<H>) {
        self.take_item(item, effects);
        self.announce_gone(effects);
    }

    fn take_item(&mut self, item: Item, effects: &mut impl Effects<H>) {
        match self.place.link() {
            Link::Live { top } => match self.compare(top, item.position) {
                Order::Next => {
                    if let Some(catch_up) = self.waiting()
                        && catch_up.is_reading()
                    {
                        catch_up.hold(item.clone());
                    }
                    self.deliver_item(item, effects);
                }
                Order::Old => {}
                Order::Gap(top) => {
                    self.place.set_link(Link::Recovering { top });
                    self.hold(item, effects);
                    self.read_on(effects);
                }
                Order::OtherStream => self.begin_anew(item, effects),
            },
            Link::Unconfirmed { .. } | Link::Recovering { .. } => self.hold(item, effects),
        }
    }

    /// The bus cannot be reached.
    pub(crate) fn bus_down(&mut self, effects: &mut impl Effects<H>) {
        self.place.set_link(Link::Unconfirmed { known: self.top() });
        self.deliver(&RoomEvent::Interrupted, effects);
        if let Some(catch_up) = self.waiting() {
            catch_up.stop_reading();
        }
        self.welcome_unresolved(effects);
        self.announce_gone(effects);
    }

    /// The bus can be reached again; [`subscribed`](Self::subscribed) follows.
    pub(crate) fn bus_up(&mut self, effects: &mut impl Effects<H>) {
        self.deliver(&RoomEvent::Restored, effects);
    }

    /// Compares the position of an item with that of the last one.
    fn compare(&self, top: Option<Position>, position: Option<Position>) -> Order {
        let (Some(top), Some(position)) = (top, position) else { return Order::Next };
        if position.epoch != top.epoch {
            Order::OtherStream
        } else if position.offset <= top.offset {
            Order::Old
        } else if position == top.next() || !self.place.has_history {
            // Without a history a message is delivered at most once, and nothing is read.
            Order::Next
        } else {
            Order::Gap(top)
        }
    }

    /// The broker has lost the stream and begun another one.
    fn begin_anew(&mut self, item: Item, effects: &mut impl Effects<H>) {
        if self.place.has_history {
            let position = item.position.map(Position::previous);
            self.deliver(&RoomEvent::Gap { position }, effects);
        }
        self.deliver_item(item, effects);
        if let Some(catch_up) = self.waiting() {
            catch_up.stop_reading();
        }
        self.welcome_unresolved(effects);
        self.drop_catch_up();
    }

    /// Delivers the next item.
    fn deliver_item(&mut self, item: Item, effects: &mut impl Effects<H>) {
        if item.position.is_some() {
            self.place.set_link(Link::Live { top: item.position });
        }
        self.deliver(&RoomEvent::Message(item), effects);
    }

    /// Delivers an event to all live members that it is for.
    fn deliver(&mut self, event: &RoomEvent, effects: &mut impl Effects<H>) {
        effects.begin(event);
        let node = effects.node();
        for (slot, seat) in self.seats.iter_mut() {
            let key = SeatKey { slot, number: seat.number };
            let id = MemberId { node, number: seat.number };
            if seat.state == SeatState::Live
                && is_for(event, id, &seat.handle)
                && !effects.deliver(&mut seat.handle, key, Delivery::Live)
            {
                seat.state = SeatState::Gone;
                if let Some(presence) = self.extra.as_mut().and_then(|it| it.presence.as_mut()) {
                    presence.gone.push(seat.number);
                }
            }
        }
    }

    /// Delivers the event that was begun to one member.
    fn deliver_to(&mut self, key: SeatKey, kind: Delivery, effects: &mut impl Effects<H>) {
        if let Some(seat) = self.seat(key)
            && !effects.deliver(&mut seat.handle, key, kind)
        {
            seat.state = SeatState::Gone;
            self.is_gone(key.number);
        }
    }
}

/// The relation of an item to the last one that was delivered.
enum Order {
    Next,
    Old,
    /// Items after this position are missing.
    Gap(Position),
    OtherStream,
}

fn is_for<H: Handle>(event: &RoomEvent, member: MemberId, handle: &H) -> bool {
    match event {
        RoomEvent::Message(item) => item.publication.is_for(member, handle.identity()),
        _ => true,
    }
}
