//! Waiting on the session's clock: [`Sleep`].

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

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

impl dyn Runtime {
    /// Waits for `duration` on this runtime's clock: for tasks of a server that belong to no session.
    ///
    /// With [`Spawn::spawn`](crate::Spawn::spawn) and [`Clock::now`](crate::Clock::now), such a task
    /// runs unchanged on every runtime, and in a simulation:
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// use sockless::driver::Runtime;
    ///
    /// /// Calls `sweep` every minute.
    /// fn sweep_often(runtime: Arc<dyn Runtime>, sweep: impl Fn() + Send + Sync + 'static) {
    ///     let clock = runtime.clone();
    ///     runtime.spawn(Box::pin(async move {
    ///         loop {
    ///             clock.sleep(Duration::from_secs(60)).await;
    ///             sweep();
    ///         }
    ///     }));
    /// }
    /// ```
    ///
    /// Cancel-safe.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::until(self, self.now() + duration)
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
