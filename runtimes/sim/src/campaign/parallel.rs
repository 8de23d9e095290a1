//! Running the plans of a campaign on several threads.

use std::sync::Mutex;
use std::thread;

use super::{Campaign, run_nth};
use crate::check::Cost;
use crate::failure::Failure;
use crate::lock;
use crate::plan::Plan;
use crate::sim::Sim;

/// The state that the threads share.
struct Shared<I> {
    plans: I,
    /// The index of the next plan.
    next: usize,
    cost: Cost,
    /// The failure with the smallest index.
    failed: Option<(usize, Plan, Failure)>,
}

/// Returns the failure of the first plan, in their order, that fails.
pub(super) fn first_failure<F, Fut>(
    campaign: &Campaign,
    threads: usize,
    scenario: &F,
) -> Option<(Plan, Failure)>
where
    F: Fn(Sim) -> Fut + Sync,
    Fut: Future<Output = ()>,
{
    let (plans, saved) = campaign.plans();
    let plans: Vec<Plan> = plans.collect();
    let shared = Mutex::new(Shared {
        plans: plans.into_iter(),
        next: 0,
        cost: Cost::default(),
        failed: None,
    });
    let take = || {
        let mut shared = lock(&shared);
        let index = shared.next;
        let is_over = shared.failed.is_some();
        if is_over || index >= saved && !campaign.affords(shared.cost) {
            return None;
        }
        shared.next += 1;
        Some((index, shared.plans.next()?))
    };
    let work = || {
        while let Some((index, plan)) = take() {
            let ran = run_nth(index, &plan, scenario);
            let mut shared = lock(&shared);
            shared.cost = shared.cost + ran.cost;
            if let Err(failure) = ran.result
                && shared.failed.as_ref().is_none_or(|(first, ..)| index < *first)
            {
                shared.failed = Some((index, plan, failure));
            }
        }
    };
    // The line that repeats a run has the name of the test, which is that of the thread.
    let name = thread::current().name().unwrap_or("main").to_owned();
    thread::scope(|scope| {
        for _ in 1..threads {
            let thread = thread::Builder::new().name(name.clone());
            // Without a thread, the others do its work.
            let _ = thread.spawn_scoped(scope, work);
        }
        work();
    });
    let failed = lock(&shared).failed.take();
    failed.map(|(_, plan, failure)| (plan, failure))
}
