//! A thread that watches, in real time, for a poll that does not return: [`Watched`].

#![expect(clippy::disallowed_methods, reason = "the watchdog is outside of the simulation")]

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::Thread;
use std::time::Duration;

use crate::failure::{Replayed, replay};
use crate::lock;
use crate::tasks::Tasks;
use crate::time::Time;

/// A run that is being watched, until this is dropped.
pub(crate) struct Watched(Arc<Progress>);

struct Progress {
    seed: u64,
    polls: AtomicU64,
    task: AtomicU64,
    time: Arc<Time>,
    tasks: Arc<Tasks>,
    thread: Thread,
    /// The choices of the environment, to repeat the run.
    replayed: Option<Replayed>,
}

impl Watched {
    pub(crate) fn begin(
        seed: u64,
        replayed: Option<Replayed>,
        time: &Arc<Time>,
        tasks: &Arc<Tasks>,
    ) -> Self {
        let progress = Arc::new(Progress {
            seed,
            polls: AtomicU64::new(0),
            task: AtomicU64::new(0),
            time: Arc::clone(time),
            tasks: Arc::clone(tasks),
            thread: std::thread::current(),
            replayed,
        });
        if limit() > 0 {
            lock(watched()).push(Arc::downgrade(&progress));
        }
        Self(progress)
    }

    /// Records that `task` is polled next.
    pub(crate) fn poll(&self, task: u64) {
        // The only thread that writes these.
        self.0.task.store(task, Ordering::Relaxed);
        self.0.polls.store(self.0.polls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// Returns the text about a poll that is overdue.
pub(crate) fn overdue() -> String {
    format!("a poll has not returned for {} s of real time (SOCKLESS_SIM_WATCHDOG)", limit())
}

/// The time that a poll may take after that, if it does not call the simulator.
const GRACE: u64 = 5;

/// Returns after how many seconds a poll is overdue; 0 if polls are not watched.
fn limit() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let set = std::env::var("SOCKLESS_SIM_WATCHDOG").ok();
        set.and_then(|set| set.parse().ok()).unwrap_or(20)
    })
}

type Runs = Mutex<Vec<Weak<Progress>>>;

/// Returns the runs of all threads. The first call starts the thread that watches them.
fn watched() -> &'static Runs {
    static RUNS: OnceLock<Runs> = OnceLock::new();
    let mut is_first = false;
    let runs = RUNS.get_or_init(|| {
        is_first = true;
        Runs::default()
    });
    if is_first {
        // Without the thread, an endless poll is not noticed, which is no reason to fail.
        let _ = std::thread::Builder::new()
            .name("sockless-sim-watchdog".to_owned())
            .spawn(|| watch(runs));
    }
    runs
}

/// Counts seconds rather than reading the clock: a machine that sleeps does not count.
fn watch(runs: &Runs) {
    let mut seen: Vec<(Weak<Progress>, u64, u64)> = Vec::new();
    loop {
        std::thread::sleep(Duration::from_secs(1));
        seen.extend(lock(runs).drain(..).map(|run| (run, 0, 0)));
        seen.retain(|(run, ..)| run.strong_count() > 0);
        for (run, polls, seconds) in &mut seen {
            let Some(run) = run.upgrade() else { continue };
            let now = run.polls.load(Ordering::Relaxed);
            *seconds = if now == *polls { *seconds + 1 } else { 0 };
            *polls = now;
            if *seconds == limit() {
                run.time.set_overdue();
            } else if *seconds >= limit() + GRACE {
                run.abort();
            }
        }
    }
}

impl Progress {
    /// Ends the process: the thread that runs the poll cannot be stopped.
    fn abort(&self) -> ! {
        let (seed, task) = (self.seed, self.task.load(Ordering::Relaxed));
        let (task, overdue) = (self.tasks.name(task), overdue());
        let replay = replay(self.replayed.clone(), &self.thread);
        let message = format!("seed {seed}: {task}: {overdue}{replay}\n");
        // Not by a macro: a test's output is captured, and would be lost.
        let _ = std::io::stderr().write_all(message.as_bytes());
        std::process::exit(101);
    }
}
