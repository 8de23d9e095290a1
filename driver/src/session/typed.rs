//! Values as messages: [`Encode`] and [`Decode`], and with feature `json` both through serde.

use sockless_core::Message;

use crate::future::BoxError;
use crate::session::error::{DecodeError, EncodeError};
use crate::session::{Receiver, Sender, Session};

/// A format in which values of type `T` are sent, such as MessagePack or protobuf.
///
/// ```
/// use sockless::{BoxError, Encode, EncodeError, Message, Session};
///
/// /// Numbers as eight bytes, the most significant one first.
/// struct BigEndian;
///
/// impl Encode<u64> for BigEndian {
///     fn encode(&self, value: &u64) -> Result<Message, BoxError> {
///         Ok(Message::from(value.to_be_bytes().to_vec()))
///     }
/// }
///
/// async fn count(session: Session) -> Result<(), EncodeError> {
///     for number in 0..10 {
///         session.send_as(&BigEndian, &number).await?;
///     }
///     Ok(())
/// }
/// ```
pub trait Encode<T: ?Sized> {
    /// Returns the message that represents `value`.
    ///
    /// # Errors
    ///
    /// The format's own, for a value that it cannot represent.
    fn encode(&self, value: &T) -> Result<Message, BoxError>;
}

/// A format in which values of type `T` are received, such as MessagePack or protobuf.
///
/// ```
/// use sockless::{BoxError, Decode, Message, Session};
///
/// /// Numbers as eight bytes, the most significant one first.
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
    /// Returns the value that `message` represents.
    ///
    /// # Errors
    ///
    /// The format's own, for a message that is not of the expected kind or form.
    fn decode(&self, message: &Message) -> Result<T, BoxError>;
}

/// Values in a format.
impl Sender {
    /// Sends `value` in `format`; see [`send`](Self::send).
    ///
    /// Cancel-safe: if the future is dropped before it is ready, nothing was sent.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Closed`] once the session has ended; [`EncodeError::Invalid`] for a value
    /// that the format cannot represent, after which the session goes on.
    pub async fn send_as<T: ?Sized>(
        &self,
        format: &impl Encode<T>,
        value: &T,
    ) -> Result<(), EncodeError> {
        let message = format.encode(value).map_err(EncodeError::Invalid)?;
        self.send(message).await.map_err(EncodeError::Closed)
    }
}

/// Values in a format.
impl Receiver {
    /// Receives the next message as a value in `format`; see [`recv`](Self::recv).
    ///
    /// Cancel-safe: a message is either returned, as a value or in an error, or received by the
    /// next call.
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

/// Values in a format.
impl Session {
    /// Sends `value` in `format`; see [`Sender::send_as`].
    ///
    /// Cancel-safe: if the future is dropped before it is ready, nothing was sent.
    ///
    /// # Errors
    ///
    /// As [`Sender::send_as`].
    pub async fn send_as<T: ?Sized>(
        &self,
        format: &impl Encode<T>,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.as_sender().send_as(format, value).await
    }

    /// Receives the next message as a value in `format`; see [`Receiver::recv_as`].
    ///
    /// Cancel-safe: a message is either returned or received by the next call.
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv_as`].
    pub async fn recv_as<T>(&mut self, format: &impl Decode<T>) -> Result<T, DecodeError> {
        self.as_receiver().recv_as(format).await
    }
}

#[cfg(feature = "json")]
mod json {
    use serde_core::{Serialize, de::DeserializeOwned};

    use super::{
        BoxError, Decode, DecodeError, Encode, EncodeError, Message, Receiver, Sender, Session,
    };

    /// JSON in text messages, through serde. `send_json` and `recv_json` of a [`Session`] use it.
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
                Message::Binary(_) => {
                    Err("expected JSON in a text message, got a binary message".into())
                }
            }
        }
    }

    /// Values as JSON.
    impl Session {
        /// Sends `value` as JSON. Requires feature `json`.
        ///
        /// Cancel-safe: if the future is dropped before it is ready, nothing was sent.
        ///
        /// # Errors
        ///
        /// As [`Sender::send_as`].
        pub async fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), EncodeError> {
            self.send_as(&Json, value).await
        }

        /// Receives the next message as JSON. Requires feature `json`. Cancel-safe.
        ///
        /// # Errors
        ///
        /// As [`Receiver::recv_as`].
        pub async fn recv_json<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
            self.recv_as(&Json).await
        }
    }

    /// Values as JSON.
    impl Sender {
        /// Sends `value` as JSON. Requires feature `json`.
        ///
        /// Cancel-safe: if the future is dropped before it is ready, nothing was sent.
        ///
        /// # Errors
        ///
        /// As [`Sender::send_as`].
        pub async fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), EncodeError> {
            self.send_as(&Json, value).await
        }
    }

    /// Values as JSON.
    impl Receiver {
        /// Receives the next message as JSON. Requires feature `json`. Cancel-safe.
        ///
        /// # Errors
        ///
        /// As [`Receiver::recv_as`].
        pub async fn recv_json<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
            self.recv_as(&Json).await
        }
    }
}

#[cfg(feature = "json")]
pub use json::Json;
