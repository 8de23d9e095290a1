//! The receiving half of a session: [`Receiver`].

use std::fmt;
use std::time::Duration;

use sockless_core::{Closed, Message};
use sockless_driver::Request;
use thiserror::Error;

use crate::chunks::MessageReader;
use crate::wait::{block_on, block_on_for};

/// The receiving half of a [`Session`](crate::Session).
///
/// It is also an [`Iterator`] over the messages, which ends with the session. Once it is dropped,
/// messages that arrive are dropped.
pub struct Receiver(sockless_driver::Receiver);

impl Receiver {
    pub(crate) fn new(receiver: sockless_driver::Receiver) -> Self {
        Self(receiver)
    }

    /// Receives the next message, whole. Once all messages have been received, returns how the
    /// session ended.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, at each call.
    pub fn recv(&mut self) -> Result<Message, Closed> {
        block_on(self.0.recv())
    }

    /// As [`recv`](Self::recv), and waits for `timeout` at most. With a timeout of zero it returns a
    /// message that has been received already.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if no message arrived in time, after which the session goes on;
    /// [`RecvTimeoutError::Closed`] once it has ended.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message, RecvTimeoutError> {
        match block_on_for(timeout, self.0.recv()) {
            Some(received) => received.map_err(RecvTimeoutError::Closed),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Waits for the next message to begin, and returns a reader of its chunks, for messages that are
    /// too long to hold.
    ///
    /// A message longer than [`Config::max_message_len`](sockless_core::Config::max_message_len) is
    /// accepted up to [`Config::max_streamed_len`](sockless_core::Config::max_streamed_len), which by default
    /// is not longer.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended.
    pub fn reader(&mut self) -> Result<MessageReader<'_>, Closed> {
        block_on(self.0.reader()).map(MessageReader::new)
    }

    /// Returns the HTTP request that opened the session.
    pub fn request(&self) -> &Request {
        self.0.request()
    }
}

impl Receiver {
    pub(crate) fn inner(&mut self) -> &mut sockless_driver::Receiver {
        &mut self.0
    }
}

impl Iterator for Receiver {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.recv().ok()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("request", self.request()).finish_non_exhaustive()
    }
}

/// The reason why `recv_timeout` did not return a message.
#[derive(Clone, Debug, Error)]
pub enum RecvTimeoutError {
    /// The session has ended, as stated.
    #[error("{0}")]
    Closed(#[source] Closed),
    /// No message arrived in time. The session goes on.
    #[error("no message arrived before the timeout passed")]
    Timeout,
}

impl From<RecvTimeoutError> for sockless_driver::Error {
    fn from(error: RecvTimeoutError) -> Self {
        match error {
            RecvTimeoutError::Closed(closed) => closed.into(),
            RecvTimeoutError::Timeout => Self::other(error),
        }
    }
}
