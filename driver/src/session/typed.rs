//! Values instead of messages: [`Encode`] and [`Decode`], and with feature `json` both through serde.

use std::fmt;

use sockless_core::{Closed, Escaped, Message};

use crate::future::BoxError;
use crate::session::{Receiver, Sender, Session};

/// A format that values of type `T` are sent in: JSON, MessagePack, protobuf.
pub trait Encode<T: ?Sized> {
    /// The message that says `value`.
    ///
    /// # Errors
    ///
    /// The format's own, for a value that it cannot say.
    fn encode(&self, value: &T) -> Result<Message, BoxError>;
}

/// A format that values of type `T` are received in.
///
/// ```
/// use sockless_driver::{BoxError, Decode, Session};
/// use sockless_core::Message;
///
/// /// A number as eight bytes.
/// struct BigEndian;
///
/// impl Decode<u64> for BigEndian {
///     fn decode(&self, message: &Message) -> Result<u64, BoxError> {
///         Ok(u64::from_be_bytes(message.as_bytes().try_into()?))
///     }
/// }
///
/// async fn sum(mut session: Session) -> Result<(), BoxError> {
///     let (first, second) = (session.recv_as(&BigEndian).await?, session.recv_as(&BigEndian).await?);
///     session.send((first + second).to_string()).await?;
///     Ok(())
/// }
/// ```
pub trait Decode<T> {
    /// The value that `message` says.
    ///
    /// # Errors
    ///
    /// The format's own, for a message of the wrong kind or shape.
    fn decode(&self, message: &Message) -> Result<T, BoxError>;
}

impl Sender {
    /// Sends `value` in `format`; see [`send`](Self::send).
    ///
    /// Cancel-safe: when the future is dropped before it is ready, nothing was sent.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; the session stays open when it is the value that could not be said.
    pub async fn send_as<T: ?Sized>(
        &self,
        format: &impl Encode<T>,
        value: &T,
    ) -> Result<(), EncodeError> {
        let message = format.encode(value).map_err(EncodeError::Invalid)?;
        self.send(message).await.map_err(EncodeError::Closed)
    }
}

impl Receiver {
    /// Receives the next message as a value in `format`; see [`recv`](Self::recv).
    ///
    /// Cancel-safe: a message is either returned, as a value or in an error, or still there.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; it keeps a message that says no such value, and the session stays open.
    pub async fn recv_as<T>(&mut self, format: &impl Decode<T>) -> Result<T, DecodeError> {
        let message = self.recv().await.map_err(DecodeError::Closed)?;
        format.decode(&message).map_err(|error| DecodeError::Invalid { message, error })
    }
}

impl Session {
    /// Sends `value` in `format`; see [`Sender::send_as`].
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; the session stays open when it is the value that could not be said.
    pub async fn send_as<T: ?Sized>(
        &self,
        format: &impl Encode<T>,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.as_sender().send_as(format, value).await
    }

    /// Receives the next message as a value in `format`; see [`Receiver::recv_as`].
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; it keeps a message that says no such value, and the session stays open.
    pub async fn recv_as<T>(&mut self, format: &impl Decode<T>) -> Result<T, DecodeError> {
        self.as_receiver().recv_as(format).await
    }
}

/// Why a value was not sent.
#[derive(Debug)]
pub enum EncodeError {
    /// How the session ended.
    Closed(Closed),
    /// The format cannot say the value. The session is as it was.
    Invalid(BoxError),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => closed.fmt(f),
            Self::Invalid(error) => write!(f, "the value cannot be encoded: {}", Escaped(error)),
        }
    }
}

impl std::error::Error for EncodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Closed(closed) => Some(closed),
            Self::Invalid(error) => Some(&**error),
        }
    }
}

/// Why no value was received.
#[derive(Debug)]
pub enum DecodeError {
    /// How the session ended.
    Closed(Closed),
    /// A message came that says no such value. The session is as it was.
    Invalid {
        /// The message.
        message: Message,
        /// What is wrong with it.
        error: BoxError,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => closed.fmt(f),
            Self::Invalid { error, .. } => {
                // A format's error may quote the message.
                write!(f, "a message says no such value: {}", Escaped(error))
            }
        }
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Closed(closed) => Some(closed),
            Self::Invalid { error, .. } => Some(&**error),
        }
    }
}

#[cfg(feature = "json")]
mod json {
    use serde_core::{Serialize, de::DeserializeOwned};

    use super::{
        BoxError, Decode, DecodeError, Encode, EncodeError, Message, Receiver, Sender, Session,
    };

    /// JSON in text messages, through serde.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Json;

    impl<T: Serialize + ?Sized> Encode<T> for Json {
        fn encode(&self, value: &T) -> Result<Message, BoxError> {
            Ok(serde_json::to_string(value)?.into())
        }
    }

    impl<T: DeserializeOwned> Decode<T> for Json {
        fn decode(&self, message: &Message) -> Result<T, BoxError> {
            match message {
                Message::Text(text) => Ok(serde_json::from_str(text)?),
                Message::Binary(_) => Err("JSON is text, and the message is binary".into()),
            }
        }
    }

    impl Session {
        /// Sends `value` as JSON.
        ///
        /// # Errors
        ///
        /// [`EncodeError`]; the session stays open when it is the value that could not be said.
        pub async fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), EncodeError> {
            self.send_as(&Json, value).await
        }

        /// Receives the next message as JSON. Cancel-safe.
        ///
        /// # Errors
        ///
        /// [`DecodeError`]; it keeps a message that says no such value, and the session stays open.
        pub async fn recv_json<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
            self.recv_as(&Json).await
        }
    }

    impl Sender {
        /// Sends `value` as JSON.
        ///
        /// # Errors
        ///
        /// [`EncodeError`]; the session stays open when it is the value that could not be said.
        pub async fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), EncodeError> {
            self.send_as(&Json, value).await
        }
    }

    impl Receiver {
        /// Receives the next message as JSON. Cancel-safe.
        ///
        /// # Errors
        ///
        /// [`DecodeError`]; it keeps a message that says no such value, and the session stays open.
        pub async fn recv_json<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
            self.recv_as(&Json).await
        }
    }
}

#[cfg(feature = "json")]
pub use json::Json;
