//! Linearizability: [`OperationHistory::assert_linearizable`].

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use sockless_core::Instant;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as Actions};
use todc_utils::specifications::Specification;

use super::history::{Operation, OperationHistory, OperationOutcome};

/// The behaviour of an object whose operations come one after the other.
pub trait Sequential {
    /// The state of the object.
    type State: Clone + Eq + Hash + fmt::Debug;
    /// An operation.
    type Operation: Clone + fmt::Debug;
    /// The result of an operation.
    type Result: Clone + PartialEq + fmt::Debug;

    /// Returns the state before the first operation.
    fn initial() -> Self::State;

    /// Returns the result of `operation`, and the state after it.
    fn apply(operation: &Self::Operation, state: &Self::State) -> (Self::Result, Self::State);
}

impl<O, R> OperationHistory<O, R> {
    /// Asserts that the history is linearizable: the operations have an order in which each lies
    /// between its beginning and its end, and in which the results are those of `S`.
    ///
    /// Operations that failed are left out. One whose outcome is unknown may lie at any time after
    /// its beginning. The search takes exponential time in the number of operations that overlap,
    /// so keep histories short.
    ///
    /// ```
    /// use sockless::sim::Sim;
    /// use sockless::sim::oracles::{OperationHistory, Sequential};
    ///
    /// /// A number that can be replaced, which returns the one before.
    /// struct Cell;
    ///
    /// impl Sequential for Cell {
    ///     type State = u32;
    ///     type Operation = u32;
    ///     type Result = u32;
    ///
    ///     fn initial() -> u32 {
    ///         0
    ///     }
    ///
    ///     fn apply(new: &u32, state: &u32) -> (u32, u32) {
    ///         (*state, *new)
    ///     }
    /// }
    ///
    /// let history = OperationHistory::new(&Sim::new(1));
    /// let (alice, bob) = (history.invoke("Alice", 1), history.invoke("Bob", 2));
    /// // They overlap, and Bob was first.
    /// alice.succeeded(2);
    /// bob.succeeded(0);
    /// history.assert_linearizable::<Cell>();
    /// ```
    ///
    /// # Panics
    ///
    /// Panics with the history if there is no such order.
    #[track_caller]
    pub fn assert_linearizable<S>(&self)
    where
        S: Sequential<Operation = O, Result = R>,
        O: fmt::Debug + Clone,
        R: fmt::Debug + Clone,
    {
        let actions = self.with(actions);
        // The checker cannot handle an empty history.
        if !actions.is_empty() {
            let history = Actions::from_actions(actions);
            assert!(
                WGLChecker::<Checked<S>>::is_linearizable(history),
                "the history is not linearizable:\n{self:?}"
            );
        }
    }
}

/// An operation with its result, if that is known.
type Known<O, R> = (O, Option<R>);

/// The calls and responses in order. Each operation is a process of its own, since one client may
/// have several under way.
fn actions<O: Clone, R: Clone>(
    operations: &[Operation<O, R>],
) -> Vec<(usize, Action<Known<O, R>>)> {
    // At one instant, calls precede responses: operations that touch overlap.
    let never = Instant::from_epoch(std::time::Duration::MAX);
    let mut timed = Vec::new();
    for (process, operation) in operations.iter().enumerate() {
        let result = match operation.outcome() {
            OperationOutcome::Succeeded(result) => Some(result.clone()),
            OperationOutcome::Unknown => None,
            OperationOutcome::Failed => continue,
        };
        let known = (operation.operation().clone(), result);
        timed.push((operation.began(), 0, process, Action::Call(known.clone())));
        let ended = operation.ended().unwrap_or(never);
        timed.push((ended, 1, process, Action::Response(known)));
    }
    timed.sort_by_key(|(at, order, process, _)| (*at, *order, *process));
    timed.into_iter().map(|(_, _, process, action)| (process, action)).collect()
}

/// The specification as the checker wants it.
struct Checked<S>(PhantomData<S>);

impl<S: Sequential> Specification for Checked<S> {
    type State = S::State;
    type Operation = Known<S::Operation, S::Result>;

    fn init() -> Self::State {
        S::initial()
    }

    fn apply((operation, known): &Self::Operation, state: &Self::State) -> (bool, Self::State) {
        let (result, next) = S::apply(operation, state);
        (known.as_ref().is_none_or(|known| *known == result), next)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Sequential;
    use crate::oracles::OperationHistory;
    use crate::sim::Sim;

    /// A register: `Some` writes, `None` reads.
    struct Register;

    impl Sequential for Register {
        type State = u32;
        type Operation = Option<u32>;
        type Result = u32;

        fn initial() -> u32 {
            0
        }

        fn apply(operation: &Option<u32>, state: &u32) -> (u32, u32) {
            let value = operation.unwrap_or(*state);
            (value, value)
        }
    }

    /// Writes 1, waits, and reads `read`. The outcome of the write is `known` before the read.
    fn history(read: u32, known: bool) -> OperationHistory<Option<u32>, u32> {
        let sim = Sim::new(1);
        let history = OperationHistory::new(&sim);
        sim.run(async {
            let write = history.invoke("Alice", Some(1));
            sim.sleep(Duration::from_secs(1)).await;
            if known {
                write.succeeded(1);
            }
            sim.sleep(Duration::from_secs(1)).await;
            let reads = history.invoke("Bob", None);
            sim.sleep(Duration::from_secs(1)).await;
            reads.succeeded(read);
        });
        history
    }

    #[test]
    fn a_write_that_succeeded_is_read() {
        history(1, true).assert_linearizable::<Register>();
        OperationHistory::new(&Sim::new(1)).assert_linearizable::<Register>();
    }

    #[test]
    #[should_panic = "not linearizable"]
    fn a_stale_read_is_found() {
        history(0, true).assert_linearizable::<Register>();
    }

    #[test]
    fn a_write_whose_outcome_is_unknown_may_be_read_or_not() {
        history(0, false).assert_linearizable::<Register>();
        history(1, false).assert_linearizable::<Register>();
    }

    #[test]
    #[should_panic = "not linearizable"]
    fn a_write_that_failed_is_not_read() {
        let history = history(1, false);
        let sim = Sim::new(1);
        let failed = OperationHistory::new(&sim);
        failed.invoke("Alice", Some(1)).failed();
        let read = failed.invoke("Bob", None);
        read.succeeded(1);
        drop(history);
        failed.assert_linearizable::<Register>();
    }
}
