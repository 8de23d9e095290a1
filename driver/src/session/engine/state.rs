//! The state of a session, as it is under the lock: [`State`].
//!
//! Its fields are private to this module and the ones below it: [`receiving`], [`sending`],
//! [`driving`] and [`ponging`].

mod driving;
mod ponging;
mod receiving;
mod sending;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use sockless_core::{CloseReason, Closed, Config, Instant, Observer, Stats};

use crate::meter::SessionMeter;
use crate::session::engine::backlog::Backlog;
use crate::session::engine::budget::{Account, Budget};
use crate::session::engine::machine::Machine;
use crate::session::engine::pongs::Pongs;
use crate::session::engine::waiters::{Slot, Wait, Waiters, Wakes};
use crate::spans::SessionSpan;

pub(crate) use driving::{Reading, Round};

pub(crate) struct State {
    machine: Machine,
    /// Bytes that have been read and not parsed.
    inbound: BytesMut,
    /// The read buffer or the machine may have an item.
    is_unparsed: bool,
    /// Items that were read ahead.
    backlog: Backlog,
    /// Once the peer has ended a transport that is left unread: how much longer the backlog may be
    /// than [`Config::read_ahead`], in bytes. What was received since then counts, so that only
    /// what is much longer than on the wire has to wait.
    allowance: usize,
    /// When an item of the backlog was last received.
    received_at: Instant,
    /// The length of the part of a message that the receiver has joined.
    joined: usize,
    delivery: Delivery,
    /// A reader in a task of its own waits for the next part of an unfinished message.
    wants_partial: bool,
    transport: Transport,
    /// The number of bytes that the transport has taken and flushed.
    flushed: u64,
    /// A message is being sent in chunks, and others must wait for its end.
    has_writer: bool,
    driver: Driver,
    /// The pongs that tasks wait for.
    pongs: Option<Box<Pongs>>,
    order: Order,
    closed: Option<Closed>,
    /// The task that waits to receive.
    receiver: Option<Waker>,
    waiters: Waiters,
    /// The share of the server's memory budget that the session takes.
    account: Option<Account>,
    /// The wakers to call once the lock is released.
    wakes: Wakes,
    /// The number of the application's handles.
    handles: usize,
    /// The drop of the last handle closes the session.
    close_with_last: bool,
    meter: SessionMeter,
    /// Empty once the driver has been dropped: a handle that outlives it does not prolong the span.
    span: SessionSpan,
}

/// The use that is made of received items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    /// They are kept for the application.
    Keeps,
    /// The backlog is full, and we have sent a Close frame or the transport is gone: new items are
    /// dropped, those in the backlog can still be received.
    DropsNew,
    /// The application receives no longer: all items are dropped.
    DropsAll,
}

/// The state of the transport, as far as the session's tasks need to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    /// It is read.
    Reads,
    /// It is left unread until the application has received something.
    Paused,
    /// It delivers nothing more.
    Ended,
    /// It has been dropped.
    Gone,
}

/// The task that drives the session.
struct Driver {
    turn: Turn,
    /// The time at which the driver's turn began.
    now: Instant,
    /// A task has asked it to look again since it last did.
    is_asked: bool,
    /// The amount that was taken out of the read buffer in this turn, in units of
    /// [`receiving::weight`].
    taken: u32,
    /// The number of bytes that were read and written in this turn, with [`CODING_COST`] for each
    /// that was encoded or decoded.
    ///
    /// [`CODING_COST`]: sockless_core::limits::CODING_COST
    moved: u32,
    waker: Option<Waker>,
}

impl Driver {
    /// Records that an item of `len` bytes was taken out of the read buffer.
    #[inline]
    fn take(&mut self, len: usize) {
        self.taken = self.taken.saturating_add(receiving::weight(len));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The driver is at work, so that its time is current.
    Polling,
    /// It waits, and must be woken when it is asked for something.
    Parked,
    /// It will be polled without our doing.
    Woken,
}

/// The most drastic order that a handle has given to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Run,
    /// Drop the transport at once, whatever it still holds.
    Terminate,
    /// Drop the handler too.
    Kill,
}

impl State {
    pub(crate) fn new(
        mut machine: Machine,
        inbound: BytesMut,
        meter: SessionMeter,
        span: SessionSpan,
        now: Instant,
        close_with_last: bool,
    ) -> Self {
        if meter.is_on() || span.is_on() {
            machine.start_counting();
        }
        let driver =
            Driver { turn: Turn::Woken, now, is_asked: false, taken: 0, moved: 0, waker: None };
        Self {
            machine,
            inbound,
            is_unparsed: true,
            backlog: Backlog::default(),
            allowance: 0,
            received_at: now,
            joined: 0,
            delivery: Delivery::Keeps,
            wants_partial: false,
            transport: Transport::Reads,
            flushed: 0,
            has_writer: false,
            driver,
            pongs: None,
            order: Order::Run,
            closed: None,
            receiver: None,
            waiters: Waiters::default(),
            account: None,
            wakes: Wakes::default(),
            handles: 0,
            close_with_last,
            meter,
            span,
        }
    }

    pub(crate) fn charge_to(&mut self, budget: Arc<Budget>) {
        self.account = Some(Account::new(budget));
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        self.machine.config()
    }

    /// Replaces the settings.
    pub(crate) fn set_config(&mut self, config: Arc<Config>, now: Instant) {
        self.machine.set_config(config, now);
        self.look_again();
    }

    pub(crate) fn start_counting(&mut self) {
        self.machine.start_counting();
    }

    pub(crate) fn stats(&mut self) -> Stats {
        let mut stats = self.machine.stats();
        stats.round_trip = self.round_trip();
        stats
    }

    pub(crate) fn meter(&self) -> &SessionMeter {
        &self.meter
    }

    pub(crate) fn span(&self) -> &SessionSpan {
        &self.span
    }

    pub(crate) fn drop_span(&mut self) {
        self.span = SessionSpan::none();
    }

    /// Records the metrics of what has happened since the last call.
    #[inline]
    fn record_metrics(&mut self) {
        if self.meter.is_on() {
            let mut stats = self.machine.stats();
            if self.transport == Transport::Gone {
                stats.queued_bytes = 0;
            }
            self.meter.record(&stats, self.held());
        }
    }

    /// The number of bytes that are held for this session alone.
    #[inline]
    fn held(&self) -> usize {
        self.backlog.bytes() + self.inbound.len() + self.joined + self.machine.held_bytes()
    }

    pub(crate) fn set_observer(
        &mut self,
        observer: Option<Box<dyn Observer>>,
    ) -> Option<Box<dyn Observer>> {
        self.machine.set_observer(observer)
    }

    /// Starts to close.
    pub(crate) fn close(&mut self, reason: CloseReason, now: Instant) {
        self.machine.close(reason, now);
        self.look_again();
    }

    /// Sends a Close frame ahead of what is queued.
    pub(crate) fn fail_session(&mut self, reason: CloseReason, now: Instant) {
        self.machine.fail(reason, now);
        self.look_again();
    }

    /// Ends the connection and its transport at once.
    pub(crate) fn terminate(&mut self, now: Instant) {
        self.abort(Order::Terminate, now);
    }

    /// Ends the connection, its transport and its handler at once.
    pub(crate) fn kill(&mut self, now: Instant) {
        self.abort(Order::Kill, now);
    }

    fn abort(&mut self, order: Order, now: Instant) {
        self.order = self.order.max(order);
        self.machine.abort(now);
        self.look_again();
    }

    /// Puts messages on top of frames. Frames that have not been received become part of messages.
    pub(crate) fn raise_to_messages(&mut self, now: Instant) {
        self.machine.raise_to_messages(self.backlog.take(), &mut self.inbound, now);
        self.look_again();
    }

    /// Returns true if the session has neither ended nor begun to end.
    pub(crate) fn is_open(&self) -> bool {
        self.closed.is_none() && self.machine.is_open()
    }

    pub(crate) fn add_handles(&mut self, count: usize) {
        self.handles += count;
    }

    /// Returns true if the session is to be closed because this was its last handle.
    pub(crate) fn drop_handle(&mut self) -> bool {
        self.handles -= 1;
        self.handles == 0 && self.close_with_last
    }

    pub(crate) fn poll_closed(&mut self, slot: &mut Slot, cx: &Context<'_>) -> Poll<Closed> {
        match &self.closed {
            Some(closed) => Poll::Ready(closed.clone()),
            None => {
                self.wait(Wait::Closed, slot, cx);
                Poll::Pending
            }
        }
    }

    /// The time: that of the driver's turn, or that of `clock` outside of a turn.
    #[inline]
    pub(crate) fn now_or(&self, clock: impl FnOnce() -> Instant) -> Instant {
        match self.driver.turn {
            Turn::Polling => self.driver.now,
            // Never behind that of the last turn, whichever clock it is.
            Turn::Parked | Turn::Woken => clock().max(self.driver.now),
        }
    }

    pub(crate) fn stop_waiting(&mut self, slot: &Slot) {
        self.waiters.remove(slot, &mut self.wakes);
    }

    /// Returns true if there are wakers to call once the lock is released.
    #[inline]
    pub(crate) fn has_wakes(&self) -> bool {
        !self.wakes.is_empty()
    }

    pub(crate) fn take_wakes(&mut self) -> Wakes {
        std::mem::take(&mut self.wakes)
    }

    /// Registers the task of `cx` to be woken once `wait` holds.
    fn wait(&mut self, wait: Wait, slot: &mut Slot, cx: &Context<'_>) {
        self.waiters.wait(wait, slot, cx, &mut self.wakes);
    }

    /// Returns true if the condition of `wait` holds. A task checks it before it waits, and the
    /// driver before it wakes.
    fn holds(&self, wait: Wait) -> bool {
        match wait {
            Wait::Closed => self.closed.is_some(),
            // Each task waits for a position or a pong of its own.
            Wait::Flushed | Wait::Pong => false,
            Wait::Room => self.may_send() || !self.machine.is_open(),
            Wait::ChunkRoom => self.machine.is_writable() || !self.machine.can_send_chunk(),
            Wait::Writer => !self.has_writer,
        }
    }

    /// Wakes all tasks whose condition holds. Returns true if `own` is among them, which is not
    /// woken.
    #[inline]
    pub(crate) fn wake_waiters(&mut self, own: &Waker) -> bool {
        !self.waiters.is_empty() && self.wake_some(own)
    }

    fn wake_some(&mut self, own: &Waker) -> bool {
        let mut waits = [Wait::Flushed; 4];
        let mut count = 0;
        for wait in [Wait::Closed, Wait::Room, Wait::ChunkRoom, Wait::Writer] {
            if self.holds(wait) {
                waits[count] = wait;
                count += 1;
            }
        }
        self.waiters.wake(&waits[..count], own, &mut self.wakes)
    }

    fn wake_receiver(&mut self) {
        if let Some(waker) = self.receiver.take() {
            self.wakes.push(waker);
        }
    }

    fn set_closed(&mut self, closed: Closed) {
        if self.closed.is_some() {
            return;
        }
        self.log_closed(&closed);
        self.meter.closed(&closed);
        self.closed = Some(closed);
        self.waiters.wake_all(&mut self.wakes);
        self.wake_receiver();
    }

    /// Logs the end of the session within its span, and records there how it ended.
    fn log_closed(&self, closed: &Closed) {
        let _entered = self.span.enter();
        tracing::debug!(%closed, "the session ended");
        self.span.close(closed, || self.machine.stats(), self.driver.now);
    }

    /// The machine may have something to report: has the driver look.
    fn look_again(&mut self) {
        self.is_unparsed = true;
        self.ask_driver();
    }

    /// Has the driver look again; wakes it if it is parked.
    #[inline]
    fn ask_driver(&mut self) {
        self.driver.is_asked = true;
        if self.driver.turn == Turn::Parked {
            self.driver.turn = Turn::Woken;
            if let Some(waker) = self.driver.waker.take() {
                self.wakes.push(waker);
            }
        }
    }
}
