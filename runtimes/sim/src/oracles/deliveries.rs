//! Messages that were acknowledged are delivered: [`Deliveries`].

use std::collections::BTreeMap;
use std::fmt;

/// Items that a service has acknowledged, and the deliveries of them.
///
/// ```
/// use sockless::sim::oracles::{Deliveries, Guarantee};
///
/// let mut jobs = Deliveries::new();
/// jobs.acknowledged("job 1");
/// jobs.delivered("job 1");
/// // It was delivered before its acknowledgement arrived, or that was lost.
/// jobs.delivered("job 2");
/// jobs.assert(Guarantee::ExactlyOnce);
/// ```
#[derive(Clone, Debug)]
pub struct Deliveries<T> {
    items: BTreeMap<T, Item>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Item {
    is_acknowledged: bool,
    deliveries: u32,
}

/// The promise of a service about the items that it has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Each is delivered, perhaps several times.
    AtLeastOnce,
    /// None is delivered several times, and some may be lost.
    AtMostOnce,
    /// Each is delivered, and none several times.
    ExactlyOnce,
}

impl<T> Default for Deliveries<T> {
    fn default() -> Self {
        Self { items: BTreeMap::new() }
    }
}

impl<T: Ord + fmt::Debug> Deliveries<T> {
    /// Creates an oracle without items.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that the service has acknowledged `item`.
    pub fn acknowledged(&mut self, item: T) {
        self.items.entry(item).or_default().is_acknowledged = true;
    }

    /// Records that `item` was delivered.
    pub fn delivered(&mut self, item: T) {
        self.items.entry(item).or_default().deliveries += 1;
    }

    /// Returns true if each acknowledged item was delivered; for
    /// [`Sim::eventually`](crate::Sim::eventually).
    pub fn are_complete(&self) -> bool {
        self.items.values().all(|item| !item.is_acknowledged || item.deliveries > 0)
    }

    /// Asserts that `guarantee` was kept.
    ///
    /// # Panics
    ///
    /// Panics with the items that were lost or delivered several times.
    #[track_caller]
    pub fn assert(&self, guarantee: Guarantee) {
        if guarantee != Guarantee::AtMostOnce {
            let lost = self.those(|item| item.is_acknowledged && item.deliveries == 0);
            assert!(lost.is_empty(), "acknowledged and never delivered: {lost:?}");
        }
        if guarantee != Guarantee::AtLeastOnce {
            let repeated = self.those(|item| item.deliveries > 1);
            assert!(repeated.is_empty(), "delivered several times: {repeated:?}");
        }
    }

    fn those(&self, which: impl Fn(&Item) -> bool) -> Vec<&T> {
        self.items.iter().filter(|(_, item)| which(item)).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Deliveries, Guarantee};

    fn jobs(deliveries: u32) -> Deliveries<&'static str> {
        let mut jobs = Deliveries::new();
        jobs.acknowledged("job");
        (0..deliveries).for_each(|_| jobs.delivered("job"));
        jobs
    }

    #[test]
    fn a_guarantee_allows_what_it_allows() {
        jobs(0).assert(Guarantee::AtMostOnce);
        jobs(2).assert(Guarantee::AtLeastOnce);
        jobs(1).assert(Guarantee::ExactlyOnce);
        assert!(jobs(1).are_complete() && !jobs(0).are_complete());
    }

    #[test]
    #[should_panic = "acknowledged and never delivered: [\"job\"]"]
    fn a_lost_item_is_found() {
        jobs(0).assert(Guarantee::AtLeastOnce);
    }

    #[test]
    #[should_panic = "delivered several times: [\"job\"]"]
    fn a_repeated_item_is_found() {
        jobs(2).assert(Guarantee::ExactlyOnce);
    }
}
