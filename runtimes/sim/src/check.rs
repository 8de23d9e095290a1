//! Running a scenario with many seeds: [`Sim::check`].

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::failure::{Failure, seed_to_replay};
use crate::sim::Sim;

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
    /// As [`run`](Self::run); if the two runs of the first seed differ; and if `SOCKLESS_SIM` is not
    /// a number.
    #[track_caller]
    pub fn check<F, Fut>(seeds: Range<u64>, scenario: F)
    where
        F: Fn(Self) -> Fut,
        Fut: Future<Output = ()>,
    {
        let replayed = seed_to_replay();
        let seeds = replayed.map_or(seeds, |seed| seed..seed.saturating_add(1));
        let first = seeds.start;
        for seed in seeds {
            let run =
                if seed == first { run_twice(seed, &scenario) } else { run_once(seed, &scenario) };
            if let Err(failure) = run {
                failure.raise();
            }
        }
    }
}

fn run_once<F, Fut>(seed: u64, scenario: &F) -> Result<(), Failure>
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    run(&Sim::new(seed), scenario)
}

/// Runs a seed twice and compares the runs.
fn run_twice<F, Fut>(seed: u64, scenario: &F) -> Result<(), Failure>
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    let first = Sim::new(seed);
    first.world.time.with_trace(|trace| trace.keep());
    run(&first, scenario)?;
    if first.world.is_random.load(Ordering::Relaxed) {
        return Ok(());
    }
    let events = Arc::new(first.world.time.with_trace(|trace| trace.take_events()));
    let second = Sim::new(seed);
    second.world.time.with_trace(|trace| trace.compare_with(events));
    run(&second, scenario)
}

fn run<F, Fut>(sim: &Sim, scenario: &F) -> Result<(), Failure>
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    sim.world.is_checked.store(true, Ordering::Relaxed);
    sim.try_run(async { scenario(sim.clone()).await })
}
