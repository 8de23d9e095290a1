//! The answer to a ping: [`Pong`].

use std::fmt;
use std::time::Duration;

use sockless_core::Closed;

use crate::wait::{block_on, block_on_for};

/// The answer to a ping, from [`Session::ping`](crate::Session::ping). Dropping it has no effect on the
/// ping.
pub struct Pong(pub(crate) sockless_driver::Pong);

impl Pong {
    /// Waits for the pong, and returns the round-trip time, which counts from the call of `ping`.
    ///
    /// There is no timeout other than those of the session.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended, if it ended first.
    pub fn wait(self) -> Result<Duration, Closed> {
        block_on(self.0)
    }

    /// As [`wait`](Self::wait), for `timeout` at most; `None` if that passes first.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<Duration>, Closed> {
        block_on_for(timeout, &mut self.0).transpose()
    }
}

impl fmt::Debug for Pong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pong").finish_non_exhaustive()
    }
}
