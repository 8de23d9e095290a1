//! Tasks that are woken in groups, with room for others in between: [`push`].

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::runtime::Runtime;

/// The number of tasks that are woken at once. More of them would run before any other task that
/// becomes ready meanwhile, and each writes what it was sent.
pub(super) const GROUP: u32 = 256;

/// The wakers that a task calls, until it has found none; `None` from then on.
pub(super) type Queue = Arc<Mutex<Option<VecDeque<Waker>>>>;

/// Has `waker` called after those of `queue`, or by a new task on `runtime`. Returns the queue that it
/// is in.
pub(super) fn push(queue: Option<Queue>, waker: Waker, runtime: &Arc<dyn Runtime>) -> Queue {
    let waker = match queue {
        Some(queue) => match push_to(&queue, waker) {
            Ok(()) => return queue,
            Err(waker) => waker,
        },
        None => waker,
    };
    let queue = Arc::new(Mutex::new(Some(VecDeque::from([waker]))));
    let task = WakeLater { queue: queue.clone(), runtime: runtime.clone() };
    runtime.spawn(Box::pin(task));
    queue
}

/// Fails if the task of the queue has ended.
fn push_to(queue: &Queue, waker: Waker) -> Result<(), Waker> {
    match &mut *lock(queue) {
        Some(wakers) => {
            wakers.push_back(waker);
            Ok(())
        }
        None => Err(waker),
    }
}

/// The task. Dropping it wakes all that are left.
struct WakeLater {
    queue: Queue,
    runtime: Arc<dyn Runtime>,
}

impl Future for WakeLater {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut group = Vec::with_capacity(GROUP as usize);
        {
            let mut queue = lock(&self.queue);
            let Some(wakers) = &mut *queue else { return Poll::Ready(()) };
            group.extend(wakers.drain(..wakers.len().min(GROUP as usize)));
            if group.is_empty() {
                *queue = None;
                return Poll::Ready(());
            }
        }
        // Without the lock: a waker may run code that sends.
        group.into_iter().for_each(Waker::wake);
        self.runtime.yield_now(cx);
        Poll::Pending
    }
}

impl Drop for WakeLater {
    fn drop(&mut self) {
        let left = lock(&self.queue).take();
        left.into_iter().flatten().for_each(Waker::wake);
    }
}

fn lock(queue: &Queue) -> MutexGuard<'_, Option<VecDeque<Waker>>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
