//! Shrinking a plan that fails to what the failure needs.

use std::time::Duration;

use crate::failure::Failure;
use crate::plan::{Act, Plan, When};

/// The smallest plan that was found, with its failure and the runs that it took.
pub(super) struct Shrunk {
    pub(super) plan: Plan,
    pub(super) failure: Failure,
    pub(super) runs: u32,
}

/// Shrinks `plan`, in at most `limit` runs. A smaller plan counts only if its failure is of the same
/// kind.
pub(super) fn shrink(
    plan: Plan,
    failure: Failure,
    limit: u32,
    run: impl Fn(&Plan) -> Option<Failure>,
) -> Shrunk {
    let mut search = Search { best: Shrunk { plan, failure, runs: 0 }, limit, run };
    loop {
        let before = search.best.plan.clone();
        search.leave_out();
        search.leave_out_and_move();
        search.simplify();
        if search.best.plan == before {
            return search.best;
        }
    }
}

struct Search<F> {
    best: Shrunk,
    limit: u32,
    run: F,
}

impl<F: Fn(&Plan) -> Option<Failure>> Search<F> {
    /// Leaves acts and steps out: first halves, at last single ones.
    fn leave_out(&mut self) {
        let mut size = self.best.plan.len().div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < self.best.plan.len() {
                let candidate = without(&self.best.plan, start, size);
                if !self.try_plan(candidate) {
                    start += size;
                }
            }
            size /= 2;
        }
    }

    /// Leaves single steps out and moves the acts to earlier times: a step that only takes time is
    /// needed for the act that follows it, otherwise.
    fn leave_out_and_move(&mut self) {
        if self.best.plan.acts.iter().all(|act| act.when.time().is_none()) {
            return;
        }
        let mut index = self.best.plan.acts.len();
        while index < self.best.plan.len() {
            let is_left_out = (0..PARTS).any(|part| {
                let mut candidate = without(&self.best.plan, index, 1);
                candidate.acts.iter_mut().for_each(|act| move_to(act, |at| at * part / PARTS));
                self.try_plan(candidate)
            });
            if !is_left_out {
                index += 1;
            }
        }
    }

    /// Makes times round and numbers small.
    fn simplify(&mut self) {
        for index in 0..self.best.plan.acts.len() {
            for unit in UNITS {
                self.try_change(|plan| {
                    move_to(&mut plan.acts[index], |at| round(at, unit));
                });
                self.try_change(|plan| {
                    let act = &mut plan.acts[index];
                    act.lasting = round(act.lasting, unit);
                });
            }
            self.try_change(|plan| plan.acts[index].pick = 0);
            self.try_change(|plan| {
                if let When::Point { nth, .. } = &mut plan.acts[index].when {
                    *nth = 1;
                }
            });
        }
        for index in 0..self.best.plan.steps.len() {
            if self.try_change(|plan| plan.steps[index].value = 0) {
                continue;
            }
            while self.try_change(|plan| plan.steps[index].value /= 2) {}
        }
    }

    fn try_change(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut candidate = self.best.plan.clone();
        change(&mut candidate);
        candidate != self.best.plan && self.try_plan(candidate)
    }

    /// Returns true if the plan fails alike, and is the best now.
    fn try_plan(&mut self, plan: Plan) -> bool {
        if self.best.runs >= self.limit {
            return false;
        }
        self.best.runs += 1;
        match (self.run)(&plan) {
            Some(failure) if failure.kind() == self.best.failure.kind() => {
                let runs = self.best.runs;
                self.best = Shrunk { plan, failure, runs };
                true
            }
            _ => false,
        }
    }
}

/// The parts of the time before an act that are tried.
const PARTS: u32 = 16;

/// The units to which times are rounded down, coarsest first.
const UNITS: [Duration; 4] = [
    Duration::from_secs(3600),
    Duration::from_secs(1),
    Duration::from_millis(100),
    Duration::from_millis(10),
];

fn round(time: Duration, unit: Duration) -> Duration {
    let rest = time.as_nanos() % unit.as_nanos();
    time - Duration::from_nanos(rest as u64)
}

/// Changes the time of an act that has one.
fn move_to(act: &mut Act, change: impl FnOnce(Duration) -> Duration) {
    if let When::At(at) = &mut act.when {
        *at = change(*at);
    }
}

/// Returns the plan without `len` acts or steps from `start` on, the acts first.
fn without(plan: &Plan, start: usize, len: usize) -> Plan {
    let mut plan = plan.clone();
    let is_kept = |index: usize| !(start..start + len).contains(&index);
    let acts = plan.acts.len();
    let mut index = 0;
    plan.acts.retain(|_| {
        index += 1;
        is_kept(index - 1)
    });
    index = acts;
    plan.steps.retain(|_| {
        index += 1;
        is_kept(index - 1)
    });
    plan
}
