//! Values as messages, in any format, and with feature `json` through serde.

use sockless_driver::{Decode, DecodeError, Encode, EncodeError};

use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::session::Session;
use crate::wait::block_on;

/// Values in a format.
impl Sender {
    /// Sends `value` in `format`; see [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// [`EncodeError::Closed`] once the session has ended; [`EncodeError::Invalid`] for a value that the
    /// format cannot represent, after which the session goes on.
    pub fn send_as<T: ?Sized>(
        &self,
        format: &impl Encode<T>,
        value: &T,
    ) -> Result<(), EncodeError> {
        let message = format.encode(value).map_err(EncodeError::Invalid)?;
        self.send(message).map_err(EncodeError::Closed)
    }
}

/// Values in a format.
impl Receiver {
    /// Receives the next message as a value in `format`; see [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// [`DecodeError::Closed`] once the session has ended; [`DecodeError::Invalid`] with a message that
    /// does not have the expected form, after which the session goes on.
    pub fn recv_as<T>(&mut self, format: &impl Decode<T>) -> Result<T, DecodeError> {
        block_on(self.inner().recv_as(format))
    }
}

/// Values in a format.
impl Session {
    /// Sends `value` in `format`; see [`Sender::send_as`].
    ///
    /// # Errors
    ///
    /// As [`Sender::send_as`].
    pub fn send_as<T: ?Sized>(
        &self,
        format: &impl Encode<T>,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.as_sender().send_as(format, value)
    }

    /// Receives the next message as a value in `format`; see [`Receiver::recv_as`].
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv_as`].
    pub fn recv_as<T>(&mut self, format: &impl Decode<T>) -> Result<T, DecodeError> {
        self.as_receiver().recv_as(format)
    }
}

#[cfg(feature = "json")]
mod json {
    use serde_core::{Serialize, de::DeserializeOwned};
    use sockless_driver::Json;

    use super::{DecodeError, EncodeError, Receiver, Sender, Session};

    /// Values as JSON. Requires feature `json`.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use sockless::blocking::Session;
    ///
    /// #[derive(Deserialize, Serialize)]
    /// struct Point {
    ///     x: i32,
    ///     y: i32,
    /// }
    ///
    /// /// Mirrors points, until the session ends or a message is not a point.
    /// fn mirror(mut session: Session) -> Result<(), sockless::Error> {
    ///     loop {
    ///         let Point { x, y } = session.recv_json()?;
    ///         session.send_json(&Point { x: -x, y })?;
    ///     }
    /// }
    /// # let _ = sockless::blocking::handler(mirror);
    /// ```
    impl Session {
        /// Sends `value` as JSON.
        ///
        /// # Errors
        ///
        /// As [`Sender::send_as`].
        pub fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), EncodeError> {
            self.send_as(&Json, value)
        }

        /// Receives the next message as JSON.
        ///
        /// # Errors
        ///
        /// As [`Receiver::recv_as`].
        pub fn recv_json<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
            self.recv_as(&Json)
        }
    }

    /// Values as JSON. Requires feature `json`.
    impl Sender {
        /// Sends `value` as JSON.
        ///
        /// # Errors
        ///
        /// As [`Sender::send_as`].
        pub fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), EncodeError> {
            self.send_as(&Json, value)
        }
    }

    /// Values as JSON. Requires feature `json`.
    impl Receiver {
        /// Receives the next message as JSON.
        ///
        /// # Errors
        ///
        /// As [`Receiver::recv_as`].
        pub fn recv_json<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
            self.recv_as(&Json)
        }
    }
}
