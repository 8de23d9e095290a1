//! Performing the acts of a plan.

use std::sync::Arc;

use sockless_core::Instant;

use super::{Act, Fault, Plan, When};
use crate::hosts::OUTSIDE;
use crate::machine::Crash;
use crate::oracles::sometimes;
use crate::sim::Sim;
use crate::tasks::Origin;
use crate::wire::{Wire, WireDirection};

/// A half of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Half {
    Begin,
    End,
}

/// Makes the acts of `plan` happen in this run.
pub(crate) fn perform(sim: &Sim, plan: Plan) {
    for act in plan.acts.iter().filter(|act| act.when.time().is_none()) {
        await_trigger(sim, act.clone());
    }
    if !plan.acts.is_empty() {
        let performing = Box::pin(perform_in_time(sim.clone(), plan));
        sim.world.tasks.spawn(performing, Origin::Plan, OUTSIDE);
    }
}

/// Performs the acts that have a time, each at its time.
async fn perform_in_time(sim: Sim, plan: Plan) {
    let mut halves = Vec::new();
    for (index, act) in plan.acts.iter().enumerate() {
        let Some(at) = act.when.time() else { continue };
        halves.push((at, index, Half::Begin));
        if act.fault.lasts() {
            halves.push((at.saturating_add(act.lasting), index, Half::End));
        }
    }
    halves.sort();
    let mut stalled: Vec<Option<Wire>> = vec![None; plan.acts.len()];
    for (at, index, half) in halves {
        sim.sleep_until(Instant::EPOCH + at).await;
        let act = &plan.acts[index];
        match half {
            Half::Begin => stalled[index] = begin(&sim, act),
            Half::End => end(&sim, act, stalled[index].take()),
        }
    }
}

/// Performs an act once its event or its point is reached.
fn await_trigger(sim: &Sim, act: Act) {
    let (world, when) = (Arc::downgrade(&sim.world), act.when.clone());
    let is_due = move || {
        world.upgrade().is_some_and(|world| match &when {
            When::At(_) => false,
            When::Event(number) => world.log.count() > *number,
            When::Point { name, nth } => world.visits.reached(name) >= *nth,
        })
    };
    if matches!(act.when, When::Point { .. }) {
        sim.world.visits.count_points();
    }
    let actor = sim.clone();
    sim.world.observers.once(is_due, move || {
        // The act is no task of the machine that reached the point.
        let machine = actor.world.time.machine();
        actor.world.time.enter(OUTSIDE);
        let stalled = begin(&actor, &act);
        if act.fault.lasts() {
            let (sim, lasting) = (actor.clone(), act.lasting);
            let ending = Box::pin(async move {
                sim.sleep(lasting).await;
                end(&sim, &act, stalled);
            });
            actor.world.tasks.spawn(ending, Origin::Plan, OUTSIDE);
        }
        actor.world.time.enter(machine);
    });
}

/// Begins an act, and records whether it has an effect. Returns the wire of one of a connection.
fn begin(sim: &Sim, act: &Act) -> Option<Wire> {
    let (has_effect, wire) = if act.fault.is_of_wire() {
        let wire = begin_of_wire(sim, act);
        (wire.is_some(), wire)
    } else {
        (begin_of_machine(sim, act), None)
    };
    sometimes(has_effect, &format!("{:?} of {}", act.fault, act.target));
    wire
}

/// Returns the wire; `None` if the target has no connection at this time.
fn begin_of_wire(sim: &Sim, act: &Act) -> Option<Wire> {
    let wires = sim.wires(&act.target);
    let pick = (act.pick as usize).checked_rem(wires.len())?;
    let wire = wires.into_iter().nth(pick)?;
    match act.fault {
        Fault::Cut => wire.cut(),
        Fault::ResetPeer => wire.reset_peer(),
        Fault::Vanish => wire.vanish(),
        Fault::StallInbound => wire.stall(WireDirection::Inbound),
        Fault::StallOutbound => wire.stall(WireDirection::Outbound),
        _ => return None,
    }
    Some(wire)
}

/// Returns false if the machine runs no program.
fn begin_of_machine(sim: &Sim, act: &Act) -> bool {
    let machine = sim.machine(&act.target);
    if !machine.has_program() {
        return false;
    }
    match act.fault {
        Fault::Crash => machine.crash(Crash::Process),
        Fault::PowerLoss => machine.crash(Crash::Power),
        Fault::Pause => machine.pause(),
        Fault::Jump => machine.jump(act.lasting),
        Fault::Isolate => sim.isolate(&act.target),
        _ => return false,
    }
    true
}

fn end(sim: &Sim, act: &Act, wire: Option<Wire>) {
    let machine = || Some(sim.machine(&act.target)).filter(|machine| machine.has_program());
    match (act.fault, wire) {
        (Fault::StallInbound, Some(wire)) => wire.resume(WireDirection::Inbound),
        (Fault::StallOutbound, Some(wire)) => wire.resume(WireDirection::Outbound),
        (Fault::Crash | Fault::PowerLoss, _) => {
            if let Some(machine) = machine() {
                machine.restart();
            }
        }
        (Fault::Pause, _) => {
            if let Some(machine) = machine() {
                machine.resume();
            }
        }
        (Fault::Isolate, _) => sim.end_isolation(&act.target),
        _ => {}
    }
}
