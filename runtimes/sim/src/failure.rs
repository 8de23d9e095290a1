//! The failure of a run, as one message: [`Failure`].

use std::fmt::{self, Write};
use std::panic::resume_unwind;
use std::thread::Thread;
use std::time::Duration;

use crate::panics::Panicked;
use crate::tasks::Payload;
use crate::trace::Parted;

/// Why a run failed.
pub(crate) enum Why {
    Deadlock,
    /// For this long, nothing but the deadlines of sessions.
    Lifeless(Duration),
    /// The tasks of tokio ran for very long, and woke no other.
    OnlyTokio,
    TooManyPolls,
    /// The name of the task that panicked, or of what runs in it. The payload, if it has no text.
    Panicked {
        name: String,
        panicked: Panicked,
        payload: Option<Payload>,
    },
    /// The runs of one seed differ, while a task of this name runs.
    Parted {
        task: String,
        parted: Parted,
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
            Self::Panicked { name, .. } => write!(f, "{name} panicked"),
            Self::Parted { .. } => f.write_str("not deterministic"),
            Self::WokenByThread { task, thread } => {
                write!(f, "not deterministic: {task} was woken by the thread {thread:?}")
            }
        }
    }
}

/// A run that failed, with the message for its test.
pub(crate) struct Failure {
    message: String,
    payload: Option<Payload>,
}

impl Failure {
    /// `details` are the tasks, the connections and what else there is to report.
    pub(crate) fn new(seed: u64, why: Why, when: &str, details: &str, replay: &str) -> Self {
        let mut message = format!("seed {seed}: {why} at {when}");
        let (mut payload, mut backtrace) = (None, String::new());
        // Writing to a string does not fail.
        let _ = match why {
            Why::Panicked { panicked, payload: odd, .. } => {
                payload = odd;
                backtrace = panicked.backtrace();
                write!(message, ": {panicked}")
            }
            Why::Parted { task, parted } => write!(message, ": {parted}\n  in {task}{HINT}"),
            _ => Ok(()),
        };
        message.extend([details, backtrace.trim_end(), replay]);
        Self { message, payload }
    }

    /// Fails the test.
    #[track_caller]
    pub(crate) fn raise(self) -> ! {
        match self.payload {
            None => panic!("{}", self.message),
            Some(payload) => {
                eprintln!("{}", self.message);
                resume_unwind(payload);
            }
        }
    }
}

/// Returns the line that repeats the run of `seed` on `thread`, or of a seed that the test's source
/// has.
pub(crate) fn replay(seed: Option<u64>, thread: &Thread) -> String {
    let mut line = "\nreplay: ".to_owned();
    if let Some(seed) = seed {
        let _ = write!(line, "{SEED}={seed} ");
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

/// Returns the seed that the environment asks for.
pub(crate) fn seed_to_replay() -> Option<u64> {
    let seed = std::env::var(SEED).ok()?;
    match seed.parse() {
        Ok(seed) => Some(seed),
        Err(_) => panic!("{SEED}={seed} is invalid: expected the number of a seed"),
    }
}

const HINT: &str = "\nthe code under test draws from something that the seed does not decide: \
    tokio::select! without `biased`, the order of a HashMap, std::time::Instant, another thread, \
    an address";

const SEED: &str = "SOCKLESS_SIM";
