//! What the sessions of one host may hold together: [`Budget`], and each session's [`Account`] with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes the sessions of a host may hold together, unless that is set.
pub(crate) const DEFAULT_BUDGET: usize = 192 << 20;

/// A limit in bytes for what all sessions of a host hold of unfinished messages and queues.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: AtomicUsize,
    held: AtomicUsize,
    /// How many sessions hold anything.
    holders: AtomicUsize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            limit: AtomicUsize::new(DEFAULT_BUDGET),
            held: AtomicUsize::new(0),
            holders: AtomicUsize::new(0),
        }
    }
}

impl Budget {
    pub(crate) fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes are held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether a session that holds `bytes` holds more than an equal share of a limit that is passed. Those
    /// that hold less are never to blame: together they stay under the limit.
    fn is_exceeded_by(&self, bytes: usize) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        self.held() > limit && bytes > limit / self.holders.load(Ordering::Relaxed).max(1)
    }
}

/// What one session holds, as its host's budget knows it.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Arc<Budget>,
    held: usize,
}

impl Account {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, held: 0 }
    }

    /// Takes note that the session holds `bytes` now, and says whether that is too much.
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
        // One of the two is zero; the sums wrap, and so does their difference.
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
    fn who_holds_more_than_a_share_of_too_much_is_to_blame() {
        let budget = Arc::new(Budget::default());
        budget.set_limit(100);
        let mut accounts: Vec<_> = (0..4).map(|_| Account::new(Arc::clone(&budget))).collect();
        // Alone, one may hold all of it.
        assert!(!accounts[0].settle(100));
        // The next one passes the limit, and holds no more than its half.
        assert!(!accounts[1].settle(50));
        assert!(accounts[1].settle(51));
        assert_eq!(budget.held(), 151);
        // Nor is one blamed for what it gives back.
        assert!(!accounts[0].settle(90));
        drop(accounts.remove(0));
        assert_eq!(budget.held(), 51);
        accounts.clear();
        assert_eq!((budget.held(), budget.holders.load(Ordering::Relaxed)), (0, 0));
    }
}
