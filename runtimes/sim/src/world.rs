//! The state of a simulation and the loop that runs it: [`World`].

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::failure::{Failure, Replayed, Why, replay};
use crate::handlers::{Handlers, text_of};
use crate::host::{Host, Idle};
use crate::hosts::{Hosts, MachineId, OUTSIDE};
use crate::io::SimIo;
use crate::link::Link;
use crate::network::Network;
use crate::oracles::{Observers, Visits};
use crate::panics::{Panicked, Watch};
use crate::plan::Plan;
use crate::rng::Chances;
use crate::schedule::Schedule;
use crate::tap::Taps;
use crate::tasks::{MAIN, Payload, TaskWaker, Tasks};
use crate::time::{SimTimer, Time};
use crate::trace::{Log, Named, What};
use crate::watchdog::Watched;
use crate::{lock, report};

pub(crate) struct World {
    pub(crate) time: Arc<Time>,
    pub(crate) network: Arc<Network>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) taps: Taps,
    pub(crate) hosts: Hosts,
    pub(crate) handlers: Mutex<Handlers>,
    pub(crate) seed: u64,
    /// The events so far, for a trace.
    pub(crate) log: Arc<Log>,
    /// Which task runs next.
    pub(crate) schedule: Schedule,
    /// The marks in the program, by name.
    pub(crate) visits: Arc<Visits>,
    /// The checks that run after each poll.
    pub(crate) observers: Observers,
    /// Panics that were caught do not fail the run.
    pub(crate) tolerates_panics: AtomicBool,
    /// The runs of a seed may differ.
    pub(crate) is_random: AtomicBool,
    /// The seed was chosen by a check, so that the environment can choose another one.
    pub(crate) is_checked: AtomicBool,
    /// The panics that were tolerated.
    pub(crate) tolerated: Mutex<Vec<String>>,
    /// The events that a campaign causes in this run.
    pub(crate) plan: Mutex<Option<Plan>>,
    /// The number of polls of the tasks of ended runs.
    pub(crate) polls: AtomicU64,
    chances: Mutex<Chances>,
    running: AtomicBool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_chances(seed, Chances::one(seed))
    }

    /// Creates a world in which `plan` happens, with a stream of chance for each purpose.
    pub(crate) fn planned(plan: &Plan) -> Self {
        let world = Self::with_chances(plan.seed, Chances::apart(plan.seed));
        *lock(&world.plan) = Some(plan.clone());
        world
    }

    fn with_chances(seed: u64, chances: Chances) -> Self {
        let log = Arc::new(Log::new());
        Self {
            time: Arc::new(Time::new(&log)),
            log,
            network: Arc::default(),
            tasks: Arc::default(),
            taps: Taps::default(),
            hosts: Hosts::default(),
            handlers: Mutex::default(),
            seed,
            schedule: Schedule::default(),
            visits: Arc::default(),
            observers: Observers::default(),
            tolerates_panics: AtomicBool::new(false),
            is_random: AtomicBool::new(false),
            is_checked: AtomicBool::new(false),
            tolerated: Mutex::default(),
            plan: Mutex::default(),
            polls: AtomicU64::new(0),
            chances: Mutex::new(chances),
            running: AtomicBool::new(false),
        }
    }

    /// Polls `main` and the spawned tasks until `main` has finished, at most `max_polls` times.
    #[track_caller]
    pub(crate) fn run<F: Future>(&self, max_polls: u64, main: F) -> Result<F::Output, Failure> {
        assert!(
            !self.running.swap(true, Ordering::Relaxed),
            "this simulation is already running: await the future instead"
        );
        let stop = StopOnDrop(self);
        // What a session reads at once must not depend on earlier runs.
        sockless_driver::reset_buffers();
        let _visits = self.visits.enter();
        self.tasks.set_running(true);
        let watch = Watch::begin();
        let watched = Watched::begin(self.seed, self.replayed(), &self.time, &self.tasks);
        let host = Host::new(self.time.now());
        let mut run = Run { world: self, watch, watched, host: &host, polls: 0, is_over: false };
        let (result, dropped) = host.within(|| {
            let mut main = Box::pin(main);
            let result = run.until_done(max_polls, main.as_mut());
            let result = result.map_err(|why| run.describe(why, main.as_mut()));
            // A value that is dropped may panic too.
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(main)));
            drop(stop);
            (result, dropped)
        });
        let Run { watch, polls, .. } = run;
        self.polls.fetch_add(polls, Ordering::Relaxed);
        host.shut_down();
        match result {
            Ok(output) => self.end(&watch, dropped.err()).map(|()| output),
            Err(failure) => Err(failure),
        }
    }

    /// Creates a pipe over `link`, between `machines`.
    pub(crate) fn pipe(
        &self,
        link: &Link,
        machines: [MachineId; 2],
        listener: Option<&str>,
    ) -> (SimIo, SimIo) {
        self.time.live();
        let now = self.time.now();
        let tap = self.taps.open(now, &self.log);
        let connection = lock(&tap).id;
        let chances = lock(&self.chances).wire(connection);
        self.log.push(now, || {
            let [client, server] = machines.map(|machine| self.tasks.machine_name(machine));
            What::Opened { connection, client, server }
        });
        let (one, other) = SimIo::pair(&self.time, link, chances, tap);
        self.hosts.connect(one.pipe(), machines, listener);
        (one, other)
    }

    /// Connects to the listener at `name`.
    pub(crate) async fn dial(&self, name: &str) -> io::Result<SimIo> {
        let pair = [self.time.machine(), self.hosts.listener(name)];
        poll_fn(|cx| self.hosts.poll_reachable(pair, cx)).await;
        let link = self.network.link(name)?;
        let latency = || SimTimer::new(&self.time, self.time.local_now() + link.latency);
        latency().await;
        poll_fn(|cx| self.hosts.poll_reachable(pair, cx)).await;
        let (client, server) = self.pipe(&link, pair, Some(name));
        self.network.deliver(name, server)?;
        latency().await;
        Ok(client)
    }

    /// Draws a number from `range`.
    pub(crate) fn draw(&self, range: Range<u64>) -> u64 {
        lock(&self.chances).scenario().in_range(range)
    }

    /// Draws a number below `bound`, for what a disk loses.
    pub(crate) fn draw_for_disk(&self, bound: u64) -> u64 {
        lock(&self.chances).disks().in_range(0..bound)
    }

    /// Draws bytes for the seed of a connection.
    pub(crate) fn draw_seed(&self) -> [u8; 32] {
        lock(&self.chances).keys().bytes()
    }

    pub(crate) fn replay(&self) -> String {
        replay(self.replayed(), &thread::current())
    }

    /// Returns what the environment chooses, to repeat this run.
    fn replayed(&self) -> Option<Replayed> {
        if !self.is_checked.load(Ordering::Relaxed) {
            return None;
        }
        let plan = lock(&self.plan).clone();
        Some(plan.map_or(Replayed::Seed(self.seed), Replayed::Plan))
    }

    /// Adds the trace of the run, if one is kept.
    fn with_trace(&self, failure: Failure) -> Failure {
        if !self.log.is_enabled() {
            return failure;
        }
        self.log.push(self.time.now(), || What::Failure { text: failure.message().to_owned() });
        failure.with_trace(self.log.trace(self.seed))
    }

    /// Ends a run that succeeded, but for what its tasks did when they were dropped.
    fn end(&self, watch: &Watch, payload: Option<Payload>) -> Result<(), Failure> {
        let text = payload.as_deref().and_then(text_of).unwrap_or_default();
        let seen = watch.take().into_iter().next();
        let panicked = seen.or_else(|| payload.as_ref().map(|_| Panicked::from_text(text)));
        let Some(panicked) = panicked else { return Ok(()) };
        let name = "what was dropped at the end".to_owned();
        let why = Why::Panicked { name, panicked, payload: None };
        let when = format!("{:?}", self.time.now());
        Err(self.with_trace(Failure::new(self.seed, why, &when, "", &self.replay())))
    }
}

/// One run of a world.
pub(crate) struct Run<'a> {
    pub(crate) world: &'a World,
    pub(crate) watched: Watched,
    pub(crate) polls: u64,
    /// The main task has finished.
    pub(crate) is_over: bool,
    host: &'a Host,
    watch: Watch,
}

impl Run<'_> {
    fn until_done<F: Future>(
        &mut self,
        max_polls: u64,
        mut main: Pin<&mut F>,
    ) -> Result<F::Output, Why> {
        let World { time, tasks, .. } = self.world;
        tasks.wake_main();
        while self.polls < max_polls {
            let task = self.next_ready()?;
            let id = task.id();
            time.record_poll(id);
            time.enter(task.machine());
            self.world.log.poll(
                || time.now(),
                id,
                || Named { name: tasks.name(id), machine: tasks.machine_name(task.machine()) },
            );
            self.watched.poll(id);
            let polled = if id == MAIN {
                poll_main(main.as_mut(), &Waker::from(task))
            } else {
                tasks.poll(task).map(|()| Poll::Pending)
            };
            self.polls += 1;
            let polled = match polled {
                Ok(polled) => polled,
                Err(payload) => {
                    self.is_over = id == MAIN;
                    return Err(self.panicked(id, payload));
                }
            };
            if let Err(payload) = self.world.observers.check() {
                self.is_over = id == MAIN && polled.is_ready();
                let (panicked, _) = self.seen(payload);
                return Err(Why::Unmet { task: tasks.name(id), panicked });
            }
            self.is_over = polled.is_ready();
            self.check(id)?;
            if let Poll::Ready(output) = polled {
                let is_parted = time.with_fingerprint(|fingerprint| fingerprint.end());
                if is_parted {
                    time.fail();
                }
                self.check(id)?;
                return Ok(output);
            }
        }
        Err(Why::TooManyPolls)
    }

    /// Returns the task to poll next, after advancing the clock if necessary.
    fn next_ready(&self) -> Result<Arc<TaskWaker>, Why> {
        let World { time, tasks, chances, .. } = self.world;
        if self.polls % TURN == TURN - 1 {
            self.host.turn();
        }
        loop {
            if let Some(task) = tasks.pop_ready(&self.world.schedule, lock(chances).schedule()) {
                return Ok(task);
            }
            if let Some(time) = time.lifeless() {
                return Err(Why::Lifeless(time));
            }
            time.enter(OUTSIDE);
            let idle = self.host.idle(tasks, time.next_alarm());
            self.check(TOKIO)?;
            match idle {
                Idle::Alarm => drop(time.advance()),
                Idle::Never { has_tasks: false } => return Err(Why::Deadlock),
                Idle::Never { has_tasks: true } => return Err(Why::OnlyTokio),
                Idle::Woken(now) => {
                    time.catch_up(now);
                    time.live();
                }
            }
        }
    }

    /// Returns why the run fails after a poll of `task` that returned.
    fn check(&self, task: u64) -> Result<(), Why> {
        if let Some((task, thread)) = self.world.tasks.foreign_wake() {
            let task = self.world.tasks.name(task);
            return Err(Why::WokenByThread { task, thread });
        }
        if let Some(event) = self.world.log.stopped() {
            return Err(Why::Stopped(event));
        }
        if self.watch.has_seen_any() || self.world.time.has_failed() {
            return self.find_failure(task);
        }
        Ok(())
    }

    #[cold]
    fn find_failure(&self, task: u64) -> Result<(), Why> {
        if let Some(parted) = self.world.time.with_fingerprint(|fingerprint| fingerprint.parted()) {
            let task = self.world.tasks.name(parted.task);
            let cause = self.world.tasks.wakes_parted();
            return Err(Why::Parted { task, parted, cause });
        }
        if let Some(violation) = self.world.taps.take_violation() {
            return Err(Why::Violated(violation));
        }
        let handler = lock(&self.world.handlers).panicked.take();
        let panicked = self.watch.take().into_iter().next();
        if self.world.tolerates_panics.load(Ordering::Relaxed) {
            let text = panicked.map(|panicked| panicked.text);
            let text = text.or_else(|| handler.map(|(_, text)| text));
            lock(&self.world.tolerated).extend(text);
            self.world.time.tolerate();
            return Ok(());
        }
        let (name, text) = match handler {
            Some((path, text)) => (format!("the handler of {path}"), text),
            None if task == TOKIO => ("a task of tokio::spawn".to_owned(), String::new()),
            None => (self.world.tasks.name(task), String::new()),
        };
        let panicked = panicked.unwrap_or_else(|| Panicked::from_text(&text));
        Err(Why::Panicked { name, panicked, payload: None })
    }

    /// A task has panicked.
    fn panicked(&self, task: u64, payload: Payload) -> Why {
        let (panicked, payload) = self.seen(payload);
        Why::Panicked { name: self.world.tasks.name(task), panicked, payload }
    }

    /// Returns the panic with this payload, and the payload if it has no text.
    fn seen(&self, payload: Payload) -> (Panicked, Option<Payload>) {
        let text = text_of(&*payload).map(str::to_owned);
        let seen = self.watch.take().pop();
        let panicked =
            seen.unwrap_or_else(|| Panicked::from_text(text.as_deref().unwrap_or_default()));
        (panicked, text.is_none().then_some(payload))
    }

    /// Formats the failure, after which the tasks do not run on.
    fn describe<F: Future>(&self, why: Why, main: Pin<&mut F>) -> Failure {
        let World { time, seed, schedule, .. } = self.world;
        let when = format!("{:?} after {} polls", time.now(), self.polls);
        let has_place = matches!(why, Why::Panicked { .. } | Why::Unmet { .. } | Why::Violated(_));
        let when = if has_place { format!("{:?}", time.now()) } else { when };
        let when = match schedule.path() {
            Some(path) => format!("{when}, schedule {path}"),
            None => when,
        };
        let details = report::details(self, main);
        self.watch.take();
        let failure = Failure::new(*seed, why, &when, &details, &self.world.replay());
        self.world.with_trace(failure)
    }
}

/// The number of polls after which the tasks of tokio get a turn.
const TURN: u64 = 64;

/// Represents all tasks of tokio.
const TOKIO: u64 = u64::MAX;

#[inline(never)]
fn poll_main<F: Future>(main: Pin<&mut F>, waker: &Waker) -> Result<Poll<F::Output>, Payload> {
    catch_unwind(AssertUnwindSafe(|| main.poll(&mut Context::from_waker(waker))))
}

/// Ends a run: drops the remaining tasks, which hold the world that holds them.
struct StopOnDrop<'a>(&'a World);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.time.enter(OUTSIDE);
        self.0.tasks.set_running(false);
        self.0.hosts.clear();
        self.0.tasks.clear();
        self.0.observers.clear();
        self.0.running.store(false, Ordering::Relaxed);
    }
}
