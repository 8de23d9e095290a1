//! A client that comes back: [`Reconnect`], a layer above [`Connect`].

mod backoff;
mod lifetime;
mod watch;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sockless_core::{Closed, Escaped, Instant, Seed};

pub use watch::{ReconnectState, ReconnectWatch};

use super::{Connect, ConnectError};
use crate::future::{BoxError, BoxFuture};
use crate::runtime::{Runtime, Timer};
use crate::session::Session;
use backoff::Backoff;
use lifetime::Lifetime;
use watch::Board;

/// A client that connects again when its connection ends: one [`Session`] after the other.
///
/// ```
/// use std::time::Duration;
///
/// use sockless_driver::{Connect, ReconnectError, Reconnect};
///
/// # async fn example(connect: fn(&str) -> Connect) -> Result<(), ReconnectError> {
/// let mut feed = Reconnect::new(move || connect("ws://example.com/feed"))
///     .max_delay(Duration::from_secs(10))
///     // Runs on each new session before anybody else sees it.
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
/// It goes on while [`next`](Self::next) is awaited: a session that was given away is driven as any
/// other, and what was lost with it is the program's to ask for again. Only a session's end is noted
/// when it comes, by a task of its own: what counts is how long the session lasted, and not how long
/// the program took to ask for the next one.
///
/// # Delays
///
/// Before the second attempt and each further one it waits: at random, between nothing and
/// [`initial_delay`](Self::initial_delay), which doubles with each attempt up to
/// [`max_delay`](Self::max_delay), counted from the end of the session or of the failed attempt. A
/// connection that lasts [`stable_after`](Self::stable_after) makes it begin anew. There is no limit to the attempts but [`retry_if`](Self::retry_if).
pub struct Reconnect {
    factory: Box<dyn FnMut() -> Connect + Send>,
    hook: Option<Hook>,
    retry_if: Judge,
    backoff: Backoff,
    /// As given; what is drawn is left in `backoff`.
    seed: Option<Seed>,
    stable_after: Duration,
    /// That of the first connection.
    runtime: Option<Arc<dyn Runtime>>,
    attempt: u32,
    phase: Phase,
    board: Arc<Board>,
}

type Hook = Box<dyn for<'a> FnMut(&'a mut Session) -> BoxFuture<'a, Result<(), BoxError>> + Send>;

type Judge = Box<dyn FnMut(&AttemptError, u32) -> bool + Send>;

enum Phase {
    Idle,
    Connecting(BoxFuture<'static, Result<Session, ConnectError>>),
    /// The hook is at work on a new session.
    Hooked {
        lifetime: Option<Lifetime>,
        hooked: BoxFuture<'static, (Hook, Session, Result<(), BoxError>)>,
    },
    /// The session was given away.
    Open {
        lifetime: Lifetime,
        end: BoxFuture<'static, Closed>,
    },
    Waiting(Box<dyn Timer>),
    Stopped(ReconnectError),
}

impl Reconnect {
    /// A client that connects as `factory` says, which is asked anew for each attempt: a token that
    /// expires can be renewed there.
    pub fn new(factory: impl FnMut() -> Connect + Send + 'static) -> Self {
        Self {
            factory: Box::new(factory),
            hook: None,
            retry_if: Box::new(|end, _| end.is_transient()),
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
            seed: None,
            stable_after: Duration::from_secs(5),
            runtime: None,
            attempt: 0,
            phase: Phase::Idle,
            board: Board::new(),
        }
    }

    /// Sets the most that the first delay may be. Default: 500 ms.
    #[must_use]
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.backoff.initial = delay;
        self
    }

    /// Sets the most that any delay may be. Default: 30 s.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.backoff.max = delay;
        self
    }

    /// Sets how long a connection must last, from the end of its opening handshake to its own, for the
    /// delays and the number of the attempt to begin anew: less, and a server that accepts and drops its clients would be stormed. Default: 5 s.
    #[must_use]
    pub fn stable_after(mut self, duration: Duration) -> Self {
        self.stable_after = duration;
        self
    }

    /// Draws the delays from `seed`. Default: from a seed of the runtime.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Says which ends are worth another attempt; it is told how it ended, and how many attempts there
    /// have been since a connection last proved stable: 0 when that is the one that ended. When it says
    /// no, [`next`](Self::next) gives up. Default: [`AttemptError::is_transient`].
    #[must_use]
    pub fn retry_if(
        mut self,
        judge: impl FnMut(&AttemptError, u32) -> bool + Send + 'static,
    ) -> Self {
        self.retry_if = Box::new(judge);
        self
    }

    /// Runs `hook` on each new session before it is given away: to log in, to subscribe again. When it
    /// fails, the session is closed, and the attempt has failed with [`AttemptError::Hook`]. It has as
    /// much time as it takes.
    #[must_use]
    pub fn on_open<H>(mut self, hook: H) -> Self
    where
        H: for<'a> FnMut(&'a mut Session) -> BoxFuture<'a, Result<(), BoxError>> + Send + 'static,
    {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Lets another task see what it is doing.
    pub fn watch(&self) -> ReconnectWatch {
        ReconnectWatch::new(&self.board)
    }

    /// The next session: waits for the end of the one that was given away last, then connects until it
    /// succeeds.
    ///
    /// Cancel-safe: what has begun goes on with the next call. In between it stands still: a handshake
    /// may then find that its deadline has passed, unless its answer has come.
    ///
    /// # Errors
    ///
    /// [`ReconnectError`], and from then on at each call, when an end was not worth another attempt.
    pub async fn next(&mut self) -> Result<Session, ReconnectError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Session, ReconnectError>> {
        loop {
            match &mut self.phase {
                Phase::Idle => self.connect(),
                Phase::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                    Ok(session) => {
                        let lifetime = Lifetime::watch(&session, self.runtime());
                        match self.hook.take() {
                            Some(hook) => {
                                let hooked = run(hook, session);
                                self.phase = Phase::Hooked { lifetime: Some(lifetime), hooked };
                            }
                            None => return Poll::Ready(Ok(self.give(session, lifetime))),
                        }
                    }
                    Err(error) => self.ended(AttemptError::Connect(error), self.runtime().now()),
                },
                Phase::Hooked { lifetime, hooked } => {
                    let (hook, session, result) = ready!(hooked.as_mut().poll(cx));
                    let lifetime = lifetime.take().expect("a hook ends once");
                    self.hook = Some(hook);
                    match result {
                        Ok(()) => return Poll::Ready(Ok(self.give(session, lifetime))),
                        Err(error) => self.ended(AttemptError::Hook(error), self.runtime().now()),
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
                    ready!(timer.poll_expired(cx));
                    self.phase = Phase::Idle;
                }
                Phase::Stopped(gave_up) => return Poll::Ready(Err(gave_up.clone())),
            }
        }
    }

    fn connect(&mut self) {
        let connect = (self.factory)();
        if self.runtime.is_none() {
            let seed = self.seed.take().unwrap_or_else(|| connect.runtime.seed());
            self.backoff.seed(&seed);
            self.runtime = Some(connect.runtime.clone());
        }
        self.attempt = self.attempt.saturating_add(1);
        self.phase = Phase::Connecting(connect.into_future());
        self.board.publish(ReconnectState::Connecting { attempt: self.attempt });
    }

    fn give(&mut self, session: Session, lifetime: Lifetime) -> Session {
        let end = session.as_sender().end();
        self.phase = Phase::Open { lifetime, end };
        self.board.publish(ReconnectState::Open);
        session
    }

    /// Waits for the next attempt, or gives up; the delay counts from `at`.
    fn ended(&mut self, end: AttemptError, at: Instant) {
        let attempt = self.attempt;
        if !(self.retry_if)(&end, attempt) {
            tracing::debug!(%end, attempt, "no further attempt to connect");
            self.phase = Phase::Stopped(ReconnectError { end: Arc::new(end), attempt });
            self.board.publish(ReconnectState::Stopped);
            return;
        }
        let delay = self.backoff.next_delay();
        tracing::debug!(%end, attempt, ?delay, "connecting again");
        let until = at + delay;
        self.phase = Phase::Waiting(self.runtime().timer(until));
        self.board.publish(ReconnectState::Waiting { attempt, until });
    }

    fn runtime(&self) -> &Arc<dyn Runtime> {
        self.runtime.as_ref().expect("a connection was begun before anything else")
    }
}

fn run(
    mut hook: Hook,
    mut session: Session,
) -> BoxFuture<'static, (Hook, Session, Result<(), BoxError>)> {
    Box::pin(async move {
        let result = hook(&mut session).await;
        (hook, session, result)
    })
}

/// Ends what others see of it.
impl Drop for Reconnect {
    fn drop(&mut self) {
        self.board.end();
    }
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Reconnect");
        shown.field("attempt", &self.attempt).field("backoff", &self.backoff);
        shown.finish_non_exhaustive()
    }
}

/// How an attempt failed, or how its session ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum AttemptError {
    /// The session ended.
    Closed(Closed),
    /// There was no connection.
    Connect(ConnectError),
    /// The hook of [`Reconnect::on_open`] failed.
    Hook(BoxError),
}

impl AttemptError {
    /// Whether another attempt may do better: any end of a session, except by a peer that said that it
    /// will not have us as we are (close codes 1002, 1003, 1007 to 1010, 3000 and 3003);
    /// [`ConnectError::is_transient`]; and a hook that failed because its session ended so.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Closed(closed) => is_transient(closed),
            Self::Connect(error) => error.is_transient(),
            Self::Hook(error) => error.downcast_ref::<Closed>().is_some_and(is_transient),
        }
    }
}

fn is_transient(closed: &Closed) -> bool {
    let code = closed.received().and_then(|reason| reason.code());
    !code.is_some_and(|code| matches!(code.get(), 1002 | 1003 | 1007..=1010 | 3000 | 3003))
}

/// What a peer wrote is escaped.
impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => Escaped(closed).fmt(f),
            Self::Connect(error) => error.fmt(f),
            Self::Hook(error) => write!(f, "the hook on_open failed: {}", Escaped(error)),
        }
    }
}

/// No further attempt is made.
#[derive(Clone, Debug)]
pub struct ReconnectError {
    end: Arc<AttemptError>,
    attempt: u32,
}

impl ReconnectError {
    /// What was not worth another attempt.
    pub fn last_error(&self) -> &AttemptError {
        &self.end
    }

    /// How many attempts there had been since a connection last proved stable.
    pub fn attempts(&self) -> u32 {
        self.attempt
    }
}

impl fmt::Display for ReconnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempt {
            0 => write!(f, "gave up: {}", self.end),
            1 => write!(f, "gave up after 1 attempt: {}", self.end),
            attempts => write!(f, "gave up after {attempts} attempts: {}", self.end),
        }
    }
}

impl std::error::Error for ReconnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.end {
            AttemptError::Closed(closed) => Some(closed),
            AttemptError::Connect(error) => Some(error),
            AttemptError::Hook(error) => Some(&**error),
        }
    }
}
