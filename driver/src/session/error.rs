//! The errors of a session's methods.

use sockless_core::{Closed, Escaped, Message, OutgoingMessage, SendError};
use thiserror::Error;

use crate::future::BoxError;

/// The reason why [`Sender::try_send`](crate::Sender::try_send) did not send a message, with the
/// message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// The session has ended or has begun to close.
    #[error("the session is closing or has ended")]
    Closed(OutgoingMessage),
    /// The outgoing queue is full, or another message is being
    /// [sent in chunks](crate::Sender::writer).
    #[error("the outgoing queue is full (high_water), or a message is being sent in chunks")]
    Full(OutgoingMessage),
}

impl TrySendError {
    /// Returns the message that was not sent.
    pub fn into_message(self) -> Message {
        match self {
            Self::Closed(message) | Self::Full(message) => message.into_message(),
        }
    }
}

/// The reason why [`MessageWriter`](crate::MessageWriter) did not send a chunk.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The session has ended, as stated.
    #[error("{0}")]
    Closed(#[source] Closed),
    /// The chunk is text and the message binary, or the other way round. Nothing was sent.
    #[error(
        "expected a chunk of the message's kind, got text in a binary message or binary data in a text message"
    )]
    KindMismatch,
}

/// The reason why [`RawSession::send`](crate::RawSession::send) did not send a frame.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RawSendError {
    /// The session has ended, as stated.
    #[error("{0}")]
    Closed(#[source] Closed),
    /// The frame must not be sent. The session goes on.
    #[error("{0}")]
    Invalid(#[source] SendError),
}

/// The reason why `send_as` or `send_json` did not send a value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The session has ended, as stated.
    #[error("{0}")]
    Closed(#[source] Closed),
    /// The format cannot represent the value. Nothing was sent, and the session goes on.
    #[error("cannot encode the value: {}", Escaped(.0))]
    Invalid(#[source] BoxError),
}

/// The reason why `recv_as` or `recv_json` did not return a value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The session has ended, as stated.
    #[error("{0}")]
    Closed(#[source] Closed),
    /// The message does not have the form that was expected. The session goes on.
    // A format's error may quote the message.
    #[error("cannot decode the message: {}", Escaped(.error))]
    Invalid {
        /// The message.
        message: Message,
        /// The error of the format.
        #[source]
        error: BoxError,
    },
}
