//! The tasks of a world: [`Tasks`], and [`JoinHandle`], which waits for one of them.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use sockless_driver::BoxFuture;

use crate::hosts::{MachineId, OUTSIDE};
use crate::lock;
use crate::rng::Chance;
use crate::schedule::Schedule;
use crate::wakes::{WakeOrder, WakesParted};

/// The id of the main task. It is not stored here, since it does not have to be `Send` or
/// `'static`.
pub(crate) const MAIN: u64 = 0;

/// The spawned tasks that have not finished, and the tasks that were woken.
#[derive(Default)]
pub(crate) struct Tasks {
    alive: Mutex<Alive>,
    ready: Arc<Ready>,
    machines: Mutex<Machines>,
}

#[derive(Default)]
struct Machines {
    names: BTreeMap<MachineId, String>,
    paused: BTreeSet<MachineId>,
    /// The tasks of paused machines that were woken.
    held: Vec<Arc<TaskWaker>>,
}

#[derive(Default)]
struct Alive {
    spawned: u64,
    tasks: BTreeMap<u64, Task>,
}

struct Task {
    /// `None` while it is polled.
    future: Option<BoxFuture<'static, ()>>,
    origin: Origin,
    machine: MachineId,
}

/// The code that spawned a task.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// A line of the test.
    Test(&'static Location<'static>),
    Driver,
    /// The client of a conversation.
    Kit,
    /// The task that performs the acts of a plan.
    Plan,
}

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

impl Tasks {
    pub(crate) fn spawn(&self, future: BoxFuture<'static, ()>, origin: Origin, machine: MachineId) {
        let mut alive = lock(&self.alive);
        alive.spawned += 1;
        let id = alive.spawned;
        alive.tasks.insert(id, Task { future: Some(future), origin, machine });
        Ready::push(&TaskWaker::new(id, machine, &self.ready));
    }

    pub(crate) fn wake_main(&self) {
        Ready::push(&TaskWaker::new(MAIN, OUTSIDE, &self.ready));
    }

    /// Sets whether this thread runs the tasks, which no other thread may wake then.
    pub(crate) fn set_running(&self, is_running: bool) {
        let owner = if is_running { this_thread() } else { 0 };
        self.ready.owner.store(owner, Ordering::Relaxed);
    }

    /// Removes one of the woken tasks, selected by `schedule`.
    pub(crate) fn pop_ready(
        &self,
        schedule: &Schedule,
        chance: &mut Chance,
    ) -> Option<Arc<TaskWaker>> {
        loop {
            let task = self.ready.pop(schedule, chance)?;
            if task.machine == OUTSIDE || !self.hold_if_paused(&task) {
                return Some(task);
            }
        }
    }

    /// Returns true if a task was woken.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_ready(&self) -> bool {
        !lock(&self.ready.tasks).is_empty()
    }

    /// Sets what is woken with the next task.
    #[cfg(feature = "tokio")]
    pub(crate) fn set_host(&self, host: Option<&Waker>) {
        self.ready.has_host.store(host.is_some(), Ordering::Relaxed);
        let replaced = std::mem::replace(&mut *lock(&self.ready.host), host.cloned());
        drop(replaced);
    }

    /// Returns which task another thread woke, and the name of that thread.
    pub(crate) fn foreign_wake(&self) -> Option<(u64, String)> {
        if !self.ready.has_foreign_wake.load(Ordering::Relaxed) {
            return None;
        }
        lock(&self.ready.foreign_wake).take()
    }

    /// Keeps the order of the wake-ups from now on.
    pub(crate) fn keep_wakes(&self) {
        self.ready.set_order(WakeOrder::Keep(Vec::new()));
    }

    /// Compares the order of the wake-ups from now on with that of another run.
    pub(crate) fn compare_wakes(&self, first: Vec<u64>) {
        self.ready.set_order(WakeOrder::Compare { first: Arc::new(first), count: 0 });
    }

    /// Returns the order of the wake-ups that was kept.
    pub(crate) fn take_wakes(&self) -> Vec<u64> {
        match std::mem::take(&mut *lock(&self.ready.order)) {
            WakeOrder::Keep(woken) => woken,
            _ => Vec::new(),
        }
    }

    /// Returns which task woke another one than in the first run, and where.
    pub(crate) fn wakes_parted(&self) -> Option<String> {
        let WakeOrder::Parted(parted) = &*lock(&self.ready.order) else { return None };
        let WakesParted { by, first, second, place } = &**parted;
        let by = by.map_or_else(|| "a timer".to_owned(), |by| self.name(by));
        let first = first.map_or_else(|| "no further task".to_owned(), |first| self.name(first));
        let second = self.name(*second);
        let place = place.as_ref().map(|place| format!("\n  in {place}")).unwrap_or_default();
        Some(format!("{by} woke {first} in the first run, and {second} in the second{place}"))
    }

    /// Polls a spawned task once and drops it if it has finished. Returns the payload of its panic.
    #[inline(never)]
    pub(crate) fn poll(&self, task: Arc<TaskWaker>) -> Result<(), Payload> {
        let id = task.id;
        // A task that has finished may still be woken.
        let Some(mut future) = self.take(id) else { return Ok(()) };
        let waker = Waker::from(task);
        let mut cx = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        if matches!(polled, Ok(Poll::Pending)) {
            self.put_back(id, future);
            return Ok(());
        }
        // Dropping a task may panic too.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(future)));
        polled.map(|_| ()).and(dropped)?;
        lock(&self.alive).tasks.remove(&id);
        Ok(())
    }

    /// Returns how many spawned tasks have not finished.
    pub(crate) fn unfinished(&self) -> usize {
        lock(&self.alive).tasks.len()
    }

    /// Returns the ids of the spawned tasks that have not finished.
    pub(crate) fn ids(&self) -> Vec<u64> {
        lock(&self.alive).tasks.keys().copied().collect()
    }

    /// Returns true if a task was woken and has not been polled since.
    pub(crate) fn is_ready(&self, id: u64) -> bool {
        lock(&self.ready.tasks).iter().any(|task| task.id == id)
    }

    pub(crate) fn name(&self, id: u64) -> String {
        let alive = lock(&self.alive);
        let Some(task) = alive.tasks.get(&id) else {
            return if id == MAIN { "main".to_owned() } else { format!("task {id}") };
        };
        let machines = lock(&self.machines);
        let machine = machines.names.get(&task.machine);
        let machine = machine.map(|name| format!(" of {name}")).unwrap_or_default();
        match task.origin {
            Origin::Test(place) => format!("task {id}{machine} (spawned at {place})"),
            Origin::Driver => format!("task {id}{machine} (spawned by the driver)"),
            Origin::Kit => format!("task {id}{machine} (the client of a conversation)"),
            Origin::Plan => format!("task {id}{machine} (the acts of the plan)"),
        }
    }

    /// Returns the name of a machine; `None` outside of all.
    pub(crate) fn machine_name(&self, machine: MachineId) -> Option<String> {
        lock(&self.machines).names.get(&machine).cloned()
    }

    /// Takes the future of a task, unless it is being polled.
    pub(crate) fn take(&self, id: u64) -> Option<BoxFuture<'static, ()>> {
        lock(&self.alive).tasks.get_mut(&id).and_then(|task| task.future.take())
    }

    pub(crate) fn put_back(&self, id: u64, future: BoxFuture<'static, ()>) {
        if let Some(task) = lock(&self.alive).tasks.get_mut(&id) {
            task.future = Some(future);
        }
    }

    /// Drops all tasks.
    pub(crate) fn clear(&self) {
        // Dropping a task may spawn another one, or panic.
        loop {
            let left = std::mem::take(&mut lock(&self.alive).tasks);
            if left.is_empty() {
                break;
            }
            for task in left.into_values() {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
            }
        }
        lock(&self.ready.tasks).clear();
    }
}

/// Machines.
impl Tasks {
    pub(crate) fn name_machine(&self, machine: MachineId, name: &str) {
        lock(&self.machines).names.insert(machine, name.to_owned());
    }

    pub(crate) fn pause(&self, machine: MachineId) {
        lock(&self.machines).paused.insert(machine);
    }

    pub(crate) fn resume(&self, machine: MachineId) {
        let woken: Vec<_> = {
            let mut machines = lock(&self.machines);
            machines.paused.remove(&machine);
            machines.held.extract_if(.., |task| task.machine == machine).collect()
        };
        for task in woken {
            task.queued.store(false, Ordering::Relaxed);
            Ready::push(&task);
        }
    }

    /// Wakes all tasks of a machine.
    pub(crate) fn wake_machine(&self, machine: MachineId) {
        for id in self.of_machine(machine) {
            Ready::push(&TaskWaker::new(id, machine, &self.ready));
        }
    }

    /// Drops all tasks of a machine, but for the calling one, which is dropped when it waits next.
    pub(crate) fn kill(&self, machine: MachineId) {
        for id in self.of_machine(machine) {
            let killed = lock(&self.alive).tasks.remove(&id);
            // Dropping it may use the simulator, or panic, which fails the run.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(killed)));
        }
        lock(&self.machines).held.retain(|task| task.machine != machine);
    }

    fn of_machine(&self, machine: MachineId) -> Vec<u64> {
        let alive = lock(&self.alive);
        let tasks = alive.tasks.iter().filter(|(_, task)| task.machine == machine);
        tasks.map(|(id, _)| *id).collect()
    }

    fn hold_if_paused(&self, task: &Arc<TaskWaker>) -> bool {
        let mut machines = lock(&self.machines);
        let is_paused = machines.paused.contains(&task.machine);
        if is_paused {
            // Further wake-ups change nothing.
            task.queued.store(true, Ordering::Relaxed);
            machines.held.push(Arc::clone(task));
        }
        is_paused
    }
}

/// The woken tasks, in no order: the seed selects.
#[derive(Default)]
struct Ready {
    tasks: Mutex<Vec<Arc<TaskWaker>>>,
    /// The thread that runs the tasks; 0 while they are not run.
    owner: AtomicUsize,
    has_foreign_wake: AtomicBool,
    /// The waker of a task that waits for another to be woken.
    host: Mutex<Option<Waker>>,
    has_host: AtomicBool,
    /// The task that was woken first by another thread, and the name of that thread.
    foreign_wake: Mutex<Option<(u64, String)>>,
    /// The order of the wake-ups, while runs are compared.
    order: Mutex<WakeOrder>,
    has_order: AtomicBool,
    /// The task that runs; [`NO_TASK`] while timers fire.
    running: AtomicU64,
}

/// The id of no task.
const NO_TASK: u64 = u64::MAX;

impl Ready {
    fn push(task: &Arc<TaskWaker>) {
        let owner = task.ready.owner.load(Ordering::Relaxed);
        if owner != 0 && owner != this_thread() {
            task.ready.note_foreign_wake(task.id);
        }
        if !task.queued.swap(true, Ordering::Relaxed) {
            if task.ready.has_order.load(Ordering::Relaxed) {
                task.ready.note_order(task.id);
            }
            lock(&task.ready.tasks).push(Arc::clone(task));
        }
        if task.ready.has_host.load(Ordering::Relaxed)
            && let Some(host) = lock(&task.ready.host).take()
        {
            host.wake();
        }
    }

    fn pop(&self, schedule: &Schedule, chance: &mut Chance) -> Option<Arc<TaskWaker>> {
        let mut tasks = lock(&self.tasks);
        if tasks.is_empty() {
            self.running.store(NO_TASK, Ordering::Relaxed);
            return None;
        }
        let selected = schedule.choose(tasks.len(), chance);
        let task = tasks.swap_remove(selected);
        task.queued.store(false, Ordering::Relaxed);
        self.running.store(task.id, Ordering::Relaxed);
        Some(task)
    }

    fn set_order(&self, order: WakeOrder) {
        *lock(&self.order) = order;
        self.has_order.store(true, Ordering::Relaxed);
    }

    #[cold]
    fn note_order(&self, task: u64) {
        let by = Some(self.running.load(Ordering::Relaxed)).filter(|by| *by != NO_TASK);
        lock(&self.order).record(task, by);
    }

    #[cold]
    fn note_foreign_wake(&self, task: u64) {
        let name = std::thread::current().name().unwrap_or("without a name").to_owned();
        lock(&self.foreign_wake).get_or_insert((task, name));
        self.has_foreign_wake.store(true, Ordering::Relaxed);
    }
}

/// Returns a number that no other living thread has. Cheaper than the thread's id.
fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    // A thread that is ending counts as another one.
    HERE.try_with(|here| std::ptr::from_ref(here).addr()).unwrap_or(1)
}

/// The waker of a task, by its id.
pub(crate) struct TaskWaker {
    id: u64,
    machine: MachineId,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl TaskWaker {
    fn new(id: u64, machine: MachineId, ready: &Arc<Ready>) -> Arc<Self> {
        let (queued, ready) = (AtomicBool::new(false), Arc::clone(ready));
        Arc::new(Self { id, machine, queued, ready })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn machine(&self) -> MachineId {
        self.machine
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

/// Splits `future` into a task and a handle that receives its output.
pub(crate) fn joinable<F>(future: F) -> (BoxFuture<'static, ()>, JoinHandle<F::Output>)
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
    (Box::pin(task), handle)
}

/// A future of the output of a spawned task, from [`Sim::spawn`](crate::Sim::spawn).
///
/// Dropping it does not stop the task. Cancel-safe: the output is kept until it is taken.
pub struct JoinHandle<T>(Arc<Mutex<Slot<T>>>);

enum Slot<T> {
    Running(Option<Waker>),
    Done(Option<T>),
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    /// # Panics
    ///
    /// Panics if it is polled again after it returned the output.
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
