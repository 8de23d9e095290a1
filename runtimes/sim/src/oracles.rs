//! Oracles: what decides whether a run was right.
//!
//! - [`OperationHistory`] records operations with their outcomes and virtual times, for example to check
//!   that they are linearizable.
//! - [`Sequences`] are numbered streams, which must have no gap and no repetition, over reconnects.
//! - [`Deliveries`] are items that were acknowledged, which must be delivered.
//! - [`Sim::always`](crate::Sim::always), [`Sim::eventually`](crate::Sim::eventually) and
//!   [`Sim::gauge`](crate::Sim::gauge) watch the state of a program while it runs.
//! - [`sometimes!`](crate::sometimes) marks what should happen in some run, and [`Reached`] fails
//!   a test in which it never did.

mod deliveries;
mod history;
#[cfg(feature = "linearizability")]
mod linearizable;
mod reached;
mod sequences;
mod watch;

pub use deliveries::{Deliveries, Guarantee};
pub use history::{Operation, OperationHistory, OperationOutcome, Pending};
#[cfg(feature = "linearizability")]
pub use linearizable::Sequential;
pub use reached::Reached;
pub(crate) use reached::Visits;
#[doc(hidden)]
pub use reached::{buggify, sometimes};
pub use sequences::Sequences;
pub use watch::Gauge;
pub(crate) use watch::Observers;
