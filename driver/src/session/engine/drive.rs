//! The one driver: a handler and its transport, run as one future.

use std::any::Any;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use sockless_core::{CloseCode, CloseReason, Instant, Outbound, Overflow, TransportAction};

use crate::future::{BoxError, BoxFuture};
use crate::runtime::{Ending, Io, Timer};
use crate::session::engine::locked::Locked;
use crate::session::engine::shared::{Shared, State};

/// How many rounds one poll may take before the neighbours get their turn: enough that a connection that
/// is busy with long messages is served while they are in the cache.
const ROUNDS: u32 = 32;

/// How long a transport that is not read, and does not wake us at its end, is left before it is asked again.
const LOOK: Duration = Duration::from_secs(1);

/// How many slices one vectored write takes.
const SLICES: usize = 64;

/// A handler, if there is one, and the transport of its session, until both have ended.
///
/// Only this future touches the transport. One round is: read; poll the handler; read ahead what it
/// left; write all that is queued, in one vectored write; fire timers. When nothing more can be done
/// it gives the thread its buffers back and parks, woken by the transport, by a timer, or by a task that
/// sends.
///
/// When as much is held as may be, nothing is read, and the transport is watched for its end instead.
pub(crate) struct Drive<H> {
    shared: Arc<Shared>,
    handler: Option<H>,
    transport: Option<Box<dyn Io>>,
    timer: Option<(Box<dyn Timer>, Instant)>,
    /// The transport has taken bytes that it has not flushed.
    unflushed: bool,
    /// The writing half has been shut down.
    shut_down: bool,
    /// The transport took no more when it was last written to.
    blocked: bool,
    /// What was queued before the handler first ran, the head of the response, has been written.
    greeted: bool,
    /// The transport is left unread, for want of room.
    unread: Option<Box<Unread>>,
    /// When the end of the writing half is no longer waited for, once the transport is to be dropped.
    farewell: Option<Instant>,
    /// The transport delivers nothing more.
    eof: bool,
    panic: Option<Panic>,
}

/// What a handler that panicked said.
pub(crate) type Panic = Box<dyn Any + Send>;

/// The driver of a session whose handler is elsewhere.
pub(crate) type Detached = Drive<BoxFuture<'static, Result<(), BoxError>>>;

/// A transport that is left unread.
struct Unread {
    since: Instant,
    /// When it is asked for its end again, if it does not wake us.
    look_at: Option<Instant>,
    /// Whether its end would be seen.
    is_watched: bool,
}

impl Unread {
    fn from(now: Instant) -> Self {
        Self { since: now, look_at: Some(now), is_watched: false }
    }
}

/// What a round found out.
#[derive(Default)]
pub(crate) struct Round {
    /// The transport may have more to read.
    pub(crate) more: bool,
    /// The transport was not read, for want of room or since something that was read before came first.
    pub(crate) to_read: bool,
    /// The transport takes no more for now.
    pub(crate) blocked: bool,
    /// Something happened that the handler waits for.
    pub(crate) for_handler: bool,
}

impl<H> Drive<H> {
    pub(crate) fn new(shared: Arc<Shared>, transport: Box<dyn Io>, handler: Option<H>) -> Self {
        Self {
            shared,
            handler,
            transport: Some(transport),
            timer: None,
            unflushed: false,
            blocked: false,
            greeted: false,
            unread: None,
            shut_down: false,
            farewell: None,
            eof: false,
            panic: None,
        }
    }
}

impl<H> Future for Drive<H>
where
    H: Future<Output = Result<(), BoxError>> + Unpin,
{
    /// The panic of the handler, if it did.
    type Output = Option<Panic>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let shared = this.shared.clone();
        let now = shared.runtime.now();
        let mut state = shared.lock();
        state.begin_turn(now);
        this.greet(&mut state, cx);
        let (mut for_handler, mut is_settled) = (true, false);
        for _ in 0..ROUNDS {
            let mut round = Round { for_handler, ..Round::default() };
            let is_news = this.read(&mut state, &mut round, is_settled, cx);
            if is_settled && !is_news && !state.asked {
                return this.park(state, cx);
            }
            if round.for_handler {
                drop(state);
                this.poll_handler(cx);
                state = shared.lock();
            }
            round.for_handler = false;
            if state.killed {
                this.drop_transport(&mut state);
                drop(state);
                this.handler = None;
                return Poll::Ready(None);
            }
            this.settle(&mut state, &mut round, cx);
            for_handler = round.for_handler;
            // All but what the transport may still have: it was not asked whether that is all, nor, if there
            // is no more room since, whether it has ended.
            is_settled = !for_handler && !state.has_work(&round);
            if is_settled && !round.more && (state.has_room() || state.paused || this.eof) {
                return this.park(state, cx);
            }
            if !state.has_turn_left() {
                break;
            }
        }
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
    /// Writes the head of the response before the handler runs for the first time: there are proxies that
    /// take what comes with it for a part of it, and hold it back.
    fn greet(&mut self, state: &mut State, cx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.greeted, true) {
            let mut round = Round::default();
            self.write(state, &mut round, cx);
            self.flush(state, &mut round, cx);
        }
    }

    /// Reads once, as long as there is room for what that may bring; whether anything came of it. Where there
    /// is none and, `is_settled`, nothing else will make some, the transport is watched instead.
    fn read(
        &mut self,
        state: &mut State,
        round: &mut Round,
        is_settled: bool,
        cx: &mut Context<'_>,
    ) -> bool {
        if !state.has_room() && !self.eof && (is_settled || self.unread.is_some()) {
            self.watch(state, cx);
        }
        let has_room = state.has_room();
        if has_room {
            self.unread = None;
        }
        state.set_paused(self.unread.is_some());
        let Some(transport) = &mut self.transport else { return false };
        if self.eof {
            return false;
        }
        // What was read before comes first: else each message received would let in a buffer more.
        round.to_read = state.unparsed || !has_room;
        if round.to_read {
            return false;
        }
        state.make_room();
        match transport.poll_read(cx, &mut state.inbound) {
            Poll::Pending => return false,
            Poll::Ready(Ok(0)) => {
                self.eof = true;
                let now = state.now;
                state.machine.handle_eof(now);
                state.input_over = true;
            }
            Poll::Ready(Ok(_)) => round.more = true,
            Poll::Ready(Err(error)) => {
                state.fail(&error);
                self.drop_transport(state);
            }
        }
        state.unparsed = true;
        round.for_handler |= state.is_received_by(cx.waker());
        true
    }

    /// Looks for the end of a transport that is left unread. What it still holds is read then, without
    /// limit: it is no more than the system held for us, and the peer can add nothing to it.
    fn watch(&mut self, state: &mut State, cx: &mut Context<'_>) {
        let Some(transport) = &mut self.transport else { return };
        let now = state.now;
        // With it a deadline may begin, for which the alarm is to be set.
        state.asked |= self.unread.is_none();
        let unread = self.unread.get_or_insert_with(|| Box::new(Unread::from(now)));
        if unread.look_at.is_some_and(|at| now < at) {
            return;
        }
        let ending = transport.poll_ending(cx);
        unread.is_watched = ending != Ending::Unknown;
        unread.look_at = (ending != Ending::Watched).then_some(now + LOOK);
        state.hung_up = ending == Ending::Ended;
    }

    /// Polls the handler, unlocked; its end begins the end of the session.
    fn poll_handler(&mut self, cx: &mut Context<'_>) {
        let Some(handler) = &mut self.handler else { return };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(handler).poll(cx)));
        let ended = match polled {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(result)) => result.map_err(Some),
            Err(panic) => {
                tracing::error!("the handler panicked; its session is closed with 1011");
                self.panic = Some(panic);
                Err(None)
            }
        };
        // Dropped before the end is announced, so that its own handles are gone by then; in a shell
        // of its own, because a drop may panic too.
        let handler = self.handler.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(handler)));
        let reason = match ended {
            Ok(()) => CloseCode::NORMAL,
            // The end of the session, passed on with `?`, is no failure.
            Err(Some(error)) => self.shared.log_failure(&error),
            Err(None) => CloseCode::INTERNAL_ERROR,
        };
        // The code says enough: a text might tell the peer of our insides.
        self.shared.close(CloseReason::from(reason));
        self.shared.stop_receiving();
    }

    /// Does all that follows from what was read and from what the handler did.
    fn settle(&mut self, state: &mut State, round: &mut Round, cx: &mut Context<'_>) {
        state.asked = false;
        state.parse_ahead();
        if !state.has_room()
            && state.overflow(|config| config.get_recv_overflow()) == Overflow::Close
        {
            state.overflow_received();
        }
        self.write(state, round, cx);
        self.flush(state, round, cx);
        round.for_handler |= state.wake_waiters(cx.waker());
        if state.is_over_budget() {
            let now = state.now;
            state.machine.handle_overload(now);
            state.unparsed = true;
        }
        // After all that was parsed and written: either may have set a deadline.
        self.fire_timers(state, cx);
        self.end_transport(state, round, cx);
    }

    /// Writes all that is queued, and has the protocol know how far that went.
    fn write(&mut self, state: &mut State, round: &mut Round, cx: &mut Context<'_>) {
        if let Err(error) = self.write_all(state, round, cx) {
            state.fail(&error);
            return self.drop_transport(state);
        }
        if round.blocked || self.blocked || !state.machine.is_open() {
            let now = state.now;
            state.machine.handle_blocked(now);
        }
        self.blocked = round.blocked;
    }

    fn write_all(
        &mut self,
        state: &mut State,
        round: &mut Round,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let Some(transport) = &mut self.transport else { return Ok(()) };
        while state.machine.outbound().has_remaining() {
            let outbound = state.machine.outbound();
            match poll_write_once(&mut **transport, outbound, cx) {
                Poll::Pending => {
                    round.blocked = true;
                    return Ok(());
                }
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    outbound.advance(written);
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn flush(&mut self, state: &mut State, round: &mut Round, cx: &mut Context<'_>) {
        let Some(transport) = &mut self.transport else { return };
        if !self.unflushed {
            return;
        }
        match transport.poll_flush(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                state.flushed = state.machine.outbound().taken();
                round.for_handler |= state.wake_flushed(cx.waker());
            }
            Poll::Ready(Err(error)) => {
                state.fail(&error);
                self.drop_transport(state);
            }
        }
    }

    /// Fires what is due, or sets the alarm to the next deadline. The alarm is left alone when the deadline
    /// moves away: a spurious call does no harm, and messages move it each time.
    fn fire_timers(&mut self, state: &mut State, cx: &mut Context<'_>) {
        loop {
            let Some(deadline) = self.next_deadline(state) else {
                // One that has gone off is not needed again soon.
                self.timer.take_if(|(_, armed)| *armed <= state.now);
                return;
            };
            if deadline <= state.now {
                return self.fire_due(state);
            }
            let (timer, armed) =
                self.timer.get_or_insert_with(|| (self.shared.runtime.timer(deadline), deadline));
            if deadline < *armed || *armed <= state.now {
                timer.reset(deadline);
                *armed = deadline;
            }
            if timer.poll_expired(cx).is_pending() {
                return;
            }
            state.now = self.shared.runtime.now();
            *armed = Instant::EPOCH;
        }
    }

    /// Fires what is due once. Another round follows: what is held against the peer is settled only when
    /// nothing has come of another read.
    fn fire_due(&mut self, state: &mut State) {
        let now = state.now;
        state.machine.handle_timeout(now);
        state.unparsed = true;
        state.asked = true;
        if self.farewell.is_some_and(|farewell| farewell <= now) {
            return self.drop_transport(state);
        }
        if self.stall_deadline(state).is_some_and(|deadline| deadline <= now) {
            state.machine.handle_stall(now);
        }
    }

    fn next_deadline(&self, state: &State) -> Option<Instant> {
        let deadline = state.machine.poll_timeout();
        if self.unread.is_none() && self.farewell.is_none() {
            return deadline;
        }
        let look_at = self.unread.as_ref().and_then(|unread| unread.look_at);
        let deadlines = [deadline, self.farewell, look_at, self.stall_deadline(state)];
        deadlines.into_iter().flatten().min()
    }

    /// When a transport is given up that cannot be read because nothing is received.
    fn stall_deadline(&self, state: &State) -> Option<Instant> {
        let unread = self.unread.as_ref()?;
        let timeout = state.machine.config().get_stall_timeout(unread.is_watched)?;
        Some(unread.since + timeout)
    }

    /// Does with the transport what the protocol wants once everything has been written.
    fn end_transport(&mut self, state: &mut State, round: &mut Round, cx: &mut Context<'_>) {
        let Some(transport) = &mut self.transport else { return };
        let wanted = state.machine.transport_action();
        if wanted == TransportAction::KeepOpen || state.machine.outbound().has_remaining() {
            return;
        }
        if !self.shut_down {
            match transport.poll_shutdown(cx) {
                Poll::Pending if wanted == TransportAction::Close && state.terminated => {}
                Poll::Pending => {
                    round.blocked = true;
                    return self.limit_farewell(wanted, state, cx);
                }
                Poll::Ready(Ok(())) => self.shut_down = true,
                Poll::Ready(Err(error)) => {
                    state.fail(&error);
                    return self.drop_transport(state);
                }
            }
        }
        if wanted == TransportAction::Close {
            self.drop_transport(state);
        }
    }

    /// Gives a transport that is to be dropped the time of a closing handshake to send what it still
    /// holds, as TLS may: the protocol has nothing to wait for by then.
    fn limit_farewell(&mut self, wanted: TransportAction, state: &mut State, cx: &mut Context<'_>) {
        if wanted == TransportAction::Close && self.farewell.is_none() {
            self.farewell = Some(state.now + state.machine.config().get_closing_timeout());
            self.fire_timers(state, cx);
        }
    }

    fn drop_transport(&mut self, state: &mut State) {
        self.transport = None;
        self.timer = None;
        self.farewell = None;
        self.unread = None;
        state.transport_ended();
        // What it held of an unfinished message, or for the peer, is gone.
        state.is_over_budget();
    }

    /// Waits for the next thing to happen, or ends when nothing more can.
    fn park(&mut self, mut state: Locked<'_>, cx: &Context<'_>) -> Poll<Option<Panic>> {
        state.end_turn();
        if self.transport.is_none() && self.handler.is_none() {
            return Poll::Ready(self.panic.take());
        }
        state.park_driver(cx.waker());
        Poll::Pending
    }
}

/// Writes as much as one vectored write takes; mostly that is one slice.
fn poll_write_once(
    transport: &mut dyn Io,
    outbound: &Outbound,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let first = outbound.chunk();
    if first.len() == outbound.remaining() {
        return transport.poll_write(cx, &[IoSlice::new(first)]);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = outbound.chunks_vectored(&mut slices);
    transport.poll_write(cx, &slices[..filled])
}

/// A driver that is dropped takes its transport along: nobody may wait for it any more.
impl<H> Drop for Drive<H> {
    fn drop(&mut self) {
        self.transport = None;
        let mut state = self.shared.lock();
        if !state.transport_over {
            let now = state.now;
            state.machine.abort(now);
            state.transport_ended();
        }
    }
}
