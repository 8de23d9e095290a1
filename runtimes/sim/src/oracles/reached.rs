//! What happened in some run, and what the simulation makes happen: [`Reached`],
//! [`sometimes!`](crate::sometimes), [`buggify!`](crate::buggify).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::lock;
use crate::plan::point_name;
use crate::rng::{Chance, hash};
use crate::sim::Sim;

/// Records that something worth reaching has happened: a rare branch, a fault that had an effect.
///
/// In a run that a [`Reached`](crate::oracles::Reached) observes, the name is recorded, if the
/// condition holds. Anywhere else nothing happens. Returns the condition.
///
/// ```
/// use sockless::sometimes;
///
/// # let (queued, limit) = (1, 2);
/// if sometimes!(queued >= limit, "a slow reader is sent away") {
///     // …
/// }
/// ```
#[macro_export]
macro_rules! sometimes {
    ($condition:expr, $name:expr $(,)?) => {
        $crate::oracles::sometimes($condition, $name)
    };
}

/// Returns true now and then in a simulation that asks for it, so that code can take a rare path
/// more often than it would: return an error, wait for long, use a tiny buffer.
///
/// It is true only in a run of a [`Sim`](crate::Sim) with
/// [`enable_buggify`](crate::Sim::enable_buggify). There, each name is active in one run out of
/// four, and is then true one time out of four, as the seed decides. Its choices change no others.
///
/// ```
/// use sockless::buggify;
///
/// assert!(!buggify!("the disk is slow"), "this is no simulation");
/// ```
#[macro_export]
macro_rules! buggify {
    ($name:expr $(,)?) => {
        $crate::oracles::buggify($name)
    };
}

thread_local! {
    /// The simulation that runs on this thread.
    static CURRENT: RefCell<Option<Arc<Visits>>> = const { RefCell::new(None) };
}

/// The marks of a program in one simulation.
#[derive(Default)]
pub(crate) struct Visits {
    reached: Mutex<Option<Reached>>,
    buggify: Mutex<Option<Buggify>>,
    /// The number of times each mark was reached, by its name in plans, if a plan has one.
    points: Mutex<Option<BTreeMap<String, u64>>>,
}

struct Buggify {
    seed: u64,
    /// For each name, its chance if it is active in this run.
    names: BTreeMap<String, Option<Chance>>,
}

impl Visits {
    /// Makes this the simulation that runs on this thread, until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> impl Drop + use<> {
        let before = CURRENT.with(|current| current.replace(Some(Arc::clone(self))));
        LeaveOnDrop(before)
    }
}

/// The points at which acts of a plan may happen.
impl Visits {
    pub(crate) fn count_points(&self) {
        lock(&self.points).get_or_insert_default();
    }

    /// Returns how often a mark was reached.
    pub(crate) fn reached(&self, point: &str) -> u64 {
        lock(&self.points).as_ref().and_then(|points| points.get(point).copied()).unwrap_or(0)
    }

    fn reach(&self, mark: &str) {
        if let Some(points) = &mut *lock(&self.points) {
            *points.entry(point_name(mark)).or_default() += 1;
        }
    }
}

struct LeaveOnDrop(Option<Arc<Visits>>);

impl Drop for LeaveOnDrop {
    fn drop(&mut self) {
        let before = self.0.take();
        let left = CURRENT.with(|current| current.replace(before));
        drop(left);
    }
}

fn current() -> Option<Arc<Visits>> {
    CURRENT.with(|current| current.borrow().clone())
}

/// The function behind [`sometimes!`](crate::sometimes).
pub fn sometimes(condition: bool, name: &str) -> bool {
    if let Some(visits) = current() {
        if let Some(reached) = &*lock(&visits.reached) {
            reached.record(name, condition);
        }
        if condition {
            visits.reach(name);
        }
    }
    condition
}

/// The function behind [`buggify!`](crate::buggify).
pub fn buggify(name: &str) -> bool {
    let Some(visits) = current() else { return false };
    visits.reach(name);
    let mut buggify = lock(&visits.buggify);
    let Some(Buggify { seed, names }) = &mut *buggify else { return false };
    let chance = names.entry(name.to_owned()).or_insert_with(|| {
        // Each name has a stream of its own.
        let mut chance = Chance::new(*seed ^ hash(name));
        (chance.below(4) == 0).then_some(chance)
    });
    chance.as_mut().is_some_and(|chance| chance.below(4) == 0)
}

impl Sim {
    /// Lets [`buggify!`](crate::buggify) return true now and then in this simulation.
    pub fn enable_buggify(&self) {
        let seed = self.world.seed;
        *lock(&self.world.visits.buggify) = Some(Buggify { seed, names: BTreeMap::new() });
    }
}

/// The names of [`sometimes!`](crate::sometimes) that were reached, in all runs that it observes.
/// Clones are handles to the same names.
///
/// A fault that never had an effect, and a branch that no seed takes, leave a test green. With this
/// it fails.
///
/// ```
/// use sockless::sim::oracles::Reached;
/// use sockless::sometimes;
///
/// Reached::new(["heads", "tails"]).check(0..20, |sim| async move {
///     let heads = sim.draw(0..2) == 0;
///     sometimes!(heads, "heads");
///     sometimes!(!heads, "tails");
/// });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Reached {
    names: Arc<Mutex<BTreeMap<String, Count>>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    visited: u64,
    reached: u64,
}

impl Reached {
    /// Creates an observer that expects these names to be reached. Others that are visited are
    /// expected too.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter().map(|name| (name.to_owned(), Count::default())).collect();
        Self { names: Arc::new(Mutex::new(names)) }
    }

    /// Runs `scenario` as [`Sim::check`] does, and then asserts that each name was reached in some
    /// run.
    ///
    /// A run that is repeated by the environment variable `SOCKLESS_SIM` is not expected to reach
    /// them all.
    ///
    /// # Panics
    ///
    /// As [`Sim::check`], and as [`assert`](Self::assert).
    #[track_caller]
    pub fn check<F, Fut>(&self, seeds: Range<u64>, scenario: F)
    where
        F: Fn(Sim) -> Fut,
        Fut: Future<Output = ()>,
    {
        Sim::check(seeds, |sim| {
            self.observe(&sim);
            scenario(sim)
        });
        if std::env::var_os("SOCKLESS_SIM").is_none() {
            self.assert();
        }
    }

    /// Observes the runs of `sim`.
    pub fn observe(&self, sim: &Sim) {
        *lock(&sim.world.visits.reached) = Some(self.clone());
    }

    /// Returns how often `name` was reached.
    pub fn count(&self, name: &str) -> u64 {
        lock(&self.names).get(name).map_or(0, |count| count.reached)
    }

    /// Asserts that each name was reached: those that are expected, and those that were visited.
    ///
    /// # Panics
    ///
    /// Panics with the names that were not.
    #[track_caller]
    pub fn assert(&self) {
        let names = lock(&self.names).clone();
        let never = names.iter().filter(|(_, count)| count.reached == 0);
        let never: Vec<String> = never
            .map(|(name, count)| match count.visited {
                0 => format!("{name:?} (its line was never executed)"),
                visited => format!("{name:?} (its condition was false {visited} times)"),
            })
            .collect();
        assert!(never.is_empty(), "never reached in any run: {}", never.join(", "));
    }

    fn record(&self, name: &str, condition: bool) {
        let mut names = lock(&self.names);
        let count = names.entry(name.to_owned()).or_default();
        count.visited += 1;
        count.reached += u64::from(condition);
    }
}

#[cfg(test)]
mod tests {
    use super::Reached;
    use crate::sim::Sim;

    #[test]
    #[should_panic = "never reached in any run: \"never\" (its condition was false 5 times)"]
    fn a_condition_that_never_holds_is_found() {
        let reached = Reached::new([]);
        for seed in 0..5 {
            let sim = Sim::new(seed);
            reached.observe(&sim);
            sim.run(async {
                assert!(!sometimes!(false, "never"));
            });
        }
        reached.assert();
    }

    #[test]
    #[should_panic = "\"elsewhere\" (its line was never executed)"]
    fn a_line_that_is_never_executed_is_found() {
        Reached::new(["elsewhere"]).check(0..2, |_| async {});
    }

    #[test]
    fn a_mark_outside_of_a_run_has_no_effect() {
        let reached = Reached::new([]);
        let sim = Sim::new(1);
        reached.observe(&sim);
        assert!(sometimes!(true, "outside"));
        assert!(!buggify!("outside"));
        sim.run(async {});
        assert_eq!(reached.count("outside"), 0);
    }

    #[test]
    fn buggify_is_true_as_the_seed_decides() {
        let run = |seed, enabled| {
            let sim = Sim::new(seed);
            if enabled {
                sim.enable_buggify();
            }
            sim.run(async { (0..20).map(|_| buggify!("slow disk")).collect::<Vec<_>>() })
        };
        let active = (0..100).filter(|seed| run(*seed, true).contains(&true)).count();
        assert!((10..50).contains(&active), "{active} of 100 runs");
        assert!((0..100).all(|seed| run(seed, true) == run(seed, true)));
        assert!((0..100).all(|seed| !run(seed, false).contains(&true)));
    }
}
