//! The tasks of a world: [`Tasks`], and [`JoinHandle`], which waits for one of them.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use sockless_driver::BoxFuture;

use crate::lock;
use crate::rng::Chance;

/// The id of the main task. It is not stored here, since it does not have to be `Send` or
/// `'static`.
pub(crate) const MAIN: u64 = 0;

/// The spawned tasks that have not finished, and the tasks that were woken.
#[derive(Default)]
pub(crate) struct Tasks {
    alive: Mutex<Alive>,
    ready: Arc<Ready>,
}

#[derive(Default)]
struct Alive {
    spawned: u64,
    tasks: BTreeMap<u64, Task>,
}

struct Task {
    /// `None` while it is polled.
    future: Option<BoxFuture<'static, ()>>,
    spawned_at: SpawnedAt,
}

/// The line that spawned a task; `None` for the driver.
type SpawnedAt = Option<&'static Location<'static>>;

/// A task that panicked, by name, with the panic's payload.
pub(crate) type Panicked = (String, Box<dyn Any + Send>);

impl Tasks {
    pub(crate) fn spawn(&self, future: BoxFuture<'static, ()>, spawned_at: SpawnedAt) {
        let mut alive = lock(&self.alive);
        alive.spawned += 1;
        let id = alive.spawned;
        alive.tasks.insert(id, Task { future: Some(future), spawned_at });
        Ready::push(&TaskWaker::new(id, &self.ready));
    }

    pub(crate) fn wake_main(&self) {
        Ready::push(&TaskWaker::new(MAIN, &self.ready));
    }

    /// Removes one of the woken tasks, selected at random.
    pub(crate) fn pop_ready(&self, chance: &mut Chance) -> Option<Arc<TaskWaker>> {
        self.ready.pop(chance)
    }

    /// Polls a spawned task once and drops it if it has finished.
    pub(crate) fn poll(&self, task: Arc<TaskWaker>) -> Result<(), Panicked> {
        let id = task.id;
        let future = lock(&self.alive).tasks.get_mut(&id).and_then(|task| task.future.take());
        // A task that has finished may still be woken.
        let Some(mut future) = future else { return Ok(()) };
        let waker = Waker::from(task);
        let mut cx = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        let mut alive = lock(&self.alive);
        match polled {
            Ok(Poll::Pending) => {
                if let Some(task) = alive.tasks.get_mut(&id) {
                    task.future = Some(future);
                }
                Ok(())
            }
            Ok(Poll::Ready(())) => {
                drop(alive.tasks.remove(&id));
                Ok(())
            }
            Err(panic) => {
                Err((name(id, alive.tasks.get(&id).and_then(|task| task.spawned_at)), panic))
            }
        }
    }

    /// Returns how many spawned tasks have not finished.
    pub(crate) fn unfinished(&self) -> usize {
        lock(&self.alive).tasks.len()
    }

    /// Returns the names of the spawned tasks that have not finished.
    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.alive).tasks.iter().map(|(id, task)| name(*id, task.spawned_at)).collect()
    }

    /// Drops all tasks.
    pub(crate) fn clear(&self) {
        // Dropping a task may spawn another one.
        loop {
            let left = std::mem::take(&mut lock(&self.alive).tasks);
            if left.is_empty() {
                break;
            }
        }
        lock(&self.ready.0).clear();
    }
}

fn name(id: u64, spawned_at: SpawnedAt) -> String {
    match spawned_at {
        Some(place) => format!("task {id} (spawned at {place})"),
        None => format!("task {id} (spawned by the driver)"),
    }
}

/// The woken tasks, in no order: the seed selects.
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
        let selected = chance.below(tasks.len() as u64) as usize;
        let task = tasks.swap_remove(selected);
        task.queued.store(false, Ordering::Relaxed);
        Some(task)
    }
}

/// The waker of a task, by its id.
pub(crate) struct TaskWaker {
    id: u64,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl TaskWaker {
    fn new(id: u64, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { id, queued: AtomicBool::new(false), ready: Arc::clone(ready) })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
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
