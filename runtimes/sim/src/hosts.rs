//! The machines of a simulation, and the connections between them: [`Hosts`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use crate::lock;
use crate::machine::{Crash, MachineState};
use crate::pipe::Pipe;
use crate::wire::Wire;

/// The number of a machine.
pub(crate) type MachineId = u32;

/// Everything that is on no machine: the test and its clients.
pub(crate) const OUTSIDE: MachineId = 0;

#[derive(Default)]
pub(crate) struct Hosts(Mutex<State>);

#[derive(Default)]
struct State {
    machines: BTreeMap<String, Arc<MachineState>>,
    without_power: BTreeSet<MachineId>,
    /// The pairs of which nothing passes from the first to the second.
    partitions: BTreeSet<(MachineId, MachineId)>,
    /// The machine that listened last at a name.
    listeners: BTreeMap<String, MachineId>,
    connections: Vec<Connection>,
    /// The clients that wait for a machine to be reachable.
    waiting: Vec<Waker>,
}

struct Connection {
    pipe: Weak<Pipe>,
    machines: [MachineId; 2],
    listener: Option<String>,
}

impl Hosts {
    pub(crate) fn machine(&self, name: &str) -> Arc<MachineState> {
        let mut state = lock(&self.0);
        let next = state.machines.len() as MachineId + 1;
        let machine = state.machines.entry(name.to_owned());
        Arc::clone(machine.or_insert_with(|| Arc::new(MachineState::new(next, name))))
    }

    /// Returns the numbers of all machines, and of what is on none.
    pub(crate) fn machine_ids(&self) -> Vec<MachineId> {
        let state = lock(&self.0);
        state.machines.values().map(|machine| machine.id).chain([OUTSIDE]).collect()
    }

    /// Drops what the machines run, which may hold the simulation.
    pub(crate) fn clear(&self) {
        let machines: Vec<_> = lock(&self.0).machines.values().cloned().collect();
        machines.iter().for_each(|machine| machine.forget_program());
    }

    pub(crate) fn listen(&self, name: &str, machine: MachineId) {
        lock(&self.0).listeners.insert(name.to_owned(), machine);
    }

    /// Returns the machine that listens at `name`, or did so last.
    pub(crate) fn listener(&self, name: &str) -> MachineId {
        lock(&self.0).listeners.get(name).copied().unwrap_or(OUTSIDE)
    }

    /// Ready once packets pass between the machines in both directions.
    pub(crate) fn poll_reachable(&self, pair: [MachineId; 2], cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        let [from, to] = pair;
        let is_cut =
            state.partitions.contains(&(from, to)) || state.partitions.contains(&(to, from));
        if !is_cut && pair.iter().all(|machine| !state.without_power.contains(machine)) {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// Adds a connection between two machines.
    pub(crate) fn connect(
        &self,
        pipe: &Arc<Pipe>,
        machines: [MachineId; 2],
        listener: Option<&str>,
    ) {
        let mut state = lock(&self.0);
        if state.connections.len() == state.connections.capacity() {
            state.connections.retain(|connection| connection.pipe.strong_count() > 0);
        }
        let (pipe, listener) = (Arc::downgrade(pipe), listener.map(str::to_owned));
        state.connections.push(Connection { pipe, machines, listener });
    }

    /// Returns the wires of the open connections of a machine or a listener, oldest first, as seen
    /// from its end.
    pub(crate) fn wires(&self, name: &str) -> Vec<Wire> {
        let state = lock(&self.0);
        let machine = state.machines.get(name).map(|machine| machine.id);
        let wires = state.connections.iter().filter_map(|connection| {
            let side = match &connection.listener {
                Some(listener) if listener == name => 1,
                _ => connection.machines.iter().position(|id| Some(*id) == machine)?,
            };
            let pipe = connection.pipe.upgrade().filter(|pipe| pipe.is_open())?;
            Some(Wire::new(&pipe, side))
        });
        wires.collect()
    }

    /// Stops what passes from one machine to another.
    pub(crate) fn partition(&self, from: MachineId, to: MachineId) {
        lock(&self.0).partitions.insert((from, to));
        self.apply_partitions();
    }

    /// Ends all partitions that `matches` selects.
    pub(crate) fn heal(&self, matches: impl Fn(MachineId, MachineId) -> bool) {
        let waiting = {
            let mut state = lock(&self.0);
            state.partitions.retain(|&(from, to)| !matches(from, to));
            std::mem::take(&mut state.waiting)
        };
        self.apply_partitions();
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn set_power(&self, machine: MachineId, is_on: bool) {
        let waiting = {
            let mut state = lock(&self.0);
            match is_on {
                true => drop(state.without_power.remove(&machine)),
                false => drop(state.without_power.insert(machine)),
            }
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Ends the connections of a machine.
    pub(crate) fn crash(&self, machine: MachineId, crash: Crash) {
        for (pipe, machines) in self.connections() {
            for side in (0..2).filter(|side| machines[*side] == machine) {
                match crash {
                    Crash::Process => Wire::new(&pipe, side).reset(),
                    Crash::Power => Wire::new(&pipe, side).vanish(),
                }
            }
        }
    }

    /// Applies the partitions to the connections, new ones too.
    pub(crate) fn apply_partitions(&self) {
        for (pipe, [one, other]) in self.connections() {
            let is_cut = {
                let state = lock(&self.0);
                [(one, other), (other, one)].map(|pair| state.partitions.contains(&pair))
            };
            pipe.with(|ends, _, _| {
                for (lane, is_cut) in ends.lanes.iter_mut().zip(is_cut) {
                    lane.set_partitioned(is_cut);
                }
            });
        }
    }

    fn connections(&self) -> Vec<(Arc<Pipe>, [MachineId; 2])> {
        let state = lock(&self.0);
        let open = state.connections.iter();
        open.filter_map(|open| Some((open.pipe.upgrade()?, open.machines))).collect()
    }
}
