//! The error that a handler returned: a failure of the handler, or the end of its session passed
//! on.

use std::error::Error;

use sockless_core::{CloseCode, Closed, Escaped};

use crate::future::BoxError;
use crate::session::engine::shared::Shared;

impl Shared {
    /// Logs the error that the handler returned, and returns the code to close with.
    ///
    /// The state of the session decides, not the type of the error alone: an `anyhow::Error`, or a
    /// text made of a [`Closed`], does not show its origin. An error that is returned after the
    /// session has ended, or has begun to close, is taken for a consequence of that.
    pub(crate) fn log_failure(&self, error: &BoxError) -> CloseCode {
        let is_open = self.lock().is_open();
        let error: &(dyn Error + 'static) = &**error;
        if is_open && !is_end(error) {
            let error = Escaped(error);
            tracing::error!(%error, "the handler failed; its session is closed with 1011");
            CloseCode::INTERNAL_ERROR
        } else {
            let error = Escaped(error);
            tracing::debug!(%error, "the handler returned an error at the end of its session");
            CloseCode::NORMAL
        }
    }
}

/// Returns true if `error` is the end of a session, or was caused by one.
fn is_end(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<Closed>())
}
