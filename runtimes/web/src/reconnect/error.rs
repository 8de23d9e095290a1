//! Why a reconnecting client connects again, or stops: [`AttemptError`] and [`ReconnectError`].

use std::sync::Arc;

use sockless_core::{Closed, Escaped};
use sockless_driver::__private::find_source;
use sockless_driver::BoxError;
use thiserror::Error;

use crate::error::ConnectError;

/// The reason for another attempt of a [`Reconnect`](crate::Reconnect): the previous attempt failed, or its session
/// ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The session ended.
    #[error("{}", Escaped(.0))]
    Closed(#[source] Closed),
    /// The connection could not be opened.
    #[error(transparent)]
    Connect(ConnectError),
    /// The hook of [`Reconnect::on_open`](crate::Reconnect::on_open) failed.
    #[error("the hook of Reconnect::on_open failed: {}", Escaped(.0))]
    Hook(#[source] BoxError),
    /// A hook was not ready within [`Reconnect::hook_timeout`](crate::Reconnect::hook_timeout).
    #[error("{hook} was not ready within Reconnect::hook_timeout")]
    HookTimeout {
        /// The method that set the hook: `Reconnect::prepare` or `Reconnect::on_open`.
        hook: &'static str,
    },
    /// The hook of [`Reconnect::prepare`](crate::Reconnect::prepare) failed.
    #[error("the hook of Reconnect::prepare failed: {}", Escaped(.0))]
    Prepare(#[source] BoxError),
}

impl AttemptError {
    /// Returns true if another attempt may succeed:
    ///
    /// * after the end of a session, unless the peer closed it with a code that would come again
    ///   (1002, 1003, 1007 to 1010, 3000 and 3003);
    /// * after an error of a connection that [is transient](ConnectError::is_transient);
    /// * after [`Hook`](Self::Hook) with the [`Closed`] of such a session, or with an error that has
    ///   it among its sources. Other errors of this hook are permanent;
    /// * after [`HookTimeout`](Self::HookTimeout), and after [`Prepare`](Self::Prepare) with any error:
    ///   what was asked may be out of reach too.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Closed(closed) => is_transient(closed),
            Self::Connect(error) => error.is_transient(),
            Self::Hook(error) => find_source(&**error).is_some_and(is_transient),
            Self::HookTimeout { .. } | Self::Prepare(_) => true,
        }
    }
}

/// As on the other runtimes.
fn is_transient(closed: &Closed) -> bool {
    sockless_driver::AttemptError::Closed(closed.clone()).is_transient()
}

/// The error of a [`Reconnect`](crate::Reconnect) that makes no further attempt.
#[derive(Clone, Debug, Error)]
#[error("no further attempt to connect, {attempts} since the last stable session: {last_error}")]
#[non_exhaustive]
pub struct ReconnectError {
    #[source]
    last_error: Arc<AttemptError>,
    attempts: u32,
}

impl ReconnectError {
    pub(super) fn new(last_error: Arc<AttemptError>, attempts: u32) -> Self {
        Self { last_error, attempts }
    }

    /// Returns the error after which [`Reconnect::retry_if`](crate::Reconnect::retry_if) returned false.
    pub fn last_error(&self) -> &AttemptError {
        &self.last_error
    }

    /// Returns the number of attempts since the last stable session.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

// The end of the last session, if that was the reason, is among the sources.
sockless_driver::from_others!(ReconnectError);
