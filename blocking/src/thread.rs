//! Work that blocks, in a thread of its own: [`in_thread`].

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

/// Runs `work` in a thread of its own, and waits for its output. Dropping the future leaves the thread
/// running.
///
/// # Errors
///
/// The error of the system if no thread can be started.
///
/// # Panics
///
/// If `work` panics, with the same payload.
pub(crate) async fn in_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let progress = Arc::new(Mutex::new(Progress::Running(None)));
    let ours = progress.clone();
    let work = move || {
        let output = catch_unwind(AssertUnwindSafe(work));
        let before = std::mem::replace(&mut *lock(&progress), Progress::Ended(Some(output)));
        if let Progress::Running(Some(waker)) = before {
            waker.wake();
        }
    };
    thread::Builder::new().name(name.into()).spawn(work)?;
    let output = std::future::poll_fn(|cx| match &mut *lock(&ours) {
        Progress::Ended(output) => Poll::Ready(output.take()),
        Progress::Running(waker) => {
            *waker = Some(cx.waker().clone());
            Poll::Pending
        }
    });
    match output.await {
        Some(Ok(output)) => Ok(output),
        Some(Err(panic)) => resume_unwind(panic),
        None => unreachable!("the output is taken once"),
    }
}

/// The state of the work.
enum Progress<T> {
    /// With what waits for the end.
    Running(Option<Waker>),
    /// With the output, or the payload of a panic, until it is taken.
    Ended(Option<thread::Result<T>>),
}

fn lock<T>(progress: &Mutex<Progress<T>>) -> std::sync::MutexGuard<'_, Progress<T>> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
