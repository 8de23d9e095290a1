//! Every order of the tasks of a small world: [`Schedules`].

use std::fmt;

use crate::sim::Sim;

/// Runs a scenario again and again, each time with another order of its tasks, depth first: where
/// several tasks can run, each is tried as the next one.
///
/// A world of tasks cannot be copied, so each run starts at the beginning and repeats a part of the
/// one before. The number of orders grows exponentially with the scenario: keep it small, or limit
/// how often the order departs from the usual one, since few departures are enough for most faults.
/// The network's choices, such as short reads, are those of one seed.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// use sockless::sim::explore::Schedules;
///
/// let orders = Schedules::new().check(|sim| async move {
///     let last = Arc::new(AtomicU32::new(0));
///     let tasks = [1, 2, 3].map(|number| {
///         let last = last.clone();
///         sim.spawn(async move { last.store(number, Ordering::Relaxed) })
///     });
///     for task in tasks {
///         task.await;
///     }
/// });
/// assert!(orders.is_complete());
/// assert!(orders.runs() >= 6, "{orders}");
/// ```
#[derive(Clone, Debug)]
pub struct Schedules {
    seed: u64,
    max_runs: usize,
    max_departures: usize,
    only: Option<Vec<usize>>,
}

impl Default for Schedules {
    fn default() -> Self {
        Self { seed: 0, max_runs: 10_000, max_departures: usize::MAX, only: None }
    }
}

impl Schedules {
    /// Creates an exploration with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the seed of everything but the order of the tasks. Default: 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how many orders are tried at most. Default: 10,000.
    #[must_use]
    pub fn max_runs(mut self, runs: usize) -> Self {
        self.max_runs = runs;
        self
    }

    /// Sets how often a run may depart from the usual order, in which the task that has waited
    /// longest is usually the next one. Default: no limit.
    #[must_use]
    pub fn max_departures(mut self, departures: usize) -> Self {
        self.max_departures = departures;
        self
    }

    /// Tries one order only: that of the failure whose message has this text, such as `0.2.1`.
    ///
    /// # Panics
    ///
    /// Panics unless it consists of numbers with dots between them.
    #[must_use]
    pub fn only(mut self, schedule: &str) -> Self {
        let choices = schedule.split('.').map(str::parse);
        let choices: Result<_, _> = choices.collect();
        self.only = Some(choices.expect("a schedule consists of numbers with dots between them"));
        self
    }

    /// Runs `scenario` in each order, until one fails, all have been tried, or the limit is reached.
    ///
    /// # Panics
    ///
    /// As [`Sim::run`], with the order in the message.
    #[track_caller]
    pub fn check<F, Fut>(&self, scenario: F) -> Orders
    where
        F: Fn(Sim) -> Fut,
        Fut: Future<Output = ()>,
    {
        let mut orders = Orders { runs: 0, longest: 0, complete: true };
        let mut next = Some(self.only.clone().unwrap_or_default());
        while let Some(choices) = next.take() {
            if orders.runs == self.max_runs {
                orders.complete = false;
                break;
            }
            let sim = Sim::new(self.seed);
            sim.world.schedule.follow(choices);
            sim.run(async { scenario(sim.clone()).await });
            let path = sim.world.schedule.path().unwrap_or_default();
            orders.runs += 1;
            orders.longest = orders.longest.max(path.len());
            if self.only.is_none() {
                next = path.next(self.max_departures);
            }
        }
        orders
    }
}

/// The number of orders that were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orders {
    runs: usize,
    longest: usize,
    complete: bool,
}

impl Orders {
    /// Returns the number of runs.
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// Returns the largest number of choices in one run.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Returns true if all orders were tried that [`Schedules::max_departures`] allows.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

impl fmt::Display for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, longest, complete } = self;
        let extent = if *complete { "all" } else { "only" };
        write!(f, "{extent} {runs} orders, at most {longest} choices each")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use super::Schedules;
    use crate::lock;

    /// Three tasks write their names; returns all orders that occurred.
    fn orders(schedules: &Schedules) -> (BTreeSet<Vec<u32>>, super::Orders) {
        let seen = Mutex::new(BTreeSet::new());
        let orders = schedules.check(|sim| {
            let seen = &seen;
            async move {
                let log = Arc::new(Mutex::new(Vec::new()));
                let tasks = [1, 2, 3].map(|name| {
                    let log = Arc::clone(&log);
                    sim.spawn(async move { lock(&log).push(name) })
                });
                for task in tasks {
                    task.await;
                }
                lock(seen).insert(lock(&log).clone());
            }
        });
        (seen.into_inner().unwrap(), orders)
    }

    #[test]
    fn each_order_occurs() {
        let (seen, orders) = orders(&Schedules::new());
        assert_eq!(seen.len(), 6);
        assert!(orders.is_complete(), "{orders}");
    }

    #[test]
    fn fewer_departures_are_fewer_orders() {
        let (seen, all) = orders(&Schedules::new().max_departures(1));
        assert!((2..6).contains(&seen.len()), "{seen:?}");
        assert!(all.is_complete());
        assert_eq!(orders(&Schedules::new().max_departures(0)).1.runs(), 1);
        let cut = orders(&Schedules::new().max_runs(3)).1;
        assert_eq!((cut.runs(), cut.is_complete()), (3, false));
    }

    /// Two tasks read a number, let others run, and write it back plus one.
    fn race(schedules: &Schedules) -> super::Orders {
        schedules.check(|sim| async move {
            let number = Arc::new(Mutex::new(0));
            let tasks = [(); 2].map(|()| {
                let number = Arc::clone(&number);
                sim.spawn(async move {
                    let read = *lock(&number);
                    let mut has_yielded = false;
                    std::future::poll_fn(|cx| {
                        if std::mem::replace(&mut has_yielded, true) {
                            return std::task::Poll::Ready(());
                        }
                        cx.waker().wake_by_ref();
                        std::task::Poll::Pending
                    })
                    .await;
                    *lock(&number) = read + 1;
                })
            });
            for task in tasks {
                task.await;
            }
            assert_eq!(*lock(&number), 2, "an update is lost");
        })
    }

    #[test]
    fn a_race_is_found_and_its_schedule_repeats_it() {
        let failure = |schedules: &Schedules| {
            let failed = std::panic::catch_unwind(|| race(schedules)).unwrap_err();
            failed.downcast_ref::<String>().unwrap().clone()
        };
        let text = failure(&Schedules::new());
        assert!(text.contains("an update is lost"), "{text}");
        let schedule = text.split_once("schedule ").unwrap().1;
        let schedule = schedule.split([':', ' ', '\n']).next().unwrap();
        assert!(failure(&Schedules::new().only(schedule)).contains("an update is lost"));
    }
}
