//! The memory budget of a server: [`Budget`], and the [`Account`] of each session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::meter::BudgetMeter;

/// The default limit in bytes.
pub(crate) const DEFAULT_BUDGET: usize = 192 << 20;

/// A limit in bytes for the unfinished messages and queues of all sessions of a server together.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: AtomicUsize,
    held: AtomicUsize,
    /// The number of sessions that hold any bytes.
    holders: AtomicUsize,
    meter: BudgetMeter,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            limit: AtomicUsize::new(DEFAULT_BUDGET),
            held: AtomicUsize::new(0),
            holders: AtomicUsize::new(0),
            meter: BudgetMeter::default(),
        }
    }
}

impl Budget {
    pub(crate) fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// The number of bytes that are held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns true if the limit is exceeded and a session with `bytes` holds more than an equal
    /// share of it. Sessions that hold less are never ended: together they stay under the limit.
    fn is_exceeded_by(&self, bytes: usize) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        self.held() > limit && bytes > limit / self.holders.load(Ordering::Relaxed).max(1)
    }
}

/// The bytes that one session holds, counted in the budget.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Arc<Budget>,
    held: usize,
}

impl Account {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        budget.meter.set(budget.limit.load(Ordering::Relaxed));
        Self { budget, held: 0 }
    }

    /// Records that the session holds `bytes` now. Returns whether that is too much.
    #[inline]
    pub(crate) fn settle(&mut self, bytes: usize) -> bool {
        bytes != self.held && self.change(bytes)
    }

    fn change(&mut self, bytes: usize) -> bool {
        let budget = &*self.budget;
        match (self.held, bytes) {
            (0, _) => _ = budget.holders.fetch_add(1, Ordering::Relaxed),
            (_, 0) => _ = budget.holders.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        // Either may be the larger: the difference wraps, and so does the sum.
        budget.held.fetch_add(bytes.wrapping_sub(self.held), Ordering::Relaxed);
        let has_grown = bytes > self.held;
        self.held = bytes;
        has_grown && budget.is_exceeded_by(bytes)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_with_more_than_its_share_of_an_exceeded_budget_is_over_it() {
        let budget = Arc::new(Budget::default());
        budget.set_limit(100);
        let mut accounts: Vec<_> = (0..4).map(|_| Account::new(Arc::clone(&budget))).collect();
        // A single session may hold all of it.
        assert!(!accounts[0].settle(100));
        // The second one exceeds the limit, with no more than its half.
        assert!(!accounts[1].settle(50));
        assert!(accounts[1].settle(51));
        assert_eq!(budget.held(), 151);
        // A session that gives memory back is not over the budget.
        assert!(!accounts[0].settle(90));
        drop(accounts.remove(0));
        assert_eq!(budget.held(), 51);
        accounts.clear();
        assert_eq!((budget.held(), budget.holders.load(Ordering::Relaxed)), (0, 0));
    }
}
