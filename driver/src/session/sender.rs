//! The sending half of a session: [`Sender`].

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_sink::Sink;
use sockless_core::{
    CloseCode, CloseReason, Closed, Config, Instant, Message, OutgoingMessage, Overflow, SendError,
};

use crate::future::BoxFuture;
use crate::request::Request;
use crate::session::Sleep;
use crate::session::engine::locked::Locked;
use crate::session::engine::shared::Shared;
use crate::session::engine::waiters::{Slot, Wait, Waiting};

/// The sending half of a [`Session`](crate::Session). Clones send to the same peer.
///
/// As a [`Sink`] it waits for room, and its `close` sends 1000 and waits for the end.
pub struct Sender {
    shared: Arc<Shared>,
    /// Made when it is first used as a sink: every handler that holds a session holds room for this.
    sink: Option<Box<SinkState>>,
}

/// How far a [`Sender`] has come as a [`Sink`].
#[derive(Default)]
struct SinkState {
    /// Where it waits.
    slot: Slot,
    /// What it has taken and could not send at once.
    unsent: Option<OutgoingMessage>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.add_handle();
        Self { shared, sink: None }
    }

    /// Sends a message, waiting while [`Config::high_water`] bytes or more are on their way. It is ready
    /// when the message is queued: see [`Session::send`](crate::Session::send) for what a program awaits
    /// before it ends.
    ///
    /// Cancel-safe: when the future is dropped before it is ready, the message was not sent.
    ///
    /// # Errors
    ///
    /// How the session ended; once either side has begun to close, this is known only when the
    /// closing handshake is through, and is waited for.
    #[inline]
    pub fn send(
        &self,
        message: impl Into<OutgoingMessage>,
    ) -> impl Future<Output = Result<(), Closed>> {
        Sending { waiting: Waiting::new(&self.shared), message: Some(message.into()) }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Sends a message if there is room for it now.
    ///
    /// # Errors
    ///
    /// The message itself, when [`Config::high_water`] bytes or more are on their way or another
    /// message is being [written](Self::writer), and when the session is over or closing.
    pub fn try_send(&self, message: impl Into<OutgoingMessage>) -> Result<(), TrySendError> {
        let message = message.into();
        let mut state = self.shared.lock();
        let may_send = state.may_send();
        let now = state.now_or(|| self.shared.runtime.now());
        let Some(connection) = state.machine.open_messages() else {
            return Err(TrySendError::Closed(message));
        };
        if !may_send {
            return Err(TrySendError::Full(message));
        }
        // Now only an extension can fail, which closes the connection.
        let spare = connection.extensions().next().map(|_| message.clone());
        let sent = connection.send(message, now);
        state.unparsed |= sent.is_err();
        state.ask_driver();
        match (sent, spare) {
            (Err(_), Some(message)) => Err(TrySendError::Closed(message)),
            _ => Ok(()),
        }
    }

    /// Waits until all that was sent before, by any handle, has reached the transport: has been given to the
    /// operating system. See [`Session::flush`](crate::Session::flush).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// How the session ended, if it did before that.
    pub async fn flush(&self) -> Result<(), Closed> {
        let target = self.shared.lock().machine.outbound().queued();
        let mut waiting = Waiting::new(&self.shared);
        poll_fn(|cx| poll_flushed(&self.shared, &mut waiting.slot, target, cx)).await
    }

    /// Sends a ping of up to 125 bytes, apart from those of [`Config::ping_interval`].
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`] for more bytes; [`SendError::Closing`] once either side has
    /// begun to close.
    pub fn ping(&self, payload: impl Into<Bytes>) -> Result<(), SendError> {
        let mut state = self.shared.lock();
        let now = state.now_or(|| self.shared.runtime.now());
        state.machine.messages().ok_or(SendError::Closing)?.ping(payload, now)?;
        state.ask_driver();
        Ok(())
    }

    /// Starts the closing handshake: what was sent before leaves first. A second call does nothing.
    ///
    /// It does not wait: await [`closed`](Self::closed) before the program ends.
    pub fn close(&self, reason: impl Into<CloseReason>) {
        self.shared.close(reason.into());
    }

    /// Waits for the end, and returns how it was. Any number of tasks may wait, any number of times. See
    /// [`Session::closed`](crate::Session::closed) for what holds then.
    ///
    /// Cancel-safe.
    pub async fn closed(&self) -> Closed {
        let mut waiting = Waiting::new(&self.shared);
        poll_fn(|cx| self.shared.poll_closed(&mut waiting.slot, cx)).await
    }

    /// How the session ends, for somebody who does not keep it open.
    pub(crate) fn end(&self) -> BoxFuture<'static, Closed> {
        let shared = self.shared.clone();
        Box::pin(async move {
            let mut waiting = Waiting::new(&shared);
            poll_fn(|cx| shared.poll_closed(&mut waiting.slot, cx)).await
        })
    }

    /// Drops the transport now, without a closing handshake; what was sent may be lost.
    pub fn terminate(&self) {
        self.shared.terminate();
    }

    /// Runs `task` in a task of its own until it ends or the session does: background work that is
    /// tied to the session stops with it.
    ///
    /// It does not keep the session open.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shared = self.shared.clone();
        self.shared.runtime.spawn(Box::pin(async move {
            let mut task = pin!(task);
            let mut waiting = Waiting::new(&shared);
            poll_fn(|cx| match shared.poll_closed(&mut waiting.slot, cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => task.as_mut().poll(cx),
            })
            .await;
        }));
    }

    /// The time on the clock of the session's runtime, which a simulation owns.
    pub fn now(&self) -> Instant {
        self.shared.runtime.now()
    }

    /// Waits for `duration` on that clock, so that a handler that keeps time runs unchanged on every
    /// runtime.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.shared.sleep(duration)
    }

    /// The request behind the session.
    pub fn request(&self) -> &Request {
        &self.shared.request
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<Config> {
        self.shared.lock().machine.config().clone()
    }

    /// Changes the settings of this session. Deadlines follow at once; limits of length hold from the next
    /// frame on. `change` is called again when the settings were changed by another task meanwhile.
    pub fn reconfigure(&self, change: impl FnMut(Config) -> Config) {
        self.shared.reconfigure(change);
    }

    /// How long the last ping of [`Config::ping_interval`] took to come back.
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.lock().machine.messages()?.round_trip()
    }
}

impl Sender {
    /// Sends what the sink has taken and not sent; then gives what comes next its place to wait.
    fn poll_unsent(&mut self, cx: &Context<'_>) -> Poll<Result<(&Shared, &mut Slot), Closed>> {
        let Self { shared, sink } = self;
        let SinkState { slot, unsent } = &mut **sink.get_or_insert_default();
        if unsent.is_some() {
            let sent = ready!(poll_send(shared, slot, unsent, cx));
            *unsent = None;
            sent?;
        }
        Poll::Ready(Ok((shared, slot)))
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(sink) = &self.sink {
            self.shared.stop_waiting(&sink.slot);
        }
        self.shared.drop_handle();
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("call", self.request()).finish_non_exhaustive()
    }
}

/// Why [`Sender::try_send`] did not send; the message comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrySendError {
    /// The session is over, or closing.
    Closed(OutgoingMessage),
    /// [`Config::high_water`] bytes or more are on their way.
    Full(OutgoingMessage),
}

impl TrySendError {
    /// The message that was not sent.
    pub fn into_message(self) -> Message {
        match self {
            Self::Closed(message) | Self::Full(message) => message.into_message(),
        }
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "the session is closing or over",
            Self::Full(_) => "the outgoing queue is full: high_water bytes are on their way",
        })
    }
}

impl std::error::Error for TrySendError {}

impl Sink<Message> for Sender {
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let (shared, slot) = ready!(self.poll_unsent(cx))?;
        poll_room(shared, slot, cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Closed> {
        // Since the sink was ready, the session may have begun to close, or another message to be
        // written: then this one waits here until it is sent or the end is known.
        if let Err(error) = self.try_send(message) {
            let sink = self.sink.get_or_insert_default();
            sink.unsent = Some(error.into_message().into());
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let (shared, slot) = ready!(self.poll_unsent(cx))?;
        let target = shared.lock().machine.outbound().queued();
        poll_flushed(shared, slot, target, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let (shared, slot) = ready!(self.poll_unsent(cx))?;
        shared.close(CloseCode::NORMAL.into());
        shared.poll_closed(slot, cx).map(|_| Ok(()))
    }
}

/// What a peer is told that lets the outgoing queue overflow.
pub(crate) const NOT_READ: &str = "the peer does not read what it is sent";

/// A message on its way into the queue: by hand, since an `async fn` would hold it twice.
struct Sending<'a> {
    waiting: Waiting<'a>,
    message: Option<OutgoingMessage>,
}

impl Future for Sending<'_> {
    type Output = Result<(), Closed>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { waiting, message } = &mut *self;
        poll_send(waiting.shared, &mut waiting.slot, message, cx)
    }
}

#[inline]
fn poll_send(
    shared: &Shared,
    slot: &mut Slot,
    message: &mut Option<OutgoingMessage>,
    cx: &Context<'_>,
) -> Poll<Result<(), Closed>> {
    let mut state = shared.lock();
    if state.may_send()
        && let now = state.now_or(|| shared.runtime.now())
        && let Some(connection) = state.machine.open_messages()
        && let Some(outgoing) = message.take()
    {
        // It is open, and nobody is in the middle of a message: only an extension can fail.
        let sent = connection.send(outgoing, now);
        state.ask_driver();
        if sent.is_ok() {
            return Poll::Ready(Ok(()));
        }
        state.unparsed = true;
    }
    poll_sendable(shared, state, slot, cx)
}

/// Waits for room, or, where no message may be sent any more, for how the session ends.
#[cold]
fn poll_sendable(
    shared: &Shared,
    mut state: Locked<'_>,
    slot: &mut Slot,
    cx: &Context<'_>,
) -> Poll<Result<(), Closed>> {
    if state.machine.open_messages().is_some() {
        if state.overflow(|config| config.get_send_overflow()) == Overflow::Wait {
            state.wait(Wait::Room, slot, cx);
            return Poll::Pending;
        }
        state.close_on_overflow(shared.runtime.now(), NOT_READ);
    }
    if let Some(closed) = &state.closed {
        return Poll::Ready(Err(closed.clone()));
    }
    state.wait(Wait::Closed, slot, cx);
    Poll::Pending
}

fn poll_room(shared: &Shared, slot: &mut Slot, cx: &Context<'_>) -> Poll<Result<(), Closed>> {
    let mut state = shared.lock();
    if let Some(closed) = &state.closed {
        return Poll::Ready(Err(closed.clone()));
    }
    if state.may_send() {
        return Poll::Ready(Ok(()));
    }
    let wait = if state.holds(Wait::Room) { Wait::Closed } else { Wait::Room };
    state.wait(wait, slot, cx);
    Poll::Pending
}

pub(crate) fn poll_flushed(
    shared: &Shared,
    slot: &mut Slot,
    target: u64,
    cx: &Context<'_>,
) -> Poll<Result<(), Closed>> {
    let mut state = shared.lock();
    if state.flushed >= target {
        return Poll::Ready(Ok(()));
    }
    if let Some(closed) = &state.closed
        && state.transport_over
    {
        return Poll::Ready(Err(closed.clone()));
    }
    state.wait(Wait::Flushed, slot, cx);
    Poll::Pending
}
