//! The one driver: a handler and its transport, run as one future.

mod link;

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sockless_core::{CloseCode, Instant};

use crate::future::{BoxError, BoxFuture};
use crate::runtime::{HandlerEnd, Io, Timer};
use crate::session::engine::handler_turn::HandlerTurn;
use crate::session::engine::locked::Locked;
use crate::session::engine::shared::Shared;
use crate::session::engine::state::{Reading, Round, State};

use link::{Link, Shutdown};

/// The limit of rounds in one poll, after which other tasks get their turn.
const ROUNDS: u32 = 32;

/// Drives a session until its handler, if it has one here, and its transport have both ended.
///
/// Only this future uses the transport. One round is: read; poll the handler; read ahead; write all
/// that is queued, in one vectored write; enforce deadlines. When there is nothing more to do, it
/// gives the thread its buffers back and parks, to be woken by the transport, by a timer, or by a
/// task that sends.
///
/// While the session holds as much as it may, nothing is read. The transport is watched for its end
/// instead.
pub(crate) struct Drive<H> {
    shared: Arc<Shared>,
    task: Task<H>,
    /// The transport, until it is dropped.
    link: Option<Link>,
    /// A timer, and the deadline for which it is set, a little later.
    alarm: Option<(Box<dyn Timer>, Instant)>,
}

/// The payload of a panic.
pub(crate) type Panic = Box<dyn Any + Send>;

/// The driver of a session whose handler is elsewhere.
pub(crate) type Detached = Drive<BoxFuture<'static, Result<(), BoxError>>>;

/// The handler that is driven.
enum Task<H> {
    Running {
        handler: H,
        has_run: bool,
    },
    /// It has ended, or is elsewhere.
    Ended {
        panic: Option<Panic>,
    },
}

impl<H> Drive<H> {
    pub(crate) fn new(shared: Arc<Shared>, transport: Box<dyn Io>, handler: Option<H>) -> Self {
        let task = match handler {
            Some(handler) => Task::Running { handler, has_run: false },
            None => Task::Ended { panic: None },
        };
        Self { shared, task, link: Some(Link::new(transport)), alarm: None }
    }
}

impl<H> Future for Drive<H>
where
    H: Future<Output = Result<(), BoxError>> + Unpin,
{
    /// The panic of the handler, if it panicked.
    type Output = Option<Panic>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let shared = this.shared.clone();
        let now = shared.runtime.now();
        let _in_turn = HandlerTurn::enter(&shared.runtime, now);
        let mut state = shared.lock();
        // The handler and the driver run in it.
        let span = state.span().clone();
        let _entered = span.enter();
        state.begin_turn(now);
        this.greet(&mut state, cx);
        let (mut for_handler, mut is_settled) = (true, false);
        for _ in 0..ROUNDS {
            let mut round = Round::new(for_handler);
            let is_news = this.read(&mut state, &mut round, is_settled, cx);
            if is_settled && !is_news && !state.is_asked() {
                return this.park(state, cx);
            }
            if round.for_handler {
                drop(state);
                this.poll_handler(cx);
                state = shared.lock();
            }
            round.for_handler = false;
            if state.is_killed() {
                this.drop_link(&mut state);
                drop(state);
                this.task = Task::Ended { panic: None };
                return Poll::Ready(None);
            }
            this.settle(&mut state, &mut round, cx);
            for_handler = round.for_handler;
            // Settled, but for the transport: it may have more bytes or, if there has been no room
            // for them, have ended.
            is_settled = !for_handler && !state.has_work(&round);
            if is_settled
                && round.reading != Reading::More
                && (state.has_room() || state.is_paused() || state.is_input_over())
            {
                return this.park(state, cx);
            }
            if state.has_moved_enough() || !state.has_turn_left() || state.has_sent_enough() {
                break;
            }
        }
        state.meter().turn_exhausted();
        state.end_turn();
        drop(state);
        shared.runtime.yield_now(cx);
        Poll::Pending
    }
}

impl<H> Drive<H>
where
    H: Future<Output = Result<(), BoxError>> + Unpin,
{
    /// Writes the head of the response before the handler runs for the first time: some proxies
    /// take the bytes that come with it for a part of it, and hold them back.
    fn greet(&mut self, state: &mut State, cx: &mut Context<'_>) {
        if matches!(self.task, Task::Running { has_run: false, .. }) {
            self.write(state, &mut Round::new(false), cx);
        }
    }

    /// Reads once, if there is room. Returns whether anything came of it.
    fn read(
        &mut self,
        state: &mut State,
        round: &mut Round,
        is_settled: bool,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(link) = &mut self.link else { return false };
        match link.read(state, round, is_settled, cx) {
            Ok(false) => return false,
            Ok(true) => {}
            Err(error) => self.fail(state, &error),
        }
        state.end_read();
        round.for_handler |= state.is_received_by(cx.waker());
        true
    }

    /// Polls the handler, without the lock. When it returns, the session begins to end.
    fn poll_handler(&mut self, cx: &mut Context<'_>) {
        let Task::Running { handler, has_run } = &mut self.task else { return };
        *has_run = true;
        let waker = self.shared.runtime.handler_waker();
        let mut cx = Context::from_waker(waker.as_ref().unwrap_or(cx.waker()));
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(handler).poll(&mut cx)));
        let (ended, panic) = match polled {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(result)) => (Some(result), None),
            Err(panic) => {
                tracing::error!("the handler panicked; its session is closed with 1011");
                (None, Some(panic))
            }
        };
        // It is dropped before the end is announced, so that its handles are gone by then. A drop
        // may panic too.
        let task = std::mem::replace(&mut self.task, Task::Ended { panic });
        let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
        let reason = match &ended {
            Some(Ok(())) => CloseCode::NORMAL.into(),
            // The end of the session, returned with `?`, is not a failure.
            Some(Err(error)) => self.shared.log_failure(error),
            None => CloseCode::INTERNAL_ERROR.into(),
        };
        let end = match (&ended, &self.task) {
            (Some(Err(error)), _) if reason.code() == Some(CloseCode::INTERNAL_ERROR) => {
                HandlerEnd::Failed { path: self.shared.request.path(), error }
            }
            (_, Task::Ended { panic: Some(panic) }) => {
                HandlerEnd::Panicked { path: self.shared.request.path(), payload: &**panic }
            }
            _ => HandlerEnd::Returned,
        };
        self.shared.handler_ended(&end);
        self.shared.runtime.handler_ended(end);
        self.shared.close_and_drop_received(reason);
    }

    /// Does what follows from the bytes that were read and from what the handler did.
    fn settle(&mut self, state: &mut State, round: &mut Round, cx: &mut Context<'_>) {
        state.begin_settling();
        state.parse_ahead();
        state.enforce_recv_overflow();
        if self.alarm.as_ref().is_some_and(|(_, set_to)| *set_to <= state.now()) {
            // It is written in this round.
            state.send_due_ping();
        }
        self.write(state, round, cx);
        round.for_handler |= state.wake_waiters(cx.waker());
        state.enforce_budget();
        // After parsing and writing, either of which may have set a deadline.
        self.enforce_deadlines(state, cx);
        self.end_transport(state, round, cx);
    }

    /// Writes and flushes all that is queued, as far as the transport accepts it.
    fn write(&mut self, state: &mut State, round: &mut Round, cx: &mut Context<'_>) {
        let Some(link) = &mut self.link else { return };
        let written = link.write(state, round, cx).and_then(|()| link.flush(state, round, cx));
        if let Err(error) = written {
            self.fail(state, &error);
        }
    }

    /// Enforces the deadline that has passed, or sets the alarm to the next one.
    ///
    /// An alarm that is set is left alone while it is only a little early, since each message may
    /// move the deadline away, and an early call does no harm. But an idle session is not woken for
    /// the deadline of a pong that has come.
    fn enforce_deadlines(&mut self, state: &mut State, cx: &mut Context<'_>) {
        loop {
            let Some(deadline) = self.next_deadline(state) else {
                // A timer that has expired is not needed again soon.
                self.alarm.take_if(|(_, set_to)| *set_to <= state.now());
                return;
            };
            if deadline <= state.now() {
                return self.enforce_due(state);
            }
            let clock = &self.shared.runtime;
            let (timer, set_to) = self.alarm.get_or_insert_with(|| {
                (clock.background_timer(clock.wake_time(state.now(), deadline)), deadline)
            });
            let until = |end: Instant| end.saturating_since(state.now());
            if deadline < *set_to || until(*set_to) < until(deadline) / 8 * 7 {
                timer.reset(clock.wake_time(state.now(), deadline));
                *set_to = deadline;
            }
            if timer.poll_expired(cx).is_pending() {
                return;
            }
            state.set_now(self.shared.runtime.now());
            *set_to = Instant::EPOCH;
        }
    }

    fn next_deadline(&self, state: &State) -> Option<Instant> {
        let deadline = state.poll_timeout();
        match self.link.as_ref().and_then(|link| link.deadline(state)) {
            Some(other) => Some(deadline.map_or(other, |deadline| deadline.min(other))),
            None => deadline,
        }
    }

    /// Enforces what is due, once; another round follows.
    fn enforce_due(&mut self, state: &mut State) {
        state.handle_timeout();
        let Some(link) = &self.link else { return };
        if link.shutdown_is_overdue(state.now()) {
            self.drop_link(state);
        } else if link.is_stalled(state) {
            state.handle_stall();
        }
    }

    /// Shuts down or drops the transport, if the protocol requires it and all has been written.
    fn end_transport(&mut self, state: &mut State, round: &mut Round, cx: &mut Context<'_>) {
        let Some(link) = &mut self.link else { return };
        match link.end(state, round, cx) {
            Ok(Shutdown::Continue) => {}
            Ok(Shutdown::SetAlarm) => self.enforce_deadlines(state, cx),
            Ok(Shutdown::Drop) => self.drop_link(state),
            Err(error) => self.fail(state, &error),
        }
    }

    /// Waits for the next thing to happen, or ends when there is nothing to wait for.
    #[inline]
    fn park(&mut self, mut state: Locked<'_>, cx: &Context<'_>) -> Poll<Option<Panic>> {
        state.end_turn();
        if let (None, Task::Ended { panic }) = (&self.link, &mut self.task) {
            return Poll::Ready(panic.take());
        }
        state.park_driver(cx.waker());
        Poll::Pending
    }
}

impl<H> Drive<H> {
    fn fail(&mut self, state: &mut State, error: &io::Error) {
        state.fail(error);
        self.drop_link(state);
    }

    fn drop_link(&mut self, state: &mut State) {
        self.link = None;
        self.alarm = None;
        state.lose_transport();
    }
}

/// A driver that is dropped drops its transport, so that no task may wait for it any longer.
impl<H> Drop for Drive<H> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let span = state.span().clone();
        let _entered = span.enter();
        if let Some(link) = self.link.take() {
            // Without the lock, since it runs code of the transport.
            drop(state);
            drop(link);
            state = self.shared.lock();
        }
        if span.is_on() {
            // For the duration that it records.
            state.set_now(self.shared.runtime.now());
        }
        state.lose_driver();
        state.drop_span();
        drop(state);
        // The handler is dropped within the span too.
        self.task = Task::Ended { panic: None };
    }
}
