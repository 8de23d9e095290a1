//! The error that a handler returned: a failure of the handler, or the end of its session passed
//! on.

use std::error::Error;

use sockless_core::{CloseCode, CloseReason, Closed, Escaped};

use crate::future::{BoxError, find_source};
use crate::session::engine::shared::Shared;

impl Shared {
    /// Logs the error that the handler returned, and returns the reason to close with: one that the
    /// handler chose, or a code without a text, which might disclose internals to the peer.
    ///
    /// The state of the session decides, not the type of the error alone: an `anyhow::Error`, or a
    /// text made of a [`Closed`], does not show its origin. An error that is returned after the
    /// session has ended, or has begun to close, is taken for a consequence of that.
    pub(crate) fn log_failure(&self, error: &BoxError) -> CloseReason {
        let error: &(dyn Error + 'static) = &**error;
        let is_open = self.lock().is_open();
        if is_open && let Some(reason) = find_source::<CloseReason>(error) {
            tracing::debug!(%reason, "the handler closes its session");
            return reason.clone();
        }
        if is_open && find_source::<Closed>(error).is_none() {
            let error = Escaped(error);
            tracing::error!(%error, "the handler failed; its session is closed with 1011");
            return CloseCode::INTERNAL_ERROR.into();
        }
        let error = Escaped(error);
        tracing::debug!(%error, "the handler returned an error at the end of its session");
        CloseCode::NORMAL.into()
    }
}
