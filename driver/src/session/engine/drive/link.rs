//! The transport of a session and how far it has come: [`Link`].

use std::io::{self, IoSlice};
use std::task::{Context, Poll};
use std::time::Duration;

use sockless_core::{Instant, Outbound, TransportAction};

use crate::runtime::{Ending, Io};
use crate::session::engine::buffers::{GATHERED_LEN, give_back_gathered, lend_gathered};
use crate::session::engine::state::{Reading, Round, State};

/// The interval at which a transport that is left unread is asked for its end, if it does not wake
/// us.
const LOOK: Duration = Duration::from_secs(1);

/// The number of slices in one vectored write.
const SLICES: usize = 64;

pub(super) struct Link {
    io: Box<dyn Io>,
    /// The transport has accepted bytes that have not been flushed.
    is_unflushed: bool,
    /// The transport was full when it was last written to.
    was_blocked: bool,
    /// The writing half has been shut down.
    is_shut_down: bool,
    /// The deadline for shutting down a transport that is then dropped.
    shutdown_deadline: Option<Instant>,
    /// The transport is left unread for want of room.
    unread: Option<Box<Unread>>,
}

/// A transport that is left unread.
struct Unread {
    since: Instant,
    /// When to ask it for its end; `None` if it wakes us.
    look_at: Option<Instant>,
    /// True if its end would be noticed.
    is_watched: bool,
}

/// The next step in ending a transport.
pub(super) enum Shutdown {
    Continue,
    /// A deadline has begun.
    SetAlarm,
    /// The transport is to be dropped.
    Drop,
}

impl Link {
    pub(super) fn new(io: Box<dyn Io>) -> Self {
        Self {
            io,
            is_unflushed: false,
            was_blocked: false,
            is_shut_down: false,
            shutdown_deadline: None,
            unread: None,
        }
    }

    /// Reads once, if there is room for the bytes. Returns whether anything came of it.
    ///
    /// If there is no room and, `is_settled`, nothing else will make some, the transport is watched
    /// instead.
    #[inline]
    pub(super) fn read(
        &mut self,
        state: &mut State,
        round: &mut Round,
        is_settled: bool,
        cx: &mut Context<'_>,
    ) -> io::Result<bool> {
        if state.is_input_over() {
            return Ok(false);
        }
        let mut has_room = state.has_room();
        if !has_room && (is_settled || self.unread.is_some()) {
            self.watch(state, cx);
            has_room = state.has_room();
        }
        if has_room {
            self.unread = None;
        }
        state.set_paused(self.unread.is_some());
        // Bytes that were read before come first: otherwise each message that is received would let
        // in another buffer full.
        if state.is_unparsed() || !has_room {
            round.reading = Reading::Deferred;
            return Ok(false);
        }
        match self.io.poll_read(cx, state.read_buffer()) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => state.end_input(),
            Poll::Ready(Ok(len)) => {
                round.reading = Reading::More;
                state.note_moved(len);
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
        Ok(true)
    }

    /// Looks for the end of a transport that is left unread. If it has ended, the rest is read: the
    /// system buffers only so much, and the peer cannot add to it. What would be longer inflated
    /// waits for the application.
    #[cold]
    fn watch(&mut self, state: &mut State, cx: &mut Context<'_>) {
        let now = state.now();
        if self.unread.is_none() {
            // A deadline may begin, for which the alarm is to be set.
            state.ask_for_round();
        }
        let unread = self.unread.get_or_insert_with(|| Box::new(Unread::from(now)));
        if unread.look_at.is_some_and(|at| now < at) {
            return;
        }
        let ending = self.io.poll_ending(cx);
        // An end that has been seen, and that the application has yet to come to, wakes no task.
        unread.is_watched = !matches!(ending, Ending::Unknown | Ending::Ended);
        unread.look_at = (ending != Ending::Watched).then_some(now + LOOK);
        if ending == Ending::Ended {
            state.hang_up();
        }
    }

    /// Writes all that is queued, as far as the transport accepts it.
    #[inline]
    pub(super) fn write(
        &mut self,
        state: &mut State,
        round: &mut Round,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        while state.has_unsent() {
            let mut outbound = state.outbound();
            match poll_write_once(&mut *self.io, &outbound, cx) {
                Poll::Pending => {
                    round.is_blocked = true;
                    break;
                }
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    outbound.advance(written);
                    state.note_moved(written);
                    self.is_unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        state.end_write(round.is_blocked || self.was_blocked);
        self.was_blocked = round.is_blocked;
        Ok(())
    }

    #[inline]
    pub(super) fn flush(
        &mut self,
        state: &mut State,
        round: &mut Round,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        if self.is_unflushed
            && let Poll::Ready(flushed) = self.io.poll_flush(cx)
        {
            flushed?;
            self.is_unflushed = false;
            round.for_handler |= state.end_flush(cx.waker());
        }
        state.note_flushed(!self.is_unflushed);
        Ok(())
    }

    /// Takes the next step in ending the transport, if the protocol requires one.
    #[inline]
    pub(super) fn end(
        &mut self,
        state: &mut State,
        round: &mut Round,
        cx: &mut Context<'_>,
    ) -> io::Result<Shutdown> {
        let action = state.transport_action();
        if action == TransportAction::KeepOpen {
            return Ok(Shutdown::Continue);
        }
        let is_last = action == TransportAction::Close;
        if is_last && state.is_input_over() && self.io.ends_when_dropped() {
            return Ok(Shutdown::Drop);
        }
        if !self.is_shut_down {
            match self.io.poll_shutdown(cx) {
                Poll::Pending if is_last && state.is_terminated() => {}
                Poll::Pending => {
                    round.is_blocked = true;
                    return Ok(if is_last {
                        self.limit_shutdown(state)
                    } else {
                        Shutdown::Continue
                    });
                }
                Poll::Ready(Ok(())) => self.is_shut_down = true,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        Ok(if is_last { Shutdown::Drop } else { Shutdown::Continue })
    }

    /// Gives a transport that is to be dropped the time to send the bytes that it still holds, as
    /// TLS may, and then that of a closing handshake: the protocol has no deadline of its own by
    /// then.
    #[cold]
    fn limit_shutdown(&mut self, state: &State) -> Shutdown {
        if self.shutdown_deadline.is_some() {
            return Shutdown::Continue;
        }
        let config = state.config();
        let closing_timeout = config.get_closing_timeout();
        let timeout = match config.get_write_timeout() {
            Some(write_timeout) if self.is_unflushed => write_timeout.max(closing_timeout),
            _ => closing_timeout,
        };
        self.shutdown_deadline = Some(state.now() + timeout);
        Shutdown::SetAlarm
    }

    /// The next deadline of the transport's own.
    #[inline]
    pub(super) fn deadline(&self, state: &State) -> Option<Instant> {
        if self.unread.is_none() && self.shutdown_deadline.is_none() {
            return None;
        }
        let look_at = self.unread.as_ref().and_then(|unread| unread.look_at);
        let deadlines = [self.shutdown_deadline, look_at, self.stall_deadline(state)];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn shutdown_is_overdue(&self, now: Instant) -> bool {
        self.shutdown_deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Returns true if the application has received nothing for too long. It may have made room
    /// since the transport was last looked at.
    pub(super) fn is_stalled(&self, state: &State) -> bool {
        !state.has_room()
            && self.stall_deadline(state).is_some_and(|deadline| deadline <= state.now())
    }

    /// The deadline for a transport that cannot be read because the application receives nothing.
    fn stall_deadline(&self, state: &State) -> Option<Instant> {
        let unread = self.unread.as_ref()?;
        let timeout = state.config().get_stall_timeout(unread.is_watched)?;
        Some(unread.since.max(state.received_at()) + timeout)
    }
}

impl Unread {
    fn from(now: Instant) -> Self {
        Self { since: now, look_at: Some(now), is_watched: false }
    }
}

/// Writes as much as one write takes, usually a single slice.
fn poll_write_once(
    transport: &mut dyn Io,
    outbound: &Outbound<'_>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let first = outbound.chunk();
    if first.len() == outbound.remaining() {
        return transport.poll_write(cx, &[IoSlice::new(first)]);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let filled = outbound.chunks_vectored(&mut slices);
    let slices = &slices[..filled];
    let len = slices.iter().map(|slice| slice.len()).sum::<usize>();
    if len < outbound.remaining().min(GATHERED_LEN) {
        return poll_write_gathered(transport, outbound, cx);
    }
    transport.poll_write(cx, slices)
}

/// Writes a copy of as many bytes as the thread's buffer takes: of short messages to many peers,
/// which are queued by reference, more wait than a vectored write takes.
#[cold]
fn poll_write_gathered(
    transport: &mut dyn Io,
    outbound: &Outbound<'_>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut gathered = lend_gathered();
    for chunk in outbound.chunks() {
        let room = GATHERED_LEN - gathered.len();
        gathered.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    let written = transport.poll_write(cx, &[IoSlice::new(&gathered)]);
    give_back_gathered(gathered);
    written
}
