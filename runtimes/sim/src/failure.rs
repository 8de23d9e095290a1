//! The failure of a run, as one message: [`Failure`].

use std::fmt::{self, Write};
use std::panic::resume_unwind;
use std::thread::Thread;
use std::time::Duration;

use crate::fingerprint::Parted;
use crate::panics::Panicked;
use crate::plan::Plan;
use crate::tap::Violation;
use crate::tasks::Payload;
use crate::trace::{Trace, directory};

/// Why a run failed.
pub(crate) enum Why {
    Deadlock,
    /// For this long, nothing but the deadlines of sessions.
    Lifeless(Duration),
    /// The tasks of tokio ran for very long, and woke no other.
    OnlyTokio,
    TooManyPolls,
    /// The environment stops the run at this event.
    Stopped(u64),
    /// The name of the task that panicked, or of what runs in it. The payload, if it has no text.
    Panicked {
        name: String,
        panicked: Panicked,
        payload: Option<Payload>,
    },
    /// An end of a connection has broken a law of the protocol.
    Violated(Violation),
    /// The runs of one seed differ, while a task of this name runs.
    Parted {
        task: String,
        parted: Parted,
        /// The wake-up in which they differed before.
        cause: Option<String>,
    },
    /// A condition or a limit does not hold after a poll of the task of this name.
    Unmet {
        task: String,
        panicked: Panicked,
    },
    /// Another thread of this name woke a task of this name.
    WokenByThread {
        task: String,
        thread: String,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock => f.write_str("deadlock: no task can run and no timer is set"),
            Self::Lifeless(time) => {
                write!(f, "deadlock: only keep-alive has been active for {time:?}")
            }
            Self::OnlyTokio => f.write_str(
                "deadlock: only tasks of tokio::spawn have been active for 30 days, and no timer is set",
            ),
            Self::TooManyPolls => f.write_str("too many polls (Sim::max_polls)"),
            Self::Stopped(event) => write!(f, "stopped at event {event}"),
            Self::Panicked { name, .. } => write!(f, "{name} panicked"),
            Self::Unmet { task, .. } => write!(f, "a condition failed after a poll of {task}"),
            Self::Violated(Violation { end, broken, .. }) => write!(f, "{end} {broken}"),
            Self::Parted { .. } => f.write_str("not deterministic"),
            Self::WokenByThread { task, thread } => {
                write!(f, "not deterministic: {task} was woken by the thread {thread:?}")
            }
        }
    }
}

impl Why {
    /// Returns what a smaller plan has to fail with too.
    fn kind(&self) -> String {
        match self {
            Self::Panicked { panicked, .. } | Self::Unmet { panicked, .. } => panicked.kind(),
            Self::Lifeless(_) => "lifeless".to_owned(),
            Self::Violated(violation) => violation.broken.to_owned(),
            Self::Parted { .. } | Self::WokenByThread { .. } => "not deterministic".to_owned(),
            Self::Stopped(_) => "stopped".to_owned(),
            Self::Deadlock | Self::OnlyTokio | Self::TooManyPolls => self.to_string(),
        }
    }
}

/// A run that failed, with the message for its test.
pub(crate) struct Failure {
    message: String,
    /// The line that repeats the run.
    replay: String,
    kind: String,
    payload: Option<Payload>,
    trace: Option<Trace>,
}

impl Failure {
    /// `details` are the tasks, the connections and what else there is to report.
    pub(crate) fn new(seed: u64, why: Why, when: &str, details: &str, replay: &str) -> Self {
        let mut message = format!("seed {seed}: {why} at {when}");
        let kind = why.kind();
        let (mut payload, mut backtrace) = (None, String::new());
        // Writing to a string does not fail.
        let _ = match why {
            Why::Panicked { panicked, payload: odd, .. } => {
                payload = odd;
                backtrace = panicked.backtrace();
                write!(message, ": {panicked}")
            }
            Why::Unmet { panicked, .. } => write!(message, ": {panicked}"),
            Why::Violated(violation) => write!(message, ": {}", violation.frame),
            Why::Parted { parted, cause: Some(cause), .. } if parted.is_poll() => {
                write!(message, ": {parted}\n  {cause}{HINT}")
            }
            Why::Parted { task, parted, .. } => {
                write!(message, ": {parted}\n  in {task}{HINT}")
            }
            _ => Ok(()),
        };
        message.extend([details, backtrace.trim_end()]);
        Self { message, replay: replay.to_owned(), kind, payload, trace: None }
    }

    /// Returns what failed, without what differs from run to run.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// Adds to the message, before the line that repeats the run.
    pub(crate) fn with_note(mut self, note: &str) -> Self {
        self.message.push_str(note);
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Adds what happened in the run.
    pub(crate) fn with_trace(mut self, trace: Trace) -> Self {
        self.trace = Some(trace);
        self
    }

    /// Writes the trace, if the environment has a directory for it.
    fn save_trace(&mut self) {
        let (Some(trace), Some(directory)) = (self.trace.take(), directory()) else { return };
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("main").replace(|c: char| !c.is_alphanumeric(), "_");
        let name = format!("{test}-{}", trace.seed().unwrap_or_default());
        // Writing to a string does not fail.
        let _ = match trace.save(directory, &name) {
            Ok(page) => write!(self.message, "\ntimeline: {}", page.display()),
            Err(error) => {
                write!(self.message, "\nno timeline in {}: {error}", directory.display())
            }
        };
    }

    /// Fails the test.
    #[track_caller]
    pub(crate) fn raise(mut self) -> ! {
        self.save_trace();
        match self.payload {
            None => panic!("{}{}", self.message, self.replay),
            Some(payload) => {
                eprintln!("{}{}", self.message, self.replay);
                resume_unwind(payload);
            }
        }
    }
}

/// The settings in the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Replayed {
    Seed(u64),
    Plan(Plan),
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(seed) => write!(f, "{seed}"),
            Self::Plan(plan) => write!(f, "'{plan}'"),
        }
    }
}

/// Returns the line that repeats a run on `thread`, of a seed that the test's source has if it is
/// not chosen by the environment.
pub(crate) fn replay(replayed: Option<Replayed>, thread: &Thread) -> String {
    let mut line = "\nreplay: ".to_owned();
    if let Some(replayed) = replayed {
        let _ = write!(line, "{SEED}={replayed} ");
    }
    line.push_str("cargo test");
    if let Ok(package) = std::env::var("CARGO_PKG_NAME") {
        let _ = write!(line, " -p {package}");
    }
    // The test harness names its threads after the tests.
    if let Some(name) = thread.name().filter(|name| *name != "main") {
        let _ = write!(line, " {name}");
    }
    line
}

/// Returns what the environment asks for.
///
/// # Panics
///
/// Panics if it is neither a seed nor a plan.
#[track_caller]
pub(crate) fn replayed() -> Option<Replayed> {
    let text = std::env::var(SEED).ok()?;
    match (text.parse(), text.parse()) {
        (Ok(seed), _) => Some(Replayed::Seed(seed)),
        (_, Ok(plan)) => Some(Replayed::Plan(plan)),
        (_, Err(error)) => {
            panic!("{SEED}={text} is invalid: expected the number of a seed, or a plan: {error}")
        }
    }
}

const HINT: &str = "\nthe code under test draws from something that the seed does not decide: \
    tokio::select! without `biased`, the order of a HashMap, std::time::Instant, another thread, \
    an address";

const SEED: &str = "SOCKLESS_SIM";
