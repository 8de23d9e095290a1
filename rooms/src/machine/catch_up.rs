//! Catching up with the stream: members that resume, and a room that has missed items.

use super::link::Link;
use super::seats::{SeatKey, SeatState};
use super::waiting::{CatchUp, Waiter};
use super::{Delivery, Effects, Handle, Room, is_for};
use crate::error::BusError;
use crate::event::{Resumed, RoomEvent, Welcome};
use crate::position::Position;
use crate::publication::{Item, MemberId, Replay};

/// The number of reads in a row that may bring nothing before the members that wait have a gap.
const MAX_FRUITLESS: u32 = 3;

impl<H: Handle> Room<H> {
    /// The state while members or the room itself wait.
    pub(super) fn waiting(&mut self) -> Option<&mut CatchUp> {
        self.extra.as_mut()?.catch_up.as_deref_mut()
    }

    /// Returns the same, which is created if it does not exist.
    pub(super) fn catch_up(&mut self) -> &mut CatchUp {
        self.extra.get_or_insert_default().catch_up.get_or_insert_default()
    }

    pub(super) fn hold(&mut self, item: Item, effects: &mut impl Effects<H>) {
        self.catch_up().hold(item);
        self.read_on(effects);
    }

    /// Frees the state when nothing waits any longer.
    pub(super) fn drop_catch_up(&mut self) {
        if self.waiting().is_some_and(|catch_up| catch_up.is_idle())
            && let Some(extra) = &mut self.extra
        {
            extra.catch_up = None;
            self.extra.take_if(|extra| extra.presence.is_none());
        }
    }

    /// Begins the next read, if one is needed and none is under way: from the first position that
    /// the room or a member waits for. One read serves all of them.
    pub(super) fn read_on(&mut self, effects: &mut impl Effects<H>) {
        let (top, is_recovering) = match self.place.link() {
            Link::Recovering { top } => (top, true),
            Link::Live { top: Some(top) } => (top, false),
            _ => return,
        };
        if !self.waiting().is_some_and(|catch_up| catch_up.is_reading()) {
            let waiters = self.waiting().into_iter().flat_map(|catch_up| &mut catch_up.waiters);
            let waited = waiters.filter_map(|waiter| waiter.reads_from(top));
            let waited = waited.filter(|since| since.epoch == top.epoch);
            // The room may lag behind another server from which the member comes: then it reads on
            // from where it is itself.
            let waited = waited.map(|since| since.offset.min(top.offset));
            let own = is_recovering.then_some(top.offset);
            if let Some(offset) = waited.chain(own).min() {
                self.read_from(Position { offset, ..top }, effects);
                return;
            }
        }
        self.drop_catch_up();
    }

    /// Begins a read unless one is under way.
    pub(super) fn read_from(&mut self, after: Position, effects: &mut impl Effects<H>) {
        let is_recovering = matches!(self.place.link(), Link::Recovering { .. });
        let catch_up = self.catch_up();
        if catch_up.reading.is_some() {
            return;
        }
        catch_up.reading = Some(after);
        for waiter in &mut catch_up.waiters {
            waiter.was_read = true;
        }
        if !is_recovering {
            catch_up.clear_held();
        }
        effects.read(after);
    }

    /// The answer of the read that is under way has come.
    pub(crate) fn replayed(
        &mut self,
        after: Position,
        replay: Result<Replay, BusError>,
        effects: &mut impl Effects<H>,
    ) {
        let Some(catch_up) = self.waiting() else { return };
        if catch_up.reading != Some(after) {
            return;
        }
        catch_up.reading = None;
        match replay {
            Ok(Replay::Complete { items, top }) if is_complete(after, &items, top) => {
                self.apply(after, &items, top, effects);
            }
            Ok(Replay::Gap { oldest, top }) if oldest.epoch == top.epoch => {
                if self.is_lost(after, top) {
                    // The room is live and believes to be where the stream no longer is.
                    self.lose(Some(top), effects);
                }
                self.apply_gap(after, oldest, top, effects);
            }
            // An answer that is not valid brings as much as none.
            Ok(_) | Err(_) => self.read_failed(effects),
        }
        self.deliver_held(effects);
        self.read_on(effects);
        self.announce_gone(effects);
    }

    /// Delivers what a read has brought to the members that wait for it, and to all where the room
    /// is behind.
    fn apply(
        &mut self,
        after: Position,
        items: &[Item],
        read_top: Position,
        effects: &mut impl Effects<H>,
    ) {
        let Some(before) = self.top() else { return };
        let was_recovering = matches!(self.place.link(), Link::Recovering { .. });
        for item in items.iter().filter(|item| is_after(item, before)) {
            self.deliver(&RoomEvent::Message(item.clone()), effects);
        }
        let top = if read_top.is_after(before) { read_top } else { before };
        self.place.set_link(Link::Live { top: Some(top) });
        let catch_up = self.catch_up();
        catch_up.fruitless = 0;
        let mut missed = items.to_vec();
        if !was_recovering {
            // They have been delivered to the live members while the read was under way.
            missed.extend(catch_up.take_held().into_iter().filter(|item| is_after(item, read_top)));
        }
        if is_complete(after, &missed, top) {
            self.resume_waiters(after, &missed, top, effects);
            // A position that the bus has not reached is from the future.
            self.welcome_those(effects, |waiter| {
                let is_ahead = waiter.since.is_some_and(|since| since.is_after(top));
                (waiter.was_read && is_ahead).then_some(Resumed::Gap)
            });
        } else {
            self.read_was_fruitless(effects);
        }
        self.welcome_waiters(effects);
    }

    /// Lets the members join that wait for a position between `after` and `top`, with the items
    /// behind their positions.
    fn resume_waiters(
        &mut self,
        after: Position,
        missed: &[Item],
        top: Position,
        effects: &mut impl Effects<H>,
    ) {
        let catch_up = self.catch_up();
        let in_reach = |waiter: &mut Waiter| {
            waiter.since.is_some_and(|since| {
                since.epoch == top.epoch && (after.offset..=top.offset).contains(&since.offset)
            })
        };
        let mut resuming: Vec<_> = catch_up.waiters.extract_if(.., in_reach).collect();
        resuming.sort_by_key(|waiter| waiter.since.map(|since| since.offset));
        let mut last = None;
        for waiter in &resuming {
            let welcome = Welcome { position: waiter.since, resumed: waiter.resumed() };
            if last != Some(welcome) {
                last = Some(welcome);
                effects.begin(&RoomEvent::Welcome(welcome));
            }
            self.deliver_to(waiter.key, Delivery::History, effects);
            self.catch_up().welcomes.push((waiter.key.number, welcome));
        }
        for item in missed {
            let event = RoomEvent::Message(item.clone());
            effects.begin(&event);
            for waiter in &resuming {
                let is_missed = waiter.since.is_some_and(|since| is_after(item, since));
                if is_missed && self.is_for(waiter.key, &event, effects) {
                    self.deliver_to(waiter.key, Delivery::History, effects);
                }
            }
        }
        for waiter in resuming {
            if let Some(seat) = self.seat(waiter.key) {
                (seat.state, seat.resumed) = (SeatState::Live, waiter.resumed());
            }
            effects.joined(waiter.key.number);
        }
    }

    fn is_for(&mut self, key: SeatKey, event: &RoomEvent, effects: &impl Effects<H>) -> bool {
        let id = MemberId { node: effects.node(), number: key.number };
        self.seat(key).is_some_and(|seat| is_for(event, id, &seat.handle))
    }

    /// The items after `after` are not all known any longer.
    fn apply_gap(
        &mut self,
        after: Position,
        oldest: Position,
        top: Position,
        effects: &mut impl Effects<H>,
    ) {
        let is_lost = |since: Position| {
            let known = oldest.offset..=top.offset;
            since == after || since.epoch != top.epoch || !known.contains(&since.offset)
        };
        // The read may have begun where a member was that is further behind than the room.
        if let Link::Recovering { top: known } = self.place.link()
            && is_lost(known)
        {
            self.lose(Some(top), effects);
        }
        for waiter in self.waiting().into_iter().flat_map(|catch_up| &mut catch_up.waiters) {
            // A new member receives what is left of the history.
            if waiter.last.is_some() && waiter.since.is_some_and(|since| oldest.is_after(since)) {
                waiter.since = Some(oldest);
            }
        }
        self.welcome_those(effects, |waiter| {
            waiter.since.is_some_and(is_lost).then_some(waiter.unresolved())
        });
        self.welcome_waiters(effects);
    }

    /// Returns true if a live room has found that the stream cannot go on from where it is.
    fn is_lost(&self, after: Position, top: Position) -> bool {
        let Link::Live { top: Some(known) } = self.place.link() else { return false };
        after == known && (known.epoch != top.epoch || known.offset != top.offset)
    }

    fn read_failed(&mut self, effects: &mut impl Effects<H>) {
        self.welcome_unresolved(effects);
        self.read_was_fruitless(effects);
    }

    /// A read has brought nothing; after some of them, those who wait have a gap.
    fn read_was_fruitless(&mut self, effects: &mut impl Effects<H>) {
        let catch_up = self.catch_up();
        catch_up.fruitless += 1;
        if catch_up.fruitless < MAX_FRUITLESS {
            return;
        }
        catch_up.fruitless = 0;
        let first_held = catch_up.held.front().and_then(|item| item.position);
        self.welcome_unresolved(effects);
        if matches!(self.place.link(), Link::Recovering { .. }) {
            let top = first_held.map(Position::previous);
            self.lose(top, effects);
        }
    }

    /// Reports a gap to the live members; the room goes on behind `top`.
    fn lose(&mut self, top: Option<Position>, effects: &mut impl Effects<H>) {
        self.place.set_link(Link::Live { top });
        self.deliver(&RoomEvent::Gap { position: top }, effects);
    }

    /// Delivers the items that came while the room could not deliver any.
    pub(super) fn deliver_held(&mut self, effects: &mut impl Effects<H>) {
        if !matches!(self.place.link(), Link::Live { .. }) {
            return;
        }
        let Some(catch_up) = self.waiting() else { return };
        for item in catch_up.take_held() {
            self.take_item(item, effects);
        }
    }

    /// Lets the members join that need no read.
    pub(super) fn welcome_waiters(&mut self, effects: &mut impl Effects<H>) {
        let (link, has_history) = (self.place.link(), self.place.has_history);
        self.welcome_those(effects, |waiter| {
            Some(match link.resolve(waiter.start(), has_history)? {
                Resumed::Complete => waiter.resumed(),
                _ => waiter.unresolved(),
            })
        });
    }

    /// Lets all members join that wait, with a gap where they resume.
    pub(super) fn welcome_unresolved(&mut self, effects: &mut impl Effects<H>) {
        self.welcome_those(effects, |waiter| Some(waiter.unresolved()));
    }

    fn welcome_those(
        &mut self,
        effects: &mut impl Effects<H>,
        resolve: impl Fn(&Waiter) -> Option<Resumed>,
    ) {
        let Some(catch_up) = self.waiting() else { return };
        let is_resolved = |waiter: &mut Waiter| resolve(waiter).is_some();
        let resolved: Vec<_> = catch_up.waiters.extract_if(.., is_resolved).collect();
        for waiter in resolved {
            let Some(resumed) = resolve(&waiter) else { continue };
            let welcome = self.welcome(waiter.key, resumed, effects);
            self.catch_up().welcomes.push((waiter.key.number, welcome));
            effects.joined(waiter.key.number);
        }
    }
}

fn is_after(item: &Item, position: Position) -> bool {
    item.position.is_some_and(|at| at.is_after(position))
}

/// Returns true if `items` are all those behind `after` up to `top`.
fn is_complete(after: Position, items: &[Item], top: Position) -> bool {
    let offsets = items.iter().filter_map(|item| item.position);
    let expected =
        (after.offset.saturating_add(1)..=top.offset).map(|offset| Position { offset, ..top });
    after.epoch == top.epoch && after.offset <= top.offset && offsets.eq(expected)
}
