//! Waiting on the session's clock: [`Sleep`].

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use sockless_core::Instant;

use crate::runtime::{Runtime, Timer};

/// A future that waits until a point in time on the clock of the session's runtime, which a
/// simulation controls. Returned by [`Session::sleep`](crate::Session::sleep).
///
/// Cancel-safe. It is independent of the session: it completes in time even if the session ends
/// first.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::{Closed, Session};
///
/// /// Sends the time every second, as long as the session lasts.
/// async fn clock(session: Session) -> Result<(), Closed> {
///     loop {
///         session.send(format!("{:?}", session.now())).await?;
///         session.sleep(Duration::from_secs(1)).await;
///     }
/// }
/// ```
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
