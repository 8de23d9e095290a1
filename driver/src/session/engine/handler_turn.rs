//! The turn of a handler that a thread is in: [`HandlerTurn`].

use std::cell::Cell;
use std::sync::Arc;
use std::task::Waker;

use sockless_core::Instant;

use crate::runtime::Runtime;
use crate::session::engine::wake_later::{self, GROUP, Queue};

/// The limit of sends to other sessions in one turn, after which the handler receives nothing more.
///
/// They take about 10 ms. Less would cost more: members of a room that are sent several messages in
/// one turn have them in one write.
const SENDS: u32 = 32 * 1024;

thread_local! {
    static CURRENT: Cell<Option<(RuntimeId, Instant)>> = const { Cell::new(None) };
    /// The number of sends in the current turn to sessions that are not in a turn.
    static SENT: Cell<u32> = const { Cell::new(0) };
    /// The number of tasks that were woken in the current turn.
    static WOKEN: Cell<u32> = const { Cell::new(0) };
    /// How the tasks beyond the first group of the current turn are woken.
    static LATER: Cell<Option<Later>> = const { Cell::new(None) };
}

struct Later {
    runtime: Arc<dyn Runtime>,
    queue: Option<Queue>,
}

/// The address of a runtime, which tells apart those whose clocks and tasks may differ.
type RuntimeId = usize;

/// While it lives, this thread is in a turn of a session, and of its handler, that began at a known
/// time.
///
/// A handler that sends to many other sessions, which are not in a turn, then needs the clock for
/// none of them: to read it takes as long as a tenth of a send.
///
/// The end of a turn within another one, which is rare, begins the counts of the other one anew.
pub(super) struct HandlerTurn {
    outer: Option<(RuntimeId, Instant)>,
}

impl HandlerTurn {
    pub(super) fn enter(runtime: &Arc<dyn Runtime>, now: Instant) -> Self {
        Self { outer: CURRENT.replace(Some((id(runtime), now))) }
    }

    /// Counts a send. Returns the time of the turn, or else that of the runtime's clock.
    pub(super) fn send_time(runtime: &Arc<dyn Runtime>) -> Instant {
        match CURRENT.get() {
            Some((current, now)) if current == id(runtime) => {
                SENT.set(SENT.get().saturating_add(1));
                if WOKEN.get() >= GROUP {
                    wake_later_on(runtime);
                }
                now
            }
            _ => runtime.now(),
        }
    }

    /// Returns true once the handler has sent so much that other tasks get their turn.
    #[inline]
    pub(super) fn has_sent_enough() -> bool {
        SENT.get() >= SENDS
    }

    /// Calls a waker: at once, or, after many others of this turn, from a task of its own that lets
    /// other tasks run in between.
    pub(super) fn wake(waker: Waker) {
        let woken = WOKEN.get();
        if woken >= GROUP
            && let Some(Later { runtime, queue }) = LATER.take()
        {
            let queue = Some(wake_later::push(queue, waker, &runtime));
            return LATER.set(Some(Later { runtime, queue }));
        }
        if woken < GROUP && CURRENT.get().is_some() {
            WOKEN.set(woken + 1);
        }
        waker.wake();
    }
}

/// Has all further tasks of this turn woken later, by a task on `runtime`.
#[cold]
fn wake_later_on(runtime: &Arc<dyn Runtime>) {
    let later = LATER.take();
    LATER.set(later.or_else(|| Some(Later { runtime: runtime.clone(), queue: None })));
}

impl Drop for HandlerTurn {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        SENT.set(0);
        if WOKEN.replace(0) >= GROUP {
            LATER.set(None);
        }
    }
}

fn id(runtime: &Arc<dyn Runtime>) -> RuntimeId {
    Arc::as_ptr(runtime).addr()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};
    use std::time::Duration;

    use sockless_core::Seed;

    use super::*;
    use crate::future::BoxFuture;
    use crate::runtime::{Clock, Spawn, Timer};

    /// Its clock is always at so many seconds, and its tasks are polled by hand.
    struct Stopped(u64, Mutex<Vec<BoxFuture<'static, ()>>>);

    fn stopped(seconds: u64) -> Arc<Stopped> {
        Arc::new(Stopped(seconds, Mutex::default()))
    }

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            at(self.0)
        }

        fn timer(&self, _: Instant) -> Box<dyn Timer> {
            unreachable!("no timer is set")
        }
    }

    impl Spawn for Stopped {
        fn spawn(&self, task: BoxFuture<'static, ()>) {
            self.1.lock().unwrap().push(task);
        }
    }

    impl Runtime for Stopped {
        fn seed(&self) -> Seed {
            unreachable!("nothing is random")
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn the_clock_is_read_outside_of_a_turn_and_for_another_runtime() {
        let [one, other]: [Arc<dyn Runtime>; 2] = [stopped(10), stopped(20)];
        let times = || [&one, &other].map(HandlerTurn::send_time);
        assert_eq!(times(), [at(10), at(20)]);
        let turn = HandlerTurn::enter(&one, at(1));
        assert_eq!(times(), [at(1), at(20)]);
        {
            let _within = HandlerTurn::enter(&other, at(2));
            assert_eq!(times(), [at(10), at(2)]);
        }
        assert_eq!(times(), [at(1), at(20)]);
        drop(turn);
        assert_eq!(times(), [at(10), at(20)]);
    }

    /// Counts its wakes.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// Wakes that many in one turn; returns the tasks that wake more.
    fn wake_in_turn(
        runtime: &Arc<Stopped>,
        count: usize,
        woken: &Arc<Woken>,
    ) -> Vec<BoxFuture<'static, ()>> {
        let dynamic: Arc<dyn Runtime> = runtime.clone();
        let turn = HandlerTurn::enter(&dynamic, at(1));
        for _ in 0..count {
            wake(woken, &dynamic);
        }
        drop(turn);
        std::mem::take(&mut runtime.1.lock().unwrap())
    }

    /// Wakes a session that was sent something.
    fn wake(woken: &Arc<Woken>, runtime: &Arc<dyn Runtime>) {
        HandlerTurn::send_time(runtime);
        HandlerTurn::wake(woken.clone().into());
    }

    fn poll(task: &mut BoxFuture<'static, ()>) -> bool {
        task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn many_tasks_are_woken_in_groups() {
        let (runtime, woken) = (stopped(1), Arc::new(Woken::default()));
        assert!(wake_in_turn(&runtime, 256, &woken).is_empty());
        assert_eq!(woken.count(), 256);
        let mut tasks = wake_in_turn(&runtime, 256 + 600, &woken);
        let [task] = tasks.as_mut_slice() else { panic!("{} tasks", tasks.len()) };
        let mut counts = vec![woken.count()];
        while !poll(task) {
            counts.push(woken.count());
        }
        assert_eq!(counts, [512, 768, 1024, 1112]);
        // The next turn begins anew.
        assert!(wake_in_turn(&runtime, 1, &woken).is_empty());
        assert_eq!(woken.count(), 1113);
    }

    #[test]
    fn a_waker_that_follows_when_all_have_been_called_is_called_too() {
        let (runtime, woken) = (stopped(1), Arc::new(Woken::default()));
        let dynamic: Arc<dyn Runtime> = runtime.clone();
        let _turn = HandlerTurn::enter(&dynamic, at(1));
        for wakes in [400, 100] {
            for _ in 0..wakes {
                wake(&woken, &dynamic);
            }
            // Another thread may run them while this one is still in its turn.
            for mut task in std::mem::take(&mut *runtime.1.lock().unwrap()) {
                while !poll(&mut task) {}
            }
        }
        assert_eq!(woken.count(), 500);
    }

    #[test]
    fn a_runtime_that_ends_leaves_no_task_asleep() {
        let (runtime, woken) = (stopped(1), Arc::new(Woken::default()));
        let mut tasks = wake_in_turn(&runtime, 1000, &woken);
        assert!(!poll(&mut tasks[0]));
        assert_eq!(woken.count(), 512);
        drop(tasks);
        assert_eq!(woken.count(), 1000);
    }

    #[test]
    fn tasks_are_woken_at_once_outside_of_a_turn_and_on_another_runtime() {
        let woken = Arc::new(Woken::default());
        let [one, other]: [Arc<dyn Runtime>; 2] = [stopped(1), stopped(2)];
        for _ in 0..400 {
            wake(&woken, &one);
        }
        assert_eq!(woken.count(), 400);
        let _turn = HandlerTurn::enter(&one, at(1));
        for _ in 0..400 {
            wake(&woken, &other);
        }
        assert_eq!(woken.count(), 800);
    }
}
