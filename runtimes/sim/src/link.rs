//! What a wire is like: [`Link`].

use std::time::Duration;

/// How one direction of a pipe carries its bytes. The default is a good network: 64 KiB at a time,
/// at once, in one piece.
///
/// Start from the default and chain what differs. The fields are there to be read.
///
/// ```
/// use std::time::Duration;
/// use sockless_sim::Link;
///
/// let mobile = Link::default()
///     .latency(Duration::from_millis(80))
///     .jitter(Duration::from_millis(40))
///     .short_reads(1400);
/// assert_eq!(mobile.capacity, 64 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// How many bytes may be under way: written and not yet read. Default: 64 KiB.
    pub capacity: usize,
    /// How long a byte takes. Default: no time.
    pub latency: Duration,
    /// How much longer a write may take, drawn for each. Default: not at all.
    pub jitter: Duration,
    /// The most bytes that a read gets. Default: all that have arrived.
    pub short_reads: Option<usize>,
    /// The most bytes that a write takes. Default: all that fit.
    pub short_writes: Option<usize>,
    /// Whether what was written waits for a flush. Default: no.
    pub held_until_flush: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            capacity: 64 << 10,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            short_reads: None,
            short_writes: None,
            held_until_flush: false,
        }
    }
}

impl Link {
    /// Lets `bytes` be under way, those in flight included; then a writer waits for the reader. At
    /// least 1.
    #[must_use]
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes.max(1);
        self
    }

    /// Delivers what is written `latency` later, and the end of the stream too.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Adds between nothing and `most` to the latency of each write, drawn from the seed. Bytes keep
    /// their order.
    #[must_use]
    pub fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// Gives a read between 1 and `longest` bytes, drawn from the seed, and makes one read in four
    /// wait for another turn first. At least 1; `None` switches it off.
    #[must_use]
    pub fn short_reads(mut self, longest: impl Into<Option<usize>>) -> Self {
        self.short_reads = longest.into().map(|longest| longest.max(1));
        self
    }

    /// Takes between 1 and `longest` bytes from a write, drawn from the seed, and makes one write in
    /// four wait for another turn first. At least 1; `None` switches it off.
    #[must_use]
    pub fn short_writes(mut self, longest: impl Into<Option<usize>>) -> Self {
        self.short_writes = longest.into().map(|longest| longest.max(1));
        self
    }

    /// Holds back what is written until a flush, a shutdown or a full pipe, as a TLS stream may. What
    /// was not flushed when an end is dropped is lost.
    #[must_use]
    pub fn held_until_flush(mut self, held: bool) -> Self {
        self.held_until_flush = held;
        self
    }
}
