//! The latencies of a run.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that is recorded as it is; longer ones are recorded as this.
const LONGEST: Duration = Duration::from_secs(3600);
const DIGITS: u8 = 2;

/// Durations, to two significant digits.
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_max(nanos(LONGEST), DIGITS);
        Self(histogram.expect("the constants are within the histogram's bounds"))
    }
}

impl Latencies {
    pub fn record(&mut self, duration: Duration) {
        self.0.saturating_record(nanos(duration));
    }

    /// The shortest recorded duration that `share` of all do not exceed; zero if none was recorded.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
