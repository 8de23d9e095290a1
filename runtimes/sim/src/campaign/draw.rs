//! Drawing a plan from a seed.

use std::ops::Range;
use std::time::Duration;

use super::Campaign;
use crate::plan::{Act, Fault, Plan, Step, When};
use crate::rng::{Chance, Stream};

/// A kind of fault that may happen to a target.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) fault: Fault,
    pub(super) target: String,
}

#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) len: Range<u64>,
    pub(super) steps: Vec<String>,
}

pub(super) fn plan(seed: u64, campaign: &Campaign) -> Plan {
    let mut chance = Chance::stream(seed, Stream::Plan);
    let tick = campaign.ticks[chance.below(campaign.ticks.len() as u64) as usize];
    // A run with few kinds of faults gets further than one with all of them.
    let half = campaign.sources.iter().filter(|_| chance.below(2) == 0).collect::<Vec<_>>();
    let sources = if half.is_empty() { campaign.sources.iter().collect() } else { half };
    let mut plan = Plan::new(seed);
    if !sources.is_empty() {
        for _ in 0..chance.in_range(campaign.acts.clone()) {
            plan.acts.push(act(campaign, &sources, tick, &mut chance));
        }
        plan.acts.sort_by_key(|act| act.when.time());
    }
    for workload in &campaign.workloads {
        for _ in 0..chance.in_range(workload.len.clone()) {
            let what = &workload.steps[chance.below(workload.steps.len() as u64) as usize];
            let value = chance.below(u64::from(u32::MAX));
            let workload = workload.name.clone();
            plan.steps.push(Step { workload, what: what.clone(), value });
        }
    }
    plan
}

fn act(campaign: &Campaign, sources: &[&Source], tick: Duration, chance: &mut Chance) -> Act {
    let within = campaign.within;
    let Source { fault, target } = sources[chance.below(sources.len() as u64) as usize];
    let ticks =
        |time: Duration| u64::try_from(time.as_nanos() / tick.as_nanos()).unwrap_or(u64::MAX);
    let times = |count: u64| tick.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
    let at = times(chance.below(ticks(within)));
    let lasting = times(1 + chance.below(ticks(within / 4)));
    let pick = chance.below(4) as u32;
    let act = Act::when(when(campaign, at, chance), *fault, target);
    let act = if fault.is_of_wire() { act.pick(pick) } else { act };
    if fault.lasts() { act.lasting(lasting) } else { act }
}

/// Returns `at`, or an event or a point if the campaign has some.
fn when(campaign: &Campaign, at: Duration, chance: &mut Chance) -> When {
    let kinds: Vec<u8> =
        [(0, true), (1, !campaign.events.is_empty()), (2, !campaign.points.is_empty())]
            .into_iter()
            .filter_map(|(kind, is_used)| is_used.then_some(kind))
            .collect();
    match kinds[chance.below(kinds.len() as u64) as usize] {
        1 => When::Event(chance.in_range(campaign.events.clone())),
        2 => {
            let name = &campaign.points[chance.below(campaign.points.len() as u64) as usize];
            When::point(name, 1 + chance.below(4))
        }
        _ => When::At(at),
    }
}

/// Returns a seed that another process does not have.
#[expect(clippy::disallowed_methods, reason = "what is fresh cannot come from a seed")]
pub(super) fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.unwrap_or_default().as_nanos() as u64;
    // Seeds that are close to each other are those of the same campaign.
    Chance::new(nanos ^ u64::from(std::process::id()).rotate_left(32)).in_range(1 << 32..1 << 63)
}
