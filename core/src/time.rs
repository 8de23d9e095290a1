//! Time as an argument: [`Instant`]. No code in this crate reads a clock.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A reading of the caller's clock: the time since an epoch that the caller chooses.
///
/// Any monotonic clock can be used: the time since the program started, the timer of a device, or a
/// number that a test increments. The readings that are passed to one connection must not decrease.
///
/// ```
/// use std::time::Duration;
///
/// use sockless_core::Instant;
///
/// let start = Instant::EPOCH;
/// let later = start + Duration::from_secs(30);
/// assert_eq!(later.saturating_since(start), Duration::from_secs(30));
/// assert_eq!(start.saturating_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The epoch.
    pub const EPOCH: Self = Self(Duration::ZERO);

    /// Returns the instant that is `elapsed` after the epoch.
    pub const fn from_epoch(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Returns the time since the epoch.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// Returns the time from `earlier` to `self`, or zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Saturates, so that [`Duration::MAX`] can be used for "never".
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", self.0)
    }
}
