//! The sending half of a session: [`Sender`].

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use sockless_core::{
    CloseReason, Closed, Config, Instant, IntoOutgoing, Observer, OutgoingMessage, Stats,
};

use crate::future::BoxFuture;
use crate::request::Request;
use crate::session::engine::shared::{Shared, Waiting};

use crate::session::error::{RawSendError, TrySendError};
use crate::session::pong::{Pong, Pongs};
use crate::session::sink::MessageSink;
use crate::session::sleep::Sleep;
use crate::session::task::{self, SessionTask};

/// The sending half of a [`Session`](crate::Session). Clones send to the same peer.
///
/// Other tasks send with it while the handler receives.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::{Closed, Session};
///
/// async fn handle(mut session: Session) -> Result<(), Closed> {
///     let sender = session.sender();
///     session.spawn(async move {
///         // Ends with the session, or when a message cannot be sent.
///         while sender.send("still here").await.is_ok() {
///             sender.sleep(Duration::from_secs(30)).await;
///         }
///     });
///     loop {
///         let message = session.recv().await?;
///         session.send(message).await?;
///     }
/// }
/// ```
pub struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.add_handles(1);
        Self { shared }
    }

    /// A sender that counts among the handles already.
    pub(super) fn counted(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Sends a message, waiting while [`Config::high_water`] bytes or more are queued.
    ///
    /// It is ready when the message is queued: see [`Session::send`](crate::Session::send) for what
    /// to await before the program ends.
    ///
    /// Cancel-safe: if the future is dropped before it is ready, the message was not sent.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended. Once either side has begun to close, this
    /// is known only after the closing handshake, and is waited for.
    #[inline]
    pub fn send(&self, message: impl IntoOutgoing) -> impl Future<Output = Result<(), Closed>> {
        Sending { waiting: Waiting::new(&self.shared), message: Some(message.into_outgoing()) }
    }

    /// Sends a message if there is room for it now. A message that [replaces](OutgoingMessage::latest)
    /// one that waits takes that one's room: it is accepted while the queue is full as well.
    ///
    /// ```
    /// use sockless::{Sender, TrySendError};
    ///
    /// /// Skips peers that do not keep up. Returns false once the peer is gone.
    /// fn offer(sender: &Sender, price: &str) -> bool {
    ///     !matches!(sender.try_send(price.to_owned()), Err(TrySendError::Closed { .. }))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] while [`Config::high_water`] bytes or more are queued, or another
    /// message is being [sent in chunks](Self::writer); [`TrySendError::Closed`] once the session
    /// has ended or has begun to close. Both return the message.
    pub fn try_send(&self, message: impl IntoOutgoing) -> Result<(), TrySendError> {
        // Converted without the lock: the conversion may be the caller's own code.
        let message = message.into_outgoing();
        self.shared.lock().try_send(message, || self.shared.send_time())
    }

    /// Returns a `Sink` of the `futures` crates, which sends to the same peer.
    pub fn sink<M: IntoOutgoing>(&self) -> MessageSink<M> {
        MessageSink::new(self.clone())
    }

    /// Waits until all messages that were sent before, by any handle, have been given to the
    /// operating system. See [`Session::flush`](crate::Session::flush).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, if it ended first.
    pub async fn flush(&self) -> Result<(), Closed> {
        self.shared.flush().await
    }

    /// Sends a ping of up to 125 bytes, in addition to those of [`Config::ping_interval`]. Await
    /// the result for the round-trip time, or drop it.
    ///
    /// # Errors
    ///
    /// [`RawSendError::Closed`] once the session has ended; [`RawSendError::Invalid`] for more bytes,
    /// and while the session closes.
    pub fn ping(&self, payload: impl Into<Bytes>) -> Result<Pong, RawSendError> {
        let payload = payload.into();
        let id = self.shared.lock().ping(payload, || self.shared.now())?;
        Ok(Pong::new(self.shared.clone(), id))
    }

    /// Returns the pongs that arrive from now on, solicited or not.
    pub fn pongs(&self) -> Pongs {
        Pongs::new(self.shared.clone())
    }

    /// Starts the closing handshake: messages that were sent before are delivered first. A second
    /// call does nothing.
    ///
    /// It does not wait: await [`closed`](Self::closed) before the program ends.
    pub fn close(&self, reason: impl Into<CloseReason>) {
        self.shared.close(reason.into());
    }

    /// Sends a Close frame ahead of the messages that were sent and have not left, which are dropped.
    /// See [`Session::fail`](crate::Session::fail).
    pub fn fail(&self, reason: impl Into<CloseReason>) {
        self.shared.fail(reason.into());
    }

    /// Cancels the message with this [key](OutgoingMessage::latest) that waits to be sent, and
    /// returns it. `None` if none waits.
    pub fn cancel(&self, key: u64) -> Option<OutgoingMessage> {
        self.shared.lock().cancel(key)
    }

    /// Waits for the end of the session, and returns how it ended. Any number of tasks may wait,
    /// any number of times. See [`Session::closed`](crate::Session::closed).
    ///
    /// Cancel-safe.
    pub async fn closed(&self) -> Closed {
        self.shared.closed().await
    }

    /// Drops the transport now, without a closing handshake. Messages that were sent may be lost.
    pub fn terminate(&self) {
        self.shared.terminate();
    }

    /// Runs `task` in a task of its own until it ends, the session does, or it is
    /// [aborted](SessionTask::abort), so that background work stops with the session. It does not
    /// keep the session open. Await the result for the output, or drop it.
    ///
    /// When the session ends, the task is polled once more and then dropped. So a task that waits
    /// for the end, such as in [`recv`](crate::Receiver::recv), can clean up behind it as far as it
    /// waits for nothing else.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> SessionTask<T> {
        task::spawn(&self.shared, task)
    }

    /// Returns the time on the clock of the session's runtime, which a simulation controls.
    pub fn now(&self) -> Instant {
        self.shared.now()
    }

    /// Waits for `duration` on that clock. A handler that uses it runs unchanged on every runtime.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.shared.sleep(duration)
    }

    /// Returns the HTTP request that opened the session.
    pub fn request(&self) -> &Request {
        &self.shared.request
    }

    /// Returns the settings in force.
    pub fn config(&self) -> Arc<Config> {
        self.shared.config()
    }

    /// Changes the settings of this session. Deadlines change at once, limits of length with the
    /// next frame. `change` is called again if another task changed the settings meanwhile.
    pub fn reconfigure(&self, change: impl FnMut(Config) -> Config) {
        self.shared.reconfigure(change);
    }

    /// Starts to count frames and received bytes for [`stats`](Self::stats), unless an observer has started it. The
    /// counters take some 200 bytes.
    pub fn start_counting(&self) {
        self.shared.start_counting();
    }

    /// Returns the counters of the session: frames by kind, bytes, what is queued and held, and the round-trip time.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Sets the observer, or removes it.
    pub(crate) fn set_observer(&self, observer: Option<Box<dyn Observer>>) {
        self.shared.set_observer(observer);
    }

    /// Returns the round-trip time of a ping that was answered: the last one that was sent by
    /// [`ping`](Self::ping) and awaited, or else the last one of [`Config::ping_interval`].
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.lock().round_trip()
    }
}

impl Sender {
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Waits for the end, without keeping the session open.
    pub(crate) fn end(&self) -> BoxFuture<'static, Closed> {
        let shared = self.shared.clone();
        Box::pin(async move { shared.closed().await })
    }
}

impl AsRef<Self> for Sender {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("request", self.request()).finish_non_exhaustive()
    }
}

/// The future of [`Sender::send`], written by hand because an `async fn` would hold the message
/// twice.
struct Sending<'a> {
    waiting: Waiting<'a>,
    message: Option<OutgoingMessage>,
}

impl Future for Sending<'_> {
    type Output = Result<(), Closed>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { waiting: Waiting { shared, slot }, message } = &mut *self;
        shared.lock().poll_send(message, slot, || shared.send_time(), cx)
    }
}
