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
    /// How many of them may be in flight or have arrived, the rest waiting at the sender's. Default: all.
    pub receive_buffer: Option<usize>,
    /// Whether what reaches an end that is gone, or that goes without having read it, is answered with a
    /// reset. Default: no.
    pub resets: bool,
    /// Whether an end can only be found by reading. Default: no.
    pub ending_unknown: bool,
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
            receive_buffer: None,
            resets: false,
            ending_unknown: false,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            short_reads: None,
            short_writes: None,
            held_until_flush: false,
        }
    }
}

impl Link {
    /// A TCP connection: 64 KiB of [buffer](Self::buffers) at either end, and [resets](Self::resets).
    #[must_use]
    pub fn tcp() -> Self {
        Self::default().buffers(64 << 10, 64 << 10).resets(true)
    }

    /// Has `send` bytes wait at the sender's while `receive` bytes are in flight or have arrived and were
    /// not read, as the kernels' buffers of a socket do: their sum is the [`capacity`](Self::capacity).
    /// Each at least 1.
    ///
    /// The end of the stream leaves behind what waits. Room in the receiver's buffer is known to the
    /// sender at once.
    #[must_use]
    pub fn buffers(mut self, send: usize, receive: usize) -> Self {
        self.receive_buffer = Some(receive.max(1));
        self.capacity(send.max(1).saturating_add(receive.max(1)))
    }

    /// Answers with a reset, as TCP does, when an end is dropped that has received what it has not read,
    /// and when something reaches an end that was dropped. The reset takes the latency of the link, and on
    /// its arrival the receiver loses what it has not read and gets `ConnectionReset` for whatever it does.
    ///
    /// An end that is dropped with nothing unread ends what it wrote, which is delivered. Without resets
    /// every end does, and its peer's writes are broken at once.
    #[must_use]
    pub fn resets(mut self, resets: bool) -> Self {
        self.resets = resets;
        self
    }

    /// Has [`Io::poll_ending`](sockless_driver::Io::poll_ending) not tell of the end, as behind a host
    /// that has no way to wait for it but to read.
    #[must_use]
    pub fn ending_unknown(mut self, unknown: bool) -> Self {
        self.ending_unknown = unknown;
        self
    }

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
