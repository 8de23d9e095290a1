//! The places at which metrics are recorded: [`SessionMeter`], [`BudgetMeter`] and [`Stopwatch`].
//!
//! Without the feature `metrics` they have no size and do nothing. With it, a session without a recorder costs a
//! pointer, and a check of it in each turn.

#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;

/// True if there may be a recorder: what is done for metrics alone can be left out otherwise.
pub(crate) const IS_ENABLED: bool = cfg!(feature = "metrics");

#[cfg(not(feature = "metrics"))]
pub(crate) use off::*;
#[cfg(feature = "metrics")]
pub(crate) use on::*;
