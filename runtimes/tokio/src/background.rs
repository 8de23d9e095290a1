//! Timers of sessions, which share those of tokio: [`BackgroundTimer`].

use std::collections::BTreeMap;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;
use sockless_core::Instant;
use sockless_driver::Timer;
use tokio::runtime::{self, Handle};
use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep_until};

use crate::runtime::to_tokio;

/// A timer that shares one of tokio's with the others of its runtime that have the same deadline.
///
/// The deadlines of sessions are [rounded](sockless_driver::Clock::wake_time), so many are equal. A
/// timer of tokio takes some 300 bytes, and tokio moves it between lists as its deadline approaches;
/// a waker beside others takes less of both.
///
/// When a deadline passes, [`TURN`] tasks are woken at a time: a hundred thousand sessions that are
/// pinged do not keep the others of their thread waiting.
pub(crate) struct BackgroundTimer(State);

enum State {
    /// It has not been polled since the deadline was set.
    Set(Instant),
    Waits(Member),
    Expired,
}

impl BackgroundTimer {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self(State::Set(deadline))
    }
}

impl Timer for BackgroundTimer {
    fn reset(&mut self, deadline: Instant) {
        self.0 = State::Set(deadline);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Set(deadline) = self.0 {
            self.0 = State::Waits(Member::join(deadline, cx.waker()));
        }
        if let State::Waits(member) = &mut self.0
            && member.poll_expired(cx.waker()).is_ready()
        {
            self.0 = State::Expired;
        }
        match self.0 {
            State::Expired => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

/// The number of tasks that are woken before others get their turn.
const TURN: usize = 128;

/// A waker among those of a deadline, until it is dropped.
struct Member {
    deadline: Arc<Deadline>,
    key: usize,
    /// The same waker, which tells without a lock whether another has to replace it.
    waker: Waker,
}

impl Member {
    fn join(deadline: Instant, waker: &Waker) -> Self {
        let runtime = Handle::current();
        let mut all = lock(&ALL);
        let (deadline, timer) = match find(&all, deadline, runtime.id()) {
            Some(found) => (found.clone(), None),
            None => {
                let timer = Box::pin(unconstrained(sleep_until(to_tokio(deadline))));
                let at = deadline;
                let deadline = Arc::new(Deadline::new(at, runtime));
                all.entry(at).or_default().push(deadline.clone());
                (deadline, Some(timer))
            }
        };
        let key = lock(&deadline.waiting).wakers.insert(waker.clone());
        drop(all);
        let member = Self { deadline, key, waker: waker.clone() };
        if let Some(timer) = timer {
            member.deadline.start(timer);
        }
        member
    }

    fn poll_expired(&mut self, waker: &Waker) -> Poll<()> {
        if self.deadline.has_passed.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if self.waker.will_wake(waker) {
            return Poll::Pending;
        }
        self.waker = waker.clone();
        let mut waiting = lock(&self.deadline.waiting);
        let Some(replaced) = waiting.wakers.get_mut(self.key) else { return Poll::Ready(()) };
        let replaced = mem::replace(replaced, waker.clone());
        // The drop of a waker may drop another timer.
        drop(waiting);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.deadline.has_passed.load(Ordering::Acquire) {
            return;
        }
        let mut waiting = lock(&self.deadline.waiting);
        let waker = waiting.wakers.try_remove(self.key);
        let is_last = waiting.wakers.is_empty();
        drop(waiting);
        drop(waker);
        if is_last {
            self.deadline.abandon();
        }
    }
}

/// The deadlines that have members. One is removed before the members are woken.
static ALL: Mutex<All> = Mutex::new(All::new());

/// Those of all runtimes.
type All = BTreeMap<Instant, Vec<Arc<Deadline>>>;

fn find(all: &All, at: Instant, runtime: runtime::Id) -> Option<&Arc<Deadline>> {
    all.get(&at)?.iter().find(|deadline| deadline.runtime.id() == runtime)
}

/// A deadline that timers have in common. It is the waker of tokio's timer.
struct Deadline {
    at: Instant,
    runtime: Handle,
    /// Set while `waiting` is locked.
    has_passed: AtomicBool,
    /// Is locked after [`ALL`], if both are.
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    wakers: Slab<Waker>,
    timer: Option<Pin<Box<Unconstrained<Sleep>>>>,
}

impl Deadline {
    fn new(at: Instant, runtime: Handle) -> Self {
        Self { at, runtime, has_passed: AtomicBool::new(false), waiting: Mutex::default() }
    }

    /// Starts tokio's timer. No lock is held, since it may expire at once.
    fn start(self: &Arc<Self>, mut timer: Pin<Box<Unconstrained<Sleep>>>) {
        let waker = Waker::from(self.clone());
        if timer.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return self.pass();
        }
        let mut waiting = lock(&self.waiting);
        if !self.has_passed.load(Ordering::Relaxed) {
            waiting.timer = Some(timer);
        }
    }

    /// Wakes all members.
    fn pass(&self) {
        let mut all = lock(&ALL);
        let ended = self.end(&mut all);
        drop(all);
        let mut wakers = ended.wakers.into_iter();
        wake_some(&mut wakers);
        if wakers.len() > 0 {
            self.runtime.spawn(async move {
                while wakers.len() > 0 {
                    yield_now().await;
                    wake_some(&mut wakers);
                }
            });
        }
    }

    /// Ends the timer, if it has no member left.
    fn abandon(&self) {
        let mut all = lock(&ALL);
        let is_empty = lock(&self.waiting).wakers.is_empty();
        // Is dropped when the lock has been given back.
        let _ended = is_empty.then(|| self.end(&mut all));
        drop(all);
    }

    fn end(&self, all: &mut All) -> Waiting {
        let mut waiting = lock(&self.waiting);
        if !self.has_passed.swap(true, Ordering::Release)
            && let Some(of_runtimes) = all.get_mut(&self.at)
        {
            of_runtimes.retain(|deadline| deadline.runtime.id() != self.runtime.id());
            if of_runtimes.is_empty() {
                all.remove(&self.at);
            }
        }
        mem::take(&mut waiting)
    }
}

fn wake_some(wakers: &mut slab::IntoIter<Waker>) {
    for (_, waker) in wakers.take(TURN) {
        waker.wake();
    }
}

impl Wake for Deadline {
    fn wake(self: Arc<Self>) {
        self.pass();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.pass();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use sockless_driver::Clock;
    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::TokioRuntime;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Counter {
        fn poll(self: &Arc<Self>, timer: &mut BackgroundTimer) -> Poll<()> {
            timer.poll_expired(&mut Context::from_waker(&Waker::from(self.clone())))
        }

        fn get(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn paused() -> Runtime {
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }

    fn after(seconds: u64) -> Instant {
        TokioRuntime.now() + Duration::from_secs(seconds)
    }

    async fn expired(mut timer: BackgroundTimer) {
        poll_fn(|cx| timer.poll_expired(cx)).await;
    }

    /// The number of wakers at a deadline, if there are some.
    fn members(deadline: Instant) -> Option<usize> {
        let all = lock(&ALL);
        Some(lock(&find(&all, deadline, Handle::current().id())?.waiting).wakers.len())
    }

    #[test]
    fn timers_with_one_deadline_share_a_timer_and_expire_together() {
        paused().block_on(async {
            let deadline = after(10);
            let counters: [Arc<Counter>; 3] = Default::default();
            let mut timers = [(); 3].map(|()| BackgroundTimer::new(deadline));
            for (counter, timer) in counters.iter().zip(&mut timers) {
                assert!(counter.poll(timer).is_pending());
            }
            assert_eq!(members(deadline), Some(3));
            tokio::time::sleep(Duration::from_secs(9)).await;
            assert_eq!(counters.each_ref().map(|counter| counter.get()), [0; 3]);
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(counters.each_ref().map(|counter| counter.get()), [1; 3]);
            assert_eq!(members(deadline), None);
            for (counter, timer) in counters.iter().zip(&mut timers) {
                assert!(counter.poll(timer).is_ready());
                assert!(counter.poll(timer).is_ready());
            }
        });
    }

    /// Those that are woken with others of their deadline do not keep other tasks waiting.
    #[test]
    fn many_timers_that_expire_together_leave_others_their_turn() {
        paused().block_on(async {
            let deadline = after(10);
            let run = Arc::new(AtomicUsize::new(0));
            let (notify, notified) = tokio::sync::oneshot::channel();
            let mut notify = Some(notify);
            let tasks: Vec<_> = (0..10 * TURN)
                .map(|_| {
                    let (run, notify) = (run.clone(), notify.take());
                    tokio::spawn(async move {
                        expired(BackgroundTimer::new(deadline)).await;
                        run.fetch_add(1, Ordering::Relaxed);
                        notify.map(|notify| notify.send(()));
                    })
                })
                .collect();
            let other = tokio::spawn({
                let run = run.clone();
                async move {
                    notified.await.unwrap();
                    run.load(Ordering::Relaxed)
                }
            });
            let before_other = other.await.unwrap();
            assert!(before_other <= 2 * TURN, "{before_other}");
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(run.load(Ordering::Relaxed), 10 * TURN);
        });
    }

    /// tokio wakes the timers of a runtime that is dropped.
    #[test]
    fn a_runtime_that_is_dropped_leaves_nothing() {
        let runtime = paused();
        let id = runtime.handle().id();
        runtime.block_on(async {
            let deadline = after(10);
            for _ in 0..3 * TURN {
                tokio::spawn(expired(BackgroundTimer::new(deadline)));
            }
            // Each lets some of the tasks run.
            for _ in 0..3 * TURN {
                yield_now().await;
            }
            assert_eq!(members(deadline), Some(3 * TURN));
        });
        drop(runtime);
        assert!(lock(&ALL).values().flatten().all(|deadline| deadline.runtime.id() != id));
    }

    #[test]
    fn a_timer_whose_deadline_has_passed_expires_at_once() {
        paused().block_on(async {
            let deadline = after(0);
            assert!(
                Arc::new(Counter::default()).poll(&mut BackgroundTimer::new(deadline)).is_ready()
            );
            assert_eq!(members(deadline), None);
        });
    }

    #[test]
    fn a_timer_that_is_dropped_or_reset_leaves_nothing() {
        paused().block_on(async {
            let (early, late) = (after(10), after(20));
            let counter = Arc::new(Counter::default());
            let (mut first, mut second) =
                (BackgroundTimer::new(early), BackgroundTimer::new(early));
            assert!(counter.poll(&mut first).is_pending());
            assert!(counter.poll(&mut second).is_pending());
            drop(first);
            assert_eq!(members(early), Some(1));
            second.reset(late);
            assert_eq!(members(early), None);
            assert!(counter.poll(&mut second).is_pending());
            assert_eq!(members(late), Some(1));
            tokio::time::sleep(Duration::from_secs(15)).await;
            assert_eq!(counter.get(), 0);
            drop(second);
            assert_eq!(members(late), None);
            assert_eq!(Arc::strong_count(&counter), 1, "no waker is left");
        });
    }

    #[test]
    fn the_waker_of_the_last_poll_is_woken() {
        paused().block_on(async {
            let (first, second): (Arc<Counter>, Arc<Counter>) = Default::default();
            let mut timer = BackgroundTimer::new(after(1));
            assert!(first.poll(&mut timer).is_pending());
            assert!(second.poll(&mut timer).is_pending());
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!((first.get(), second.get()), (0, 1));
        });
    }

    /// Each runtime drives its own.
    #[test]
    fn runtimes_share_nothing() {
        let (driven, idle) = (paused(), paused());
        let deadline = driven.block_on(async { after(1) });
        let counter = Arc::new(Counter::default());
        let mut other = BackgroundTimer::new(deadline);
        idle.block_on(async { assert!(counter.poll(&mut other).is_pending()) });
        driven.block_on(expired(BackgroundTimer::new(deadline)));
        assert_eq!(counter.get(), 0);
        drop(other);
        assert_eq!(idle.block_on(async { members(deadline) }), None);
    }

    /// A timer of tokio that is polled in a task without budget wakes it at once.
    #[test]
    fn a_task_without_budget_starts_a_timer() {
        paused().block_on(async {
            let deadline = after(1);
            let mut timer = BackgroundTimer::new(deadline);
            let counter = Arc::new(Counter::default());
            poll_fn(|cx| {
                while tokio::task::coop::has_budget_remaining() {
                    let _ = std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx);
                }
                assert!(counter.poll(&mut timer).is_pending());
                Poll::Ready(())
            })
            .await;
            assert_eq!((counter.get(), members(deadline)), (0, Some(1)));
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(counter.get(), 1);
        });
    }

    /// Threads that join, leave, and expire at the same deadlines: every timer expires.
    #[test]
    fn threads_share_timers() {
        let runtime = Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
        runtime.block_on(async {
            let start = TokioRuntime.now();
            let tasks: Vec<_> = (0..400)
                .map(|number: u32| {
                    tokio::spawn(async move {
                        for step in 1..=20 {
                            let deadline = start + Duration::from_millis(step * 5);
                            let mut timer = BackgroundTimer::new(deadline);
                            if number.is_multiple_of(3) {
                                // Joins, and leaves at once.
                                poll_fn(|cx| Poll::Ready(timer.poll_expired(cx).is_ready())).await;
                                timer.reset(deadline);
                            }
                            expired(timer).await;
                            assert!(TokioRuntime.now() >= deadline);
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let id = Handle::current().id();
            assert!(lock(&ALL).values().flatten().all(|deadline| deadline.runtime.id() != id));
        });
    }
}
