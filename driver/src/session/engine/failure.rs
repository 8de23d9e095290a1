//! What a handler's error means: that the handler failed, or only that its session ended.

use std::error::Error;

use sockless_core::{CloseCode, Closed, Escaped};

use crate::future::BoxError;
use crate::session::engine::shared::{Shared, State};

impl Shared {
    /// Logs the error that the handler returned, and gives the code to close with.
    ///
    /// The session is asked, not the error's type: an `anyhow::Error`, or a text made of a [`Closed`],
    /// does not show what it was. What a handler returns after its session has ended, or has begun to
    /// close, is taken for a consequence of that; there is nothing left to close with 1011 either.
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

impl State {
    /// Whether the session has neither ended nor begun to end.
    fn is_open(&self) -> bool {
        self.closed.is_none() && !self.terminated && self.machine.is_open()
    }
}

/// Whether `error` is the end of a session or was caused by one.
fn is_end(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<Closed>())
}
