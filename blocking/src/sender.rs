//! The sending half of a session: [`Sender`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sockless_core::{CloseReason, Closed, Config, IntoOutgoing, OutgoingMessage, Stats};
use sockless_driver::{RawSendError, Request, TrySendError};

use crate::chunks::MessageWriter;
use crate::pong::Pong;
use crate::wait::block_on;

/// The sending half of a [`Session`](crate::Session). Clones send to the same peer, from any thread.
///
/// ```
/// use std::thread;
/// use std::time::Duration;
///
/// use sockless::Closed;
/// use sockless::blocking::Session;
///
/// fn handle(mut session: Session) -> Result<(), Closed> {
///     let sender = session.sender();
///     thread::spawn(move || {
///         // Ends with the session, or when a message cannot be sent.
///         while sender.send("still here").is_ok() {
///             thread::sleep(Duration::from_secs(30));
///         }
///     });
///     loop {
///         let message = session.recv()?;
///         session.send(message)?;
///     }
/// }
/// # let _ = sockless::blocking::handler(handle);
/// ```
#[derive(Clone)]
pub struct Sender(sockless_driver::Sender);

impl Sender {
    pub(crate) fn new(sender: sockless_driver::Sender) -> Self {
        Self(sender)
    }

    /// Sends a message, and waits until the operating system has it. See
    /// [`Session::send`](crate::Session::send).
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended. Once either side has begun to close, this is
    /// known only after the closing handshake, and is waited for.
    pub fn send(&self, message: impl IntoOutgoing) -> Result<(), Closed> {
        block_on(async {
            self.0.send(message).await?;
            self.0.flush().await
        })
    }

    /// Queues a message, waiting only while [`Config::high_water`] bytes or more are queued. The
    /// session's thread sends it soon after, together with others that wait.
    ///
    /// ```
    /// use sockless::Closed;
    /// use sockless::blocking::Sender;
    ///
    /// /// Sends many short messages with few system calls.
    /// fn send_all(sender: &Sender, lines: &[String]) -> Result<(), Closed> {
    ///     for line in lines {
    ///         sender.feed(line)?;
    ///     }
    ///     sender.flush()
    /// }
    /// # let _ = send_all;
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn feed(&self, message: impl IntoOutgoing) -> Result<(), Closed> {
        block_on(self.0.send(message))
    }

    /// Queues a message if there is room for it now, without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] while [`Config::high_water`] bytes or more are queued, or another message
    /// is being [sent in chunks](Self::writer); [`TrySendError::Closed`] once the session has ended or
    /// has begun to close. Both return the message.
    pub fn try_send(&self, message: impl IntoOutgoing) -> Result<(), TrySendError> {
        self.0.try_send(message)
    }

    /// Waits until all messages that were queued before, by any handle, have been given to the
    /// operating system.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, if it ended first.
    pub fn flush(&self) -> Result<(), Closed> {
        block_on(self.0.flush())
    }

    /// Sends a ping of up to 125 bytes, in addition to those of [`Config::ping_interval`]. It does not
    /// wait: [`Pong::wait`] does, for the round-trip time.
    ///
    /// # Errors
    ///
    /// [`RawSendError::Closed`] once the session has ended; [`RawSendError::Invalid`] for more bytes,
    /// and while the session closes.
    pub fn ping(&self, payload: impl Into<Bytes>) -> Result<Pong, RawSendError> {
        self.0.ping(payload).map(Pong)
    }

    /// Closes the session, and waits for its end; see [`Session::close`](crate::Session::close).
    pub fn close(&self, reason: impl Into<CloseReason>) -> Closed {
        self.0.close(reason);
        self.closed()
    }

    /// Waits for the end of the session, and returns how it ended. Any number of threads may wait, any
    /// number of times.
    pub fn closed(&self) -> Closed {
        block_on(async {
            let closed = self.0.closed().await;
            // If the peer closed first, our answer to its Close frame may still be queued.
            let _ = self.0.flush().await;
            closed
        })
    }

    /// Fails the session: sends a Close frame ahead of what is queued, which is dropped, and does not
    /// wait for the peer's.
    pub fn fail(&self, reason: impl Into<CloseReason>) {
        self.0.fail(reason);
    }

    /// Cancels the message with this [key](sockless_core::OutgoingMessage::latest) that waits to be sent,
    /// and returns it. `None` if none waits: it was not sent, or its bytes have left or are about to.
    pub fn cancel(&self, key: u64) -> Option<OutgoingMessage> {
        self.0.cancel(key)
    }

    /// Drops the transport now, without a closing handshake. Messages that are queued may be lost.
    /// Calls of other threads that wait for this session return.
    pub fn terminate(&self) {
        self.0.terminate();
    }

    /// Begins a message that is sent in chunks, once no other one is being sent so. Other senders wait
    /// until it ends.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended.
    pub fn writer(&self) -> Result<MessageWriter<'_>, Closed> {
        block_on(self.0.writer()).map(MessageWriter::new)
    }

    /// Returns the HTTP request that opened the session.
    pub fn request(&self) -> &Request {
        self.0.request()
    }

    /// Returns the settings in force.
    pub fn config(&self) -> Arc<Config> {
        self.0.config()
    }

    /// Changes the settings of this session. Deadlines change at once, limits of length with the next
    /// frame. `change` is called again if another thread changed the settings meanwhile.
    pub fn reconfigure(&self, change: impl FnMut(Config) -> Config) {
        self.0.reconfigure(change);
    }

    /// Starts to count frames and received bytes for [`stats`](Self::stats), unless an observer has
    /// started it.
    pub fn start_counting(&self) {
        self.0.start_counting();
    }

    /// Returns the counters of the session.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Returns the round-trip time of a ping that was answered: the last one that was sent by
    /// [`ping`](Self::ping) and waited for, or else the last one of [`Config::ping_interval`].
    pub fn round_trip(&self) -> Option<Duration> {
        self.0.round_trip()
    }
}

#[cfg(feature = "client")]
impl Sender {
    /// Terminates the session after `timeout`, unless the returned task is aborted before.
    pub(crate) fn terminate_after(&self, timeout: Duration) -> sockless_driver::SessionTask<()> {
        let sender = self.0.clone();
        self.0.spawn(async move {
            sender.sleep(timeout).await;
            sender.terminate();
        })
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("request", self.request()).finish_non_exhaustive()
    }
}
