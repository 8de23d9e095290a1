//! Latencies, kept to 3 %.

use std::time::Duration;

/// Each power of two is cut into this many parts.
const PARTS: u64 = 32;
const PART_BITS: u32 = PARTS.trailing_zeros();

/// Counts of durations in nanoseconds, in buckets whose width grows with them.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; (64 * PARTS) as usize], total: 0 }
    }
}

impl Histogram {
    /// Adds `count` durations of one length.
    pub fn record(&mut self, duration: Duration, count: u64) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += count;
        self.total += count;
    }

    /// The duration that `share` of all do not pass; zero when there is none.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_nanos(found.map_or(0, floor))
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < PARTS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - PART_BITS;
    ((u64::from(shift) + 1) * PARTS + (nanos >> shift) - PARTS) as usize
}

/// The least duration that falls into a bucket.
fn floor(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let shift = bucket / PARTS - 1;
    (bucket % PARTS + PARTS) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_it_begins_with_and_is_no_wider_than_a_part() {
        for nanos in (0..5_000).chain([1 << 40, (1 << 40) + 12_345, u64::MAX]) {
            let begin = floor(bucket(nanos));
            assert!(begin <= nanos && nanos - begin <= nanos / PARTS, "{nanos}: {begin}");
        }
    }

    #[test]
    fn quantiles_count_from_the_shortest() {
        let mut histogram = Histogram::default();
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis), 10);
        }
        let near = |share, millis: f64| {
            let found = histogram.quantile(share).as_secs_f64() * 1_000.0;
            assert!((found - millis).abs() <= millis / 30.0, "{share}: {found}");
        };
        near(0.5, 50.0);
        near(0.99, 99.0);
        near(1.0, 100.0);
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }
}
