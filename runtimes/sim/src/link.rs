//! The properties of a connection: [`Link`].

use std::time::Duration;

/// The properties of one direction of a simulated connection. The default is an ideal network: no
/// latency, a capacity of 64 KiB, and no short reads.
///
/// Build it with the methods. The fields can be read.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::sim::Link;
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
    /// The maximum number of bytes that were written and not read. Default: 64 KiB.
    pub capacity: usize,
    /// The maximum number of bytes in flight or arrived; the others wait at the sender. Default: no
    /// maximum.
    pub receive_buffer: Option<usize>,
    /// True if bytes that reach a dropped end, or that are unread when it is dropped, are answered
    /// with a reset. Default: `false`.
    pub resets: bool,
    /// True if the end of the stream is noticed by reading only. Default: `false`.
    pub ending_unknown: bool,
    /// The time from a write to the arrival of its bytes. Default: zero.
    pub latency: Duration,
    /// The maximum of the additional time that is drawn for each write. Default: zero.
    pub jitter: Duration,
    /// The bytes per second that arrive. Default: no limit.
    pub bandwidth: Option<u64>,
    /// The maximum number of bytes of a read. Default: no maximum.
    pub short_reads: Option<usize>,
    /// The maximum number of bytes of a write. Default: no maximum.
    pub short_writes: Option<usize>,
    /// True if written bytes are held until a flush. Default: `false`.
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
            bandwidth: None,
            short_reads: None,
            short_writes: None,
            held_until_flush: false,
        }
    }
}

impl Link {
    /// Returns a link like a TCP connection, with 64 KiB of [buffer](Self::buffers) at either end
    /// and [resets](Self::resets).
    #[must_use]
    pub fn tcp() -> Self {
        Self::default().buffers(64 << 10, 64 << 10).resets(true)
    }

    /// Returns a link like a connection over Wi-Fi: [TCP](Self::tcp), 3 ms to 13 ms of latency, and 3
    /// MB/s.
    #[must_use]
    pub fn wifi() -> Self {
        Self::tcp()
            .latency(Duration::from_millis(3))
            .jitter(Duration::from_millis(10))
            .bandwidth(3_000_000)
    }

    /// Returns a link like a connection over a mobile network: [TCP](Self::tcp), 40 ms to 140 ms of
    /// latency, and 1 MB/s.
    #[must_use]
    pub fn mobile() -> Self {
        Self::tcp()
            .latency(Duration::from_millis(40))
            .jitter(Duration::from_millis(100))
            .bandwidth(1_000_000)
    }

    /// Returns a link like a connection over a geostationary satellite: [TCP](Self::tcp) with 256 KiB
    /// of buffer at either end, 280 ms to 320 ms of latency, and 500 kB/s.
    #[must_use]
    pub fn satellite() -> Self {
        Self::tcp()
            .buffers(256 << 10, 256 << 10)
            .latency(Duration::from_millis(280))
            .jitter(Duration::from_millis(40))
            .bandwidth(500_000)
    }

    /// Sets the sizes of a send and a receive buffer, like those of a socket, each at least 1 byte.
    /// Bytes wait in the send buffer while the receive buffer is full with bytes that are in flight
    /// or unread. The sum of both is the [`capacity`](Self::capacity).
    ///
    /// The end of the stream is sent after the waiting bytes. The sender knows at once when the
    /// receive buffer has room.
    #[must_use]
    pub fn buffers(mut self, send: usize, receive: usize) -> Self {
        self.receive_buffer = Some(receive.max(1));
        self.capacity(send.max(1).saturating_add(receive.max(1)))
    }

    /// Sets whether a reset is sent, as by TCP, when an end is dropped with unread bytes and when
    /// bytes reach a dropped end. It takes the latency of the link. When it arrives, the receiver
    /// loses its unread bytes, and all its operations fail with `ConnectionReset`.
    ///
    /// If an end is dropped without unread bytes, what it wrote is delivered, followed by the end
    /// of the stream. Without resets this is always so, and the writes of the peer fail at once.
    #[must_use]
    pub fn resets(mut self, resets: bool) -> Self {
        self.resets = resets;
        self
    }

    /// Sets whether [`Io::poll_ending`](sockless_driver::Io::poll_ending) returns `Unknown`, as for
    /// a transport that can notice its end by reading only.
    #[must_use]
    pub fn ending_unknown(mut self, unknown: bool) -> Self {
        self.ending_unknown = unknown;
        self
    }

    /// Sets the maximum number of bytes that were written and not read, including those in flight,
    /// at least
    /// 1. A writer waits at the maximum.
    #[must_use]
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes.max(1);
        self
    }

    /// Sets the time from a write to its arrival. It also applies to the end of the stream.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Adds a time between zero and `most`, drawn for each write, to the latency. Bytes keep their
    /// order.
    #[must_use]
    pub fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// Limits the bytes per second that arrive, at least 1; `None` removes the limit. What is written
    /// faster waits in the link, up to its [`capacity`](Self::capacity), and then the writer waits. A
    /// few bytes per second are a peer that drips.
    #[must_use]
    pub fn bandwidth(mut self, bytes_per_second: impl Into<Option<u64>>) -> Self {
        self.bandwidth = bytes_per_second.into().map(|rate| rate.max(1));
        self
    }

    /// Limits each read to a length drawn between 1 and `longest`, and makes one read in four
    /// return `Pending` first. `longest` is at least 1; `None` removes the limit.
    #[must_use]
    pub fn short_reads(mut self, longest: impl Into<Option<usize>>) -> Self {
        self.short_reads = longest.into().map(|longest| longest.max(1));
        self
    }

    /// Limits each write to a length drawn between 1 and `longest`, and makes one write in four
    /// return `Pending` first. `longest` is at least 1; `None` removes the limit.
    #[must_use]
    pub fn short_writes(mut self, longest: impl Into<Option<usize>>) -> Self {
        self.short_writes = longest.into().map(|longest| longest.max(1));
        self
    }

    /// Sets whether written bytes are held until a flush, a shutdown or a full pipe, as a TLS
    /// stream may do. Bytes that are held when the end is dropped are lost.
    #[must_use]
    pub fn held_until_flush(mut self, held: bool) -> Self {
        self.held_until_flush = held;
        self
    }
}
