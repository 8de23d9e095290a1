//! Tasks that end with their session: [`SessionTask`].

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::session::engine::shared::{Shared, Waiting};

/// A task that [`Session::spawn`](crate::Session::spawn) has started. Await it for the output.
///
/// It returns `None` if the task did not return: it was [aborted](Self::abort), its session ended,
/// or it panicked. Dropping the handle lets the task run on.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::{Closed, Session};
///
/// async fn hint(mut session: Session) -> Result<(), Closed> {
///     let sender = session.sender();
///     let hint = session.spawn(async move {
///         sender.sleep(Duration::from_secs(30)).await;
///         sender.send("say something").await
///     });
///     let message = session.recv().await?;
///     hint.abort();
///     session.send(message).await
/// }
/// # let _ = sockless::websocket(hint);
/// ```
pub struct SessionTask<T>(Arc<Mutex<Progress<T>>>);

/// The state of a task, shared with its handle.
struct Progress<T> {
    status: Status<T>,
    /// Wakes the task, to end it.
    task: Option<Waker>,
    /// Wakes the task that awaits the output.
    joiner: Option<Waker>,
}

enum Status<T> {
    Running,
    Aborted,
    /// With the output, until it is taken.
    Ended(Option<T>),
}

impl<T> SessionTask<T> {
    /// Drops the task. It ends soon after, at the latest when it next awaits something.
    pub fn abort(&self) {
        let waker = {
            let mut progress = lock(&self.0);
            if let Status::Running = progress.status {
                progress.status = Status::Aborted;
            }
            progress.task.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns true once the task has ended.
    pub fn is_finished(&self) -> bool {
        matches!(lock(&self.0).status, Status::Ended(_))
    }
}

impl<T> Future for SessionTask<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut progress = lock(&self.0);
        if let Status::Ended(output) = &mut progress.status {
            return Poll::Ready(output.take());
        }
        progress.joiner = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> fmt::Debug for SessionTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_finished = self.is_finished();
        f.debug_struct("SessionTask").field("is_finished", &is_finished).finish_non_exhaustive()
    }
}

/// Runs `task` in a task of its own until it ends, its session does, or it is aborted.
pub(super) fn spawn<T: Send + 'static>(
    shared: &Arc<Shared>,
    task: impl Future<Output = T> + Send + 'static,
) -> SessionTask<T> {
    let progress =
        Arc::new(Mutex::new(Progress { status: Status::Running, task: None, joiner: None }));
    let end = End(Some(progress.clone()));
    let (runtime, shared) = (shared.runtime.clone(), shared.clone());
    runtime.spawn(Box::pin(async move {
        let mut end = end;
        let output = {
            let mut task = pin!(task);
            let mut waiting = Waiting::new(&shared);
            let span = shared.span();
            poll_fn(|cx| {
                let has_ended = shared.poll_closed(&mut waiting.slot, cx).is_ready();
                if end.is_aborted(cx) {
                    return Poll::Ready(None);
                }
                let _entered = span.enter();
                // Also when the session has ended: the task may wait for that.
                match task.as_mut().poll(cx) {
                    Poll::Ready(output) => Poll::Ready(Some(output)),
                    Poll::Pending if has_ended => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        };
        end.set(output);
    }));
    SessionTask(progress)
}

/// Ends a task when it is dropped, as by a panic or with its runtime.
struct End<T>(Option<Arc<Mutex<Progress<T>>>>);

impl<T> End<T> {
    /// Returns true if the task was aborted. Otherwise its waker is kept for that.
    fn is_aborted(&self, cx: &Context<'_>) -> bool {
        let Some(progress) = &self.0 else { return false };
        let mut progress = lock(progress);
        if !progress.task.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            progress.task = Some(cx.waker().clone());
        }
        matches!(progress.status, Status::Aborted)
    }

    fn set(&mut self, output: Option<T>) {
        let Some(progress) = self.0.take() else { return };
        let (joiner, _task) = {
            let mut progress = lock(&progress);
            progress.status = Status::Ended(output);
            (progress.joiner.take(), progress.task.take())
        };
        if let Some(joiner) = joiner {
            joiner.wake();
        }
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.set(None);
    }
}

fn lock<T>(progress: &Mutex<Progress<T>>) -> MutexGuard<'_, Progress<T>> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
