//! Running a scenario under many plans: [`Campaign`].

mod draw;
mod parallel;
mod shrink;

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::check::{Cost, Ran, run_plan, run_plan_twice};
use crate::failure::{Failure, Replayed, replayed};
use crate::lock;
use crate::oracles::Reached;
use crate::plan::{Fault, Plan, Step, check_name, point_name};
use crate::sim::Sim;
use draw::{Source, Workload};

/// Runs a scenario under many [`Plan`]s, which it draws from seeds: faults of connections and
/// machines, and the steps of workloads. A plan that fails is shrunk to the acts and steps that the
/// failure needs.
///
/// [`Sim::check`] is the form without plans: the scenario injects its own faults. In a campaign they
/// are data. Each seed draws some of the kinds of faults only, and its own tick, of which all times
/// are multiples, so that two of them can fall on the same instant. What is random besides the plan
/// has a stream for each purpose: the order of the tasks, the draws of the scenario, the keys, the
/// disks, and each end of each connection. So leaving an act out does not change what the scenario
/// draws.
///
/// The plans that run, in this order, are those [saved](Self::saved) before, those of the
/// [seeds](Self::seeds), and [fresh](Self::fresh) ones. The environment variable `SOCKLESS_SIM`
/// replaces them by one plan, or by that of one seed.
///
/// ```
/// # use std::panic::catch_unwind;
/// use std::time::Duration;
///
/// use sockless::sim::{Campaign, Sim};
/// use sockless::{Closed, Router, Session, websocket};
///
/// async fn echo(mut session: Session) -> Result<(), Closed> {
///     loop {
///         let message = session.recv().await?;
///         session.send(message).await?;
///     }
/// }
///
/// /// A client that ends when its connection breaks, which is a bug.
/// async fn client(sim: Sim) {
///     sim.spawn(sim.serve("echo", Router::new().route("/", websocket(echo))));
///     let mut client = sim.connect("ws://echo/").await.unwrap();
///     for step in sim.steps("client") {
///         match step.what() {
///             "say" => {
///                 client.send("hello").await.expect("the connection holds");
///                 client.recv().await.expect("the connection holds");
///             }
///             _ => sim.sleep(Duration::from_millis(step.value() % 1000)).await,
///         }
///     }
/// }
///
/// // In a project of yours: #[test]
/// fn a_client_talks_under_faults() {
///     Campaign::new()
///         .seeds(0..50)
///         .wires("echo")
///         .steps("client", 5..30, ["say", "wait"])
///         .check(client);
/// }
/// # let failure = catch_unwind(a_client_talks_under_faults).unwrap_err().downcast::<String>().unwrap();
/// # assert!(failure.contains("the connection holds"), "{failure}");
/// # assert!(failure.contains("; step client say 0' cargo test"), "{failure}");
/// ```
#[derive(Clone, Debug)]
pub struct Campaign {
    seeds: Range<u64>,
    fresh: u64,
    budget: Cost,
    saved: Option<PathBuf>,
    sources: Vec<Source>,
    workloads: Vec<Workload>,
    acts: Range<u64>,
    events: Range<u64>,
    points: Vec<String>,
    within: Duration,
    ticks: Vec<Duration>,
    shrinking: u32,
    /// The marks that have to be reached; `None` if none have to be.
    marks: Option<Vec<String>>,
}

impl Campaign {
    /// Creates a campaign of 100 seeds, without faults and workloads.
    pub fn new() -> Self {
        Self {
            seeds: 0..100,
            fresh: 0,
            budget: Cost { polls: u64::MAX, bytes: u64::MAX },
            saved: None,
            sources: Vec::new(),
            workloads: Vec::new(),
            acts: 0..8,
            events: 0..0,
            points: Vec::new(),
            within: Duration::from_secs(10),
            ticks: vec![
                Duration::from_millis(1),
                Duration::from_millis(50),
                Duration::from_millis(500),
            ],
            shrinking: 1000,
            marks: None,
        }
    }

    /// Sets the seeds. Default: `0..100`.
    #[must_use]
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// Sets how many plans are run in addition, of seeds that differ from day to day and process to
    /// process. Default: 0.
    #[must_use]
    pub fn fresh(mut self, plans: u64) -> Self {
        self.fresh = plans;
        self
    }

    /// Sets the number of polls of tasks after which no further plan is begun, except for saved ones.
    /// Default: no limit.
    #[must_use]
    pub fn budget(mut self, polls: u64) -> Self {
        self.budget.polls = polls;
        self
    }

    /// Sets the number of bytes written to connections after which no further plan is begun, except
    /// for saved ones. Default: no limit.
    #[must_use]
    pub fn budget_bytes(mut self, bytes: u64) -> Self {
        self.budget.bytes = bytes;
        self
    }

    /// Sets a file of plans, one a line, that run first. A plan that fails is added to it, shrunk:
    /// commit it beside the test, such as `concat!(env!("CARGO_MANIFEST_DIR"), "/tests/jobs.plans")`.
    /// Default: none.
    #[must_use]
    pub fn saved(mut self, path: impl AsRef<Path>) -> Self {
        self.saved = Some(path.as_ref().to_owned());
        self
    }

    /// Adds faults of the connections of a machine or a listener; see
    /// [`Sim::wires`](crate::Sim::wires).
    ///
    /// # Panics
    ///
    /// Panics if the name is empty or has whitespace or a semicolon.
    #[must_use]
    #[track_caller]
    pub fn wires(self, name: &str) -> Self {
        self.faults(name, Fault::WIRE)
    }

    /// Adds faults of a machine, from when it runs a program.
    ///
    /// # Panics
    ///
    /// Panics if the name is empty or has whitespace or a semicolon.
    #[must_use]
    #[track_caller]
    pub fn machine(self, name: &str) -> Self {
        self.faults(name, Fault::MACHINE)
    }

    /// Adds faults of these kinds.
    ///
    /// # Panics
    ///
    /// Panics if the name is empty or has whitespace or a semicolon.
    #[must_use]
    #[track_caller]
    pub fn faults(mut self, target: &str, faults: impl IntoIterator<Item = Fault>) -> Self {
        check_name(target);
        let sources = faults.into_iter().map(|fault| Source { fault, target: target.to_owned() });
        self.sources.extend(sources);
        self
    }

    /// Adds a workload of so many steps, each one of `steps`. The scenario takes them from
    /// [`Sim::steps`].
    ///
    /// # Panics
    ///
    /// Panics if there are no `steps`, if `len` is an empty range, or if a name is empty or has
    /// whitespace or a semicolon.
    #[must_use]
    #[track_caller]
    pub fn steps<'a>(
        mut self,
        workload: &str,
        len: Range<u64>,
        steps: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let steps: Vec<String> = steps.into_iter().map(str::to_owned).collect();
        steps.iter().map(String::as_str).chain([workload]).for_each(check_name);
        assert!(!steps.is_empty() && !len.is_empty(), "a workload has steps");
        self.workloads.push(Workload { name: workload.to_owned(), len, steps });
        self
    }

    /// Sets how many acts a plan has. Default: `0..8`.
    ///
    /// # Panics
    ///
    /// Panics if the range is empty.
    #[must_use]
    #[track_caller]
    pub fn acts(mut self, acts: Range<u64>) -> Self {
        assert!(!acts.is_empty(), "expected a range of numbers of acts, got {acts:?}");
        self.acts = acts;
        self
    }

    /// Sets the time in which acts begin. They last a quarter of it at most. Default: 10 s.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Lets acts happen at events too, drawn from these numbers: see [`When::Event`](crate::When::Event). A time can fall
    /// between any two events, but seldom falls between those of one instant. Default: none.
    #[must_use]
    pub fn at_events(mut self, events: Range<u64>) -> Self {
        self.events = events;
        self
    }

    /// Lets acts happen too when the program reaches one of these marks for the first to the fourth
    /// time: see [`When::Point`](crate::When::Point). Default: none.
    ///
    /// # Panics
    ///
    /// Panics if a name is empty or has a semicolon.
    #[must_use]
    #[track_caller]
    pub fn at_points<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.points.extend(names.into_iter().map(point_name));
        self.points.iter().for_each(|name| check_name(name));
        self
    }

    /// Sets the ticks, of which a plan uses one: its times are multiples of it. Default: 1 ms, 50 ms
    /// and 500 ms.
    ///
    /// # Panics
    ///
    /// Panics if the list is empty, or if one is zero.
    #[must_use]
    #[track_caller]
    pub fn ticks(mut self, ticks: impl IntoIterator<Item = Duration>) -> Self {
        self.ticks = ticks.into_iter().collect();
        let are_valid = !self.ticks.is_empty() && !self.ticks.contains(&Duration::ZERO);
        assert!(are_valid, "expected ticks that are not zero");
        self
    }

    /// Sets how many runs are made to shrink a plan; 0 leaves it as it is. Default: 1000.
    #[must_use]
    pub fn shrinking(mut self, runs: u32) -> Self {
        self.shrinking = runs;
        self
    }

    /// Requires that these marks are reached in some run, with those of [`sometimes!`](crate::sometimes) that
    /// are visited, and with the acts of the plans. An act is reached if it has an effect: if its target has a
    /// connection, or runs a program, at that time. Its mark is the fault and the target: `Cut of echo`. See
    /// [`Reached`]. Default: nothing is required.
    ///
    /// ```
    /// # use std::panic::catch_unwind;
    /// use sockless::sim::Campaign;
    ///
    /// // In a project of yours: #[test]
    /// fn faults_have_effects() {
    ///     // No listener has this name.
    ///     Campaign::new().wires("ecko").reaches([]).check(|sim| async move {
    ///         sim.sleep(std::time::Duration::from_secs(10)).await;
    ///     });
    /// }
    /// # let failure = catch_unwind(faults_have_effects).unwrap_err().downcast::<String>().unwrap();
    /// # let expected = "never reached in any run: \"Cut of ecko\" (its condition was false ";
    /// # assert!(failure.starts_with(expected), "{failure}");
    /// ```
    #[must_use]
    pub fn reaches<'a>(mut self, marks: impl IntoIterator<Item = &'a str>) -> Self {
        self.marks.get_or_insert_default().extend(marks.into_iter().map(str::to_owned));
        self
    }

    /// Returns the plan of `seed`.
    pub fn plan(&self, seed: u64) -> Plan {
        draw::plan(seed, self)
    }

    /// Runs `scenario` under each plan, each time in a new simulation.
    ///
    /// The first one runs twice, and the two runs must be equal; see [`Sim::check`].
    ///
    /// # Panics
    ///
    /// As [`Sim::check`], with the shrunk plan in the message; if a mark is [not reached](Self::reaches); and
    /// if a [saved](Self::saved) plan, or that of `SOCKLESS_SIM`, cannot be read.
    #[track_caller]
    pub fn check<F, Fut>(&self, scenario: F)
    where
        F: Fn(Sim) -> Fut,
        Fut: Future<Output = ()>,
    {
        if let Some(replayed) = replayed() {
            let plan = match replayed {
                Replayed::Seed(seed) => self.plan(seed),
                Replayed::Plan(plan) => plan,
            };
            if let Err(failure) = run_plan_twice(&plan, &scenario).result {
                failure.raise();
            }
            return;
        }
        let reached = self.reached();
        let scenario = observed(reached.as_ref(), scenario);
        if let Some((plan, failure)) = self.first_failure(&scenario) {
            self.shrink(plan, failure, &scenario).raise();
        }
        if let Some(reached) = &reached {
            reached.assert();
        }
    }

    /// Like [`check`](Self::check), on several threads, each of which runs one plan at a time; 0 for
    /// as many as there are processors.
    ///
    /// The failure is that of the first plan that fails in the order of `check`, whichever thread
    /// finishes first. What the runs share, such as a counter outside of the simulation, must not
    /// influence them.
    ///
    /// # Panics
    ///
    /// As [`check`](Self::check).
    #[track_caller]
    pub fn check_parallel<F, Fut>(&self, threads: usize, scenario: F)
    where
        F: Fn(Sim) -> Fut + Sync,
        Fut: Future<Output = ()>,
    {
        let is_replayed = replayed().is_some();
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { processors() } else { threads };
        if is_replayed || threads == 1 {
            return self.check(scenario);
        }
        let reached = self.reached();
        let scenario = observed(reached.as_ref(), scenario);
        if let Some((plan, failure)) = parallel::first_failure(self, threads, &scenario) {
            self.shrink(plan, failure, &scenario).raise();
        }
        if let Some(reached) = &reached {
            reached.assert();
        }
    }

    fn reached(&self) -> Option<Reached> {
        let marks = self.marks.as_ref()?;
        Some(Reached::new(marks.iter().map(String::as_str)))
    }

    /// Returns the plans in the order in which they run, and how many of them are saved ones.
    #[track_caller]
    fn plans(&self) -> (impl Iterator<Item = Plan> + use<'_>, usize) {
        let saved = self.read_saved();
        let count = saved.len();
        let fresh = (self.fresh > 0).then(draw::fresh_seed).unwrap_or_default();
        let fresh = (0..self.fresh).map(move |index| fresh.wrapping_add(index));
        let drawn = self.seeds.clone().chain(fresh).map(|seed| self.plan(seed));
        (saved.into_iter().chain(drawn), count)
    }

    /// Returns true if a further plan is begun.
    fn affords(&self, cost: Cost) -> bool {
        cost.polls < self.budget.polls && cost.bytes < self.budget.bytes
    }

    #[track_caller]
    fn first_failure<F, Fut>(&self, scenario: &F) -> Option<(Plan, Failure)>
    where
        F: Fn(Sim) -> Fut,
        Fut: Future<Output = ()>,
    {
        let (plans, saved) = self.plans();
        let mut cost = Cost::default();
        for (index, plan) in plans.enumerate() {
            if index >= saved && !self.affords(cost) {
                break;
            }
            let ran = run_nth(index, &plan, scenario);
            cost = cost + ran.cost;
            if let Err(failure) = ran.result {
                return Some((plan, failure));
            }
        }
        None
    }

    /// Returns the failure of the shrunk plan, which is saved.
    fn shrink<F, Fut>(&self, plan: Plan, failure: Failure, scenario: &F) -> Failure
    where
        F: Fn(Sim) -> Fut,
        Fut: Future<Output = ()>,
    {
        let before = plan.len();
        let run = |plan: &Plan| run_plan(plan, scenario).result.err();
        let shrunk = shrink::shrink(plan, failure, self.shrinking, run);
        let mut note = format!(
            "\nplan, with {} of {before} acts and steps after {} runs:",
            shrunk.plan.len(),
            shrunk.runs
        );
        // Writing to a string does not fail.
        for act in &shrunk.plan.acts {
            let _ = write!(note, "\n  {act}");
        }
        for step in &shrunk.plan.steps {
            let _ = write!(note, "\n  {step}");
        }
        if let Some(path) = &self.saved {
            let _ = match save(path, &shrunk.plan) {
                Ok(()) => write!(note, "\n  saved in {}", path.display()),
                Err(error) => write!(note, "\n  not saved in {}: {error}", path.display()),
            };
        }
        shrunk.failure.with_note(&note)
    }

    #[track_caller]
    fn read_saved(&self) -> Vec<Plan> {
        let Some(path) = &self.saved else { return Vec::new() };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => panic!("{}: {error}", path.display()),
        };
        let plans = lines(&text)
            .map(|line| line.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        plans.collect()
    }
}

/// Returns `scenario`, with each simulation observed by `reached`.
fn observed<Fut>(reached: Option<&Reached>, scenario: impl Fn(Sim) -> Fut) -> impl Fn(Sim) -> Fut {
    move |sim| {
        if let Some(reached) = &reached {
            reached.observe(&sim);
        }
        scenario(sim)
    }
}

/// Runs the plan with this index: the first one twice.
fn run_nth<F, Fut>(index: usize, plan: &Plan, scenario: &F) -> Ran
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    match index {
        0 => run_plan_twice(plan, scenario),
        _ => run_plan(plan, scenario),
    }
}

impl Default for Campaign {
    fn default() -> Self {
        Self::new()
    }
}

impl Sim {
    /// Returns the steps of the workload `name` in the plan of this run, first to last; none without
    /// a [`Campaign`].
    pub fn steps(&self, name: &str) -> Vec<Step> {
        lock(&self.world.plan).as_ref().map(|plan| plan.steps(name)).unwrap_or_default()
    }
}

/// Adds a plan to a file, unless it has it.
fn save(path: &Path, plan: &Plan) -> std::io::Result<()> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let plan = plan.to_string();
    if lines(&text).any(|line| line == plan) {
        return Ok(());
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    if text.is_empty() {
        writeln!(file, "# Plans that failed once, shrunk. They run first; commit this file.")?;
    }
    writeln!(file, "{plan}")
}

/// Returns the plans of a file, without comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests;
