//! The search through the states of a [`Model`]: [`Explorer`].

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something whose states can be explored: it can be copied, and lists what can happen next.
///
/// ```
/// use std::hash::{Hash, Hasher};
///
/// use sockless::sim::explore::{Explorer, Model};
///
/// /// Two people take turns at taking one or two of seven matches.
/// #[derive(Clone, Hash)]
/// struct Matches(u32);
///
/// impl Model for Matches {
///     type Action = u32;
///
///     fn fork(&self) -> Self {
///         self.clone()
///     }
///
///     fn actions(&self) -> Vec<u32> {
///         (1..=2).filter(|taken| *taken <= self.0).collect()
///     }
///
///     fn apply(&mut self, taken: &u32) -> Result<(), String> {
///         self.0 -= taken;
///         Ok(())
///     }
///
///     fn digest<H: Hasher>(&self, hasher: &mut H) {
///         self.hash(hasher);
///     }
/// }
///
/// let coverage = Explorer::new().run(Matches(7)).unwrap();
/// assert_eq!((coverage.states(), coverage.ends(), coverage.depth()), (8, 1, 4));
/// ```
pub trait Model: Sized {
    /// Something that can happen.
    type Action: Clone + fmt::Display;

    /// Returns an independent copy.
    fn fork(&self) -> Self;

    /// Returns what can happen next. A state without actions is an end.
    fn actions(&self) -> Vec<Self::Action>;

    /// Lets one of [`actions`](Self::actions) happen, and checks that the result is allowed.
    ///
    /// # Errors
    ///
    /// A description of the law that the action has broken. A panic counts as one too.
    fn apply(&mut self, action: &Self::Action) -> Result<(), String>;

    /// Checks a state in which nothing more can happen. It may change the state, which is not
    /// explored further. Default: any end is allowed.
    ///
    /// # Errors
    ///
    /// A description of the law that is broken. A panic counts as one too.
    fn check_end(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Adds everything to `hasher` that the future of this state depends on, the checks of
    /// [`apply`](Self::apply) included.
    ///
    /// Of two states with equal digests only the first is explored. What is left out here is
    /// therefore not tested.
    fn digest<H: Hasher>(&self, hasher: &mut H);
}

/// Visits all states of a [`Model`], breadth first: the counterexample that is found is one of the
/// shortest.
///
/// States are distinguished by 64 bits of SipHash over their [digests](Model::digest). Among a
/// million states, the chance that one is mistaken for another is below 1 in 30 million.
///
/// Each state that waits to be explored is held in memory, and 24 bytes or so for each that has
/// been.
#[derive(Clone, Debug)]
pub struct Explorer {
    max_states: usize,
    max_depth: usize,
}

impl Default for Explorer {
    fn default() -> Self {
        Self { max_states: 1_000_000, max_depth: 10_000 }
    }
}

impl Explorer {
    /// Creates an explorer with the default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many different states are visited at most. Default: one million.
    #[must_use]
    pub fn max_states(mut self, states: usize) -> Self {
        self.max_states = states;
        self
    }

    /// Sets how many actions a path has at most. Default: 10,000.
    #[must_use]
    pub fn max_depth(mut self, actions: usize) -> Self {
        self.max_depth = actions;
        self
    }

    /// Explores the states that can follow from `start`, until all have been visited or a limit is
    /// reached.
    ///
    /// # Errors
    ///
    /// The first law that is broken, and the actions that lead there.
    pub fn run<M: Model>(&self, start: M) -> Result<Coverage, Counterexample<M::Action>> {
        let mut search = Search {
            limits: self,
            seen: BTreeSet::from([digest(&start)]),
            paths: vec![None],
            waiting: VecDeque::from([(start, 0, 0)]),
            coverage: Coverage { states: 1, complete: true, ..Coverage::default() },
        };
        while let Some((state, path, depth)) = search.waiting.pop_front() {
            search.visit(&state, path, depth)?;
        }
        Ok(search.coverage)
    }
}

struct Search<'a, M: Model> {
    limits: &'a Explorer,
    seen: BTreeSet<u64>,
    /// For each state, the one before it and the action between the two.
    paths: Vec<Option<(usize, M::Action)>>,
    /// The states to be explored, each with its index in `paths` and its depth.
    waiting: VecDeque<(M, usize, usize)>,
    coverage: Coverage,
}

impl<M: Model> Search<'_, M> {
    fn visit(
        &mut self,
        state: &M,
        path: usize,
        depth: usize,
    ) -> Result<(), Counterexample<M::Action>> {
        self.coverage.depth = self.coverage.depth.max(depth);
        let actions = state.actions();
        if actions.is_empty() {
            self.coverage.ends += 1;
            let mut end = state.fork();
            return guarded(|| end.check_end())
                .map_err(|broken| self.counterexample(path, None, broken));
        }
        if depth == self.limits.max_depth {
            self.coverage.complete = false;
            return Ok(());
        }
        for action in actions {
            let mut next = state.fork();
            self.coverage.transitions += 1;
            if let Err(broken) = guarded(|| next.apply(&action)) {
                return Err(self.counterexample(path, Some(action), broken));
            }
            if self.is_new(&next) {
                self.add(next, path, action, depth + 1);
            }
        }
        Ok(())
    }

    /// Returns true if `state` has not been seen and the limit allows another one.
    fn is_new(&mut self, state: &M) -> bool {
        let digest = digest(state);
        if self.seen.len() < self.limits.max_states {
            return self.seen.insert(digest);
        }
        self.coverage.complete &= self.seen.contains(&digest);
        false
    }

    fn add(&mut self, state: M, before: usize, action: M::Action, depth: usize) {
        self.coverage.states += 1;
        self.waiting.push_back((state, self.paths.len(), depth));
        self.paths.push(Some((before, action)));
    }

    fn counterexample(
        &self,
        mut path: usize,
        last: Option<M::Action>,
        broken: String,
    ) -> Counterexample<M::Action> {
        let mut actions = Vec::from_iter(last);
        while let Some((before, action)) = &self.paths[path] {
            actions.push(action.clone());
            path = *before;
        }
        actions.reverse();
        Counterexample { actions, broken }
    }
}

fn digest<M: Model>(state: &M) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.digest(&mut hasher);
    hasher.finish()
}

/// Calls `check`, and turns a panic into an error.
fn guarded(check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| Err(text_of(&*panic)))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("(not a text)"))
}

/// The extent of an exploration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    states: usize,
    transitions: usize,
    ends: usize,
    depth: usize,
    complete: bool,
}

impl Coverage {
    /// Returns the number of different states.
    pub fn states(&self) -> usize {
        self.states
    }

    /// Returns the number of actions that were applied. Many lead to a state that is known.
    pub fn transitions(&self) -> usize {
        self.transitions
    }

    /// Returns the number of different states in which nothing more can happen.
    pub fn ends(&self) -> usize {
        self.ends
    }

    /// Returns the number of actions that lead to the state furthest from the start, each by its
    /// shortest path.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Returns true if no limit of the [`Explorer`] was reached: every state was visited.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, ends, depth, complete } = self;
        let extent = if *complete { "all" } else { "only" };
        write!(f, "{extent} {states} states, {transitions} transitions, {ends} ends, depth {depth}")
    }
}

/// A law that was broken, and the actions that lead there from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample<A> {
    actions: Vec<A>,
    broken: String,
}

impl<A> Counterexample<A> {
    /// Returns the actions, first to last.
    pub fn actions(&self) -> &[A] {
        &self.actions
    }

    /// Returns the description of the law that is broken.
    pub fn broken(&self) -> &str {
        &self.broken
    }
}

/// The law on a line, then a line for each action.
impl<A: fmt::Display> fmt::Display for Counterexample<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after {} actions:", self.broken, self.actions.len())?;
        self.actions
            .iter()
            .enumerate()
            .try_for_each(|(index, action)| write!(f, "\n{:>4}. {action}", index + 1))
    }
}

impl<A: fmt::Debug + fmt::Display> std::error::Error for Counterexample<A> {}

#[cfg(test)]
mod tests {
    use std::hash::{Hash, Hasher};

    use super::{Explorer, Model};

    /// A counter that may be raised by 1 or by 2, and must not be 5.
    #[derive(Clone, Hash)]
    struct Counter {
        value: u32,
        forbidden: u32,
    }

    impl Model for Counter {
        type Action = u32;

        fn fork(&self) -> Self {
            self.clone()
        }

        fn actions(&self) -> Vec<u32> {
            if self.value < 8 { vec![1, 2] } else { Vec::new() }
        }

        fn apply(&mut self, by: &u32) -> Result<(), String> {
            self.value += by;
            assert_ne!(self.value, 7 * self.forbidden, "seven times the forbidden number");
            if self.value == self.forbidden { Err("forbidden".into()) } else { Ok(()) }
        }

        fn check_end(&mut self) -> Result<(), String> {
            if self.value == 9 && self.forbidden == 99 { Err("nine".into()) } else { Ok(()) }
        }

        fn digest<H: Hasher>(&self, hasher: &mut H) {
            self.hash(hasher);
        }
    }

    fn explore(forbidden: u32) -> Result<super::Coverage, super::Counterexample<u32>> {
        Explorer::new().run(Counter { value: 0, forbidden })
    }

    #[test]
    fn each_state_is_visited_once() {
        let coverage = explore(100).unwrap();
        assert_eq!((coverage.states(), coverage.transitions()), (10, 16));
        assert_eq!((coverage.ends(), coverage.depth()), (2, 5));
        assert!(coverage.is_complete());
    }

    #[test]
    fn the_counterexample_is_one_of_the_shortest() {
        let found = explore(5).unwrap_err();
        assert_eq!((found.actions().len(), found.broken()), (3, "forbidden"));
        assert_eq!(found.to_string().lines().count(), 4);
    }

    #[test]
    fn a_panic_is_a_broken_law() {
        let found = explore(1).unwrap_err();
        assert_eq!((found.actions(), found.broken()), (&[1][..], "forbidden"));
        let found = Explorer::new().run(Counter { value: 2, forbidden: 1 }).unwrap_err();
        assert!(found.broken().contains("seven times"), "{found}");
    }

    #[test]
    fn an_end_is_checked() {
        let found = explore(99).unwrap_err();
        assert_eq!((found.actions().len(), found.broken()), (5, "nine"));
    }

    #[test]
    fn limits_leave_the_exploration_incomplete() {
        let start = Counter { value: 0, forbidden: 100 };
        let coverage = Explorer::new().max_states(4).run(start.clone()).unwrap();
        assert_eq!((coverage.states(), coverage.is_complete()), (4, false));
        let coverage = Explorer::new().max_depth(2).run(start).unwrap();
        assert_eq!((coverage.states(), coverage.is_complete()), (5, false));
    }
}
