//! The results of a server, and the table of all.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use sockless::Escaped;
use tokio::time::Instant;

use super::options::Options;
use crate::exit::Failure;

/// The percentiles that are printed.
const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 100.0];

/// The measurements of one round, or of a task of it.
#[derive(Clone)]
pub(crate) struct Tally {
    /// The times in nanoseconds.
    times: Histogram<u64>,
    /// When the last time was recorded.
    last: Option<Instant>,
    /// The duration of the rounds, each until the last time in it.
    elapsed: Duration,
    /// The number of failures of each kind, by text.
    failures: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let times = Histogram::new_with_bounds(1, 3_600_000_000_000, 3);
        let times = times.expect("the bounds are valid");
        Self { times, last: None, elapsed: Duration::ZERO, failures: BTreeMap::new() }
    }

    /// Records what ended now, and took `time`.
    pub(crate) fn time(&mut self, time: Duration) {
        self.last = Some(Instant::now());
        self.times.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    pub(crate) fn failure(&mut self, failure: impl fmt::Display) {
        *self.failures.entry(failure.to_string()).or_default() += 1;
    }

    /// Ends a round that began at `begin`.
    pub(crate) fn end_round(&mut self, begin: Instant) {
        self.elapsed += self.last.take().map_or(Duration::ZERO, |last| last - begin);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.times.add(&other.times).expect("the bounds are the same");
        self.last = self.last.max(other.last);
        self.elapsed += other.elapsed;
        for (failure, count) in &other.failures {
            *self.failures.entry(failure.clone()).or_default() += count;
        }
    }

    fn rate(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn percentile(&self, percentile: f64) -> Duration {
        Duration::from_nanos(self.times.value_at_percentile(percentile))
    }
}

/// The rounds of one server.
pub(crate) struct Outcome {
    url: String,
    tally: Tally,
}

impl Outcome {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), tally: Tally::new() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn count(&self) -> u64 {
        self.tally.times.len()
    }

    /// Returns the time in nanoseconds within which so many percent came.
    pub(crate) fn time_at(&self, percentile: f64) -> f64 {
        self.tally.percentile(percentile).as_nanos() as f64
    }

    pub(crate) fn add(&mut self, round: Tally) {
        self.tally.add(&round);
    }
}

/// Prints a line for each server, their ratio, and what failed.
pub(crate) fn print(
    options: &Options,
    results: &[Outcome],
    out: &mut impl Write,
) -> io::Result<()> {
    let unit = options.unit();
    writeln!(
        out,
        "{:>12} {:>12} {:>9} {:>9} {:>9} {:>9} {:>9}  server",
        unit, "a second", "p50", "p90", "p99", "p99.9", "max"
    )?;
    for Outcome { url, tally } in results {
        write!(out, "{:>12} {:>12.0}", tally.times.len(), tally.rate())?;
        for percentile in PERCENTILES {
            write!(out, " {:>9}", format!("{:.1?}", tally.percentile(percentile)))?;
        }
        writeln!(out, "  {}", Escaped(url))?;
    }
    if let [first, second] = results {
        let ratio = |value: fn(&Tally) -> f64| value(&first.tally) / value(&second.tally);
        write!(out, "{:>12} {:>12.2}", "ratio", ratio(Tally::rate))?;
        for percentile in PERCENTILES {
            let time = |tally: &Tally| tally.percentile(percentile).as_secs_f64();
            write!(out, " {:>9.2}", time(&first.tally) / time(&second.tally))?;
        }
        writeln!(out, "  first / second")?;
    }
    for Outcome { url, tally } in results {
        for (failure, count) in &tally.failures {
            writeln!(out, "{count:>12} failed: {}: {}", Escaped(url), Escaped(failure))?;
        }
    }
    Ok(())
}

/// Returns an error if anything failed.
pub(crate) fn verdict(results: &[Outcome]) -> Result<(), Failure> {
    let failures: u64 = results.iter().flat_map(|result| result.tally.failures.values()).sum();
    match failures {
        0 => Ok(()),
        count => Err(Failure::of_part(format_args!("{count} operations failed"))),
    }
}
