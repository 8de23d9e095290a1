//! Values as JSON, through serde.

use serde_core::{Serialize, de::DeserializeOwned};
use sockless_driver::{DecodeError, EncodeError, Json};

use crate::session::{Receiver, Sender, Session};

/// Values as JSON. Requires feature `json`.
///
/// ```no_run
/// use serde::{Deserialize, Serialize};
/// use sockless::web::Session;
///
/// #[derive(Serialize)]
/// struct Subscribe<'a> {
///     subscribe: &'a str,
/// }
///
/// #[derive(Deserialize)]
/// struct Price {
///     price: f64,
/// }
///
/// /// Asks for the first price.
/// async fn first(session: &mut Session, name: &str) -> Result<f64, sockless::Error> {
///     session.send_json(&Subscribe { subscribe: name }).await?;
///     let Price { price } = session.recv_json().await?;
///     Ok(price)
/// }
/// ```
impl Session {
    /// Sends `value` as JSON. Cancel-safe, as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`Sender::send_as`].
    pub async fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), EncodeError> {
        self.send_as(&Json, value).await
    }

    /// Receives the next message as JSON. Cancel-safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv_as`].
    pub async fn recv_json<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        self.recv_as(&Json).await
    }
}

/// Values as JSON. Requires feature `json`.
impl Sender {
    /// Sends `value` as JSON. Cancel-safe, as [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// As [`send_as`](Self::send_as).
    pub async fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), EncodeError> {
        self.send_as(&Json, value).await
    }
}

/// Values as JSON. Requires feature `json`.
impl Receiver {
    /// Receives the next message as JSON. Cancel-safe, as [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv_as`](Self::recv_as).
    pub async fn recv_json<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        self.recv_as(&Json).await
    }
}
