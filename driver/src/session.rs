//! The session API: [`Session`], and its halves [`Sender`] and [`Receiver`].

pub(crate) mod engine;
mod handler;
mod raw;
mod receiver;
mod sender;
mod sleep;
mod streamed;
mod typed;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use sockless_core::{CloseReason, Closed, Config, Instant, Message, OutgoingMessage, SendError};

use crate::request::Request;
use crate::session::engine::shared::Shared;

pub use handler::Outcome;
pub(crate) use handler::Running;
pub use raw::{RawSendError, RawSession};
pub use receiver::Receiver;
pub(crate) use sender::{NOT_READ, poll_flushed};
pub use sender::{Sender, TrySendError};
pub use sleep::Sleep;
pub use streamed::{MessageReader, MessageWriter, WriteError};
#[cfg(feature = "json")]
pub use typed::Json;
pub use typed::{Decode, DecodeError, Encode, EncodeError};

/// A WebSocket session: whole messages in both directions.
///
/// It is always driven: while a handler awaits something else entirely, pings are answered, what was
/// sent leaves, deadlines fire and closing handshakes complete. It is one type on every runtime.
///
/// Every async method is cancel-safe: dropping its future loses nothing.
///
/// A session ends when its handler returns, or, where it was handed out by a client, when the last of
/// its handles is dropped: either way what was sent is flushed and the connection closed with 1000.
///
/// ```
/// use sockless_core::Closed;
/// use sockless_driver::Session;
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
        Self { sender: Sender::new(shared.clone()), receiver: Receiver::new(shared.clone()) }
    }

    pub(crate) fn as_sender(&self) -> &Sender {
        &self.sender
    }

    pub(crate) fn as_receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// Receives the next message, whole; then, once all were received, how the session ended.
    ///
    /// Cancel-safe: a message is either returned or still there.
    ///
    /// # Errors
    ///
    /// How the session ended, each time.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Result<Message, Closed>> {
        self.receiver.recv()
    }

    /// Sends a message, waiting while [`Config::high_water`] bytes or more are on their way. It may be
    /// one that is [not to be compressed](Message::uncompressed), or a
    /// [`Broadcast`](sockless_core::Broadcast).
    ///
    /// It is ready when the message is queued, not when it has left: all that is sent while a handler is
    /// polled goes out in one write. The driver writes it soon after, but a program that ends, or drops
    /// its runtime, right after `send` takes the driver along and may lose the message. Before that,
    /// await one of these:
    ///
    /// * [`flush`](Self::flush): what was sent has been given to the operating system;
    /// * [`close`](Self::close), then [`closed`](Self::closed): the peer has answered our Close frame,
    ///   which follows all that was sent.
    ///
    /// A server's handler, and a block that [`Connect::run`](crate::Connect::run) drives, need neither:
    /// when they return, the driver flushes and closes before it ends.
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
        self.sender.send(message)
    }

    /// A handle by which other tasks send to this peer.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Parts the session into two halves that different tasks may own.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Waits until all that was sent before has reached the transport.
    ///
    /// When it returns `Ok`, the bytes have been given to the operating system, which sends them even if
    /// the program ends then, unless the connection breaks; over TLS they have been encrypted before. Over
    /// HTTP/2 they have been given to the HTTP connection, which is a task of its own. That the peer has
    /// received them is known only from its answer, or from [`closed`](Self::closed).
    ///
    /// ```
    /// # use sockless_core::Closed;
    /// # use sockless_driver::Session;
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
    /// How the session ended, if it did before that.
    pub async fn flush(&self) -> Result<(), Closed> {
        self.sender.flush().await
    }

    /// Sends a ping of up to 125 bytes, apart from those of [`Config::ping_interval`].
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`] for more bytes; [`SendError::Closing`] once either side has
    /// begun to close.
    pub fn ping(&self, payload: impl Into<Bytes>) -> Result<(), SendError> {
        self.sender.ping(payload)
    }

    /// Starts the closing handshake: what was sent before leaves first, messages that arrive
    /// meanwhile can still be received. A second call does nothing.
    ///
    /// It does not wait: a program that ends right after it may lose the Close frame and what was sent
    /// before. Await [`closed`](Self::closed), which takes as long as the peer does to answer, and
    /// [`Config::closing_timeout`] at most.
    ///
    /// ```
    /// # use sockless_core::CloseCode;
    /// # use sockless_driver::Session;
    /// async fn leave(session: Session) {
    ///     session.close((CloseCode::NORMAL, "that was all"));
    ///     let closed = session.closed().await;
    ///     // The program may end here. Whether the peer has received everything:
    ///     if !closed.is_clean() {
    ///         eprintln!("{closed}");
    ///     }
    /// }
    /// ```
    pub fn close(&self, reason: impl Into<CloseReason>) {
        self.sender.close(reason);
    }

    /// Waits for the end, and returns how it was. Any number of tasks may wait, any number of times.
    ///
    /// After it the closing handshake is over, or has been given up. Where this end closed first and
    /// [`Closed::is_clean`], the peer has read all that was sent before. Where the peer closed first, our
    /// answer to its Close frame may still be queued: [`flush`](Self::flush) waits for it.
    ///
    /// Cancel-safe.
    pub async fn closed(&self) -> Closed {
        self.sender.closed().await
    }

    /// Drops the transport now, without a closing handshake; what was sent may be lost.
    pub fn terminate(&self) {
        self.sender.terminate();
    }

    /// Runs `task` beside the handler until it ends or the session does: background work that is tied
    /// to the session stops with it.
    ///
    /// It does not keep the session open.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.sender.spawn(task);
    }

    /// The time on the clock of the session's runtime, which a simulation owns.
    pub fn now(&self) -> Instant {
        self.sender.now()
    }

    /// Waits for `duration` on that clock, so that a handler that keeps time runs unchanged on every
    /// runtime.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sockless_core::Closed;
    /// # use sockless_driver::Session;
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

    /// The request behind the session.
    pub fn request(&self) -> &Request {
        self.receiver.request()
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<Config> {
        self.sender.config()
    }

    /// Changes the settings of this session. Deadlines follow at once; limits of length hold from the next
    /// frame on. `change` is called again when the settings were changed by another task meanwhile.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sockless_driver::Session;
    /// # fn example(session: &Session) {
    /// session.reconfigure(|config| config.ping_interval(Duration::from_secs(5)));
    /// # }
    /// ```
    pub fn reconfigure(&self, change: impl FnMut(Config) -> Config) {
        self.sender.reconfigure(change);
    }

    /// How long the last ping of [`Config::ping_interval`] took to come back.
    pub fn round_trip(&self) -> Option<Duration> {
        self.sender.round_trip()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("call", self.request()).finish_non_exhaustive()
    }
}

impl Stream for Session {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        Pin::new(&mut self.receiver).poll_next(cx)
    }
}

impl Sink<Message> for Session {
    type Error = Closed;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Pin::new(&mut self.sender).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Closed> {
        Pin::new(&mut self.sender).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Pin::new(&mut self.sender).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Pin::new(&mut self.sender).poll_close(cx)
    }
}
