//! The hunt for a planted bug.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sockless_sim::{Campaign, Sim, Step};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The choices of a scenario, which are steps of its plan: shrinking makes them small.
pub(crate) struct Choices(VecDeque<Step>);

impl Choices {
    /// Draws a number from `range`: the middle one if the plan has no choice left.
    pub(crate) fn draw(&mut self, range: Range<u64>) -> u64 {
        let len = range.end - range.start;
        range.start + self.0.pop_front().map_or(len / 2, |step| step.value() % len)
    }
}

/// Runs `scenario` until a plan fails, checks that its message has `expected` and that the hunt takes
/// the same course again, and that no plan fails without the bug.
pub(crate) fn hunt<Fut: Future<Output = ()>>(
    bug: &str,
    expected: &str,
    scenario: impl Fn(Sim, Choices, bool) -> Fut,
) {
    hunt_with(Campaign::new(), bug, expected, scenario);
}

/// Like [`hunt`], with the faults of `campaign`.
#[expect(clippy::disallowed_methods, reason = "the real time that it takes is printed")]
pub(crate) fn hunt_with<Fut: Future<Output = ()>>(
    campaign: Campaign,
    bug: &str,
    expected: &str,
    scenario: impl Fn(Sim, Choices, bool) -> Fut,
) {
    let campaign = campaign.steps("choice", 40..41, ["draw"]);
    let run = |campaign: Campaign, is_planted: bool| {
        let run = || {
            campaign.check(|sim| {
                let choices = Choices(sim.steps("choice").into());
                scenario(sim, choices, is_planted)
            });
        };
        let failed = catch_unwind(AssertUnwindSafe(run));
        failed.map_err(|panic| *panic.downcast::<String>().expect("a message"))
    };
    let begun = std::time::Instant::now();
    let found = run(campaign.clone().seeds(0..1000), true).err();
    let took = begun.elapsed();
    let message = found.unwrap_or_else(|| panic!("{bug} is not found"));
    let first = message.lines().next().unwrap_or_default();
    let seed = first.split(':').next().unwrap_or_default();
    let plan = message.lines().find(|line| line.starts_with("plan, with ")).expect("a plan");
    println!("{bug}: {seed}, {took:.0?}, {plan}");
    assert!(message.contains(expected), "{bug}: no {expected:?} in:\n{message}");
    // A backtrace, which RUST_BACKTRACE asks for, shows the caller too.
    let known = |message: &str| message.split("\nbacktrace:\n").next().map(str::to_owned);
    let again = run(campaign.clone().seeds(0..1000), true).unwrap_err();
    assert_eq!(known(&again), known(&message), "{bug}");
    if let Err(message) = run(campaign.seeds(0..100), false) {
        panic!("a false alarm instead of {bug}: {message}");
    }
}
