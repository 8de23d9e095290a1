//! A client that connects again when its connection ends: [`Reconnect`].

mod backoff;
mod error;
mod hooks;
mod lifetime;
mod retry;
mod watch;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sockless_core::{Closed, Instant, Seed};

pub use backoff::Backoff;
pub use error::{AttemptError, ReconnectError};
pub use retry::Retry;
pub use watch::{ReconnectState, ReconnectWatch};

use super::connect::Connect;
use super::error::ConnectError;
use crate::future::{BoxError, BoxFuture};
use crate::runtime::{Runtime, Timer};
use crate::session::Session;
use hooks::{Hook, Prepare};
use lifetime::Lifetime;
use retry::retry_after;
use watch::SharedState;

/// A client that connects again when its connection ends: a sequence of [`Session`]s.
///
/// ```no_run
/// use std::time::Duration;
///
/// use sockless::{Reconnect, ReconnectError};
///
/// # async fn example() -> Result<(), ReconnectError> {
/// let mut feed = Reconnect::new(|| sockless::connect("ws://example.com/feed"))
///     .max_delay(Duration::from_secs(10))
///     // Runs on each new session before `next` returns it.
///     .on_open(|session| {
///         Box::pin(async move { Ok(session.send(r#"{"subscribe": "prices"}"#).await?) })
///     });
/// loop {
///     let mut session = feed.next().await?;
///     while let Ok(message) = session.recv().await {
///         println!("{message:?}");
///     }
/// }
/// # }
/// ```
///
/// Attempts are made while [`next`](Self::next) is awaited. A session that it returned is driven by
/// a task of its own, as any other session. Messages that were lost with a connection are not sent
/// again.
///
/// # Delays
///
/// There is a delay before each attempt except the first one. It is drawn between zero and a limit,
/// which is [`initial_delay`](Self::initial_delay) at first and doubles with each attempt up to
/// [`max_delay`](Self::max_delay). It is counted from the end of the session or of the failed
/// attempt. After a session of at least [`stable_after`](Self::stable_after), the limit is the
/// initial one again. The number of attempts is not limited, unless [`retry_if`](Self::retry_if)
/// limits it.
///
/// A server or a proxy that answers 429 or 503 with `Retry-After` (RFC 9110 §10.2.3) gets that
/// delay, up to [`max_retry_after`](Self::max_retry_after), in addition to the drawn one.
/// [`retry_now`](ReconnectWatch::retry_now) ends a delay, such as when the network is back.
pub struct Reconnect {
    factory: Box<dyn FnMut() -> Connect + Send>,
    prepare: Option<Prepare>,
    hook: Option<Hook>,
    hook_timeout: Duration,
    retry_if: RetryIf,
    backoff: Backoff,
    /// The seed that the program set, until it is passed to `backoff`.
    seed: Option<Seed>,
    stable_after: Duration,
    max_retry_after: Duration,
    /// The runtime of the first connection.
    runtime: Option<Arc<dyn Runtime>>,
    attempt: u32,
    phase: Phase,
    state: Arc<SharedState>,
}

type RetryIf = Box<dyn FnMut(&AttemptError, u32) -> Retry + Send>;

enum Phase {
    Idle,
    /// The first hook runs.
    Preparing(BoxFuture<'static, Result<Connect, AttemptError>>),
    Connecting(BoxFuture<'static, Result<Session, ConnectError>>),
    /// The hook runs on a new session.
    RunningHook {
        lifetime: Option<Lifetime>,
        hook: BoxFuture<'static, (Hook, Session, Result<(), AttemptError>)>,
    },
    /// A session was returned.
    Open {
        lifetime: Lifetime,
        end: BoxFuture<'static, Closed>,
    },
    Waiting(Box<dyn Timer>),
    Stopped(ReconnectError),
}

impl Reconnect {
    /// Returns a client that opens the connections that `factory` makes. It is called for each
    /// attempt, therefore it can add a new token each time. What has to be awaited before an attempt
    /// is for [`prepare`](Self::prepare).
    pub fn new(factory: impl FnMut() -> Connect + Send + 'static) -> Self {
        Self {
            factory: Box::new(factory),
            prepare: None,
            hook: None,
            hook_timeout: Duration::from_secs(30),
            retry_if: Box::new(|error, _| error.is_transient().into()),
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
            seed: None,
            stable_after: Duration::from_secs(5),
            max_retry_after: Duration::from_secs(300),
            runtime: None,
            attempt: 0,
            phase: Phase::Idle,
            state: SharedState::new(),
        }
    }

    /// Sets the limit of the first delay. Default: 500 ms.
    #[must_use]
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.backoff.set_initial(delay);
        self
    }

    /// Sets the limit of all delays. Default: 30 s.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.backoff.set_max(delay);
        self
    }

    /// Sets the duration after which a session is stable: from the end of its opening handshake to
    /// its own end. Default: 5 s.
    ///
    /// After a stable session, the delays and the number of attempts start again. Shorter sessions
    /// do not reset them, so that a server that accepts clients and drops them is not flooded.
    #[must_use]
    pub fn stable_after(mut self, duration: Duration) -> Self {
        self.stable_after = duration;
        self
    }

    /// Sets the longest delay that a server can ask for by `Retry-After`: a longer one is shortened
    /// to this. Zero ignores the header. Default: 5 min.
    #[must_use]
    pub fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    /// Sets the seed from which the delays are drawn. Default: a seed of the runtime.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the condition for another attempt, after a failed attempt or the end of a session. If
    /// it returns false, [`next`](Self::next) fails. Default: [`AttemptError::is_transient`].
    ///
    /// Its arguments are the error, and the number of attempts since the last stable session, which
    /// is 0 if that session is the one that ended. It returns a `bool`, or a [`Retry`] that also
    /// chooses the delay.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockless::{AttemptError, Reconnect, Retry};
    ///
    /// let limited = Reconnect::new(|| sockless::connect("ws://example.com/feed"))
    ///     .retry_if(|error, attempts| error.is_transient() && attempts < 10);
    ///
    /// // The server restarts every night, within a second.
    /// let nightly = Reconnect::new(|| sockless::connect("ws://example.com/feed"))
    ///     .retry_if(|error, _| match error {
    ///         AttemptError::Closed(_) => Retry::After(Duration::from_secs(1)),
    ///         error => error.is_transient().into(),
    ///     });
    /// # drop((limited, nightly));
    /// ```
    #[must_use]
    pub fn retry_if<R: Into<Retry>>(
        mut self,
        mut condition: impl FnMut(&AttemptError, u32) -> R + Send + 'static,
    ) -> Self {
        self.retry_if = Box::new(move |error, attempts| condition(error, attempts).into());
        self
    }

    /// Sets a hook that runs before each attempt, on what the factory has made, such as to fetch a
    /// token.
    ///
    /// ```no_run
    /// use sockless::{BoxError, Reconnect};
    ///
    /// async fn fetch_token() -> Result<String, BoxError> {
    ///     # Ok(String::new())
    ///     // A request to another server, perhaps.
    /// }
    ///
    /// let feed = Reconnect::new(|| sockless::connect("wss://example.com/feed")).prepare(
    ///     |connect| async move {
    ///         let token = fetch_token().await?;
    ///         Ok(connect.header("Authorization", format!("Bearer {token}")))
    ///     },
    /// );
    /// # drop(feed);
    /// ```
    ///
    /// If it fails, the attempt fails with [`AttemptError::Prepare`], after which there is another one by
    /// default; if it takes longer than [`hook_timeout`](Self::hook_timeout), with
    /// [`AttemptError::HookTimeout`].
    #[must_use]
    pub fn prepare<F>(mut self, mut hook: impl FnMut(Connect) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Connect, BoxError>> + Send + 'static,
    {
        self.prepare = Some(Box::new(move |connect| Box::pin(hook(connect))));
        self
    }

    /// Sets the time for each run of a hook, of [`prepare`](Self::prepare) or
    /// [`on_open`](Self::on_open). Then it is dropped, and the attempt fails with
    /// [`AttemptError::HookTimeout`]. Default: 30 s.
    #[must_use]
    pub fn hook_timeout(mut self, timeout: Duration) -> Self {
        self.hook_timeout = timeout;
        self
    }

    /// Sets a hook that runs on each new session before [`next`](Self::next) returns it, such as to
    /// log in or to subscribe again.
    ///
    /// If it fails, the session is closed, and the attempt fails with [`AttemptError::Hook`]; if it
    /// takes longer than [`hook_timeout`](Self::hook_timeout), with [`AttemptError::HookTimeout`].
    #[must_use]
    pub fn on_open<H>(mut self, hook: H) -> Self
    where
        H: for<'a> FnMut(&'a mut Session) -> BoxFuture<'a, Result<(), BoxError>> + Send + 'static,
    {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Returns a watch with which another task can observe the state and the last error of this
    /// client, and end a delay.
    pub fn watch(&self) -> ReconnectWatch {
        ReconnectWatch::new(&self.state)
    }

    /// Returns the next session: waits for the end of the session that was returned before, then
    /// makes attempts until one succeeds.
    ///
    /// Cancel-safe: dropping the future pauses an attempt, and the next call resumes it. The
    /// deadlines of a handshake and of a hook are not paused.
    ///
    /// # Errors
    ///
    /// Returns a [`ReconnectError`], on this and each further call, if [`retry_if`](Self::retry_if)
    /// returned false.
    pub async fn next(&mut self) -> Result<Session, ReconnectError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Session, ReconnectError>> {
        loop {
            match &mut self.phase {
                Phase::Idle => self.begin(),
                Phase::Preparing(preparing) => match ready!(preparing.as_mut().poll(cx)) {
                    Ok(connect) => self.phase = Phase::Connecting(connect.into_future()),
                    Err(error) => self.ended(error, self.runtime().now()),
                },
                Phase::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                    Ok(session) => {
                        let lifetime = Lifetime::watch(&session, self.runtime());
                        match self.hook.take() {
                            Some(hook) => {
                                let (runtime, within) = (self.runtime().clone(), self.hook_timeout);
                                let hook = hooks::run(hook, session, runtime, within);
                                self.phase = Phase::RunningHook { lifetime: Some(lifetime), hook };
                            }
                            None => return Poll::Ready(Ok(self.hand_out(session, lifetime))),
                        }
                    }
                    Err(error) => self.ended(AttemptError::Connect(error), self.runtime().now()),
                },
                Phase::RunningHook { lifetime, hook } => {
                    let (hook, session, result) = ready!(hook.as_mut().poll(cx));
                    let lifetime =
                        lifetime.take().expect("the lifetime is taken once, when the hook ends");
                    self.hook = Some(hook);
                    match result {
                        Ok(()) => return Poll::Ready(Ok(self.hand_out(session, lifetime))),
                        Err(error) => self.ended(error, self.runtime().now()),
                    }
                }
                Phase::Open { lifetime, end } => {
                    let closed = ready!(end.as_mut().poll(cx));
                    let now = self.runtime.as_ref().map_or(Instant::EPOCH, |it| it.now());
                    let ended_at = lifetime.ended_at(now);
                    if lifetime.lasted(ended_at) >= self.stable_after {
                        self.attempt = 0;
                        self.backoff.reset();
                    }
                    self.ended(AttemptError::Closed(closed), ended_at);
                }
                Phase::Waiting(timer) => {
                    if self.state.poll_retry(cx).is_pending() {
                        ready!(timer.poll_expired(cx));
                    }
                    self.phase = Phase::Idle;
                }
                Phase::Stopped(error) => return Poll::Ready(Err(error.clone())),
            }
        }
    }

    fn begin(&mut self) {
        let connect = (self.factory)();
        if self.runtime.is_none() {
            let seed = self.seed.take().unwrap_or_else(|| connect.runtime().seed());
            self.backoff.set_seed(&seed);
            self.runtime = Some(Arc::clone(connect.runtime()));
        }
        self.attempt = self.attempt.saturating_add(1);
        self.phase = match &mut self.prepare {
            Some(hook) => Phase::Preparing(hooks::prepare(hook, connect, self.hook_timeout)),
            None => Phase::Connecting(connect.into_future()),
        };
        self.state.publish(ReconnectState::Connecting { attempt: self.attempt });
    }

    fn hand_out(&mut self, session: Session, lifetime: Lifetime) -> Session {
        let end = session.as_sender().end();
        self.phase = Phase::Open { lifetime, end };
        self.state.publish(ReconnectState::Open);
        session
    }

    /// Starts the delay before the next attempt, counted from `at`, or stops.
    fn ended(&mut self, error: AttemptError, at: Instant) {
        let attempt = self.attempt;
        let retry = (self.retry_if)(&error, attempt);
        let asked = retry_after(&error).unwrap_or_default().min(self.max_retry_after);
        let error = Arc::new(error);
        self.state.set_error(error.clone());
        let delay = match retry {
            Retry::Stop => {
                tracing::debug!(%error, attempt, "not connecting again");
                self.phase = Phase::Stopped(ReconnectError::new(error, attempt));
                self.state.publish(ReconnectState::Stopped);
                return;
            }
            Retry::Backoff => asked.saturating_add(self.backoff.next_delay()),
            Retry::After(delay) => delay,
        };
        tracing::debug!(%error, attempt, ?delay, "connecting again");
        let until = at + delay;
        self.phase = Phase::Waiting(self.runtime().timer(until));
        self.state.publish(ReconnectState::Waiting { attempt, until });
    }

    fn runtime(&self) -> &Arc<dyn Runtime> {
        self.runtime.as_ref().expect("the runtime is set when the first connection is opened")
    }
}

/// Lets the attempt fail whose session `client` returned last, as a hook of the caller's own found.
pub fn fail_session(client: &mut Reconnect, error: BoxError) {
    if let Phase::Open { .. } = client.phase {
        client.ended(AttemptError::Hook(error), client.runtime().now());
    }
}

/// Ends the watches.
impl Drop for Reconnect {
    fn drop(&mut self) {
        self.state.end();
    }
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Reconnect");
        shown.field("attempt", &self.attempt).field("backoff", &self.backoff);
        shown.finish_non_exhaustive()
    }
}
