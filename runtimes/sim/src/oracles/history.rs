//! Operations with their outcomes and times: [`OperationHistory`].

use std::fmt;
use std::sync::{Arc, Mutex};

use sockless_core::Instant;

use crate::lock;
use crate::sim::Sim;

/// The operations of all clients of a run, each with the times at which it began and ended.
///
/// Clones are handles to the same history.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::sim::Sim;
/// use sockless::sim::oracles::{OperationHistory, OperationOutcome};
///
/// let sim = Sim::new(1);
/// let history = OperationHistory::new(&sim);
/// sim.run(async {
///     let put = history.invoke("Alice", "put 1");
///     sim.sleep(Duration::from_secs(1)).await;
///     put.succeeded("done");
///     // The connection was lost, so the operation may have happened or not.
///     drop(history.invoke("Bob", "put 2"));
/// });
/// let [first, second] = &history.operations()[..] else { panic!() };
/// assert_eq!((first.operation(), first.outcome()), (&"put 1", &OperationOutcome::Succeeded("done")));
/// assert_eq!(second.outcome(), &OperationOutcome::Unknown);
/// ```
pub struct OperationHistory<O, R> {
    sim: Sim,
    operations: Arc<Mutex<Vec<Operation<O, R>>>>,
}

impl<O, R> Clone for OperationHistory<O, R> {
    fn clone(&self) -> Self {
        Self { sim: self.sim.clone(), operations: Arc::clone(&self.operations) }
    }
}

/// An operation of a [`OperationHistory`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<O, R> {
    client: String,
    operation: O,
    began: Instant,
    ended: Option<Instant>,
    outcome: OperationOutcome<R>,
}

/// The end of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationOutcome<R> {
    /// It took effect, with this result.
    Succeeded(R),
    /// It had no effect.
    Failed,
    /// It may have taken effect, or may still do so.
    Unknown,
}

impl<O, R> Operation<O, R> {
    /// Returns the name of the client.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Returns what was asked for.
    pub fn operation(&self) -> &O {
        &self.operation
    }

    /// Returns when it was invoked.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Returns when it succeeded or failed; `None` while that is unknown.
    pub fn ended(&self) -> Option<Instant> {
        self.ended
    }

    /// Returns how it ended.
    pub fn outcome(&self) -> &OperationOutcome<R> {
        &self.outcome
    }
}

impl<O, R> OperationHistory<O, R> {
    /// Creates a history that takes its times from `sim`.
    pub fn new(sim: &Sim) -> Self {
        Self { sim: sim.clone(), operations: Arc::default() }
    }

    /// Records that `client` begins an operation.
    pub fn invoke(&self, client: impl Into<String>, operation: O) -> Pending<O, R> {
        let mut operations = lock(&self.operations);
        operations.push(Operation {
            client: client.into(),
            operation,
            began: self.sim.now(),
            ended: None,
            outcome: OperationOutcome::Unknown,
        });
        Pending { history: self.clone(), index: operations.len() - 1 }
    }

    /// Returns the operations, in the order in which they began.
    pub fn operations(&self) -> Vec<Operation<O, R>>
    where
        O: Clone,
        R: Clone,
    {
        lock(&self.operations).clone()
    }

    #[cfg(feature = "linearizability")]
    pub(super) fn with<T>(&self, look: impl FnOnce(&[Operation<O, R>]) -> T) -> T {
        look(&lock(&self.operations))
    }
}

/// One operation a line.
impl<O: fmt::Debug, R: fmt::Debug> fmt::Debug for OperationHistory<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Operation { client, operation, began, ended, outcome } in &*lock(&self.operations) {
            write!(f, "{began:?} to ")?;
            match ended {
                Some(ended) => write!(f, "{ended:?}")?,
                None => f.write_str("?")?,
            }
            writeln!(f, " {client}: {operation:?} {outcome:?}")?;
        }
        Ok(())
    }
}

/// An operation that has begun, from [`OperationHistory::invoke`]. Its outcome stays unknown if it is
/// dropped.
#[must_use = "the outcome is unknown if it is dropped"]
pub struct Pending<O, R> {
    history: OperationHistory<O, R>,
    index: usize,
}

impl<O, R> Pending<O, R> {
    /// Records that the operation took effect, with this result.
    pub fn succeeded(self, result: R) {
        self.end(OperationOutcome::Succeeded(result));
    }

    /// Records that the operation had no effect. If that is not certain, drop it instead.
    pub fn failed(self) {
        self.end(OperationOutcome::Failed);
    }

    fn end(self, outcome: OperationOutcome<R>) {
        let operation = &mut lock(&self.history.operations)[self.index];
        operation.ended = Some(self.history.sim.now());
        operation.outcome = outcome;
    }
}

impl<O, R> fmt::Debug for Pending<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending({})", self.index)
    }
}
