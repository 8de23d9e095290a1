//! A client that connects again when its connection ends: [`Reconnect`].

mod error;
mod hooks;
mod policy;
mod watch;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sockless_core::{Closed, Instant, Seed};
use sockless_driver::{BoxError, ReconnectState, Retry};

use crate::connect::Connect;
use crate::error::ConnectError;
use crate::platform::{self, OnlineListener, Sleep};
use crate::session::Session;
use policy::Policy;
use watch::SharedState;

pub use error::{AttemptError, ReconnectError};
pub use watch::ReconnectWatch;

/// A boxed future that stays on its thread.
///
/// It is the same type as `local::LocalBoxFuture` of the driver, whose feature `local` has executors and transports
/// that a browser does not.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A client that connects again when its connection ends: a sequence of [`Session`]s.
///
/// ```no_run
/// use std::time::Duration;
///
/// use sockless::web::{Reconnect, ReconnectError, connect};
///
/// # async fn example() -> Result<(), ReconnectError> {
/// let mut feed = Reconnect::new(|| connect("wss://example.com/feed"))
///     .max_delay(Duration::from_secs(10))
///     // Runs on each new session before `next` returns it.
///     .on_open(|session| {
///         Box::pin(async move { Ok(session.send(r#"{"subscribe": "prices"}"#).await?) })
///     });
/// loop {
///     let mut session = feed.next().await?;
///     while let Ok(message) = session.recv().await {
///         show(&message);
///     }
/// }
/// # }
/// # fn show(_: &sockless::Message) {}
/// ```
///
/// Attempts are made while [`next`](Self::next) is awaited. Messages that were lost with a
/// connection are not sent again.
///
/// # Delays
///
/// As with the `Reconnect` of the other runtimes, by the same
/// [`Backoff`](sockless_driver::Backoff): before each attempt
/// except the first one there is a delay, drawn between zero and a limit, which is
/// [`initial_delay`](Self::initial_delay) at first and doubles with each attempt up to
/// [`max_delay`](Self::max_delay). It is counted from the end of the session or of the failed
/// attempt. After a session of at least [`stable_after`](Self::stable_after), the limit is the
/// initial one again. The number of attempts is not limited, unless [`retry_if`](Self::retry_if)
/// limits it. A page does not see `Retry-After`.
///
/// The browser's event `online` ends a delay, and so does
/// [`retry_now`](ReconnectWatch::retry_now). Pages that are hidden have slow timers: a delay may last
/// a minute longer there.
pub struct Reconnect {
    factory: Box<dyn FnMut() -> Connect>,
    prepare: Option<Prepare>,
    hook: Option<Hook>,
    hook_timeout: Duration,
    policy: Policy,
    phase: Phase,
    state: Rc<SharedState>,
}

type Prepare = Box<dyn FnMut(Connect) -> LocalBoxFuture<'static, Result<Connect, BoxError>>>;

type Hook = Box<dyn for<'a> FnMut(&'a mut Session) -> LocalBoxFuture<'a, Result<(), BoxError>>>;

enum Phase {
    Idle,
    /// The first hook runs.
    Preparing(LocalBoxFuture<'static, Result<Connect, AttemptError>>),
    Connecting(LocalBoxFuture<'static, Result<Session, ConnectError>>),
    /// The hook runs on a new session.
    RunningHook {
        opened_at: Instant,
        hook: LocalBoxFuture<'static, (Hook, Session, Result<(), AttemptError>)>,
    },
    /// A session was returned. The end comes with its time.
    Open {
        opened_at: Instant,
        end: LocalBoxFuture<'static, (Closed, Instant)>,
    },
    Waiting {
        pause: Sleep,
        _online: OnlineListener,
    },
    Stopped(ReconnectError),
}

impl Reconnect {
    /// Returns a client that opens the connections that `factory` makes. It is called for each
    /// attempt, therefore it can add a new token each time. What has to be awaited before an attempt
    /// is for [`prepare`](Self::prepare).
    pub fn new(factory: impl FnMut() -> Connect + 'static) -> Self {
        Self {
            factory: Box::new(factory),
            prepare: None,
            hook: None,
            hook_timeout: Duration::from_secs(30),
            policy: Policy::default(),
            phase: Phase::Idle,
            state: SharedState::new(),
        }
    }

    /// Sets the limit of the first delay. Default: 500 ms.
    #[must_use]
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.policy.backoff.set_initial(delay);
        self
    }

    /// Sets the limit of all delays. Default: 30 s.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.policy.backoff.set_max(delay);
        self
    }

    /// Sets the duration after which a session is stable: from the end of its opening handshake to
    /// its own end. Default: 5 s.
    ///
    /// After a stable session, the delays and the number of attempts start again.
    #[must_use]
    pub fn stable_after(mut self, duration: Duration) -> Self {
        self.policy.stable_after = duration;
        self
    }

    /// Sets the seed from which the delays are drawn. Default: 32 bytes of
    /// `crypto.getRandomValues()`.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.policy.set_seed(&seed);
        self
    }

    /// Sets the condition for another attempt, after a failed attempt or the end of a session. If
    /// it returns false, [`next`](Self::next) fails. Default: [`AttemptError::is_transient`].
    ///
    /// Its arguments are the error, and the number of attempts since the last stable session, which
    /// is 0 if that session is the one that ended. It returns a `bool`, or a [`Retry`] that also
    /// chooses the delay.
    ///
    /// ```no_run
    /// use sockless::web::{Reconnect, connect};
    ///
    /// let limited = Reconnect::new(|| connect("wss://example.com/feed"))
    ///     .retry_if(|error, attempts| error.is_transient() && attempts < 10);
    /// # drop(limited);
    /// ```
    #[must_use]
    pub fn retry_if<R: Into<Retry>>(
        mut self,
        mut condition: impl FnMut(&AttemptError, u32) -> R + 'static,
    ) -> Self {
        self.policy.retry_if = Box::new(move |error, attempts| condition(error, attempts).into());
        self
    }

    /// Sets a hook that runs before each attempt, on what the factory has made, such as to fetch a
    /// token.
    ///
    /// ```no_run
    /// use sockless::BoxError;
    /// use sockless::web::{Reconnect, connect};
    ///
    /// async fn fetch_token() -> Result<String, BoxError> {
    ///     # Ok(String::new())
    ///     // A request to another server, perhaps.
    /// }
    ///
    /// let feed = Reconnect::new(|| connect("wss://example.com/feed")).prepare(|connect| async move {
    ///     // A page cannot set headers.
    ///     Ok(connect.subprotocol("feed.v1").subprotocol(&fetch_token().await?))
    /// });
    /// # drop(feed);
    /// ```
    ///
    /// If it fails, the attempt fails with [`AttemptError::Prepare`], after which there is another one by
    /// default; if it takes longer than [`hook_timeout`](Self::hook_timeout), with
    /// [`AttemptError::HookTimeout`].
    #[must_use]
    pub fn prepare<F>(mut self, mut hook: impl FnMut(Connect) -> F + 'static) -> Self
    where
        F: Future<Output = Result<Connect, BoxError>> + 'static,
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
        H: for<'a> FnMut(&'a mut Session) -> LocalBoxFuture<'a, Result<(), BoxError>> + 'static,
    {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Returns a watch with which another task can observe the state of this client, and end its
    /// delays.
    pub fn watch(&self) -> ReconnectWatch {
        ReconnectWatch::new(&self.state)
    }

    /// Returns the next session: waits for the end of the session that was returned before, then
    /// makes attempts until one succeeds.
    ///
    /// Cancel-safe: dropping the future pauses an attempt, and the next call resumes it. The
    /// deadlines of the opening and of a hook are not paused.
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
                    Err(error) => self.failed(error),
                },
                Phase::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                    Ok(session) => {
                        let opened_at = platform::now();
                        let Some(hook) = self.hook.take() else {
                            return Poll::Ready(Ok(self.hand_out(session, opened_at)));
                        };
                        let hook = hooks::run(hook, session, self.hook_timeout);
                        self.phase = Phase::RunningHook { opened_at, hook };
                    }
                    Err(error) => self.failed(AttemptError::Connect(error)),
                },
                Phase::RunningHook { opened_at, hook } => {
                    let (hook, session, result) = ready!(hook.as_mut().poll(cx));
                    let opened_at = *opened_at;
                    self.hook = Some(hook);
                    match result {
                        Ok(()) => return Poll::Ready(Ok(self.hand_out(session, opened_at))),
                        Err(error) => self.failed(error),
                    }
                }
                Phase::Open { opened_at, end } => {
                    let (closed, ended_at) = ready!(end.as_mut().poll(cx));
                    self.policy.session_lasted(ended_at.saturating_since(*opened_at));
                    self.ended(AttemptError::Closed(closed), ended_at);
                }
                Phase::Waiting { pause, .. } => {
                    if self.state.poll_retry(cx).is_pending() {
                        ready!(Pin::new(pause).poll(cx));
                    }
                    self.phase = Phase::Idle;
                }
                Phase::Stopped(error) => return Poll::Ready(Err(error.clone())),
            }
        }
    }

    fn begin(&mut self) {
        let attempt = self.policy.begin(platform::seed);
        let connect = (self.factory)();
        self.phase = match &mut self.prepare {
            Some(hook) => Phase::Preparing(hooks::prepare(hook(connect), self.hook_timeout)),
            None => Phase::Connecting(connect.into_future()),
        };
        self.state.publish(ReconnectState::Connecting { attempt });
    }

    fn hand_out(&mut self, session: Session, opened_at: Instant) -> Session {
        self.phase = Phase::Open { opened_at, end: end_of(&session) };
        self.state.publish(ReconnectState::Open);
        session
    }

    fn failed(&mut self, error: AttemptError) {
        self.ended(error, platform::now());
    }

    /// Starts the delay before the next attempt, counted from `at`, or stops.
    fn ended(&mut self, error: AttemptError, at: Instant) {
        let attempt = self.policy.attempt();
        let delay = self.policy.delay_after(&error);
        let error = Arc::new(error);
        self.state.set_error(error.clone());
        let Some(delay) = delay else {
            self.phase = Phase::Stopped(ReconnectError::new(error, attempt));
            self.state.publish(ReconnectState::Stopped);
            return;
        };
        let until = at + delay;
        self.state.publish(ReconnectState::Waiting { attempt, until });
        let state = Rc::downgrade(&self.state);
        let online = OnlineListener::new(move || {
            if let Some(state) = state.upgrade() {
                state.retry_now();
            }
        });
        self.phase = Phase::Waiting { pause: Sleep::until(until), _online: online };
    }
}

/// Waits for the end of a session, and notes its time when it comes: the program may be busy elsewhere before it calls
/// [`Reconnect::next`].
fn end_of(session: &Session) -> LocalBoxFuture<'static, (Closed, Instant)> {
    let end = session.end();
    let noted = Rc::new(std::cell::OnceCell::new());
    let (ended, watched) = (session.end(), noted.clone());
    wasm_bindgen_futures::spawn_local(async move {
        ended.await;
        let _ = watched.set(platform::now());
    });
    Box::pin(async move {
        let closed = end.await;
        (closed, noted.get().copied().unwrap_or_else(platform::now))
    })
}

/// Ends the watches.
impl Drop for Reconnect {
    fn drop(&mut self) {
        self.state.end();
    }
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect").field("policy", &self.policy).finish_non_exhaustive()
    }
}
