//! Time for handlers, on whatever clock they run: [`Sleep`].

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use sockless_core::Instant;

use crate::runtime::{Runtime, Timer};

/// Waits until a moment on the clock of the session's runtime; made by
/// [`Session::sleep`](crate::Session::sleep).
///
/// Cancel-safe: it changes nothing. It goes on by itself, whether or not the session does.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep(Box<dyn Timer>);

impl Sleep {
    pub(crate) fn until(runtime: &dyn Runtime, deadline: Instant) -> Self {
        Self(runtime.timer(deadline))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_expired(cx)
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").finish_non_exhaustive()
    }
}
