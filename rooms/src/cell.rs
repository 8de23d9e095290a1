//! One room and its surroundings: [`RoomCell`] does what the state machine asks for.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytestring::ByteString;
#[cfg(feature = "json")]
use sockless_core::OutgoingMessage;
use sockless_core::{Broadcast, CloseCode, CloseReason, Instant};
use sockless_driver::{BoxFuture, Sender, timeout};

use crate::error::{BusError, PublishError};
use crate::event::{Occupant, Resumed, RoomEvent, Welcome};
use crate::keyed::HasKey;
use crate::kind::Kind;
use crate::limits::{Action, Attempt};
use crate::lock;
use crate::machine::{Delivery, Effects, Handle, Presence, Room, SeatKey, Signal, SignalBody};
use crate::meter::adjust;
use crate::name::RoomKey;
use crate::node::Node;
use crate::outlet::{Delivered, Encoded, Next, Outlet, too_slow};
use crate::position::Position;
use crate::publication::Publication;
use crate::waiting::Waiting;

/// The longest time that the bus may take to read messages.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of ticks between two checks of a room for lost items: 25 s.
pub(crate) const CHECK_TICKS: u64 = 50;

/// A room that has members.
pub(crate) struct RoomCell {
    pub(crate) kind: Arc<Kind>,
    pub(crate) key: RoomKey,
    state: Mutex<State>,
}

/// A member that may publish.
pub(crate) struct Admitted {
    pub(crate) identity: Option<ByteString>,
    /// False if it has to [wait](crate::pause::pause) before it does.
    pub(crate) may_publish: bool,
}

struct State {
    room: Room<Outlet>,
    waiting: Option<Box<Waiting>>,
}

impl HasKey for RoomCell {
    fn key(&self) -> &RoomKey {
        &self.key
    }
}

impl RoomCell {
    pub(crate) fn new(kind: Arc<Kind>, key: RoomKey) -> Self {
        let node = &kind.node;
        let ttl = kind.config.get_presence_ttl();
        let presence = ttl.map(|ttl| Presence::new(node.id, node.next_incarnation(), ttl));
        let room = Room::new(!kind.config.get_history().is_none(), presence);
        Self { kind, key, state: Mutex::new(State { room, waiting: None }) }
    }

    /// The number of members.
    pub(crate) fn len(&self) -> usize {
        lock(&self.state).room.len()
    }

    /// Gives the room an input of the bus, which may hold a lock of its own: it is not called.
    pub(crate) fn act(self: &Arc<Self>, input: impl FnOnce(&mut Room<Outlet>, &mut Shell<'_>)) {
        let ((), mut todo) = self.input(input);
        let read = todo.read.take();
        self.perform(todo);
        if let Some(after) = read {
            let cell = self.clone();
            self.kind.node.runtime.spawn(Box::pin(async move { cell.read(after).await }));
        }
    }

    /// Gives the room an input. Members have received what followed from it when this returns; the
    /// rest is to be [performed](Self::perform) without any lock.
    pub(crate) fn input<T>(
        self: &Arc<Self>,
        input: impl FnOnce(&mut Room<Outlet>, &mut Shell<'_>) -> T,
    ) -> (T, Todo) {
        let mut shell = Shell::new(self);
        let mut state = lock(&self.state);
        #[cfg(feature = "metrics")]
        let before = state.room.len() as f64;
        let result = input(&mut state.room, &mut shell);
        adjust!(ROOM_MEMBERS, state.room.len() as f64 - before);
        let Shell { mut todo, delivered, .. } = shell;
        state.attend(&mut todo, &self.kind.node);
        drop(state);
        if delivered > 0 {
            self.kind.node.counters.delivered(delivered);
        }
        (result, todo)
    }

    /// Does what an input has left to do.
    pub(crate) fn perform(self: &Arc<Self>, todo: Todo) {
        for body in todo.signals {
            let signal = Signal { node: self.kind.node.id, body };
            self.kind.node.bus.signal(&self.key, signal.to_bytes());
        }
        for waker in todo.wakers {
            waker.wake();
        }
        for (key, sender) in todo.lagging {
            let task = drain(self.clone(), key, sender.clone());
            sender.spawn(task);
        }
        if let Some(after) = todo.read {
            let mut read: BoxFuture<'static, ()> = Box::pin(self.clone().read(after));
            // A bus in memory answers at once.
            let mut cx = Context::from_waker(Waker::noop());
            if read.as_mut().poll(&mut cx).is_pending() {
                self.kind.node.runtime.spawn(read);
            }
        }
    }

    /// The result of a member that waits.
    pub(crate) fn poll_welcome(&self, number: u32, cx: &Context<'_>) -> Poll<Welcome> {
        let mut state = lock(&self.state);
        state.stop_joining(number);
        match state.room.take_welcome(number) {
            Some(welcome) => Poll::Ready(welcome),
            None => {
                state.waiting.get_or_insert_default().join(number, cx);
                Poll::Pending
            }
        }
    }

    /// The one of the ticks in which this room is checked.
    pub(crate) fn turn(&self) -> u64 {
        self.key.as_str().bytes().map(u64::from).sum::<u64>() % CHECK_TICKS
    }

    /// The members on all servers.
    pub(crate) fn occupants(&self) -> Vec<Occupant> {
        let state = lock(&self.state);
        let presence = state.room.presence();
        presence.map(|presence| presence.occupants().cloned().collect()).unwrap_or_default()
    }

    /// The place until which the live members have received everything.
    pub(crate) fn position(&self) -> Option<Position> {
        lock(&self.state).room.top()
    }

    pub(crate) fn resumed(&self, key: SeatKey) -> Resumed {
        lock(&self.state).room.resumed(key)
    }

    /// Delivers to one member a message that is made of all members, and of their number.
    #[cfg(feature = "json")]
    pub(crate) fn deliver_snapshot(
        self: &Arc<Self>,
        key: SeatKey,
        encode: impl FnOnce(&mut dyn Iterator<Item = &Occupant>, usize) -> OutgoingMessage,
    ) {
        let ((), todo) = self.input(|room, shell| {
            let message = match room.presence() {
                Some(presence) => encode(&mut presence.occupants(), presence.len()),
                None => encode(&mut std::iter::empty(), room.len()),
            };
            let broadcast = Broadcast::new(message);
            shell.event = Some(Encoded { broadcast, conflation_key: None, is_message: false });
            if let Some(seat) = room.seat(key) {
                shell.deliver(&mut seat.handle, key, Delivery::Live);
            }
        });
        self.perform(todo);
    }

    /// Checks that a member may publish something.
    pub(crate) fn admit(
        &self,
        key: SeatKey,
        publication: &Publication,
    ) -> Result<Admitted, PublishError> {
        let config = &self.kind.config;
        let (len, limit) = (publication.message().len(), config.get_max_message_len());
        if len > limit {
            return Err(PublishError::TooLong { len, limit });
        }
        let (sender, identity, may_publish) = {
            let mut state = lock(&self.state);
            let may_publish = !state.is_paused();
            let outlet = &mut state.room.seat(key).ok_or(PublishError::Removed)?.handle;
            let (messages, bytes) = config.get_publish_rates();
            if messages.is_some() || bytes.is_some() {
                let now = self.kind.node.runtime.now();
                let counted = outlet.used().count(len, messages, bytes, now);
                counted.map_err(|retry_after| PublishError::TooFast { retry_after })?;
            }
            if config.get_authorize().is_none() {
                return Ok(Admitted { identity: outlet.identity().cloned(), may_publish });
            }
            (outlet.sender().clone(), outlet.identity().cloned(), may_publish)
        };
        let attempt = Attempt {
            action: Action::Publish(publication),
            room: self.key.room(),
            identity: identity.as_deref(),
            request: sender.request(),
        };
        config.get_authorize().map_or(Ok(()), |authorize| authorize(&attempt))?;
        Ok(Admitted { identity, may_publish })
    }

    /// The session of a member.
    pub(crate) fn sender(&self, key: SeatKey) -> Option<Sender> {
        Some(lock(&self.state).room.seat(key)?.handle.sender().clone())
    }

    /// Returns the time until which a member has to wait before it publishes, at most; `None` if it
    /// may publish.
    pub(crate) fn poll_publish(
        &self,
        key: SeatKey,
        ticket: &mut Option<u64>,
        cx: &Context<'_>,
    ) -> Result<Option<Instant>, PublishError> {
        let mut state = lock(&self.state);
        state.room.seat(key).ok_or(PublishError::Removed)?;
        if !state.is_paused() {
            return Ok(None);
        }
        Ok(state.waiting.get_or_insert_default().pause(ticket, cx))
    }

    pub(crate) fn cancel_pause(&self, ticket: u64) {
        let mut state = lock(&self.state);
        if let Some(waiting) = &mut state.waiting {
            waiting.cancel(ticket);
        }
        state.drop_waiting();
    }

    /// Closes the members for which publishers have waited for too long.
    pub(crate) fn close_overdue(self: &Arc<Self>, now: Instant) {
        let overdue = lock(&self.state).waiting.as_ref().map(|waiting| waiting.overdue(now));
        for key in overdue.unwrap_or_default() {
            self.expel(key, Some(&too_slow()));
            self.kind.node.counters.closed_for_lag();
        }
    }

    /// Removes a member whose session has ended or, with a reason, is to be closed.
    fn expel(self: &Arc<Self>, key: SeatKey, reason: Option<&CloseReason>) {
        let ((), todo) = self.input(|room, effects| room.expel(key, reason, effects));
        self.perform(todo);
    }

    /// The number of members, on all servers if the room has presence.
    pub(crate) fn occupancy(&self) -> usize {
        let state = lock(&self.state);
        state.room.presence().map_or_else(|| state.room.len(), Presence::len)
    }

    /// Removes a member.
    pub(crate) fn leave(self: &Arc<Self>, key: SeatKey) {
        lock(&self.state).stop_joining(key.number);
        let ((left, is_empty), todo) =
            self.input(|room, effects| (room.leave(key, effects), room.is_empty()));
        if let Some(left) = left {
            self.kind.free_place(left.sender().request());
        }
        self.perform(todo);
        if is_empty {
            self.kind.directory.vacated(&self.key);
        }
    }

    /// Reads what was published after a position, and once more for those that come meanwhile.
    async fn read(self: Arc<Self>, after: Position) {
        let node = &self.kind.node;
        let mut next = Some(after);
        while let Some(after) = next {
            node.counters.read_history();
            let replay = node.bus.replay(&self.key, after, self.kind.config.get_history());
            let mut timer = node.runtime.timer(node.runtime.now() + READ_TIMEOUT);
            let replay = timeout(&mut *timer, replay).await.unwrap_or_else(|| {
                Err(BusError::Unavailable("it did not answer in time".to_owned()))
            });
            let ((), mut todo) = self.input(|room, effects| room.replayed(after, replay, effects));
            next = todo.read.take();
            self.perform(todo);
        }
    }

    fn encode(&self, event: &RoomEvent) -> Option<Encoded> {
        let message = self.kind.config.get_envelope().encode(self.key.room(), event)?;
        let (conflation_key, is_message) = match event {
            RoomEvent::Message(item) => (item.publication.get_conflation_key().cloned(), true),
            _ => (None, false),
        };
        Some(Encoded { broadcast: Broadcast::new(message), conflation_key, is_message })
    }

    /// Takes what is to be sent next to a member that lags; `None` when that is all.
    fn next_of(&self, key: SeatKey) -> Option<Broadcast> {
        loop {
            let (next, wakers) = {
                let mut state = lock(&self.state);
                let next = state.room.seat(key)?.handle.next();
                (next, state.take_paused())
            };
            wakers.into_iter().for_each(Waker::wake);
            match next {
                Next::Send(broadcast) => return Some(broadcast),
                Next::Done => return None,
                Next::ReportDropped(count) => {
                    if let Some(encoded) = self.encode(&RoomEvent::Dropped { count }) {
                        return Some(encoded.broadcast);
                    }
                }
            }
        }
    }
}

/// Sends what waits for a member, as its session takes it.
async fn drain(cell: Arc<RoomCell>, key: SeatKey, sender: Sender) {
    while let Some(broadcast) = cell.next_of(key) {
        if sender.send(broadcast).await.is_err() {
            // Publishers may wait for it.
            cell.expel(key, None);
            return;
        }
    }
}

impl State {
    /// Returns true if publishers have to wait for slow members.
    fn is_paused(&mut self) -> bool {
        let Self { room, waiting } = self;
        waiting.as_mut().is_some_and(|waiting| waiting.is_paused(room))
    }

    /// Takes the publishers that have to wait no longer.
    fn take_paused(&mut self) -> Vec<Waker> {
        if self.waiting.is_none() || self.is_paused() {
            return Vec::new();
        }
        let paused = self.waiting.iter_mut().flat_map(|waiting| waiting.take_paused()).collect();
        self.drop_waiting();
        paused
    }

    /// A member waits for the bus no longer.
    fn stop_joining(&mut self, number: u32) {
        if let Some(waiting) = &mut self.waiting {
            waiting.take_joining(number).for_each(drop);
            self.drop_waiting();
        }
    }

    /// Notes which members have become slow, and takes the tasks that go on after an input.
    fn attend(&mut self, todo: &mut Todo, node: &Node) {
        for (key, wait) in todo.slow.drain(..) {
            self.waiting.get_or_insert_default().slow(key, node.runtime.now() + wait);
        }
        let Some(waiting) = &mut self.waiting else { return };
        for number in todo.joined.drain(..) {
            todo.wakers.extend(waiting.take_joining(number));
        }
        todo.wakers.extend(self.take_paused());
        self.drop_waiting();
    }

    fn drop_waiting(&mut self) {
        self.waiting.take_if(|waiting| waiting.is_empty());
    }
}

/// The work that is left once the lock of the room is released.
#[derive(Default)]
pub(crate) struct Todo {
    /// The members that have joined after waiting, and their tasks.
    joined: Vec<u32>,
    wakers: Vec<Waker>,
    /// The members for which messages have begun to wait.
    lagging: Vec<(SeatKey, Sender)>,
    /// The members for which publishers have to wait from now on, and for how long at most.
    slow: Vec<(SeatKey, Duration)>,
    read: Option<Position>,
    /// For the other servers.
    signals: Vec<SignalBody>,
}

/// The surroundings of a room: delivers at once, and notes the rest.
pub(crate) struct Shell<'a> {
    cell: &'a RoomCell,
    event: Option<Encoded>,
    is_gap: bool,
    delivered: u64,
    todo: Todo,
}

impl<'a> Shell<'a> {
    fn new(cell: &'a RoomCell) -> Self {
        Self { cell, event: None, is_gap: false, delivered: 0, todo: Todo::default() }
    }

    #[cold]
    fn deliver_otherwise(&mut self, outlet: &mut Outlet, key: SeatKey, kind: Delivery) -> bool {
        let counters = &self.cell.kind.node.counters;
        if self.is_gap {
            counters.gap();
        }
        let Some(event) = &self.event else {
            if self.is_gap {
                self.close_for_gap(outlet);
            }
            return !self.is_gap;
        };
        match outlet.deliver(event, kind, self.cell.kind.config.get_lag()) {
            Delivered::Sent => {}
            Delivered::Waits { is_first, dropped, conflated, pauses } => {
                counters.lagged(dropped, conflated);
                self.todo.slow.extend(pauses.map(|wait| (key, wait)));
                if is_first {
                    self.todo.lagging.push((key, outlet.sender().clone()));
                }
            }
            Delivered::TooSlow => {
                counters.closed_for_lag();
                return false;
            }
            Delivered::Closed => return false,
        }
        self.delivered += 1;
        true
    }

    /// A gap must not be silent: without a message for it, the client has to connect again.
    fn close_for_gap(&self, outlet: &Outlet) {
        let reason = "messages of the room were lost: connect again";
        outlet.sender().close((CloseCode::TRY_AGAIN_LATER, reason));
    }
}

impl Effects<Outlet> for Shell<'_> {
    fn node(&self) -> u64 {
        self.cell.kind.node.id
    }

    fn begin(&mut self, event: &RoomEvent) {
        self.is_gap = matches!(event, RoomEvent::Gap { .. });
        self.event = self.cell.encode(event);
    }

    #[inline]
    fn deliver(&mut self, outlet: &mut Outlet, key: SeatKey, kind: Delivery) -> bool {
        // Nearly always the whole of it.
        if !self.is_gap
            && let Some(event) = &self.event
            && outlet.deliver_at_once(event)
        {
            self.delivered += 1;
            return true;
        }
        self.deliver_otherwise(outlet, key, kind)
    }

    fn read(&mut self, after: Position) {
        self.todo.read = Some(after);
    }

    fn signal(&mut self, signal: SignalBody) {
        self.todo.signals.push(signal);
    }

    fn joined(&mut self, number: u32) {
        self.todo.joined.push(number);
    }
}
