//! The errors of a session's methods.

use sockless_core::{Closed, Escaped, Message, OutgoingMessage, SendError};
use thiserror::Error;

use crate::future::BoxError;

/// The reason why [`Sender::try_send`](crate::Sender::try_send) did not send a message, with the
/// message.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// The session has ended or has begun to close.
    #[error("the session is closing or has ended")]
    Closed {
        /// The message.
        message: OutgoingMessage,
        /// The end of the session; `None` while it closes, when that is not known yet.
        #[source]
        closed: Option<Closed>,
    },
    /// The outgoing queue is full, or another message is being
    /// [sent in chunks](crate::Sender::writer).
    #[error("the outgoing queue is full (high_water), or a message is being sent in chunks")]
    Full(OutgoingMessage),
}

impl TrySendError {
    /// Returns the message that was not sent.
    pub fn into_message(self) -> Message {
        match self {
            Self::Closed { message, .. } | Self::Full(message) => message.into_message(),
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

/// The reason why a frame was not sent by [`RawSession::send`](crate::RawSession::send), or a ping
/// by [`Session::ping`](crate::Session::ping).
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RawSendError {
    /// The session has ended, as stated.
    #[error("{0}")]
    Closed(#[source] Closed),
    /// The frame must not be sent; [`SendError::Closing`] while the session closes. The session goes
    /// on.
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

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::iter::successors;

    use sockless_core::{Cause, Party};

    use super::*;

    /// The texts of an error and of its sources.
    fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
        successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
    }

    #[test]
    fn each_error_has_the_end_of_the_session_as_its_source() {
        let closed = Closed::new(Party::Peer, Cause::Eof, None, None);
        let text = closed.to_string();
        let too_late = TrySendError::Closed { message: "x".into(), closed: Some(closed.clone()) };
        assert_eq!(chain(&too_late)[1..], *std::slice::from_ref(&text));
        let errors: [Box<dyn Error>; 4] = [
            Box::new(WriteError::Closed(closed.clone())),
            Box::new(RawSendError::Closed(closed.clone())),
            Box::new(EncodeError::Closed(closed.clone())),
            Box::new(DecodeError::Closed(closed)),
        ];
        for error in &errors {
            assert_eq!(chain(&**error), [text.clone(), text.clone()]);
            assert!(error.source().is_some_and(|source| source.is::<Closed>()));
        }
    }

    #[test]
    fn each_error_has_the_error_that_caused_it_as_its_source() {
        let too_long = SendError::ControlTooLong { len: 126 };
        assert_eq!(chain(&RawSendError::Invalid(too_long)), vec![too_long.to_string(); 2]);

        let invalid = EncodeError::Invalid("no number".into());
        assert_eq!(chain(&invalid), ["cannot encode the value: no number", "no number"]);

        let (message, error) = (Message::from("x"), "\u{1b}[2J".into());
        let invalid = DecodeError::Invalid { message, error };
        let texts = chain(&invalid);
        assert_eq!(texts[0], "cannot decode the message: \\u{1b}[2J", "it may quote the peer");
        assert_eq!(texts[1..], ["\u{1b}[2J"]);
    }

    #[test]
    fn an_error_without_a_cause_has_no_source() {
        let message = OutgoingMessage::from("x");
        assert!(WriteError::KindMismatch.source().is_none());
        assert!(TrySendError::Full(message.clone()).source().is_none());
        let closing = TrySendError::Closed { message, closed: None };
        assert!(closing.source().is_none());
        assert_eq!(closing.into_message(), Message::from("x"));
    }
}
