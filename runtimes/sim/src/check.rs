//! Running a scenario with many seeds: [`Sim::check`].

use std::ops::{Add, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::failure::{Failure, Replayed, replayed};
use crate::lock;
use crate::plan::{Plan, perform};
use crate::sim::Sim;
use crate::world::World;

impl Sim {
    /// Runs `scenario` once for each seed, each time in a new simulation.
    ///
    /// A failure names its seed, and the last line of its message repeats the run of that seed: it
    /// sets the environment variable `SOCKLESS_SIM`, which replaces `seeds` by one seed.
    ///
    /// The first seed runs twice, and the two runs must be equal to the last byte. If they are not,
    /// the code under test is not [deterministic](crate#determinism), and the message names the
    /// event in which they differ. Code that has to draw from the system, such as TLS, calls
    /// [`allow_nondeterminism`](Self::allow_nondeterminism).
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run); if the two runs of the first seed differ; and if `SOCKLESS_SIM` is
    /// neither a number nor a [`Plan`].
    #[track_caller]
    pub fn check<F, Fut>(seeds: Range<u64>, scenario: F)
    where
        F: Fn(Self) -> Fut,
        Fut: Future<Output = ()>,
    {
        let replayed = replayed();
        let seeds = match replayed {
            None => seeds,
            Some(Replayed::Seed(seed)) => seed..seed.saturating_add(1),
            Some(Replayed::Plan(plan)) => {
                if let Err(failure) = run_plan_twice(&plan, &scenario).result {
                    failure.raise();
                }
                return;
            }
        };
        let first = seeds.start;
        for seed in seeds {
            let sim = || Self::new(seed);
            let run =
                if seed == first { run_twice(sim, &scenario) } else { run(&sim(), &scenario) };
            if let Err(failure) = run {
                failure.raise();
            }
        }
    }
}

/// The result of a run under a plan, and what it took.
pub(crate) struct Ran {
    pub(crate) result: Result<(), Failure>,
    pub(crate) cost: Cost,
}

/// The cost of runs: polls of tasks, and bytes that were written to connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) polls: u64,
    pub(crate) bytes: u64,
}

impl Cost {
    fn of(world: &World) -> Self {
        let bytes = world.time.with_fingerprint(|fingerprint| fingerprint.bytes());
        Self { polls: world.polls.load(Ordering::Relaxed), bytes }
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { polls: self.polls + other.polls, bytes: self.bytes + other.bytes }
    }
}

pub(crate) fn run_plan<F, Fut>(plan: &Plan, scenario: &F) -> Ran
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    let sim = Sim::planned(plan);
    let result = run(&sim, scenario);
    Ran { result, cost: Cost::of(&sim.world) }
}

/// Runs a plan twice and compares the runs.
pub(crate) fn run_plan_twice<F, Fut>(plan: &Plan, scenario: &F) -> Ran
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    let worlds = std::cell::RefCell::new(Vec::new());
    let sim = || {
        let sim = Sim::planned(plan);
        worlds.borrow_mut().push(Arc::clone(&sim.world));
        sim
    };
    let result = run_twice(sim, scenario);
    let costs = worlds.borrow().iter().map(|world| Cost::of(world)).reduce(Cost::add);
    Ran { result, cost: costs.unwrap_or_default() }
}

/// Runs a simulation twice and compares the runs.
fn run_twice<F, Fut>(sim: impl Fn() -> Sim, scenario: &F) -> Result<(), Failure>
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    let first = sim();
    first.world.time.with_fingerprint(|fingerprint| fingerprint.keep());
    first.world.tasks.keep_wakes();
    run(&first, scenario)?;
    if first.world.is_random.load(Ordering::Relaxed) {
        return Ok(());
    }
    let events =
        Arc::new(first.world.time.with_fingerprint(|fingerprint| fingerprint.take_events()));
    let second = sim();
    second.world.time.with_fingerprint(|fingerprint| fingerprint.compare_with(events));
    second.world.tasks.compare_wakes(first.world.tasks.take_wakes());
    run(&second, scenario)
}

fn run<F, Fut>(sim: &Sim, scenario: &F) -> Result<(), Failure>
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    sim.world.is_checked.store(true, Ordering::Relaxed);
    let plan = lock(&sim.world.plan).clone();
    sim.try_run(async {
        if let Some(plan) = plan {
            perform(sim, plan);
        }
        scenario(sim.clone()).await;
    })
}
