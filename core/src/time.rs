//! The caller's clock: [`Instant`], which nothing in this crate can read by itself.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A reading of the caller's clock: the time since an epoch that the caller chose.
///
/// Any monotonic clock will do: `std::time::Instant` less the time the program started, a timer
/// tick of a device, or a number that a test counts up. Readings given to one connection must not
/// go back.
///
/// ```
/// use core::time::Duration;
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
    /// The epoch itself.
    pub const EPOCH: Self = Self(Duration::ZERO);

    /// The instant that lies `elapsed` after the epoch.
    pub const fn from_epoch(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time that has passed since the epoch.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to `self`, or zero when `earlier` is the later one.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Saturates at the end of time, so that "never" can be said with [`Duration::MAX`].
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
