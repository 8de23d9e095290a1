//! The order in which tasks are woken, which shows why two runs poll tasks in another order:
//! [`WakeOrder`].

use std::sync::Arc;

use crate::waits;

/// The wake-ups of a run, in order, for the first seed of a check.
#[derive(Default)]
pub(crate) enum WakeOrder {
    #[default]
    Unknown,
    Keep(Vec<u64>),
    Compare {
        first: Arc<Vec<u64>>,
        count: usize,
    },
    Parted(Box<WakesParted>),
}

/// The first wake-up in which two runs of a seed differ.
#[derive(Clone, Debug)]
pub(crate) struct WakesParted {
    /// The task that ran; `None` if a timer fired.
    pub(crate) by: Option<u64>,
    /// The task that was woken in the first run, if any was.
    pub(crate) first: Option<u64>,
    pub(crate) second: u64,
    /// The call that woke the task in the second run.
    pub(crate) place: Option<String>,
}

impl WakeOrder {
    /// The number of wake-ups that are kept: 8 MB.
    const KEPT: usize = 1 << 20;

    /// Adds the wake-up of `task`, while the task `by` runs.
    pub(crate) fn record(&mut self, task: u64, by: Option<u64>) {
        match self {
            Self::Unknown | Self::Parted(_) => {}
            Self::Keep(woken) => {
                if woken.len() < Self::KEPT {
                    woken.push(task);
                }
            }
            Self::Compare { first, count } => {
                let expected = first.get(*count).copied();
                let is_known = expected.is_some() || first.len() < Self::KEPT;
                *count += 1;
                if is_known && expected != Some(task) {
                    let place = by.and_then(|_| waits::this_place());
                    let parted = WakesParted { by, first: expected, second: task, place };
                    *self = Self::Parted(Box::new(parted));
                }
            }
        }
    }
}
