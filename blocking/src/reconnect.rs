//! A client that connects again when its connection ends: [`Reconnect`].

use std::fmt;
use std::time::Duration;

use sockless_driver::__private::fail_session;
use sockless_driver::{AttemptError, BoxError, ReconnectError, ReconnectWatch, Retry};

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
pub struct Reconnect {
    inner: sockless_driver::Reconnect,
    hook: Option<Hook>,
    hook_timeout: Duration,
}

type Hook = Box<dyn FnMut(&mut Session) -> Result<(), BoxError> + Send>;

impl Reconnect {
    /// Returns a client that opens the connections that `factory` makes. It is called for each
    /// attempt, therefore it can add a new token each time. It may block, and has no deadline.
    pub fn new(mut factory: impl FnMut() -> Connect + Send + 'static) -> Self {
        let inner = sockless_driver::Reconnect::new(move || factory().into_inner());
        Self { inner, hook: None, hook_timeout: Duration::from_secs(30) }
    }

    /// Sets the limit of the first delay. Default: 500 ms.
    #[must_use]
    pub fn initial_delay(self, delay: Duration) -> Self {
        self.map(|inner| inner.initial_delay(delay))
    }

    /// Sets the limit of all delays. Default: 30 s.
    #[must_use]
    pub fn max_delay(self, delay: Duration) -> Self {
        self.map(|inner| inner.max_delay(delay))
    }

    /// Sets the duration after which a session is stable, so that the delays and the number of attempts
    /// start again. Default: 5 s.
    #[must_use]
    pub fn stable_after(self, duration: Duration) -> Self {
        self.map(|inner| inner.stable_after(duration))
    }

    /// Sets the longest delay that a server can ask for by `Retry-After`. Default: 5 min.
    #[must_use]
    pub fn max_retry_after(self, delay: Duration) -> Self {
        self.map(|inner| inner.max_retry_after(delay))
    }

    /// Sets the condition for another attempt, after a failed attempt or the end of a session: a `bool`,
    /// or a [`Retry`] that also chooses the delay. Its arguments are the error, and the number of attempts
    /// since the last stable session. Default: [`AttemptError::is_transient`].
    #[must_use]
    pub fn retry_if<R: Into<Retry>>(
        self,
        condition: impl FnMut(&AttemptError, u32) -> R + Send + 'static,
    ) -> Self {
        self.map(|inner| inner.retry_if(condition))
    }

    /// Sets a hook that runs on each new session before [`next`](Self::next) returns it, such as to log in
    /// or to subscribe again. It is called on the thread that calls `next`.
    ///
    /// If it fails, the session is closed, and the attempt fails with [`AttemptError::Hook`]. The state
    /// of [`watch`](Self::watch) is that of an open session while it runs.
    ///
    /// ```no_run
    /// use sockless::blocking::{self, Reconnect};
    ///
    /// let feed = Reconnect::new(|| blocking::connect("ws://example.com/feed"))
    ///     .on_open(|session| Ok(session.send("subscribe")?));
    /// # drop(feed);
    /// ```
    #[must_use]
    pub fn on_open(
        mut self,
        hook: impl FnMut(&mut Session) -> Result<(), BoxError> + Send + 'static,
    ) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Sets the time for each run of the hook of [`on_open`](Self::on_open). Then its session is
    /// terminated, so that each of the hook's calls of it returns. Default: 30 s.
    #[must_use]
    pub fn hook_timeout(mut self, timeout: Duration) -> Self {
        self.hook_timeout = timeout;
        self
    }

    /// Returns a watch with which another thread can observe the state of this client, and end a delay.
    pub fn watch(&self) -> ReconnectWatch {
        self.inner.watch()
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
        loop {
            let mut session = Session::from(block_on(self.inner.next())?);
            let Some(hook) = &mut self.hook else { return Ok(session) };
            let deadline = session.as_sender().terminate_after(self.hook_timeout);
            let result = hook(&mut session);
            deadline.abort();
            match result {
                Ok(()) => return Ok(session),
                Err(error) => fail_session(&mut self.inner, error),
            }
        }
    }

    fn map(
        self,
        change: impl FnOnce(sockless_driver::Reconnect) -> sockless_driver::Reconnect,
    ) -> Self {
        Self { inner: change(self.inner), ..self }
    }
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
