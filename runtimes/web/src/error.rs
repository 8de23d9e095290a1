//! The error of a connection that could not be opened: [`ConnectError`].

use sockless_core::Escaped;
use thiserror::Error;

/// The error of a connection that could not be opened.
///
/// A page learns little about it: browsers show the reason in their console only, so that pages
/// cannot explore networks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The browser did not try: the URL or a subprotocol is invalid, or the page is not allowed to
    /// connect there. This is the browser's own text.
    #[error("the browser refused to connect: {}", Escaped(.0))]
    Refused(String),
    /// The server was not reached, did not open a WebSocket, or selected none of the subprotocols
    /// that were offered. The browser does not report which.
    #[error("the connection could not be opened; the console of the browser shows why")]
    Failed,
    /// The connection was not open within
    /// [`opening_timeout`](crate::Connect::opening_timeout).
    #[error("the connection was not open within opening_timeout")]
    Timeout,
}

impl ConnectError {
    /// Returns true if another attempt may succeed: for [`Failed`](Self::Failed) and
    /// [`Timeout`](Self::Timeout).
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Failed | Self::Timeout)
    }
}

sockless_driver::from_others!(ConnectError);
