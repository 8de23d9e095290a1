//! Tasks that are woken in groups, with room for others in between: [`push`].

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::runtime::Runtime;
use crate::session::engine::handler_turn::GROUP;

/// The wakers that a task calls, until it has found none; `None` from then on.
pub(super) type Queue = Arc<Mutex<Option<VecDeque<Waker>>>>;

/// Has `waker` called after those of `queue`, or by a new task on `runtime`. Returns the queue that it is in.
pub(super) fn push(queue: Option<Queue>, waker: Waker, runtime: &Arc<dyn Runtime>) -> Queue {
    if let Some(queue) = queue
        && let Some(wakers) = &mut *lock(&queue)
    {
        wakers.push_back(waker);
        return queue.clone();
    }
    let queue = Arc::new(Mutex::new(Some(VecDeque::from([waker]))));
    let task = WakeLater { queue: queue.clone(), runtime: runtime.clone() };
    runtime.spawn(Box::pin(task));
    queue
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

fn lock(queue: &Queue) -> std::sync::MutexGuard<'_, Option<VecDeque<Waker>>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
