//! The session: [`Session`], and its halves [`Sender`] and [`Receiver`].

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use sockless_core::{Cause, CloseCode, CloseReason, Closed, Instant, IntoOutgoing, Message};
use sockless_driver::{Decode, DecodeError, Encode, EncodeError, TrySendError};

use crate::platform::{self, Sleep};
use crate::shared::Shared;
use crate::sink::MessageSink;

/// A WebSocket session in the browser, which sends and receives whole messages.
///
/// Its methods are those of the session of the other runtimes, as far as browsers have what they
/// need. It stays on its thread: it is not `Send`.
///
/// The session ends when the last of its handles is dropped: the browser sends what was sent before
/// and closes with 1000.
///
/// It is also a [`Stream`] of the messages that are received, which ends with the session.
/// [`split`](Self::split) returns two halves for different tasks.
///
/// Every async method is cancel-safe: dropping its future loses nothing.
///
/// ```no_run
/// use sockless::web::Session;
/// use sockless::{CloseCode, Closed, Message};
///
/// async fn greet(mut session: Session) -> Result<(Message, Closed), Closed> {
///     session.send("hello").await?;
///     let answer = session.recv().await?;
///     session.close(CloseCode::NORMAL);
///     Ok((answer, session.closed().await))
/// }
/// ```
pub struct Session {
    sender: Sender,
    receiver: Receiver,
}

/// The state that all handles of a session share, so that the last one closes it.
struct Handle(Rc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.agreement().is_none() {
            self.0.abandon(Cause::Aborted);
        }
        self.0.close(CloseCode::NORMAL.into());
    }
}

impl Session {
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        let handle = Rc::new(Handle(shared));
        Self { sender: Sender(handle.clone()), receiver: Receiver(handle) }
    }

    /// Receives the next message, whole. Once all messages have been received, returns how the
    /// session ended.
    ///
    /// Cancel-safe: a message is either returned or received by the next call.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, at each call.
    pub async fn recv(&mut self) -> Result<Message, Closed> {
        self.receiver.recv().await
    }

    /// Sends a message, waiting while the browser holds
    /// [`high_water`](crate::Connect::high_water) bytes or more that it has not sent.
    ///
    /// The future is ready when the browser has queued the message. Browsers report no progress of
    /// that queue: while it is too long, it is looked at every 4 ms, and every 64 ms at most if it does
    /// not move; in pages that are hidden, browsers slow timers down to one a second and less. With a
    /// [stream](crate::Connect::prefer_stream), each step is reported.
    ///
    /// A message's options, such as that it is
    /// [not to be compressed](sockless_core::Message::uncompressed), have no effect: the browser
    /// decides.
    ///
    /// Cancel-safe: if the future is dropped before it is ready, the message was not sent.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended. Once either side has begun to close, this
    /// is known only after the closing handshake, and is waited for.
    pub async fn send(&self, message: impl IntoOutgoing) -> Result<(), Closed> {
        self.sender.send(message).await
    }

    /// Sends `value` in `format`, such as `Json` of the crate `sockless`, as [`send`](Self::send)
    /// does.
    ///
    /// # Errors
    ///
    /// As [`Sender::send_as`].
    pub async fn send_as<T: ?Sized>(
        &self,
        format: &impl Encode<T>,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.sender.send_as(format, value).await
    }

    /// Receives the next message as a value in `format`. Cancel-safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv_as`].
    pub async fn recv_as<T>(&mut self, format: &impl Decode<T>) -> Result<T, DecodeError> {
        self.receiver.recv_as(format).await
    }

    /// Returns a handle with which other tasks send to this peer.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Returns a `Sink` of the `futures` crates, which accepts what [`send`](Self::send) accepts.
    pub fn sink<M: IntoOutgoing>(&self) -> MessageSink<M> {
        self.sender.sink()
    }

    /// Sends a message if there is room for it now.
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`]: each returns the message.
    pub fn try_send(&self, message: impl IntoOutgoing) -> Result<(), TrySendError> {
        self.sender.try_send(message)
    }

    /// Splits the session into two halves that different tasks may own.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Borrows the two halves at once: to receive in one branch of a `select!` while another uses
    /// the session.
    pub fn halves(&mut self) -> (&Sender, &mut Receiver) {
        (&self.sender, &mut self.receiver)
    }

    /// Waits until the browser has passed all messages that were sent before to the network. Looks at
    /// the browser's queue as [`send`](Self::send) does.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, if it ended first.
    pub async fn flush(&self) -> Result<(), Closed> {
        self.sender.flush().await
    }

    /// Starts the closing handshake. Messages that were sent before are delivered first; messages that
    /// arrive later are dropped by a browser's `WebSocket`. A second call does nothing.
    ///
    /// A browser sends the codes 1000 and 3000 to 4999 for a page. For any other code, such as 1001, it
    /// sends a Close frame without code and text, and [`Closed::sent`] shows that.
    ///
    /// It does not wait: [`closed`](Self::closed) does.
    pub fn close(&self, reason: impl Into<CloseReason>) {
        self.sender.close(reason);
    }

    /// Waits for the end of the session, and returns how it ended. Any number of tasks may wait,
    /// any number of times.
    ///
    /// Without a closing handshake, browsers do not report why: [`Cause::Eof`] is a lost
    /// connection or a peer that broke the protocol. If the peer closes first, the browser
    /// answers, and [`Closed::sent`] repeats the peer's reason.
    ///
    /// Cancel-safe.
    pub async fn closed(&self) -> Closed {
        self.sender.closed().await
    }

    /// Ends the session now, with [`Cause::Aborted`]. The browser is asked to close, and does so in
    /// the background: a page cannot drop a connection.
    pub fn terminate(&self) {
        self.sender.terminate();
    }

    /// Returns the time since the page was loaded.
    pub fn now(&self) -> Instant {
        self.sender.now()
    }

    /// Waits for `duration`.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sender.sleep(duration)
    }

    /// Returns the subprotocol that the server selected, if any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.sender.subprotocol()
    }

    /// Returns the extensions that the browser and the server agreed on, as in the response's
    /// `Sec-WebSocket-Extensions`; empty without any.
    pub fn extensions(&self) -> &str {
        self.sender.agreement().map_or("", |it| &it.extensions)
    }

    /// Returns true if the browser uses a stream, which makes a peer wait while the program does not
    /// receive: see [`Connect::prefer_stream`](crate::Connect::prefer_stream).
    pub fn has_backpressure(&self) -> bool {
        self.sender.agreement().is_some_and(|it| it.has_backpressure)
    }

    /// Returns the bytes of messages that wait for the program to receive them, with 64 for each
    /// message added.
    pub fn unread(&self) -> usize {
        self.sender.0.0.unread()
    }

    /// Returns the bytes that the browser holds and has not sent.
    pub fn buffered(&self) -> usize {
        self.sender.buffered()
    }
}

impl Session {
    /// Waits for the end, without keeping the session open.
    pub(crate) fn end(&self) -> Pin<Box<dyn Future<Output = Closed>>> {
        let shared = self.sender.0.0.clone();
        Box::pin(async move { closed(&shared).await })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("subprotocol", &self.subprotocol())
            .field("extensions", &self.extensions())
            .finish_non_exhaustive()
    }
}

impl Stream for Session {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        Pin::new(&mut self.receiver).poll_next(cx)
    }
}

/// The sending half of a [`Session`]. Clones send to the same peer.
#[derive(Clone)]
pub struct Sender(Rc<Handle>);

impl Sender {
    /// Sends a message; see [`Session::send`]. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`Session::send`].
    pub async fn send(&self, message: impl IntoOutgoing) -> Result<(), Closed> {
        let shared = self.shared();
        let mut message = Some(message.into_outgoing());
        let place = shared.writers().place();
        poll_fn(|cx| shared.poll_send(&mut message, &place, cx)).await
    }

    /// Sends a message if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] while the browser holds
    /// [`high_water`](crate::Connect::high_water) bytes or more; [`TrySendError::Closed`] once the
    /// session has ended or has begun to close. Both return the message.
    pub fn try_send(&self, message: impl IntoOutgoing) -> Result<(), TrySendError> {
        self.shared().try_send(message.into_outgoing())
    }

    /// Returns a `Sink` of the `futures` crates, which sends to the same peer.
    pub fn sink<M: IntoOutgoing>(&self) -> MessageSink<M> {
        MessageSink::new(self.clone())
    }

    /// Sends `value` in `format`. Cancel-safe, as [`Session::send`].
    ///
    /// # Errors
    ///
    /// [`EncodeError::Closed`] once the session has ended; [`EncodeError::Invalid`] for a value that
    /// the format cannot represent, after which the session goes on.
    pub async fn send_as<T: ?Sized>(
        &self,
        format: &impl Encode<T>,
        value: &T,
    ) -> Result<(), EncodeError> {
        let message = format.encode(value).map_err(EncodeError::Invalid)?;
        self.send(message).await.map_err(EncodeError::Closed)
    }

    /// Waits until the browser has passed on what was sent before; see [`Session::flush`].
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, if it ended first.
    pub async fn flush(&self) -> Result<(), Closed> {
        let shared = self.shared();
        let place = shared.writers().place();
        poll_fn(|cx| shared.poll_flush(&place, cx)).await
    }

    /// Starts the closing handshake; see [`Session::close`].
    pub fn close(&self, reason: impl Into<CloseReason>) {
        self.shared().close(reason.into());
    }

    /// Waits for the end of the session; see [`Session::closed`]. Cancel-safe.
    pub async fn closed(&self) -> Closed {
        closed(self.shared()).await
    }

    /// Ends the session now; see [`Session::terminate`].
    pub fn terminate(&self) {
        self.shared().abandon(Cause::Aborted);
    }

    /// Returns the time since the page was loaded.
    pub fn now(&self) -> Instant {
        platform::now()
    }

    /// Waits for `duration`.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(duration)
    }

    /// Returns the subprotocol that the server selected, if any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.agreement().map(|it| &*it.subprotocol).filter(|name| !name.is_empty())
    }

    /// Returns the bytes that the browser holds and has not sent.
    pub fn buffered(&self) -> usize {
        self.shared().buffered()
    }

    fn agreement(&self) -> Option<&crate::shared::Agreement> {
        self.shared().agreement()
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

async fn closed(shared: &Shared) -> Closed {
    let place = shared.watchers().place();
    poll_fn(|cx| shared.poll_closed(&place, cx)).await
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("subprotocol", &self.subprotocol()).finish_non_exhaustive()
    }
}

/// The receiving half of a [`Session`].
///
/// It is also a [`Stream`] of messages, which ends with the session. Once it is dropped, messages
/// that arrive are dropped.
pub struct Receiver(Rc<Handle>);

impl Receiver {
    /// Receives the next message; see [`Session::recv`]. Cancel-safe.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, at each call.
    pub async fn recv(&mut self) -> Result<Message, Closed> {
        poll_fn(|cx| self.0.0.poll_recv(cx)).await
    }

    /// Receives the next message as a value in `format`. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Closed`] once the session has ended; [`DecodeError::Invalid`] with a message
    /// that does not have the expected form, after which the session goes on.
    pub async fn recv_as<T>(&mut self, format: &impl Decode<T>) -> Result<T, DecodeError> {
        let message = self.recv().await.map_err(DecodeError::Closed)?;
        format.decode(&message).map_err(|error| DecodeError::Invalid { message, error })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.0.stop_receiving();
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl Stream for Receiver {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.0.0.poll_recv(cx).map(Result::ok)
    }
}
