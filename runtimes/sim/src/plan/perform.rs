//! Performing the acts of a plan.

use std::time::Duration;

use sockless_core::Instant;

use super::{Act, Fault, Plan};
use crate::machine::Crash;
use crate::oracles::sometimes;
use crate::sim::Sim;
use crate::wire::{Wire, WireDirection};

/// A half of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Half {
    Begin,
    End,
}

/// Performs the acts of `plan`, each at its time.
pub(crate) async fn perform(sim: Sim, plan: Plan) {
    let acts = plan.acts.iter().enumerate();
    let mut halves: Vec<(Duration, usize, Half)> = acts
        .flat_map(|(index, act)| {
            let end = act.at.saturating_add(act.lasting);
            [(act.at, index, Half::Begin), (end, index, Half::End)]
        })
        .filter(|(_, index, half)| *half == Half::Begin || plan.acts[*index].fault.lasts())
        .collect();
    halves.sort();
    let mut stalled: Vec<Option<Wire>> = vec![None; plan.acts.len()];
    for (at, index, half) in halves {
        sim.sleep_until(Instant::EPOCH + at).await;
        let act = &plan.acts[index];
        let has_effect = match (half, act.fault.is_of_wire()) {
            (Half::Begin, true) => {
                stalled[index] = begin_of_wire(&sim, act);
                stalled[index].is_some()
            }
            (Half::Begin, false) => begin_of_machine(&sim, act),
            (Half::End, _) => {
                end(&sim, act, stalled[index].take());
                continue;
            }
        };
        sometimes(has_effect, &format!("{:?} of {}", act.fault, act.target));
    }
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
