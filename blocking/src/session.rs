//! A session with blocking calls: [`Session`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use sockless_core::{CloseReason, Closed, Config, IntoOutgoing, Message, OutgoingMessage, Stats};
use sockless_driver::{RawSendError, Request, TrySendError};

use crate::chunks::{MessageReader, MessageWriter};
use crate::pong::Pong;
use crate::receiver::{Receiver, RecvTimeoutError};
use crate::sender::Sender;

/// A WebSocket session with blocking calls.
///
/// A thread of its own drives it: pings are answered, deadlines are enforced and closing handshakes
/// complete while the program computes, sleeps or waits for something else. No call waits longer than
/// the session's deadlines allow: when it ends, each call that waits returns its [`Closed`].
///
/// A server's session ends when its handler returns, a client's when the last of its handles is
/// dropped. In both cases it is closed with 1000. That happens in the background: before `main`
/// returns, [`close`](Self::close) the session, or the process may end before the closing handshake.
///
/// [`split`](Self::split) returns two halves for different threads, and [`sender`](Self::sender) any
/// number of handles that send. A sender never waits for a thread that receives.
///
/// It is also an [`Iterator`] over the messages that are received, which ends with the session.
///
/// ```no_run
/// use sockless::{CloseCode, blocking};
///
/// fn main() -> Result<(), sockless::Error> {
///     let mut session = blocking::connect("ws://127.0.0.1:8080/echo").open()?;
///     session.send("hello")?;
///     println!("{}", session.recv()?);
///     let closed = session.close(CloseCode::NORMAL);
///     println!("{closed}");
///     Ok(())
/// }
/// ```
pub struct Session {
    sender: Sender,
    receiver: Receiver,
    /// On a client that this crate has connected.
    response: Option<Box<Response<()>>>,
}

impl Session {
    /// Receives the next message, whole. Once all messages have been received, returns how the
    /// session ended.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, at each call.
    pub fn recv(&mut self) -> Result<Message, Closed> {
        self.receiver.recv()
    }

    /// As [`recv`](Self::recv), and waits for `timeout` at most. With a timeout of zero it returns a
    /// message that has been received already.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless::Closed;
    /// use sockless::blocking::{RecvTimeoutError, Session};
    ///
    /// /// Echoes, and sends a line after each second without a message.
    /// fn echo(mut session: Session) -> Result<(), Closed> {
    ///     loop {
    ///         match session.recv_timeout(Duration::from_secs(1)) {
    ///             Ok(message) => session.send(message)?,
    ///             Err(RecvTimeoutError::Timeout) => session.send("still there?")?,
    ///             Err(RecvTimeoutError::Closed(closed)) => return Err(closed),
    ///         }
    ///     }
    /// }
    /// # let _ = sockless::blocking::handler(echo);
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if no message arrived in time, after which the session goes on;
    /// [`RecvTimeoutError::Closed`] once it has ended.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }

    /// Sends a message, and waits until the operating system has it. Over TLS it has been encrypted
    /// before. Only an answer of the peer, or a clean [`close`](Self::close), shows that the peer has
    /// received it.
    ///
    /// While the peer does not read, it waits until [`Config::write_timeout`] ends the session. To send
    /// many short messages at once, use [`feed`](Self::feed) and [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended. Once either side has begun to close, this is
    /// known only after the closing handshake, and is waited for.
    pub fn send(&self, message: impl IntoOutgoing) -> Result<(), Closed> {
        self.sender.send(message)
    }

    /// Queues a message, waiting only while [`Config::high_water`] bytes or more are queued. The
    /// session's thread sends it soon after, together with others that wait.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn feed(&self, message: impl IntoOutgoing) -> Result<(), Closed> {
        self.sender.feed(message)
    }

    /// Queues a message if there is room for it now, without waiting.
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`].
    pub fn try_send(&self, message: impl IntoOutgoing) -> Result<(), TrySendError> {
        self.sender.try_send(message)
    }

    /// Waits until all messages that were queued before, by any handle, have been given to the
    /// operating system.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, if it ended first.
    pub fn flush(&self) -> Result<(), Closed> {
        self.sender.flush()
    }

    /// Sends a ping of up to 125 bytes, in addition to those of [`Config::ping_interval`]. It does not
    /// wait: [`Pong::wait`] does, for the round-trip time.
    ///
    /// # Errors
    ///
    /// [`RawSendError::Closed`] once the session has ended; [`RawSendError::Invalid`] for more bytes,
    /// and while the session closes.
    pub fn ping(&self, payload: impl Into<Bytes>) -> Result<Pong, RawSendError> {
        self.sender.ping(payload)
    }

    /// Closes the session: sends what is queued and a Close frame, and waits for the peer's. Returns
    /// how the session ended.
    ///
    /// It takes until the peer answers, and [`Config::closing_timeout`] at most once the operating
    /// system has taken the Close frame; a peer that sends meanwhile extends that up to 12 times. If the end [is clean](Closed::is_clean) and the peer had not
    /// closed before, the peer has read everything that was sent. Messages that arrive meanwhile can
    /// still be received.
    pub fn close(&self, reason: impl Into<CloseReason>) -> Closed {
        self.sender.close(reason)
    }

    /// Waits for the end of the session, and returns how it ended. Any number of threads may wait, any
    /// number of times.
    pub fn closed(&self) -> Closed {
        self.sender.closed()
    }

    /// Fails the session: sends a Close frame ahead of what is queued, which is dropped, and does not
    /// wait for the peer's.
    pub fn fail(&self, reason: impl Into<CloseReason>) {
        self.sender.fail(reason);
    }

    /// Cancels the message with this [key](OutgoingMessage::latest) that waits to be sent, and returns it.
    /// `None` if none waits: it was not sent, or its bytes have left or are about to.
    ///
    /// ```
    /// use sockless::blocking::Session;
    /// use sockless::{Closed, Message};
    ///
    /// const CURSOR: u64 = 1;
    ///
    /// fn follow(session: &Session, x: u32) -> Result<(), Closed> {
    ///     // While the peer reads slowly, only the latest position waits.
    ///     session.feed(Message::from(format!("cursor at {x}")).latest(CURSOR))
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

    /// Drops the transport now, without a closing handshake. Messages that are queued may be lost.
    /// Calls of other threads that wait for this session return.
    pub fn terminate(&self) {
        self.sender.terminate();
    }

    /// Returns a handle with which other threads send to this peer.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Splits the session into two halves that different threads may own.
    ///
    /// ```
    /// use std::thread;
    ///
    /// use sockless::blocking::Session;
    /// use sockless::{CloseCode, Closed};
    ///
    /// /// Sends the lines of the input, and prints what is received.
    /// fn talk(session: Session) -> Result<Closed, Closed> {
    ///     let (sender, receiver) = session.split();
    ///     thread::spawn(move || receiver.for_each(|message| println!("{message}")));
    ///     for line in std::io::stdin().lines().map_while(Result::ok) {
    ///         sender.send(line)?;
    ///     }
    ///     Ok(sender.close(CloseCode::NORMAL))
    /// }
    /// # let _ = talk;
    /// ```
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Waits for the next message to begin, and returns a reader of its chunks, for messages that are
    /// too long to hold; see [`Receiver::reader`].
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended.
    pub fn reader(&mut self) -> Result<MessageReader<'_>, Closed> {
        self.receiver.reader()
    }

    /// Begins a message that is sent in chunks; see [`Sender::writer`].
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended.
    pub fn writer(&self) -> Result<MessageWriter<'_>, Closed> {
        self.sender.writer()
    }

    /// Returns the HTTP request that opened the session.
    pub fn request(&self) -> &Request {
        self.sender.request()
    }

    /// Returns the server's response to the request, with its headers; `None` for sessions that
    /// [`connect`](crate::connect) has not opened: those of a server or of a `Reconnect`.
    pub fn response(&self) -> Option<&Response<()>> {
        self.response.as_deref()
    }

    /// Returns the settings in force.
    pub fn config(&self) -> Arc<Config> {
        self.sender.config()
    }

    /// Changes the settings of this session. Deadlines change at once, limits of length with the next
    /// frame. `change` is called again if another thread changed the settings meanwhile.
    pub fn reconfigure(&self, change: impl FnMut(Config) -> Config) {
        self.sender.reconfigure(change);
    }

    /// Starts to count frames and received bytes for [`stats`](Self::stats), unless an observer has
    /// started it.
    pub fn start_counting(&self) {
        self.sender.start_counting();
    }

    /// Returns the counters of the session.
    pub fn stats(&self) -> Stats {
        self.sender.stats()
    }

    /// Returns the round-trip time of a ping that was answered: the last one that was sent by
    /// [`ping`](Self::ping) and waited for, or else the last one of [`Config::ping_interval`].
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

    #[cfg(feature = "client")]
    pub(crate) fn with_response(mut self, response: Response<()>) -> Self {
        self.response = Some(Box::new(response));
        self
    }
}

/// Uses a session of any runtime from a thread. The runtime drives it, and must not be blocked by that
/// thread: on tokio, use `spawn_blocking`.
impl From<sockless_driver::Session> for Session {
    fn from(session: sockless_driver::Session) -> Self {
        let (sender, receiver) = session.split();
        Self { sender: Sender::new(sender), receiver: Receiver::new(receiver), response: None }
    }
}

impl Iterator for Session {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.recv().ok()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("request", self.request()).finish_non_exhaustive()
    }
}
