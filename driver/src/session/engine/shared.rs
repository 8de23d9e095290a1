//! The part of a session that its handles and its driver share: [`Shared`].

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::{CloseCode, CloseReason, Closed, Config, Instant, Observer, Stats};

use crate::meter::{self, SessionMeter, Stopwatch};
use crate::request::Request;
use crate::runtime::{HandlerEnd, Runtime};
use crate::session::engine::budget::Budget;
use crate::session::engine::handler_turn::HandlerTurn;
use crate::session::engine::locked::Locked;
use crate::session::engine::machine::{Item, Machine};
use crate::session::engine::state::State;
use crate::session::engine::waiters::Slot;
use crate::session::sleep::Sleep;
use crate::spans::SessionSpan;

/// One session. The lock is never held across an await, nor while the handler is polled.
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) request: Request,
}

impl Shared {
    pub(crate) fn new(
        machine: Machine,
        inbound: BytesMut,
        runtime: Arc<dyn Runtime>,
        mut request: Request,
        close_with_last_handle: bool,
        now: Instant,
    ) -> Arc<Self> {
        let route = request.take_route();
        let meter = SessionMeter::open(machine.role(), route.as_ref(), now);
        let span = SessionSpan::open(machine.role(), &request, route.as_deref(), now);
        request.pack();
        let state = State::new(machine, inbound, meter, span, now, close_with_last_handle);
        Arc::new(Self { state: Mutex::new(state), runtime, request })
    }

    /// Locks the state. A panic under the lock poisons nothing, because each change is complete
    /// before the next call.
    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked::new(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the span of the session, which is empty once its driver has been dropped.
    pub(crate) fn span(&self) -> SessionSpan {
        self.lock().span().clone()
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.runtime.now()
    }

    /// The time for a send: the same for all sends in one turn of a handler, whatever they are sent to,
    /// which are counted.
    #[inline]
    pub(crate) fn send_time(&self) -> Instant {
        HandlerTurn::send_time(&self.runtime)
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::until(&*self.runtime, self.now() + duration)
    }

    /// Counts the memory that the session holds towards `budget`.
    pub(crate) fn charge_to(&self, budget: Arc<Budget>) {
        self.lock().charge_to(budget);
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(self.lock().config())
    }

    /// Changes the settings. `change` runs without the lock, and again if another task changed them
    /// meanwhile.
    pub(crate) fn reconfigure(&self, mut change: impl FnMut(Config) -> Config) {
        loop {
            let before = self.config();
            let config = Arc::new(change(Config::clone(&before)));
            let now = self.now();
            let mut state = self.lock();
            if Arc::ptr_eq(state.config(), &before) {
                return state.set_config(config, now);
            }
        }
    }

    pub(crate) fn start_counting(&self) {
        self.lock().start_counting();
    }

    pub(crate) fn stats(&self) -> Stats {
        self.lock().stats()
    }

    /// Sets the observer. The former one is shown nothing more.
    pub(crate) fn set_observer(&self, observer: Option<Box<dyn Observer>>) {
        let former = self.lock().set_observer(observer);
        // Without the lock: what drops with it may call methods of the session.
        drop(former);
    }

    /// Records that the opening handshake, which began at `began`, is complete.
    pub(crate) fn handshake_ended(&self, began: Stopwatch) {
        if meter::IS_ENABLED {
            self.lock().meter().handshake_ended(began, self.now());
        }
    }

    /// Records that the handler has ended.
    pub(crate) fn handler_ended(&self, end: &HandlerEnd<'_>) {
        if meter::IS_ENABLED {
            let outcome = match end {
                HandlerEnd::Returned => "returned",
                HandlerEnd::Failed { .. } => "failed",
                HandlerEnd::Panicked { .. } => "panicked",
            };
            self.lock().meter().handler_ended(outcome, self.now());
        }
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        let now = self.now();
        self.lock().close(reason, now);
    }

    /// Sends a Close frame ahead of what is queued.
    pub(crate) fn fail(&self, reason: CloseReason) {
        let now = self.now();
        self.lock().fail_session(reason, now);
    }

    /// Drops the transport.
    pub(crate) fn terminate(&self) {
        let now = self.now();
        self.lock().terminate(now);
    }

    /// Ends the driver, and drops the transport and the handler.
    pub(crate) fn kill(&self) {
        let now = self.now();
        self.lock().kill(now);
    }

    /// Rejects a message that is longer than a receiver joins.
    pub(crate) fn reject_message(&self, len: u64) {
        let now = self.now();
        self.lock().reject_message(len, now);
    }

    /// Puts messages on top of frames.
    pub(crate) fn raise_to_messages(&self) {
        let now = self.now();
        self.lock().raise_to_messages(now);
    }

    /// Starts to close, and drops what was received and will be.
    pub(crate) fn close_and_drop_received(&self, reason: CloseReason) {
        let now = self.now();
        let mut state = self.lock();
        state.close(reason, now);
        state.stop_receiving();
    }

    pub(crate) fn add_handles(&self, count: usize) {
        self.lock().add_handles(count);
    }

    pub(crate) fn drop_handle(&self) {
        self.drop_from(self.lock());
    }

    /// Drops the handle of a receiver, with what was received and will be.
    pub(crate) fn drop_receiver(&self) {
        let mut state = self.lock();
        state.stop_receiving();
        self.drop_from(state);
    }

    fn drop_from(&self, mut state: Locked<'_>) {
        let is_unused = state.drop_handle();
        drop(state);
        if is_unused {
            self.close(CloseCode::NORMAL.into());
        }
    }

    /// The next item, or how the connection ended once all items have been received.
    #[inline]
    pub(crate) fn poll_item(&self, cx: &Context<'_>) -> Poll<Result<Item, Closed>> {
        self.lock().poll_item(|| self.now(), cx)
    }

    /// Waits for the end, and returns how the connection ended.
    pub(crate) fn poll_closed(&self, slot: &mut Slot, cx: &Context<'_>) -> Poll<Closed> {
        self.lock().poll_closed(slot, cx)
    }

    /// Waits for the end, and returns how the connection ended.
    pub(crate) async fn closed(&self) -> Closed {
        let mut waiting = Waiting::new(self);
        poll_fn(|cx| self.poll_closed(&mut waiting.slot, cx)).await
    }

    /// Waits until all that has been queued so far has been flushed.
    pub(crate) async fn flush(&self) -> Result<(), Closed> {
        let position = self.lock().queued();
        let mut waiting = Waiting::new(self);
        poll_fn(|cx| self.lock().poll_flushed(position, &mut waiting.slot, cx)).await
    }

    /// Ends the wait of `slot`.
    #[inline]
    pub(crate) fn stop_waiting(&self, slot: &Slot) {
        if slot.is_taken() {
            self.lock().stop_waiting(slot);
        }
    }
}

/// A place among the waiters, which ends with the future that holds it.
pub(crate) struct Waiting<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) slot: Slot,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self { shared, slot: Slot::default() }
    }
}

impl Drop for Waiting<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shared.stop_waiting(&self.slot);
    }
}
