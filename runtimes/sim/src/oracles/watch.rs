//! What is looked at after each poll of a task: [`Sim::always`], [`Sim::eventually`],
//! [`Sim::gauge`].

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::lock;
use crate::sim::Sim;

/// The conditions and gauges of a simulation.
#[derive(Default)]
pub(crate) struct Observers {
    is_used: AtomicBool,
    observers: Mutex<Vec<Observer>>,
}

enum Observer {
    Always {
        what: String,
        holds: Box<dyn FnMut() -> bool + Send>,
    },
    Eventually {
        wait: Arc<Wait>,
        holds: Box<dyn FnMut() -> bool + Send>,
    },
    Gauge {
        gauge: Gauge,
        measure: Box<dyn FnMut() -> u64 + Send>,
    },
    /// An act of a plan, which happens once.
    Act {
        is_due: Box<dyn FnMut() -> bool + Send>,
        act: Option<Box<dyn FnOnce() + Send>>,
    },
}

/// The state of one [`Sim::eventually`].
#[derive(Default)]
struct Wait {
    is_over: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Observers {
    /// Looks at everything, after a poll of a task.
    ///
    /// # Errors
    ///
    /// The payload of the panic, if a condition does not hold or a gauge is above its limit.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Box<dyn Any + Send>> {
        if !self.is_used.load(Ordering::Relaxed) {
            return Ok(());
        }
        catch_unwind(AssertUnwindSafe(|| self.check_all()))
    }

    #[inline(never)]
    fn check_all(&self) {
        // A condition may add another one.
        let mut observers = std::mem::take(&mut *lock(&self.observers));
        observers.retain_mut(Observer::look);
        let mut all = lock(&self.observers);
        observers.append(&mut all);
        *all = observers;
    }

    /// Calls `act` after the first poll after which it is due.
    pub(crate) fn once(
        &self,
        is_due: impl FnMut() -> bool + Send + 'static,
        act: impl FnOnce() + Send + 'static,
    ) {
        self.add(Observer::Act { is_due: Box::new(is_due), act: Some(Box::new(act)) });
    }

    fn add(&self, observer: Observer) {
        self.is_used.store(true, Ordering::Relaxed);
        lock(&self.observers).push(observer);
    }

    /// Drops what the conditions hold, at the end of a run.
    pub(crate) fn clear(&self) {
        let dropped = std::mem::take(&mut *lock(&self.observers));
        drop(dropped);
    }
}

impl Observer {
    /// Returns false once it need not be looked at again.
    fn look(&mut self) -> bool {
        match self {
            Self::Always { what, holds } => assert!(holds(), "does not hold: {what}"),
            Self::Eventually { wait, holds } => {
                if wait.is_over.load(Ordering::Relaxed) {
                    return false;
                }
                if holds() {
                    wait.is_over.store(true, Ordering::Relaxed);
                    let waker = lock(&wait.waker).take();
                    waker.into_iter().for_each(Waker::wake);
                    return false;
                }
            }
            Self::Gauge { gauge, measure } => gauge.record(measure()),
            Self::Act { is_due, act } => {
                if is_due() {
                    act.take().into_iter().for_each(|act| act());
                    return false;
                }
            }
        }
        true
    }
}

/// Conditions and gauges.
impl Sim {
    /// Requires `holds` to return true after each poll of a task, from now to the end of the run.
    /// `what` describes it.
    ///
    /// The run fails at the first poll after which it does not. `holds` must not wait, and should
    /// be quick: it is called for each poll.
    ///
    /// ```should_panic
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// use sockless::sim::Sim;
    ///
    /// let sim = Sim::new(1);
    /// sim.run(async {
    ///     let online = Arc::new(AtomicU32::new(0));
    ///     let seen = online.clone();
    ///     sim.always("at most one is online", move || seen.load(Ordering::Relaxed) <= 1);
    ///     online.store(2, Ordering::Relaxed);
    ///     sim.settle().await;
    /// });
    /// ```
    pub fn always(&self, what: impl Into<String>, holds: impl FnMut() -> bool + Send + 'static) {
        let (what, holds) = (what.into(), Box::new(holds));
        self.world.observers.add(Observer::Always { what, holds });
    }

    /// Waits until `holds` returns true, which it must within `limit`. It is called now and after
    /// each poll of a task. `what` describes it.
    ///
    /// Cancel-safe.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    ///
    /// use sockless::sim::Sim;
    ///
    /// let sim = Sim::new(1);
    /// sim.run(async {
    ///     let done = Arc::new(AtomicBool::new(false));
    ///     let (task, seen) = (done.clone(), done.clone());
    ///     let clock = sim.clone();
    ///     sim.spawn(async move {
    ///         clock.sleep(Duration::from_secs(3)).await;
    ///         task.store(true, Ordering::Relaxed);
    ///     });
    ///     let limit = Duration::from_secs(5);
    ///     sim.eventually(limit, "it is done", move || seen.load(Ordering::Relaxed)).await;
    ///     assert_eq!(sim.now().since_epoch(), Duration::from_secs(3));
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the time has passed and the condition has not held.
    pub async fn eventually(
        &self,
        limit: Duration,
        what: &str,
        mut holds: impl FnMut() -> bool + Send + 'static,
    ) {
        if holds() {
            return;
        }
        let wait = Arc::new(Wait::default());
        let _end = EndOnDrop(Arc::clone(&wait));
        let observed = Observer::Eventually { wait: Arc::clone(&wait), holds: Box::new(holds) };
        self.world.observers.add(observed);
        let held = poll_fn(|cx| {
            if wait.is_over.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            let replaced = lock(&wait.waker).replace(cx.waker().clone());
            drop(replaced);
            Poll::Pending
        });
        let is_held = self.timeout(limit, held).await.is_some();
        assert!(is_held, "does not hold within {limit:?}: {what}");
    }

    /// Measures something after each poll of a task, from now to the end of the run.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use sockless::sim::Sim;
    ///
    /// let sim = Sim::new(1);
    /// sim.run(async {
    ///     let queued = Arc::new(AtomicU64::new(0));
    ///     let seen = queued.clone();
    ///     let gauge = sim.gauge("queued", move || seen.load(Ordering::Relaxed)).at_most(64);
    ///     queued.store(7, Ordering::Relaxed);
    ///     sim.settle().await;
    ///     queued.store(0, Ordering::Relaxed);
    ///     sim.settle().await;
    ///     assert_eq!(gauge.highest(), 7);
    /// });
    /// ```
    pub fn gauge(
        &self,
        name: impl Into<String>,
        measure: impl FnMut() -> u64 + Send + 'static,
    ) -> Gauge {
        let state = GaugeState {
            name: name.into(),
            highest: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
        };
        let gauge = Gauge(Arc::new(state));
        let measure = Box::new(measure);
        self.world.observers.add(Observer::Gauge { gauge: gauge.clone(), measure });
        gauge
    }
}

/// Ends the wait of an `eventually` that is dropped.
struct EndOnDrop(Arc<Wait>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Something that is measured during a run, from [`Sim::gauge`]. Clones are the same gauge.
#[derive(Clone)]
pub struct Gauge(Arc<GaugeState>);

struct GaugeState {
    name: String,
    highest: AtomicU64,
    limit: AtomicU64,
}

impl Gauge {
    /// Sets a limit: the run fails if more is measured. Default: none.
    #[must_use = "the gauge has the limit from now on, and can be read later"]
    pub fn at_most(self, limit: u64) -> Self {
        self.0.limit.store(limit, Ordering::Relaxed);
        self
    }

    /// Returns the highest value so far.
    pub fn highest(&self) -> u64 {
        self.0.highest.load(Ordering::Relaxed)
    }

    fn record(&self, value: u64) {
        self.0.highest.fetch_max(value, Ordering::Relaxed);
        let limit = self.0.limit.load(Ordering::Relaxed);
        assert!(value <= limit, "{} is {value}, its limit is {limit}", self.0.name);
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gauge({}, at most {} so far)", self.0.name, self.highest())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use crate::sim::Sim;

    const SECOND: Duration = Duration::from_secs(1);

    /// Counts the seconds from 1 on, in a task.
    fn count(sim: &Sim) -> Arc<AtomicU64> {
        let count = Arc::new(AtomicU64::new(0));
        let (clock, counter) = (sim.clone(), count.clone());
        sim.spawn(async move {
            loop {
                clock.sleep(SECOND).await;
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        count
    }

    #[test]
    #[should_panic = "does not hold: less than three"]
    fn a_condition_that_fails_in_a_task_fails_the_run() {
        let sim = Sim::new(1);
        sim.run(async {
            let count = count(&sim);
            sim.always("less than three", move || count.load(Ordering::Relaxed) < 3);
            sim.sleep(10 * SECOND).await;
        });
    }

    #[test]
    fn a_condition_is_met_at_the_poll_that_meets_it() {
        let sim = Sim::new(1);
        sim.run(async {
            let count = count(&sim);
            sim.eventually(9 * SECOND, "four", move || count.load(Ordering::Relaxed) == 4).await;
            assert_eq!(sim.now().since_epoch(), 4 * SECOND);
        });
    }

    #[test]
    #[should_panic = "does not hold within 3s: four"]
    fn a_condition_that_is_late_fails_the_run() {
        let sim = Sim::new(1);
        sim.run(async {
            let count = count(&sim);
            sim.eventually(3 * SECOND, "four", move || count.load(Ordering::Relaxed) == 4).await;
        });
    }

    #[test]
    #[should_panic = "seconds is 3, its limit is 2"]
    fn a_gauge_above_its_limit_fails_the_run() {
        let sim = Sim::new(1);
        sim.run(async {
            let count = count(&sim);
            let gauge = sim.gauge("seconds", move || count.load(Ordering::Relaxed)).at_most(2);
            sim.sleep(2 * SECOND).await;
            assert!(gauge.highest() <= 2);
            sim.sleep(10 * SECOND).await;
        });
    }
}
