//! How a thread waits: [`block_on`] polls a future, and between polls the thread waits for the sockets and timers that
//! the future uses, and for other threads to wake it.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::Socket;
use sockless_core::Instant;
use sockless_driver::Timer;

use crate::signal::Signal;

/// The longest that a thread waits at once; some systems refuse longer times.
const LONGEST: Duration = Duration::from_secs(3600);

/// The interval in which a thread looks for wake-ups if the system has no descriptor for its bell.
const WITHOUT_BELL: Duration = Duration::from_millis(10);

/// An arbitrary time, fixed before it is first compared with another.
static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(system_now);

thread_local! {
    static HERE: Here = Here::new();
}

/// Returns the current time of the system's monotonic clock.
pub(crate) fn now() -> Instant {
    let epoch = *EPOCH;
    Instant::from_epoch(system_now().saturating_duration_since(epoch))
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that the driver is given")]
fn system_now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Runs `future` to its end on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    match run(future, None) {
        Some(output) => output,
        None => unreachable!("without a deadline, the future has ended"),
    }
}

/// Runs `future` on this thread, until `timeout` passes. It is polled at least once.
pub(crate) fn block_on_for<F: Future>(timeout: Duration, future: F) -> Option<F::Output> {
    run(future, Some(now() + timeout))
}

fn run<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    let mut future = pin!(future);
    HERE.with(|here| {
        let _running = here.begin();
        let mut cx = Context::from_waker(&here.waker);
        loop {
            here.signal.clear();
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Some(output);
            }
            if deadline.is_some_and(|deadline| deadline <= now()) {
                return None;
            }
            here.wait(deadline);
        }
    })
}

/// The sockets, the timers and the wake-ups for which a thread waits.
struct Here {
    signal: Arc<Signal>,
    /// Of `signal`.
    waker: Waker,
    /// The number of futures that run on this thread, one inside a poll of the other.
    depth: Cell<u32>,
    sockets: RefCell<Vec<Weak<Source>>>,
    timers: RefCell<Vec<Alarm>>,
}

/// A timer that is set.
struct Alarm {
    id: u64,
    at: Instant,
    waker: Waker,
}

impl Here {
    fn new() -> Self {
        let signal = Arc::new(Signal::new());
        let waker = Waker::from(signal.clone());
        let (sockets, timers) = (RefCell::default(), RefCell::default());
        Self { signal, waker, depth: Cell::new(0), sockets, timers }
    }

    fn begin(&self) -> Running<'_> {
        self.depth.set(self.depth.get() + 1);
        Running(self)
    }

    /// Waits for a socket, a timer, another thread, or `deadline`; or returns early.
    fn wait(&self, deadline: Option<Instant>) {
        let sources = self.waiting_sources();
        let next = self.timers.borrow().iter().map(|alarm| alarm.at).min();
        let until = [next, deadline].into_iter().flatten().min();
        let timeout = until.map_or(LONGEST, |until| until.saturating_since(now()).min(LONGEST));
        if sources.is_empty() {
            self.signal.park(timeout);
        } else {
            self.poll_sockets(&sources, timeout);
        }
        let at = now();
        self.unset(|alarm| alarm.at <= at).into_iter().for_each(|alarm| alarm.waker.wake());
    }

    /// Removes timers. They are used and dropped without a borrow: a waker runs code of the future's.
    fn unset(&self, which: impl Fn(&Alarm) -> bool) -> Vec<Alarm> {
        self.timers.borrow_mut().extract_if(.., |alarm| which(alarm)).collect()
    }

    /// The sockets that are waited for, with what for. Others are removed from the list.
    fn waiting_sources(&self) -> Vec<(Arc<Source>, PollFlags)> {
        let mut waiting = Vec::new();
        self.sockets.borrow_mut().retain(|source| {
            let source = source.upgrade();
            let source = source.map(|source| (source.flags(), source));
            let source = source.filter(|(flags, _)| !flags.is_empty());
            source.map(|(flags, source)| waiting.push((source, flags))).is_some()
        });
        waiting
    }

    fn poll_sockets(&self, sources: &[(Arc<Source>, PollFlags)], timeout: Duration) {
        let bell = self.signal.bell();
        let timeout = if bell.is_some() { timeout } else { timeout.min(WITHOUT_BELL) };
        let mut fds: Vec<_> =
            sources.iter().map(|(source, flags)| PollFd::new(&source.socket, *flags)).collect();
        fds.extend(bell.map(|bell| PollFd::new(bell.receiver(), PollFlags::IN)));
        let Ok(timeout) = Timespec::try_from(timeout) else { return };
        if !self.signal.begin_polling() {
            return;
        }
        // After an error, such as an interruption by a signal, the future is polled again.
        let polled = poll(&mut fds, Some(&timeout));
        self.signal.end_polling();
        if polled.is_err() {
            return;
        }
        for ((source, _), fd) in sources.iter().zip(&fds) {
            source.wake(fd.revents());
        }
        if let (Some(bell), Some(fd)) = (bell, fds.get(sources.len()))
            && !fd.revents().is_empty()
        {
            bell.silence();
        }
    }
}

/// A future that runs on this thread.
struct Running<'a>(&'a Here);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Self(here) = self;
        here.depth.set(here.depth.get() - 1);
        if here.depth.get() > 0 {
            // The future around this one may have been woken meanwhile.
            return here.waker.wake_by_ref();
        }
        // Sockets and timers that are left belong to futures that may go on in other threads.
        let _ = (here.sockets.take(), here.timers.take());
    }
}

/// A socket in non-blocking mode, and who waits for it.
pub(crate) struct Source {
    socket: Socket,
    waiting: Mutex<Waiting>,
}

/// The wakers of the tasks that wait until the socket is ready.
#[derive(Default)]
struct Waiting {
    to_read: Option<Waker>,
    to_write: Option<Waker>,
}

impl Source {
    pub(crate) fn new(socket: Socket) -> Arc<Self> {
        Arc::new(Self { socket, waiting: Mutex::default() })
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Wakes the task of `cx`, which runs on this thread, once there may be something to read.
    pub(crate) fn wait_to_read(self: &Arc<Self>, cx: &Context<'_>) {
        drop(self.lock(|waiting| waiting.to_read.replace(cx.waker().clone())));
        self.list();
    }

    /// Wakes the task of `cx`, which runs on this thread, once there may be room to write.
    pub(crate) fn wait_to_write(self: &Arc<Self>, cx: &Context<'_>) {
        drop(self.lock(|waiting| waiting.to_write.replace(cx.waker().clone())));
        self.list();
    }

    /// Adds the socket to those for which this thread waits.
    fn list(self: &Arc<Self>) {
        HERE.with(|here| {
            let mut sockets = here.sockets.borrow_mut();
            if !sockets.iter().any(|listed| std::ptr::eq(listed.as_ptr(), Arc::as_ptr(self))) {
                sockets.push(Arc::downgrade(self));
            }
        });
    }

    fn flags(&self) -> PollFlags {
        self.lock(|waiting| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, waiting.to_read.is_some());
            flags.set(PollFlags::OUT, waiting.to_write.is_some());
            flags
        })
    }

    /// Wakes the tasks that wait for what has happened. A failure concerns both.
    fn wake(&self, happened: PollFlags) {
        let is_failure = happened.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
        let (read, write) = self.lock(|waiting| {
            let read = happened.contains(PollFlags::IN) || is_failure;
            let write = happened.contains(PollFlags::OUT) || is_failure;
            (waiting.to_read.take_if(|_| read), waiting.to_write.take_if(|_| write))
        });
        [read, write].into_iter().flatten().for_each(Waker::wake);
    }

    fn lock<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A timer of the thread that polls it.
pub(crate) struct ThreadTimer {
    id: u64,
    deadline: Instant,
}

impl ThreadTimer {
    pub(crate) fn new(deadline: Instant) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self { id: COUNT.fetch_add(1, Ordering::Relaxed), deadline }
    }

    /// Removes the timer from those for which this thread waits.
    fn unset(&self) {
        // A timer may be dropped with the thread.
        let _ = HERE.try_with(|here| here.unset(|alarm| alarm.id == self.id));
    }
}

impl Timer for ThreadTimer {
    fn reset(&mut self, deadline: Instant) {
        self.unset();
        self.deadline = deadline;
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.unset();
        if now() >= self.deadline {
            return Poll::Ready(());
        }
        let alarm = Alarm { id: self.id, at: self.deadline, waker: cx.waker().clone() };
        HERE.with(|here| here.timers.borrow_mut().push(alarm));
        Poll::Pending
    }
}

impl Drop for ThreadTimer {
    fn drop(&mut self) {
        self.unset();
    }
}
