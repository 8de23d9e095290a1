//! One round of a load on one server.

mod churn;
mod echo;
mod fan_out;
mod idle;
mod rate;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sockless::{Closed, Connect, Message, Session};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

pub(crate) use super::report::Tally;

/// The time that a round waits for replies after its end.
const GRACE: Duration = Duration::from_secs(10);

/// Connections that are being opened at the same time, before a round begins.
const OPENING_AT_ONCE: usize = 64;

/// The load for a server.
pub(crate) struct Load {
    pub(crate) connect: Box<dyn Fn() -> Connect + Send + Sync>,
    pub(crate) kind: Kind,
    pub(crate) connections: usize,
    pub(crate) message: Message,
    pub(crate) duration: Duration,
}

/// The kinds of load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The next message is sent when a reply has come.
    Echo { depth: usize },
    /// Messages are sent at their time, so many a second.
    Rate(u32),
    /// Connections are opened, send messages, and are closed.
    Churn { messages: u32 },
    /// Each message reaches all connections.
    FanOut,
    /// Nothing is sent.
    Idle,
}

/// The events of a round so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    open: AtomicU64,
    done: AtomicU64,
}

impl Load {
    /// Runs a round, and returns what it measured.
    pub(crate) async fn run(&self, progress: &Arc<Progress>) -> Tally {
        let mut tally = Tally::new();
        let sessions = match self.kind {
            Kind::Churn { .. } => Vec::new(),
            _ => self.open_all(&mut tally, progress).await,
        };
        let begin = Instant::now();
        let end = begin + self.duration;
        match self.kind {
            Kind::Echo { depth } => {
                let each = |_, session| {
                    echo::run(session, self.message.clone(), depth, end, Arc::clone(progress))
                };
                join(sessions, each, &mut tally).await;
            }
            Kind::Rate(per_second) => {
                let interval = Duration::from_secs_f64(1.0 / f64::from(per_second));
                let count = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
                let each = |index: u32, session| {
                    let schedule = rate::Schedule {
                        next: begin + interval * index,
                        every: interval * count,
                        end,
                    };
                    rate::run(session, self.message.clone(), schedule, Arc::clone(progress))
                };
                join(sessions, each, &mut tally).await;
            }
            Kind::Churn { messages } => churn::run(self, messages, end, &mut tally, progress).await,
            Kind::FanOut => fan_out::run(sessions, &self.message, end, &mut tally, progress).await,
            Kind::Idle => {
                let each = |_, session| idle::run(session, end, Arc::clone(progress));
                join(sessions, each, &mut tally).await;
            }
        }
        tally.end_round(begin);
        tally
    }

    /// Opens the connections of a round.
    async fn open_all(&self, tally: &mut Tally, progress: &Arc<Progress>) -> Vec<Session> {
        let permits = Arc::new(Semaphore::new(OPENING_AT_ONCE));
        let mut opening = JoinSet::new();
        for _ in 0..self.connections {
            let (connect, permits, progress) =
                ((self.connect)(), Arc::clone(&permits), Arc::clone(progress));
            opening.spawn(async move {
                let _permit = permits.acquire().await;
                let session = connect.open().await.map(|connection| connection.spawn());
                if session.is_ok() {
                    progress.open.fetch_add(1, Ordering::Relaxed);
                }
                session
            });
        }
        let mut sessions = Vec::with_capacity(self.connections);
        for session in opening.join_all().await {
            match session {
                Ok(session) => sessions.push(session),
                Err(error) => tally.failure(error),
            }
        }
        sessions
    }
}

impl Progress {
    /// Returns the number of connections that were opened.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns the number of replies, or of what else is counted.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs a task for each session, and adds up what they measure.
async fn join<F>(sessions: Vec<Session>, each: impl Fn(u32, Session) -> F, tally: &mut Tally)
where
    F: Future<Output = Tally> + Send + 'static,
{
    let tasks: JoinSet<Tally> =
        (0..).zip(sessions).map(|(index, session)| each(index, session)).collect();
    for part in tasks.join_all().await {
        tally.add(&part);
    }
}

/// Runs an exchange of messages, which may wait for replies for some time after `end`. Returns why it
/// failed.
async fn within_grace(
    end: Instant,
    exchange: impl Future<Output = Result<(), Closed>>,
) -> Result<(), String> {
    match timeout_at(end + GRACE, exchange).await {
        Ok(ended) => ended.map_err(|closed| closed.to_string()),
        Err(_) => Err(format!("no reply within {GRACE:?} after the end")),
    }
}
