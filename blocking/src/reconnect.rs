//! A client that connects again when its connection ends: [`Reconnect`].

use std::fmt;
use std::time::Duration;

use sockless_driver::{AttemptError, ReconnectError, ReconnectWatch, Retry};

use crate::connect::Connect;
use crate::session::Session;
use crate::wait::block_on;

/// A client that connects again when its connection ends: a sequence of [`Session`]s.
///
/// The delays, the settings and what is tried again are those of the
/// [client of the runtimes](sockless_driver::Reconnect). A second thread watches the end of each session.
///
/// ```no_run
/// use std::time::Duration;
///
/// use sockless::blocking::{self, Reconnect};
///
/// fn main() -> Result<(), sockless::Error> {
///     let mut feed = Reconnect::new(|| blocking::connect("ws://example.com/feed"))
///         .max_delay(Duration::from_secs(10));
///     loop {
///         let session = feed.next()?;
///         if session.send("subscribe").is_ok() {
///             session.for_each(|message| println!("{message}"));
///         }
///     }
/// }
/// ```
pub struct Reconnect(sockless_driver::Reconnect);

impl Reconnect {
    /// Returns a client that opens the connections that `factory` makes. It is called for each
    /// attempt, therefore it can add a new token each time.
    pub fn new(mut factory: impl FnMut() -> Connect + Send + 'static) -> Self {
        Self(sockless_driver::Reconnect::new(move || factory().into_inner()))
    }

    /// Sets the limit of the first delay. Default: 500 ms.
    #[must_use]
    pub fn initial_delay(self, delay: Duration) -> Self {
        Self(self.0.initial_delay(delay))
    }

    /// Sets the limit of all delays. Default: 30 s.
    #[must_use]
    pub fn max_delay(self, delay: Duration) -> Self {
        Self(self.0.max_delay(delay))
    }

    /// Sets the duration after which a session is stable, so that the delays and the number of attempts
    /// start again. Default: 5 s.
    #[must_use]
    pub fn stable_after(self, duration: Duration) -> Self {
        Self(self.0.stable_after(duration))
    }

    /// Sets the longest delay that a server can ask for by `Retry-After`. Default: 5 min.
    #[must_use]
    pub fn max_retry_after(self, delay: Duration) -> Self {
        Self(self.0.max_retry_after(delay))
    }

    /// Sets the condition for another attempt, after a failed attempt or the end of a session: a `bool`,
    /// or a [`Retry`] that also chooses the delay. Its arguments are the error, and the number of attempts
    /// since the last stable session. Default: [`AttemptError::is_transient`].
    #[must_use]
    pub fn retry_if<R: Into<Retry>>(
        self,
        condition: impl FnMut(&AttemptError, u32) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.retry_if(condition))
    }

    /// Returns a watch with which another thread can observe the state of this client, and end a delay.
    pub fn watch(&self) -> ReconnectWatch {
        self.0.watch()
    }

    /// Returns the next session: waits for the end of the session that was returned before, then makes
    /// attempts until one succeeds.
    ///
    /// # Errors
    ///
    /// A [`ReconnectError`], on this and each further call, if [`retry_if`](Self::retry_if) returned
    /// false.
    #[expect(clippy::should_implement_trait, reason = "it is the method of the runtimes' client")]
    pub fn next(&mut self) -> Result<Session, ReconnectError> {
        block_on(self.0.next()).map(Session::from)
    }
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
