//! The session API: [`Session`], and its halves [`Sender`] and [`Receiver`].

mod chunks;
pub(crate) mod engine;
mod error;
mod handler;
mod pipe;
mod pong;
mod raw;
mod receiver;
mod sender;
mod sink;
mod sleep;
mod task;
mod typed;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use sockless_core::{
    CloseReason, Closed, Config, Instant, IntoOutgoing, Message, Observer, OutgoingMessage, Stats,
};

use crate::request::Request;
use crate::session::engine::shared::Shared;

pub use chunks::{MessageReader, MessageWriter};
pub use engine::buffers::{release_buffers, reset_buffers};
pub use error::{DecodeError, EncodeError, RawSendError, TrySendError, WriteError};
pub use handler::Outcome;
pub(crate) use handler::Running;
pub use pipe::{pipe, pipe_raw};
pub use pong::{Pong, Pongs};
pub use raw::RawSession;
pub use receiver::Receiver;
pub use sender::Sender;
pub use sink::MessageSink;
pub use sleep::Sleep;
pub use task::SessionTask;
#[cfg(feature = "json")]
pub use typed::Json;
pub use typed::{Decode, Encode};

/// A WebSocket session, which sends and receives whole messages.
///
/// While a handler awaits something else, its session is still driven: pings are answered, messages
/// that were sent are written, deadlines are enforced and closing handshakes complete. It is one
/// type on every runtime.
///
/// A server's session ends when its handler returns. A client's session ends when the last of its
/// handles is dropped. In both cases the messages that were sent are flushed and the connection is
/// closed with 1000.
///
/// It is also a [`Stream`] of the messages that are received, which ends with the session;
/// [`sink`](Self::sink) returns a `Sink`. [`split`](Self::split) returns two halves for different
/// tasks.
///
/// Every async method is cancel-safe: dropping its future loses nothing.
///
/// ```
/// use sockless::{Closed, Session};
///
/// async fn echo(mut session: Session) -> Result<(), Closed> {
///     loop {
///         let message = session.recv().await?;
///         session.send(message).await?;
///     }
/// }
/// ```
pub struct Session {
    sender: Sender,
    receiver: Receiver,
}

impl Session {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.add_handles(2);
        let (sender, receiver) = (shared.clone(), shared.clone());
        Self { sender: Sender::counted(sender), receiver: Receiver::counted(receiver) }
    }

    /// Receives the next message, whole. Once all messages have been received, returns how the
    /// session ended.
    ///
    /// Cancel-safe: a message is either returned or received by the next call.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, at each call.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Result<Message, Closed>> {
        self.receiver.recv()
    }

    /// Sends a message, waiting while [`Config::high_water`] bytes or more are queued.
    ///
    /// The message may be one that is [not to be compressed](Message::uncompressed), or a
    /// [`Broadcast`](sockless_core::Broadcast).
    ///
    /// The future is ready when the message is queued, not when it has been written: all messages
    /// that are sent while a handler is polled are written at once. The driver writes them soon
    /// after. Where messages are compressed, the future may wait for the session's next turn, so
    /// that one session does not keep its thread. A program that ends, or drops its runtime, right
    /// after `send` ends the driver too, and may lose the message. Before that, await one of these:
    ///
    /// * [`flush`](Self::flush): the messages have been given to the operating system;
    /// * [`close`](Self::close), then [`closed`](Self::closed): the peer has answered our Close
    ///   frame, which follows all messages.
    ///
    /// A server's handler, and a block that `Connect::run` drives, need neither: when they return,
    /// the driver flushes and closes the session before it ends.
    ///
    /// Cancel-safe: if the future is dropped before it is ready, the message was not sent.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended. Once either side has begun to close, this
    /// is known only after the closing handshake, and is waited for.
    #[inline]
    pub fn send(&self, message: impl IntoOutgoing) -> impl Future<Output = Result<(), Closed>> {
        self.sender.send(message)
    }

    /// Sends a message if there is room for it now; for messages that a peer may miss if it does not
    /// keep up.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless::{Session, TrySendError};
    ///
    /// async fn clock(session: Session) {
    ///     for second in 0u64.. {
    ///         if let Err(TrySendError::Closed { .. }) = session.try_send(second.to_string()) {
    ///             return;
    ///         }
    ///         session.sleep(Duration::from_secs(1)).await;
    ///     }
    /// }
    /// # let _ = sockless::websocket(clock);
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`]: each returns the message.
    pub fn try_send(&self, message: impl IntoOutgoing) -> Result<(), TrySendError> {
        self.sender.try_send(message)
    }

    /// Returns a handle with which other tasks send to this peer.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Returns a `Sink` of the `futures` crates, which accepts what [`send`](Self::send) accepts.
    pub fn sink<M: IntoOutgoing>(&self) -> MessageSink<M> {
        self.sender.sink()
    }

    /// Splits the session into two halves that different tasks may own.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Borrows the two halves at once: to receive in one branch of a `select!` while another uses
    /// the session, or to read one message in chunks while another is written.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless::{Closed, Session};
    ///
    /// /// Echoes, and sends a line after each second without a message.
    /// async fn echo(mut session: Session) -> Result<(), Closed> {
    ///     let (sender, receiver) = session.halves();
    ///     loop {
    ///         tokio::select! {
    ///             message = receiver.recv() => sender.send(message?).await?,
    ///             () = sender.sleep(Duration::from_secs(1)) => sender.send("still there?").await?,
    ///         }
    ///     }
    /// }
    /// # let _ = sockless::websocket(echo);
    /// ```
    pub fn halves(&mut self) -> (&Sender, &mut Receiver) {
        (&self.sender, &mut self.receiver)
    }

    /// Waits until all messages that were sent before have been given to the operating system.
    ///
    /// The system sends them even if the program ends then, unless the connection breaks. Over TLS
    /// they have been encrypted before. Over HTTP/2 they have been given to the HTTP connection,
    /// which is a task of its own. Only an answer of the peer, or [`closed`](Self::closed), shows
    /// that the peer has received them.
    ///
    /// ```
    /// use sockless::{Closed, Session};
    ///
    /// async fn report(session: &Session) -> Result<(), Closed> {
    ///     session.send("all is well").await?;
    ///     // The program may end after this.
    ///     session.flush().await
    /// }
    /// ```
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, if it ended first.
    pub async fn flush(&self) -> Result<(), Closed> {
        self.sender.flush().await
    }

    /// Sends a ping of up to 125 bytes, in addition to those of [`Config::ping_interval`]. Await
    /// the result for the round-trip time, or drop it.
    ///
    /// # Errors
    ///
    /// [`RawSendError::Closed`] once the session has ended; [`RawSendError::Invalid`] for more bytes,
    /// and while the session closes.
    pub fn ping(&self, payload: impl Into<Bytes>) -> Result<Pong, RawSendError> {
        self.sender.ping(payload)
    }

    /// Returns the pongs that arrive from now on, solicited or not.
    pub fn pongs(&self) -> Pongs {
        self.sender.pongs()
    }

    /// Starts the closing handshake. Messages that were sent before are delivered first, and
    /// messages that arrive meanwhile can still be received. A second call does nothing.
    ///
    /// It does not wait: a program that ends right after it may lose the Close frame and the
    /// messages before it. Await [`closed`](Self::closed), which takes until the peer answers, and
    /// [`Config::closing_timeout`] at most once the transport has taken the Close frame; a peer that
    /// sends meanwhile extends that up to 12 times.
    ///
    /// ```
    /// use sockless::{CloseCode, Session};
    ///
    /// async fn leave(session: Session) {
    ///     session.close((CloseCode::NORMAL, "that was all"));
    ///     let closed = session.closed().await;
    ///     // The program may end here. If the end is clean, the peer has received everything.
    ///     if !closed.is_clean() {
    ///         eprintln!("{closed}");
    ///     }
    /// }
    /// ```
    pub fn close(&self, reason: impl Into<CloseReason>) {
        self.sender.close(reason);
    }

    /// Fails the session: sends a Close frame ahead of the messages that were sent and have not left,
    /// which are dropped, and does not wait for the peer's. The session ends at once, with
    /// [`Cause::Failed`](sockless_core::Cause::Failed). Does nothing once either side has sent a Close frame.
    pub fn fail(&self, reason: impl Into<CloseReason>) {
        self.sender.fail(reason);
    }

    /// Cancels the message with this [key](OutgoingMessage::latest) that waits to be sent, and
    /// returns it. `None` if none waits: it was not sent, or its bytes have left or are about to.
    ///
    /// ```
    /// use sockless::{Closed, Message, Session};
    ///
    /// const CURSOR: u64 = 1;
    ///
    /// async fn follow(session: &Session, x: u32) -> Result<(), Closed> {
    ///     // While the peer reads slowly, only the latest position waits.
    ///     session.send(Message::from(format!("cursor at {x}")).latest(CURSOR)).await
    /// }
    ///
    /// fn hide(session: &Session) {
    ///     session.cancel(CURSOR);
    /// }
    /// # let _ = (follow, hide);
    /// ```
    pub fn cancel(&self, key: u64) -> Option<OutgoingMessage> {
        self.sender.cancel(key)
    }

    /// Waits for the end of the session, and returns how it ended. Any number of tasks may wait,
    /// any number of times.
    ///
    /// When it returns, the closing handshake is complete or has timed out. If this end closed
    /// first and [`Closed::is_clean`], the peer has read all messages that were sent before. If the
    /// peer closed first, our answer to its Close frame may still be queued: [`flush`](Self::flush)
    /// waits for it.
    ///
    /// Cancel-safe.
    pub async fn closed(&self) -> Closed {
        self.sender.closed().await
    }

    /// Drops the transport now, without a closing handshake. Messages that were sent may be lost.
    pub fn terminate(&self) {
        self.sender.terminate();
    }

    /// Runs `task` in a task of its own until it ends, the session does, or it is
    /// [aborted](SessionTask::abort), so that background work stops with the session. It does not
    /// keep the session open. Await the result for the output, or drop it.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> SessionTask<T> {
        self.sender.spawn(task)
    }

    /// Returns the time on the clock of the session's runtime, which a simulation controls.
    pub fn now(&self) -> Instant {
        self.sender.now()
    }

    /// Waits for `duration` on that clock. A handler that uses it runs unchanged on every runtime.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless::{Closed, Session};
    ///
    /// async fn tick(session: Session) -> Result<(), Closed> {
    ///     loop {
    ///         session.send("tick").await?;
    ///         session.sleep(Duration::from_secs(1)).await;
    ///     }
    /// }
    /// ```
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sender.sleep(duration)
    }

    /// Returns the HTTP request that opened the session.
    pub fn request(&self) -> &Request {
        self.receiver.request()
    }

    /// Returns the settings in force.
    pub fn config(&self) -> Arc<Config> {
        self.sender.config()
    }

    /// Changes the settings of this session. Deadlines change at once, limits of length with the
    /// next frame. `change` is called again if another task changed the settings meanwhile.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless::Session;
    ///
    /// fn ping_often(session: &Session) {
    ///     session.reconfigure(|config| config.ping_interval(Duration::from_secs(5)));
    /// }
    /// ```
    pub fn reconfigure(&self, change: impl FnMut(Config) -> Config) {
        self.sender.reconfigure(change);
    }

    /// Starts to count frames and received bytes for [`stats`](Self::stats), unless an observer has started it. The
    /// counters take some 200 bytes.
    pub fn start_counting(&self) {
        self.sender.start_counting();
    }

    /// Returns the counters of the session: frames by kind, bytes, what is queued and held, and the round-trip time.
    pub fn stats(&self) -> Stats {
        self.sender.stats()
    }

    /// Sets the observer of the frames and states of this session, or removes it.
    ///
    /// It is called while the session is locked, so it should return soon. It must not call methods of the session, of
    /// its senders or receivers: such a call waits for the lock that its own thread holds, and never returns. To act on
    /// what it is shown, send it to a task, for example through a channel. An observer that is replaced or removed is
    /// dropped without the lock.
    ///
    /// ```
    /// use sockless::proto::{Role, trace::JsonTrace};
    /// use sockless::Session;
    ///
    /// fn record(session: &Session) {
    ///     let trace = JsonTrace::new(Role::Server, |line: &str| eprint!("{line}"));
    ///     session.set_observer(Some(Box::new(trace)));
    /// }
    /// ```
    pub fn set_observer(&self, observer: Option<Box<dyn Observer>>) {
        self.sender.set_observer(observer);
    }

    /// Returns the round-trip time of a ping that was answered: the last one that was sent by
    /// [`ping`](Self::ping) and awaited, or else the last one of [`Config::ping_interval`].
    pub fn round_trip(&self) -> Option<Duration> {
        self.sender.round_trip()
    }
}

impl Session {
    pub(crate) fn as_sender(&self) -> &Sender {
        &self.sender
    }

    pub(crate) fn as_receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }
}

/// For functions that take a session or a handle of it, such as those that join a room.
impl AsRef<Sender> for Session {
    fn as_ref(&self) -> &Sender {
        &self.sender
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("request", self.request()).finish_non_exhaustive()
    }
}

impl Stream for Session {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        Pin::new(&mut self.receiver).poll_next(cx)
    }
}
