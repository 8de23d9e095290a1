//! The state of a simulation and the loop that runs it: [`World`].

use std::any::Any;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::io::SimIo;
use crate::link::Link;
use crate::lock;
use crate::network::Network;
use crate::rng::Chance;
use crate::tasks::{MAIN, TaskWaker, Tasks};
use crate::time::{SimTimer, Time, TraceEvent};

pub(crate) struct World {
    pub(crate) time: Arc<Time>,
    pub(crate) network: Arc<Network>,
    pub(crate) tasks: Tasks,
    pub(crate) seed: u64,
    chance: Mutex<Chance>,
    running: AtomicBool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            time: Arc::new(Time::new()),
            network: Arc::default(),
            tasks: Tasks::default(),
            seed,
            chance: Mutex::new(Chance::new(seed)),
            running: AtomicBool::new(false),
        }
    }

    /// Polls `main` and the spawned tasks until `main` has finished, at most `max_polls` times.
    #[track_caller]
    pub(crate) fn run<F: Future>(&self, max_polls: u64, main: F) -> F::Output {
        assert!(
            !self.running.swap(true, Ordering::Relaxed),
            "this simulation is already running: await the future instead"
        );
        let _stop = StopOnDrop(self);
        let mut main = pin!(main);
        self.tasks.wake_main();
        for polls in 0..max_polls {
            let Some(task) = self.next_ready() else {
                self.fail(polls, "deadlock: no task can run and no timer is set");
            };
            self.time.record(TraceEvent::Polled { task: task.id() });
            if task.id() != MAIN {
                if let Err((name, panic)) = self.tasks.poll(task) {
                    self.fail_with(&name, panic);
                }
            } else if let Poll::Ready(output) = self.poll_main(main.as_mut(), &Waker::from(task)) {
                return output;
            }
        }
        self.fail(max_polls, "too many polls (Sim::max_polls)");
    }

    /// Creates a pipe over `link`.
    pub(crate) fn pipe(&self, link: &Link) -> (SimIo, SimIo) {
        let chances = [self.fork_chance(), self.fork_chance()];
        SimIo::pair(&self.time, link, chances)
    }

    /// Connects to the listener at `name`.
    pub(crate) async fn dial(&self, name: &str) -> io::Result<SimIo> {
        let link = self.network.link(name)?;
        let latency = || SimTimer::new(&self.time, self.time.now() + link.latency);
        latency().await;
        let (client, server) = self.pipe(&link);
        self.network.deliver(name, server)?;
        latency().await;
        Ok(client)
    }

    /// Draws a number from `range`.
    pub(crate) fn draw(&self, range: Range<u64>) -> u64 {
        lock(&self.chance).in_range(range)
    }

    /// Draws bytes for the seed of a connection.
    pub(crate) fn draw_seed(&self) -> [u8; 32] {
        lock(&self.chance).bytes()
    }

    fn fork_chance(&self) -> Chance {
        lock(&self.chance).fork()
    }

    /// Returns the task to poll next, after advancing the clock if necessary; `None` in a deadlock.
    fn next_ready(&self) -> Option<Arc<TaskWaker>> {
        loop {
            if let Some(task) = self.tasks.pop_ready(&mut lock(&self.chance)) {
                return Some(task);
            }
            if !self.time.advance() {
                return None;
            }
        }
    }

    fn poll_main<F: Future>(&self, main: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
        let mut cx = Context::from_waker(waker);
        catch_unwind(AssertUnwindSafe(|| main.poll(&mut cx)))
            .unwrap_or_else(|panic| self.fail_with("main", panic))
    }

    /// Ends the run with a panic whose message has the seed.
    #[track_caller]
    fn fail(&self, polls: u64, reason: &str) -> ! {
        let now = self.time.now();
        let names = std::iter::once("main".to_owned()).chain(self.tasks.names());
        let unfinished = names.collect::<Vec<_>>().join(", ");
        let seed = self.seed;
        panic!("seed {seed}: {reason} at {now:?} after {polls} polls; unfinished: {unfinished}");
    }

    /// Ends the run with the panic of a task, and adds the seed to its message.
    #[track_caller]
    fn fail_with(&self, task: &str, panic: Box<dyn Any + Send>) -> ! {
        let seed = self.seed;
        let text = match panic.downcast::<&str>() {
            Ok(text) => (*text).to_owned(),
            Err(panic) => match panic.downcast::<String>() {
                Ok(text) => *text,
                Err(panic) => {
                    eprintln!("seed {seed}: {task} panicked");
                    resume_unwind(panic);
                }
            },
        };
        let now = self.time.now();
        panic!("seed {seed}: {task} panicked at {now:?}: {text}");
    }
}

/// Ends a run: drops the remaining tasks, which hold the world that holds them.
struct StopOnDrop<'a>(&'a World);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.tasks.clear();
        self.0.running.store(false, Ordering::Relaxed);
    }
}
