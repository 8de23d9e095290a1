//! What a session's handles and its driver share, behind one short lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::{CloseCode, CloseReason, Closed, Config, Event, Instant, Message, Overflow};

use crate::request::Request;
use crate::runtime::Runtime;
use crate::session::Sleep;
use crate::session::engine::budget::{Account, Budget};
use crate::session::engine::buffers;
use crate::session::engine::locked::Locked;
use crate::session::engine::machine::{Item, Machine};
use crate::session::engine::waiters::{Slot, Wait, Waiters, Wakes};

/// How much one turn takes out of what was read before the neighbours get theirs, in units of [`weight`]: as
/// many small messages, or 1 MiB of long ones.
const TURN: usize = 4096;

/// One connection. The lock is never held across an await, nor while the handler is polled.
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) request: Request,
}

pub(crate) struct State {
    pub(crate) machine: Machine,
    /// Bytes that were read and have no meaning yet.
    pub(crate) inbound: BytesMut,
    /// What was read ahead.
    queue: VecDeque<Item>,
    /// What the queue costs in bytes.
    queued: usize,
    /// When the driver last looked at the clock.
    pub(crate) now: Instant,
    /// The read buffer or the machine may have something to tell.
    pub(crate) unparsed: bool,
    /// The driver is polling the handler, so that `now` is now.
    pub(crate) in_turn: bool,
    /// What was taken out of the read buffer in this turn, in units of [`weight`].
    pub(crate) taken: usize,
    /// Something was asked of the driver since it last looked.
    pub(crate) asked: bool,
    /// The driver leaves the transport alone until the application has received something.
    pub(crate) paused: bool,
    /// A message is being sent bit by bit, and others must wait.
    pub(crate) writing: bool,
    /// Nobody will receive any more: what comes is dropped.
    pub(crate) deaf: bool,
    /// A reader in a task of its own wants what has arrived of a message.
    wants_partial: bool,
    /// We have sent a Close frame, and what arrives no longer fits: it is dropped from here on.
    overflowed: bool,
    /// The peer has ended the transport, so that what is left of it is read, whether or not there is room.
    pub(crate) hung_up: bool,
    /// Nothing more will be read.
    pub(crate) input_over: bool,
    /// How many of the bytes that were ever queued the transport has taken and flushed.
    pub(crate) flushed: u64,
    /// The transport is gone.
    pub(crate) transport_over: bool,
    /// The transport is to end at once, whatever it still holds.
    pub(crate) terminated: bool,
    /// The driver is to end at once, and its handler with it.
    pub(crate) killed: bool,
    pub(crate) closed: Option<Closed>,
    /// The driver's task, as it last parked.
    driver: Option<Waker>,
    /// The driver is parked, and nobody has woken it for what was asked of it since.
    pub(crate) parked: bool,
    receiver: Option<Waker>,
    pub(crate) waiters: Waiters,
    /// What the session holds, as its host's budget knows it.
    account: Option<Account>,
    /// Who is to be woken once the lock is released.
    pub(crate) wakes: Wakes,
    /// The last handle to go closes the session.
    close_when_unused: bool,
    /// How many handles there are.
    handles: usize,
}

impl Shared {
    pub(crate) fn new(
        machine: Machine,
        inbound: BytesMut,
        runtime: Arc<dyn Runtime>,
        mut request: Request,
        close_when_unused: bool,
    ) -> Arc<Self> {
        request.pack();
        let now = runtime.now();
        let state = State {
            machine,
            unparsed: true,
            inbound,
            queue: VecDeque::new(),
            queued: 0,
            now,
            in_turn: false,
            taken: 0,
            asked: false,
            paused: false,
            writing: false,
            deaf: false,
            wants_partial: false,
            overflowed: false,
            hung_up: false,
            input_over: false,
            flushed: 0,
            transport_over: false,
            terminated: false,
            killed: false,
            closed: None,
            driver: None,
            parked: false,
            receiver: None,
            waiters: Waiters::default(),
            account: None,
            wakes: Wakes::default(),
            close_when_unused,
            handles: 0,
        };
        Arc::new(Self { state: Mutex::new(state), runtime, request })
    }

    /// The state. A panic under the lock is a bug of ours that poisons nothing: every change is whole
    /// before the next call.
    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked::new(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has what the session holds count towards `budget`.
    pub(crate) fn charge_to(&self, budget: Arc<Budget>) {
        self.lock().account = Some(Account::new(budget));
    }

    /// Changes the machine, and has the driver look at what became of it.
    pub(crate) fn command(&self, change: impl FnOnce(&mut Machine, Instant)) {
        let now = self.runtime.now();
        let mut state = self.lock();
        change(&mut state.machine, now);
        state.unparsed = true;
        state.ask_driver();
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.command(|machine, now| machine.close(reason, now));
    }

    /// Changes the settings. `change` runs without the lock, and again when others changed them meanwhile.
    pub(crate) fn reconfigure(&self, mut change: impl FnMut(Config) -> Config) {
        loop {
            let before = self.lock().machine.config().clone();
            let config = Arc::new(change(Config::clone(&before)));
            let now = self.runtime.now();
            let mut state = self.lock();
            if Arc::ptr_eq(state.machine.config(), &before) {
                state.machine.set_config(config, now);
                state.unparsed = true;
                return state.ask_driver();
            }
        }
    }

    /// The message that was being sent in parts has ended, or will not.
    pub(crate) fn stop_writing(&self) {
        let mut state = self.lock();
        state.writing = false;
        state.wake_waiters(Waker::noop());
    }

    /// A message is longer than a receiver puts together.
    pub(crate) fn reject_message(&self, len: u64) {
        let now = self.runtime.now();
        let mut state = self.lock();
        if let Some(connection) = state.machine.messages() {
            connection.reject_message(len, now);
        }
        // What was read behind it is not received either, whether or not the peer could still be told.
        state.deaf = true;
        state.drop_queue();
        state.unparsed = true;
        state.ask_driver();
    }

    /// Has long messages come in chunks of `len` bytes, or as the settings say.
    pub(crate) fn set_chunk_len(&self, len: Option<u32>) {
        let mut state = self.lock();
        state.wants_partial = false;
        if let Some(connection) = state.machine.messages() {
            connection.set_chunk_len(len);
        }
    }

    pub(crate) fn terminate(&self) {
        let now = self.runtime.now();
        let mut state = self.lock();
        state.terminated = true;
        state.machine.abort(now);
        state.unparsed = true;
        state.ask_driver();
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::until(&*self.runtime, self.runtime.now() + duration)
    }

    /// Ends the driver and drops its handler.
    pub(crate) fn kill(&self) {
        let now = self.runtime.now();
        let mut state = self.lock();
        state.killed = true;
        state.machine.abort(now);
        state.unparsed = true;
        state.ask_driver();
    }

    /// Puts messages on top of frames; what was not received is read again.
    pub(crate) fn become_messages(&self) {
        let now = self.runtime.now();
        let mut state = self.lock();
        let State { machine, inbound, queue, .. } = &mut *state;
        machine.raise_to_messages(queue.drain(..), inbound, now);
        state.drop_queue();
        state.unparsed = true;
        state.ask_driver();
    }

    /// What comes from now on is dropped.
    pub(crate) fn stop_receiving(&self) {
        let mut state = self.lock();
        state.deaf = true;
        state.drop_queue();
        state.ask_driver();
    }

    pub(crate) fn add_handle(&self) {
        self.lock().handles += 1;
    }

    pub(crate) fn drop_handle(&self) {
        let unused = {
            let mut state = self.lock();
            state.handles -= 1;
            state.handles == 0 && state.close_when_unused
        };
        if unused {
            self.close(CloseCode::NORMAL.into());
        }
    }

    /// The next item, or how the connection ended once everything was received.
    #[inline]
    pub(crate) fn poll_item(&self, cx: &Context<'_>) -> Poll<Result<Item, Closed>> {
        let mut state = self.lock();
        if let Some(item) = state.next_item(|| self.runtime.now()) {
            return Poll::Ready(Ok(item));
        }
        if let Some(closed) = &state.closed {
            return Poll::Ready(Err(closed.clone()));
        }
        state.wait_for_item(cx);
        Poll::Pending
    }

    /// What has arrived of the message that is arriving, although it is neither whole nor a chunk; the driver
    /// wakes the receiver for the next bit of it.
    pub(crate) fn poll_partial(&self) -> Option<Item> {
        let mut state = self.lock();
        if state.may_look() {
            return state.take_partial();
        }
        state.wants_partial = true;
        state.ask_driver();
        None
    }

    /// How the connection ended.
    pub(crate) fn poll_closed(&self, slot: &mut Slot, cx: &Context<'_>) -> Poll<Closed> {
        let mut state = self.lock();
        match &state.closed {
            Some(closed) => Poll::Ready(closed.clone()),
            None => {
                state.wait(Wait::Closed, slot, cx);
                Poll::Pending
            }
        }
    }

    /// Forgets that somebody waits.
    #[inline]
    pub(crate) fn stop_waiting(&self, slot: &Slot) {
        if slot.is_taken() {
            let mut state = self.lock();
            let State { waiters, wakes, .. } = &mut *state;
            waiters.remove(slot, wakes);
        }
    }
}

/// How much of a turn it costs to take a message of `len` bytes: as much as one small message for each 256
/// bytes, so that a turn is bounded in bytes too, whatever they were inflated from.
#[inline]
fn weight(len: usize) -> usize {
    1 + len / 256
}

impl State {
    /// The time: that of the driver's turn, or, outside of a turn, as `clock` reads it.
    #[inline]
    pub(crate) fn now_or(&self, clock: impl FnOnce() -> Instant) -> Instant {
        if self.in_turn { self.now } else { clock() }
    }

    /// The next message, if nothing else comes before it: what most calls of `recv` find.
    #[inline]
    pub(crate) fn next_message(&mut self) -> Option<Message> {
        if !self.queue.is_empty() || !self.may_parse() {
            return None;
        }
        let connection = self.machine.messages()?;
        match connection.poll_event(&mut self.inbound, self.now) {
            Some(Event::Message(message)) => {
                self.taken += weight(message.len());
                // An open connection has nothing to tell but what it is told.
                self.unparsed =
                    !self.inbound.is_empty() || self.input_over || !connection.is_open();
                Some(message)
            }
            Some(event) => {
                if let Some(item) = self.settle(Item::Event(event)) {
                    self.enqueue(item);
                }
                None
            }
            None => {
                self.unparsed = false;
                None
            }
        }
    }

    /// Whether a receiver can only wait.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.closed.is_none() && !self.may_parse()
    }

    /// Has a receiver woken once there is something.
    #[inline]
    pub(crate) fn wait_for_item(&mut self, cx: &Context<'_>) {
        self.wakes.replace(&mut self.receiver, cx.waker());
    }

    /// Has the task of `cx` woken once `wait` holds.
    pub(crate) fn wait(&mut self, wait: Wait, slot: &mut Slot, cx: &Context<'_>) {
        self.waiters.wait(wait, slot, cx, &mut self.wakes);
    }

    /// Whether what `wait` stands for has come about, so that who waits for it may go on.
    pub(crate) fn holds(&self, wait: Wait) -> bool {
        match wait {
            Wait::Closed => self.closed.is_some(),
            // Each waits for a mark of its own.
            Wait::Flushed => false,
            Wait::Room => self.may_send() || !self.machine.is_open(),
            Wait::PartRoom => self.machine.is_writable() || !self.machine.can_send_chunk(),
            Wait::Writer => !self.writing,
        }
    }

    /// Wakes all whose wait is over, and says whether `own` is among them, which is not woken.
    #[inline]
    pub(crate) fn wake_waiters(&mut self, own: &Waker) -> bool {
        !self.waiters.is_empty() && self.wake_some(own)
    }

    fn wake_some(&mut self, own: &Waker) -> bool {
        let mut waits = [Wait::Flushed; 4];
        let mut count = 0;
        for wait in [Wait::Closed, Wait::Room, Wait::PartRoom, Wait::Writer] {
            if self.holds(wait) {
                waits[count] = wait;
                count += 1;
            }
        }
        self.waiters.wake(&waits[..count], own, &mut self.wakes)
    }

    /// Has the budget know what is held, and says whether the session is to end for it.
    #[inline]
    pub(crate) fn is_over_budget(&mut self) -> bool {
        let held = self.queued + self.inbound.len() + self.machine.held_bytes();
        self.account.as_mut().is_some_and(|account| account.settle(held))
    }

    fn wake_receiver(&mut self) {
        if let Some(waker) = self.receiver.take() {
            self.wakes.push(waker);
        }
    }

    fn next_item(&mut self, clock: impl FnOnce() -> Instant) -> Option<Item> {
        if let Some(item) = self.queue.pop_front() {
            self.queued -= item.cost();
            let now = self.now_or(clock);
            if let Some(connection) = self.machine.messages() {
                connection.handle_delivery(now);
            }
            if self.paused && self.has_room() {
                self.ask_driver();
            }
            return Some(item);
        }
        if self.may_parse() { self.parse() } else { None }
    }

    /// Whether a receiver may look into the read buffer.
    #[inline]
    fn may_parse(&self) -> bool {
        self.unparsed && self.may_look()
    }

    /// Outside of the driver's turn `now` may be long past, and the driver reads ahead anyway; at the end of it
    /// the neighbours come first, and the handler is polled again in the next. Behind what was dropped nothing
    /// is received: there would be a gap.
    #[inline]
    fn may_look(&self) -> bool {
        (self.in_turn || self.transport_over)
            && self.has_turn_left()
            && !self.deaf
            && !self.overflowed
    }

    fn take_partial(&mut self) -> Option<Item> {
        let connection = self.machine.messages()?;
        let item = Item::Event(connection.poll_partial(&mut self.inbound, self.now)?);
        self.taken += weight(item.len());
        // More of the message may lie in the read buffer.
        self.unparsed = true;
        self.settle(item)
    }

    /// Takes the next item out of the read buffer.
    fn parse(&mut self) -> Option<Item> {
        while self.has_turn_left() {
            let Some(item) = self.machine.poll(&mut self.inbound, self.now) else {
                self.unparsed = false;
                break;
            };
            self.taken += weight(item.len());
            let item = self.settle(item);
            if item.is_some() {
                return item;
            }
        }
        None
    }

    /// Gives back what is the application's; the rest the connection has dealt with, but for the end.
    fn settle(&mut self, item: Item) -> Option<Item> {
        match item {
            Item::Event(Event::Message(_) | Event::Chunk(_)) | Item::Frame(_) => return Some(item),
            Item::Event(Event::Closed(closed)) => self.set_closed(closed),
            Item::Event(_) => {}
        }
        None
    }

    /// Reads ahead what the handler has not taken, as far as there is room, so that pings, Close
    /// frames and the end are noticed.
    pub(crate) fn parse_ahead(&mut self) {
        // Once nothing more comes, what is left is as good as held already.
        while self.unparsed && (self.has_room() || self.input_over) && self.has_turn_left() {
            let Some(item) = self.parse() else { break };
            if !self.is_dropped() {
                self.enqueue(item);
                self.wake_receiver();
            }
        }
        if self.wants_partial
            && self.queue.is_empty()
            && !self.deaf
            && let Some(item) = self.take_partial()
        {
            self.wants_partial = false;
            self.enqueue(item);
            self.wake_receiver();
        }
    }

    /// Whether what arrives now is not kept: when it is not received any more, and once there is no room for
    /// it after our Close frame, which the peer's answer stands behind.
    fn is_dropped(&mut self) -> bool {
        let is_full =
            !self.queue.is_empty() && self.queued >= self.machine.config().get_read_ahead();
        self.overflowed |= is_full && !self.machine.is_open() && !self.hung_up && !self.input_over;
        self.deaf || self.overflowed
    }

    /// Whether the turn may go on before the neighbours get theirs.
    #[inline]
    pub(crate) fn has_turn_left(&self) -> bool {
        self.taken < TURN || self.transport_over
    }

    fn enqueue(&mut self, item: Item) {
        self.queued += item.cost();
        if self.queue.capacity() == 0 {
            self.queue = buffers::lend_queue();
        }
        self.queue.push_back(item);
    }

    /// Whether there is room for a message, and no other one is in the middle.
    #[inline]
    pub(crate) fn may_send(&self) -> bool {
        !self.writing && self.machine.is_writable()
    }

    pub(crate) fn overflow(&self, setting: impl FnOnce(&Config) -> Overflow) -> Overflow {
        setting(self.machine.config())
    }

    /// A queue is full, and its setting says not to wait.
    pub(crate) fn close_on_overflow(&mut self, now: Instant, why: &'static str) {
        self.machine.close((CloseCode::TRY_AGAIN_LATER, why).into(), now);
        self.unparsed = true;
        self.ask_driver();
    }

    /// The queue of what was read ahead is full, and its setting says not to wait: it closes, and drops
    /// what comes from now on, so that the handshake gets through.
    pub(crate) fn overflow_received(&mut self) {
        self.deaf = true;
        let now = self.now;
        self.close_on_overflow(now, "messages come faster than they are received");
    }

    /// Whether more may be read ahead: always, where it would not be kept.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.queue.is_empty()
            || self.queued < self.machine.config().get_read_ahead()
            || self.deaf
            || self.hung_up
            || !self.machine.is_open()
    }

    /// Whether the task of `waker` waits to receive.
    #[inline]
    pub(crate) fn is_received_by(&self, waker: &Waker) -> bool {
        self.receiver.as_ref().is_some_and(|receiver| receiver.will_wake(waker))
    }

    fn set_closed(&mut self, closed: Closed) {
        if self.closed.is_some() {
            return;
        }
        tracing::debug!(%closed, "the session ended");
        self.closed = Some(closed);
        let Self { waiters, wakes, .. } = self;
        waiters.wake_all(wakes);
        self.wake_receiver();
    }

    fn drop_queue(&mut self) {
        self.queue = VecDeque::new();
        self.queued = 0;
    }

    /// Has the driver look again, now if it is parked.
    #[inline]
    pub(crate) fn ask_driver(&mut self) {
        self.asked = true;
        if std::mem::take(&mut self.parked)
            && let Some(waker) = self.driver.take()
        {
            self.wakes.push(waker);
        }
    }

    pub(crate) fn park_driver(&mut self, waker: &Waker) {
        self.parked = true;
        self.wakes.replace(&mut self.driver, waker);
        if self.queue.is_empty() && self.queue.capacity() > 0 {
            buffers::give_back_queue(std::mem::take(&mut self.queue));
        }
    }
}
