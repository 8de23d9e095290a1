//! The executor: [`Sim`] runs its tasks one at a time, in an order drawn from its seed.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use sockless_core::{Instant, Seed};
use sockless_driver::{BoxFuture, Clock, Runtime, Spawn, Timer};

use crate::lock;
use crate::network::Network;
use crate::rng::Chance;
use crate::time::Time;

/// A world of its own: tasks, a clock that starts at [`Instant::EPOCH`], pipes and a network, in
/// which all that is left to chance is drawn from one seed.
///
/// Clones are handles to the same world. It is a [`Runtime`] for the driver.
///
/// - To run it: [`run`](Self::run), [`check`](Self::check), [`max_polls`](Self::max_polls).
/// - Tasks and time: [`spawn`](Self::spawn), [`now`](Self::now), [`sleep`](Self::sleep),
///   [`sleep_until`](Self::sleep_until), [`timeout`](Self::timeout), [`settle`](Self::settle),
///   [`unfinished`](Self::unfinished).
/// - Transports: [`pipe`](Self::pipe), [`pipe_over`](Self::pipe_over), [`listen`](Self::listen),
///   [`listen_over`](Self::listen_over), [`dial`](Self::dial).
/// - WebSockets: [`serve`](Self::serve), [`bind`](Self::bind), [`bind_over`](Self::bind_over),
///   [`serve_connection`](Self::serve_connection), [`connect`](Self::connect),
///   [`connect_over`](Self::connect_over).
/// - Names and addresses: [`set_lookup`](Self::set_lookup), [`set_reachability`](Self::set_reachability).
/// - The test kit: [`host`](Self::host), [`host_over`](Self::host_over).
/// - Chance: [`draw`](Self::draw), [`fingerprint`](Self::fingerprint).
#[derive(Clone)]
pub struct Sim {
    max_polls: u64,
    world: Arc<World>,
}

struct World {
    seed: u64,
    chance: Mutex<Chance>,
    time: Arc<Time>,
    network: Arc<Network>,
    ready: Arc<Ready>,
    tasks: Mutex<Tasks>,
    running: AtomicBool,
}

impl Sim {
    /// A world in which `seed` decides what is left to chance: the order of the tasks, the cuts that
    /// a link makes, the connections' masking keys. The same seed and the same code give the same run.
    pub fn new(seed: u64) -> Self {
        Self {
            max_polls: 10_000_000,
            world: Arc::new(World {
                seed,
                chance: Mutex::new(Chance::new(seed)),
                time: Arc::new(Time::new()),
                network: Arc::default(),
                ready: Arc::default(),
                tasks: Mutex::default(),
                running: AtomicBool::new(false),
            }),
        }
    }

    /// Lets one [`run`](Self::run) poll its tasks `polls` times altogether. Default: 10 million,
    /// which is seconds of work and some 25 times what echoing 100,000 messages takes.
    ///
    /// It is what ends a task that wakes itself for ever, and timers that follow each other for ever
    /// while the main task waits for something else.
    #[must_use]
    pub fn max_polls(mut self, polls: u64) -> Self {
        self.max_polls = polls;
        self
    }

    /// Runs `scenario` in a fresh world for each seed. A failure names its seed; to look into it, run
    /// that one alone, as `Sim::check(7..8, …)`.
    #[track_caller]
    pub fn check<F, Fut>(seeds: Range<u64>, scenario: F)
    where
        F: Fn(Self) -> Fut,
        Fut: Future<Output = ()>,
    {
        for seed in seeds {
            let sim = Self::new(seed);
            sim.run(async { scenario(sim.clone()).await });
        }
    }

    /// Runs `main` to its end, and the spawned tasks beside it; those that have not ended by then are
    /// dropped.
    ///
    /// A task that can run is polled before time passes. When none can, the clock moves to the next
    /// timer.
    ///
    /// # Panics
    ///
    /// Always naming the seed: when any task panics; when no task can run and no timer is set, with
    /// the tasks that wait; when [`max_polls`](Self::max_polls) are used up. Without it, when the
    /// world already runs.
    #[track_caller]
    pub fn run<F: Future>(&self, main: F) -> F::Output {
        assert!(
            !self.world.running.swap(true, Ordering::Relaxed),
            "this simulation already runs: await the future instead"
        );
        let _stop = StopOnDrop(&self.world);
        let mut main = pin!(main);
        Ready::push(&TaskWaker::new(MAIN, &self.world.ready));
        for polls in 0..self.max_polls {
            let Some(task) = self.world.next_ready() else {
                self.world.fail(polls, "deadlock: no task can run and no timer is set");
            };
            self.world.time.record([Self::POLLED, task.id, 0]);
            if task.id != MAIN {
                self.world.poll_task(task);
            } else if let Poll::Ready(output) =
                self.world.poll_main(main.as_mut(), &Waker::from(task))
            {
                return output;
            }
        }
        self.world.fail(self.max_polls, "no end in sight");
    }

    /// Runs `future` beside the other tasks, from the next time it is its turn. What it returns can
    /// be awaited; dropping that handle lets the task run on.
    ///
    /// A panic in it fails the whole simulation.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let slot = Arc::new(Mutex::new(Slot::Running(None)));
        let handle = JoinHandle(Arc::clone(&slot));
        let task = async move {
            let output = future.await;
            let before = std::mem::replace(&mut *lock(&slot), Slot::Done(Some(output)));
            if let Slot::Running(Some(waiting)) = before {
                waiting.wake();
            }
        };
        self.world.add_task(Box::pin(task), Some(Location::caller()));
        handle
    }

    /// A number from `range`, for what a scenario itself leaves to chance.
    ///
    /// # Panics
    ///
    /// When the range is empty.
    pub fn draw(&self, range: Range<u64>) -> u64 {
        assert!(!range.is_empty(), "nothing to draw from {range:?}");
        range.start + lock(&self.world.chance).below(range.end - range.start)
    }

    /// How many spawned tasks have not ended, the one that asks included unless it is the main one: those
    /// of the driver's own too, so that a test can say that nothing is left.
    pub fn unfinished(&self) -> usize {
        lock(&self.world.tasks).alive.len()
    }

    /// A digest of all that happened so far: which task was polled when, and how many bytes each read
    /// and write moved. Two runs that differ in it went different ways.
    pub fn fingerprint(&self) -> u64 {
        self.world.time.digest()
    }

    pub(crate) const POLLED: u64 = 1;
    pub(crate) const READ: u64 = 2;
    pub(crate) const WROTE: u64 = 3;

    pub(crate) fn time(&self) -> &Arc<Time> {
        &self.world.time
    }

    pub(crate) fn network(&self) -> &Arc<Network> {
        &self.world.network
    }

    pub(crate) fn fork_chance(&self) -> Chance {
        lock(&self.world.chance).fork()
    }
}

impl Clock for Sim {
    fn now(&self) -> Instant {
        Self::now(self)
    }

    fn timer(&self, deadline: Instant) -> Box<dyn Timer> {
        Box::new(self.sleep_until(deadline))
    }
}

impl Spawn for Sim {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.world.add_task(task, None);
    }
}

impl Runtime for Sim {
    fn seed(&self) -> Seed {
        Seed::new(lock(&self.world.chance).bytes())
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sim(seed {}, at {:?})", self.world.seed, self.now())
    }
}

/// The end of a spawned task: a future of what it returned.
///
/// Dropping it does not stop the task. Cancel-safe: a task that ended meanwhile keeps its output
/// until it is taken.
pub struct JoinHandle<T>(Arc<Mutex<Slot<T>>>);

enum Slot<T> {
    Running(Option<Waker>),
    Done(Option<T>),
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    /// # Panics
    ///
    /// When it is polled again after it gave the output.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let replaced = match &mut *lock(&self.0) {
            Slot::Done(output) => {
                return Poll::Ready(output.take().expect("the output was already taken"));
            }
            Slot::Running(waiting) => waiting.replace(cx.waker().clone()),
        };
        drop(replaced);
        Poll::Pending
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*lock(&self.0) {
            Slot::Running(_) => "JoinHandle(running)",
            Slot::Done(_) => "JoinHandle(done)",
        })
    }
}

/// The main task, which is not among the others because it need not be `Send` nor `'static`.
const MAIN: u64 = 0;

#[derive(Default)]
struct Tasks {
    spawned: u64,
    alive: BTreeMap<u64, Task>,
}

struct Task {
    /// Taken out while it is polled.
    future: Option<BoxFuture<'static, ()>>,
    /// Unknown for a task that came through [`Spawn`].
    spawned_at: Option<&'static Location<'static>>,
}

impl World {
    fn add_task(
        &self,
        future: BoxFuture<'static, ()>,
        spawned_at: Option<&'static Location<'static>>,
    ) {
        let mut tasks = lock(&self.tasks);
        tasks.spawned += 1;
        let id = tasks.spawned;
        let future = Some(future);
        tasks.alive.insert(id, Task { future, spawned_at });
        Ready::push(&TaskWaker::new(id, &self.ready));
    }

    /// The task to poll next, after moving the clock if need be; `None` in a deadlock.
    fn next_ready(&self) -> Option<Arc<TaskWaker>> {
        loop {
            if let Some(task) = self.ready.pop(&mut lock(&self.chance)) {
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

    fn poll_task(&self, task: Arc<TaskWaker>) {
        let id = task.id;
        let future = lock(&self.tasks).alive.get_mut(&id).and_then(|task| task.future.take());
        // A task that has ended may still be woken.
        let Some(mut future) = future else { return };
        let waker = Waker::from(task);
        let mut cx = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        let mut tasks = lock(&self.tasks);
        match polled {
            Ok(Poll::Pending) => {
                if let Some(task) = tasks.alive.get_mut(&id) {
                    task.future = Some(future);
                }
            }
            Ok(Poll::Ready(())) => drop(tasks.alive.remove(&id)),
            Err(panic) => {
                let name = name(id, tasks.alive.get(&id).and_then(|task| task.spawned_at));
                drop(tasks);
                self.fail_with(&name, panic);
            }
        }
    }

    /// Ends the run with a panic that says where the seed led.
    #[track_caller]
    fn fail(&self, polls: u64, what: &str) -> ! {
        let now = self.time.now();
        let waiting: Vec<_> = {
            let tasks = lock(&self.tasks);
            let names = tasks.alive.iter().map(|(id, task)| name(*id, task.spawned_at));
            std::iter::once("main".to_owned()).chain(names).collect()
        };
        panic!(
            "seed {}: {what} at {now:?} after {polls} polls; unfinished: {}",
            self.seed,
            waiting.join(", ")
        );
    }

    /// Passes a task's panic on, with the seed in its message.
    #[track_caller]
    fn fail_with(&self, task: &str, panic: Box<dyn Any + Send>) -> ! {
        let text = match panic.downcast::<&str>() {
            Ok(text) => (*text).to_owned(),
            Err(panic) => match panic.downcast::<String>() {
                Ok(text) => *text,
                Err(panic) => {
                    eprintln!("seed {}: {task} panicked", self.seed);
                    resume_unwind(panic);
                }
            },
        };
        let now = self.time.now();
        panic!("seed {}: {task} panicked at {now:?}: {text}", self.seed);
    }
}

fn name(id: u64, spawned_at: Option<&Location<'_>>) -> String {
    match spawned_at {
        Some(place) => format!("task {id} (spawned at {place})"),
        None => format!("task {id} (spawned by the driver)"),
    }
}

/// Ends a run: drops the tasks that are left, which hold the world that holds them.
struct StopOnDrop<'a>(&'a World);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        // Dropping a task may spawn another, say to clean up.
        loop {
            let left = std::mem::take(&mut lock(&self.0.tasks).alive);
            if left.is_empty() {
                break;
            }
        }
        lock(&self.0.ready.0).clear();
        self.0.running.store(false, Ordering::Relaxed);
    }
}

/// The tasks that were woken, in no order: the seed picks.
#[derive(Default)]
struct Ready(Mutex<Vec<Arc<TaskWaker>>>);

impl Ready {
    fn push(task: &Arc<TaskWaker>) {
        if !task.queued.swap(true, Ordering::Relaxed) {
            lock(&task.ready.0).push(Arc::clone(task));
        }
    }

    fn pop(&self, chance: &mut Chance) -> Option<Arc<TaskWaker>> {
        let mut tasks = lock(&self.0);
        if tasks.is_empty() {
            return None;
        }
        let picked = chance.below(tasks.len() as u64) as usize;
        let task = tasks.swap_remove(picked);
        task.queued.store(false, Ordering::Relaxed);
        Some(task)
    }
}

struct TaskWaker {
    id: u64,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl TaskWaker {
    fn new(id: u64, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { id, queued: AtomicBool::new(false), ready: Arc::clone(ready) })
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        Ready::push(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Ready::push(self);
    }
}
