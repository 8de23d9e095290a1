//! A timer that expires even while the runtime is blocked: [`Alarm`].

#![expect(clippy::disallowed_methods, reason = "this is the clock that the driver is given")]

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant as StdInstant};

use sockless_core::Instant;
use sockless_driver::{Clock, Timer};

use crate::runtime::TokioRuntime;

/// A timer of tokio, and a thread that wakes its task at the same time.
///
/// tokio checks its timers in the worker thread that waited for events last. While that thread runs
/// a handler that blocks, the others may all sleep, and no timer expires.
pub(crate) struct Alarm {
    timer: Box<dyn Timer>,
    /// In real time, which tests cannot pause.
    deadline: StdInstant,
    /// The task to wake.
    waker: Arc<Mutex<Option<Waker>>>,
    /// Ends the thread when it is dropped.
    thread: Option<Sender<()>>,
}

impl Alarm {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self {
            timer: TokioRuntime.timer(deadline),
            deadline: real(deadline),
            waker: Arc::default(),
            thread: None,
        }
    }

    /// Starts the thread. If the system has no thread left, tokio's own timer is all there is.
    fn start(&mut self) {
        let (sender, receiver) = channel();
        let (deadline, waker) = (self.deadline, Arc::clone(&self.waker));
        let thread = thread::Builder::new().name("sockless-alarm".to_owned());
        let _ = thread.spawn(move || wait(&receiver, deadline, &waker));
        self.thread = Some(sender);
    }
}

impl Timer for Alarm {
    fn reset(&mut self, deadline: Instant) {
        self.timer.reset(deadline);
        self.deadline = real(deadline);
        self.thread = None;
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The waker is set before the time is checked: from now on the thread wakes it.
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if self.timer.poll_expired(cx).is_ready() || StdInstant::now() >= self.deadline {
            return Poll::Ready(());
        }
        if self.thread.is_none() {
            self.start();
        }
        Poll::Pending
    }
}

fn wait(dropped: &Receiver<()>, deadline: StdInstant, waker: &Mutex<Option<Waker>>) {
    let patience = deadline.saturating_duration_since(StdInstant::now());
    if dropped.recv_timeout(patience) == Err(RecvTimeoutError::Timeout)
        && let Some(waker) = waker.lock().unwrap_or_else(PoisonError::into_inner).take()
    {
        waker.wake();
    }
}

/// Converts a deadline to the system's clock; one that is out of its range becomes a year from now.
fn real(deadline: Instant) -> StdInstant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let (now, left) = (StdInstant::now(), deadline.saturating_since(TokioRuntime.now()));
    now.checked_add(left).unwrap_or_else(|| now + YEAR)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// No thread drives the runtime, so tokio's own timer cannot expire.
    #[test]
    fn an_alarm_expires_while_no_thread_drives_the_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let mut alarm = Alarm::new(TokioRuntime.now() + Duration::from_millis(20));
        let (woken, wakes) = channel();
        struct Wakes(Mutex<Sender<()>>);
        impl std::task::Wake for Wakes {
            fn wake(self: Arc<Self>) {
                let _ = self.0.lock().unwrap().send(());
            }
        }
        let waker = Waker::from(Arc::new(Wakes(Mutex::new(woken))));
        let mut cx = Context::from_waker(&waker);
        while alarm.poll_expired(&mut cx).is_pending() {
            wakes.recv_timeout(Duration::from_secs(60)).expect("it is woken");
        }
    }

    #[tokio::test]
    async fn a_reset_alarm_expires_at_the_new_deadline() {
        let mut alarm = Alarm::new(TokioRuntime.now() + Duration::from_secs(3600));
        let mut polled = false;
        poll_fn(|cx| {
            if !std::mem::replace(&mut polled, true) {
                assert!(alarm.poll_expired(cx).is_pending());
                alarm.reset(TokioRuntime.now() + Duration::from_millis(1));
            }
            alarm.poll_expired(cx)
        })
        .await;
    }
}
