//! The faults and the steps of a run, as data: [`Plan`], [`Act`], [`Step`].

mod perform;
mod text;

use std::time::Duration;

pub(crate) use perform::perform;
pub use text::ParsePlanError;

/// The faults and the steps of a run, and its seed, from a [`Campaign`](crate::Campaign).
///
/// `Display` writes it as one line and `FromStr` reads that, so that a plan can be kept in a file and
/// given to a test in the environment variable `SOCKLESS_SIM`. Equal plans and equal code give equal
/// runs.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::sim::{Act, Fault, Plan};
///
/// let mut plan: Plan = "seed 7; at 1500ms cut jobs 2; step ada submit 5".parse()?;
/// assert_eq!(plan.steps("ada")[0].what(), "submit");
/// plan.push_act(Act::new(Duration::from_secs(2), Fault::Pause, "jobs").lasting(Duration::from_millis(50)));
/// assert_eq!(plan.to_string(), "seed 7; at 1500ms cut jobs 2; at 2s pause jobs for 50ms; step ada submit 5");
/// # Ok::<(), sockless::sim::ParsePlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(crate) seed: u64,
    pub(crate) acts: Vec<Act>,
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    /// Creates a plan without acts and steps.
    pub fn new(seed: u64) -> Self {
        Self { seed, acts: Vec::new(), steps: Vec::new() }
    }

    /// Returns the seed, which decides everything that is random and not in the plan.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the faults, in no particular order.
    pub fn acts(&self) -> &[Act] {
        &self.acts
    }

    /// Adds a fault.
    pub fn push_act(&mut self, act: Act) {
        self.acts.push(act);
    }

    /// Returns the steps of the workload `name`, first to last.
    pub fn steps(&self, name: &str) -> Vec<Step> {
        self.steps.iter().filter(|step| step.workload == name).cloned().collect()
    }

    /// Returns how many acts and steps there are.
    pub(crate) fn len(&self) -> usize {
        self.acts.len() + self.steps.len()
    }
}

/// When an act happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// At this time after the beginning.
    At(Duration),
    /// After the poll of a task in which this event of the run happens. Events are numbered as in
    /// its [`Trace`](crate::Trace).
    Event(u64),
    /// After the poll of a task in which a mark of the program is reached for the nth time, from 1
    /// on.
    Point {
        /// The name of a [`sometimes!`](crate::sometimes) whose condition holds, or of a
        /// [`buggify!`](crate::buggify), with hyphens in place of spaces.
        name: String,
        /// The number of times it is reached.
        nth: u64,
    },
}

/// A fault at an instant of virtual time, at an event, or at a point that the program reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub(crate) when: When,
    pub(crate) fault: Fault,
    pub(crate) target: String,
    pub(crate) pick: u32,
    pub(crate) lasting: Duration,
}

impl Act {
    /// Creates an act at the time `at` after the beginning. `target` is a machine, or for faults of
    /// connections what [`Sim::wires`](crate::Sim::wires) takes.
    ///
    /// # Panics
    ///
    /// Panics if `target` is empty or has whitespace or a semicolon.
    pub fn new(at: Duration, fault: Fault, target: &str) -> Self {
        Self::when(When::At(at), fault, target)
    }

    /// Creates an act that happens after the poll in which event `number` happens.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn at_event(number: u64, fault: Fault, target: &str) -> Self {
        Self::when(When::Event(number), fault, target)
    }

    /// Creates an act that happens after the poll in which the mark `name` is reached for the `nth`
    /// time, counted from 1; see [`When::Point`].
    ///
    /// # Panics
    ///
    /// Panics if `name` is empty or has a semicolon, and as [`new`](Self::new).
    pub fn at_point(name: &str, nth: u64, fault: Fault, target: &str) -> Self {
        Self::when(When::point(name, nth), fault, target)
    }

    pub(crate) fn when(when: When, fault: Fault, target: &str) -> Self {
        check_name(target);
        Self { when, fault, target: target.to_owned(), pick: 0, lasting: Duration::ZERO }
    }

    /// Selects a connection of the target: the oldest open one is 0, and numbers from the number of
    /// open ones on begin again. Default: 0.
    #[must_use]
    pub fn pick(mut self, pick: u32) -> Self {
        self.pick = pick;
        self
    }

    /// Sets how long a fault lasts that ends, and how far a [`Jump`](Fault::Jump) goes. Default:
    /// zero.
    #[must_use]
    pub fn lasting(mut self, lasting: Duration) -> Self {
        self.lasting = lasting;
        self
    }

    /// Returns when it happens.
    pub fn happens(&self) -> &When {
        &self.when
    }

    /// Returns what happens.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Returns the name of the machine or of the connections to which it happens.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl When {
    pub(crate) fn point(name: &str, nth: u64) -> Self {
        let name = point_name(name);
        check_name(&name);
        Self::Point { name, nth }
    }

    /// Returns the time, unless it is an event or a point.
    pub(crate) fn time(&self) -> Option<Duration> {
        match self {
            Self::At(at) => Some(*at),
            _ => None,
        }
    }
}

/// Returns the name of a mark as it is in plans.
pub(crate) fn point_name(mark: &str) -> String {
    mark.replace(char::is_whitespace, "-")
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// [`Wire::cut`](crate::Wire::cut) of a connection.
    Cut,
    /// [`Wire::reset_peer`](crate::Wire::reset_peer) of a connection.
    ResetPeer,
    /// [`Wire::vanish`](crate::Wire::vanish) of a connection.
    Vanish,
    /// [`Wire::stall`](crate::Wire::stall) of what a connection's end of the target receives, for a
    /// time.
    StallInbound,
    /// [`Wire::stall`](crate::Wire::stall) of what a connection's end of the target sends, for a time.
    StallOutbound,
    /// [`Crash::Process`](crate::Crash::Process) of a machine, which restarts after a time.
    Crash,
    /// [`Crash::Power`](crate::Crash::Power) of a machine, which restarts after a time.
    PowerLoss,
    /// [`Machine::pause`](crate::Machine::pause), for a time.
    Pause,
    /// [`Machine::jump`](crate::Machine::jump), by a time.
    Jump,
    /// A [partition](crate::Sim::partition) between a machine and everything else, for a time. Its
    /// end heals all partitions of the machine.
    Isolate,
}

impl Fault {
    pub(crate) const WIRE: [Self; 5] =
        [Self::Cut, Self::ResetPeer, Self::Vanish, Self::StallInbound, Self::StallOutbound];
    pub(crate) const MACHINE: [Self; 5] =
        [Self::Crash, Self::PowerLoss, Self::Pause, Self::Jump, Self::Isolate];

    /// Returns false if it has no time of its own.
    pub(crate) fn lasts(self) -> bool {
        !matches!(self, Self::Cut | Self::ResetPeer | Self::Vanish)
    }

    pub(crate) fn is_of_wire(self) -> bool {
        Self::WIRE.contains(&self)
    }
}

/// A step of a workload, for the scenario to perform; see
/// [`Campaign::steps`](crate::Campaign::steps).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub(crate) workload: String,
    pub(crate) what: String,
    pub(crate) value: u64,
}

impl Step {
    /// Returns its name.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Returns a number for the details, such as a length or a delay. Smaller ones are simpler: a
    /// shrunk plan has them.
    pub fn value(&self) -> u64 {
        self.value
    }
}

/// # Panics
///
/// Panics if the name cannot be a part of a plan's text.
#[track_caller]
pub(crate) fn check_name(name: &str) {
    let is_valid = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == ';');
    assert!(
        is_valid,
        "{name:?} cannot be in a plan: expected a name without spaces and semicolons"
    );
}
