//! The error that all others of this crate turn into: [`Error`].

use std::io;

use sockless_core::extension::CodecError;
#[cfg(feature = "client")]
use sockless_core::handshake::{ClientRequestError, HandshakeError};
use sockless_core::handshake::{HeadError, UpgradeError};
use sockless_core::{CloseCode, CloseReason, Closed, Message, ProtocolError, SendError};
use thiserror::Error;

use crate::future::{BoxError, find_source};
use crate::request::{ParamError, ResponseHeaderError};
use crate::session::{DecodeError, EncodeError, RawSendError, TrySendError, WriteError};

/// An error of any kind, into which the errors of sessions, clients, servers, routes, rooms and TLS
/// convert by `?`, as [`io::Error`] and boxed errors do. [`other`](Self::other) takes any other one.
///
/// A handler may return it. The end of the session, from whichever method, is what
/// [`closed`](Self::closed) returns, and is no failure. [`Close`](Self::Close) closes the session with
/// a code and a reason of the handler's choice.
///
/// ```
/// use sockless::{CloseCode, Error, Session};
///
/// const UNKNOWN: CloseCode = CloseCode::new(4004).unwrap();
///
/// async fn lookup(mut session: Session) -> Result<(), Error> {
///     loop {
///         let message = session.recv().await?;
///         let Some(key) = message.as_text() else {
///             return Err((CloseCode::UNSUPPORTED_DATA, "expected a key as text").into());
///         };
///         match std::env::var(key) {
///             Ok(value) => session.send(value).await?,
///             Err(_) => return Err(Error::close(UNKNOWN, "there is no such key")),
///         }
///     }
/// }
/// # let _ = sockless::websocket(lookup);
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A stream did not become a session.
    #[cfg(feature = "server")]
    #[error("{0}")]
    Accept(#[source] crate::server::AcceptError),
    /// The session has ended, as stated.
    #[error("{0}")]
    Closed(#[source] Closed),
    /// The handler closes the session with this code and reason.
    #[error("{0}")]
    Close(#[source] CloseReason),
    /// A connection could not be opened.
    #[cfg(feature = "client")]
    #[error("{0}")]
    Connect(#[source] crate::client::ConnectError),
    /// A value could not be received: see [`DecodeError::Invalid`].
    #[error("{0}")]
    Decode(#[source] DecodeError),
    /// A value could not be sent: see [`EncodeError::Invalid`].
    #[error("{0}")]
    Encode(#[source] EncodeError),
    /// The error of a file, a listener or another source of bytes.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A reconnecting client has stopped.
    #[cfg(feature = "client")]
    #[error("{0}")]
    Reconnect(#[source] crate::client::ReconnectError),
    /// A ping or a frame must not be sent; [`SendError::Closing`] while the session closes.
    #[error("{0}")]
    Send(#[from] SendError),
    /// A message could not be sent without waiting. If the session has ended, the message is in it
    /// too.
    #[error("{0}")]
    TrySend(#[source] TrySendError),
    /// A chunk of a message could not be sent.
    #[error("{0}")]
    Write(#[source] WriteError),
    /// Another error of sockless, or one of another crate.
    #[error("{0}")]
    Other(#[from] BoxError),
}

impl Error {
    /// Returns an error with which a handler closes its session.
    pub fn close(code: CloseCode, reason: impl AsRef<str>) -> Self {
        Self::Close(CloseReason::new(code, reason.as_ref()))
    }

    /// Returns an error of another crate.
    pub fn other(error: impl Into<BoxError>) -> Self {
        Self::Other(error.into())
    }

    /// Returns how the session ended, if that is the error, or among its
    /// [sources](std::error::Error::source).
    ///
    /// `try_send` and `ping` do not wait. While the session closes, their errors are
    /// [`TrySendError::Closed`] and [`SendError::Closing`], and how it ends is not known yet: this is
    /// `None`, and `Session::closed` waits for the end.
    pub fn closed(&self) -> Option<&Closed> {
        find_source(self)
    }

    /// Returns true if the session ended with Close frames in both directions
    /// ([`Closed::is_clean`]).
    pub fn is_clean(&self) -> bool {
        self.closed().is_some_and(Closed::is_clean)
    }

    /// Returns the message that could not be sent or decoded, if the error has one.
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::Decode(DecodeError::Invalid { message, .. }) => Some(message),
            Self::TrySend(error) => Some(error.into_message()),
            _ => None,
        }
    }
}

impl From<Closed> for Error {
    fn from(closed: Closed) -> Self {
        Self::Closed(closed)
    }
}

impl From<CloseReason> for Error {
    fn from(reason: CloseReason) -> Self {
        Self::Close(reason)
    }
}

impl From<CloseCode> for Error {
    fn from(code: CloseCode) -> Self {
        Self::Close(code.into())
    }
}

impl From<(CloseCode, &str)> for Error {
    fn from((code, reason): (CloseCode, &str)) -> Self {
        Self::close(code, reason)
    }
}

impl From<(CloseCode, String)> for Error {
    fn from((code, reason): (CloseCode, String)) -> Self {
        Self::close(code, reason)
    }
}

/// Converts errors of which one variant is the end of the session.
macro_rules! from_errors {
    ($($error:ident => $variant:ident;)*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                match error {
                    $error::Closed(closed) => Self::Closed(closed),
                    error => Self::$variant(error),
                }
            }
        }
    )*};
}

from_errors! {
    DecodeError => Decode;
    EncodeError => Encode;
    WriteError => Write;
}

impl From<RawSendError> for Error {
    fn from(error: RawSendError) -> Self {
        match error {
            RawSendError::Closed(closed) => Self::Closed(closed),
            RawSendError::Invalid(error) => Self::Send(error),
        }
    }
}

impl From<TrySendError> for Error {
    fn from(error: TrySendError) -> Self {
        Self::TrySend(error)
    }
}

#[cfg(feature = "server")]
impl From<crate::server::AcceptError> for Error {
    fn from(error: crate::server::AcceptError) -> Self {
        Self::Accept(error)
    }
}

#[cfg(feature = "client")]
impl From<crate::client::ConnectError> for Error {
    fn from(error: crate::client::ConnectError) -> Self {
        Self::Connect(error)
    }
}

#[cfg(feature = "client")]
impl From<crate::client::ReconnectError> for Error {
    fn from(error: crate::client::ReconnectError) -> Self {
        Self::Reconnect(error)
    }
}

/// Converts errors that have no variant, of this crate and of those above it.
#[doc(hidden)]
#[macro_export]
macro_rules! from_others {
    ($($error:ty),*) => {$(
        impl From<$error> for $crate::Error {
            fn from(error: $error) -> Self {
                Self::other(error)
            }
        }
    )*};
}

from_others!(CodecError, HeadError, ParamError, ProtocolError, ResponseHeaderError, UpgradeError);
#[cfg(feature = "server")]
from_others!(crate::server::ParseProxyProtocolError);
#[cfg(feature = "client")]
from_others!(
    ClientRequestError,
    HandshakeError,
    crate::client::ParseProxyUrlError,
    crate::client::ProxyError,
    crate::client::RedirectError,
    crate::client::UrlError
);
#[cfg(feature = "rustls")]
from_others!(crate::tls::TlsError);

#[cfg(test)]
mod tests {
    use std::iter::successors;

    use sockless_core::{Cause, Party};

    use super::*;

    fn closed() -> Closed {
        let reason = CloseReason::from(CloseCode::NORMAL);
        Closed::new(Party::Peer, Cause::ClosingHandshake, Some(reason.clone()), Some(reason))
    }

    #[test]
    fn the_end_of_a_session_is_the_same_from_every_method() {
        let errors: [Error; 8] = [
            closed().into(),
            DecodeError::Closed(closed()).into(),
            EncodeError::Closed(closed()).into(),
            RawSendError::Closed(closed()).into(),
            WriteError::Closed(closed()).into(),
            TrySendError::Closed { message: "x".into(), closed: Some(closed()) }.into(),
            io::Error::other(closed()).into(),
            Error::other(closed()),
        ];
        for error in errors {
            assert_eq!(error.closed(), Some(&closed()));
            assert!(error.is_clean());
        }
    }

    #[test]
    fn a_session_that_closes_has_not_ended() {
        let errors: [Error; 2] = [
            TrySendError::Closed { message: "x".into(), closed: None }.into(),
            RawSendError::Invalid(SendError::Closing).into(),
        ];
        for error in errors {
            assert!(error.closed().is_none() && !error.is_clean());
        }
    }

    #[test]
    fn an_error_keeps_the_chain_of_its_causes() {
        let texts = |error: &Error| -> Vec<String> {
            let first: &(dyn std::error::Error + 'static) = error;
            successors(Some(first), |&error| error.source()).map(ToString::to_string).collect()
        };
        let error = Error::from(EncodeError::Invalid("no number".into()));
        assert!(error.closed().is_none() && !error.is_clean());
        let first = "cannot encode the value: no number";
        assert_eq!(texts(&error), [first, first, "no number"]);
        let too_long = SendError::ControlTooLong { len: 200 };
        assert_eq!(texts(&too_long.into()).len(), 2);
        assert_eq!(texts(&Error::other("own words")), ["own words", "own words"]);
    }

    #[test]
    fn errors_without_a_variant_convert_too() {
        let request = crate::Request::new(http::Request::new(()));
        let number = |request: &crate::Request| -> Result<u64, Error> { Ok(request.param("id")?) };
        let error = number(&request).unwrap_err();
        assert_eq!(error.to_string(), "there is no path parameter \"id\"");
        assert!(matches!(error, Error::Other(error) if error.is::<ParamError>()));
    }

    #[test]
    fn a_message_that_was_not_sent_is_returned() {
        let error = Error::from(TrySendError::Full("x".into()));
        assert_eq!(error.into_message().unwrap(), "x");
    }
}
