//! The settings of a connection: [`Config`].

mod getters;

use alloc::sync::Arc;
use core::time::Duration;

use crate::extension::{Extension, Extensions};
use crate::limits::{COPY_LEN, READ_LEN, STATE_LEN};

/// The settings of a connection: limits, deadlines, queues, masking and extensions.
///
/// Start from [`Config::default`] and chain the setters of the settings to change. The setter `x` has a
/// getter `get_x`. Lengths are in bytes. Deadlines whose setter takes an `Option` are switched off by
/// `None` or zero; others are raised to 1 ms. A session of the driver meets a deadline or the time of a
/// ping up to a 64th late, by half a second at most, so that many sessions wake a thread together; on
/// tokio up to a 16th, by 1,024 ms at most.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::Config;
///
/// let config = Config::default()
///     .ping_interval(Duration::from_secs(30))
///     .max_message_len(64 * 1024)
///     .idle_timeout(Duration::from_secs(600));
/// assert_eq!(config.get_ping_interval(), Some(Duration::from_secs(30)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) message_timeout: Option<Duration>,
    pub(crate) message_rate: Option<MessageRate>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) stall_timeout: Stall,
    pub(crate) max_age: Option<Duration>,
    pub(crate) opening_timeout: Duration,
    pub(crate) closing_timeout: Duration,
    pub(crate) max_message_len: u64,
    /// Read it with [`get_max_streamed_len`](Self::get_max_streamed_len), which is at least
    /// `max_message_len`.
    pub(crate) max_streamed_len: u64,
    pub(crate) max_frame_len: u64,
    pub(crate) max_fragments: u32,
    pub(crate) recv_chunk_len: usize,
    pub(crate) max_send_frame_len: usize,
    pub(crate) high_water: usize,
    pub(crate) read_ahead: usize,
    pub(crate) masking: Masking,
    pub(crate) accept_any_masking: bool,
    pub(crate) send_overflow: Overflow,
    pub(crate) recv_overflow: Overflow,
    pub(crate) max_head_len: usize,
    pub(crate) extensions: Extensions,
}

/// Which frames are masked when they are sent; see [`Config::masking`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Masking {
    /// All frames.
    ///
    /// The keys of a server are predictable. This does no harm: masking exists so that a script in a
    /// browser cannot choose the bytes that intermediaries see (RFC 6455 §10.3).
    All,
    /// The frames of clients, as RFC 6455 §5.1 requires. The default.
    Clients,
    /// No frames.
    None,
}

/// The action of a driver when a queue is full; see [`Config::send_overflow`] and
/// [`Config::recv_overflow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// Closes the session with 1013.
    Close,
    /// Waits until there is room. The default.
    Wait,
}

/// The lowest rate at which a message may arrive; see [`Config::message_rate`].
///
/// When its first byte arrives, a message has `grace` left. Each further byte extends the time that is left
/// by what it takes at `bytes_per_second`, up to `grace`. So a message that arrives faster than this may
/// pause for `grace`, and one that arrives more slowly fails sooner or later.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::{Config, MessageRate};
///
/// // At least 4 KiB per second, with pauses of up to ten seconds.
/// let config = Config::default().message_rate(MessageRate::new(Duration::from_secs(10), 4096));
/// assert!(config.get_message_rate().is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageRate {
    grace: Duration,
    bytes_per_second: u64,
}

impl MessageRate {
    /// 1 KiB per second, with pauses of up to 45 s.
    pub const DEFAULT: Self = Self { grace: Duration::from_secs(45), bytes_per_second: 1024 };

    /// Allows pauses of up to `grace`, and otherwise requires `bytes_per_second`, which is raised to 1 if
    /// it is 0.
    pub const fn new(grace: Duration, bytes_per_second: u64) -> Self {
        let bytes_per_second = if bytes_per_second == 0 { 1 } else { bytes_per_second };
        Self { grace, bytes_per_second }
    }

    /// Returns the longest pause.
    pub const fn grace(self) -> Duration {
        self.grace
    }

    /// Returns the lowest rate in bytes per second.
    pub const fn bytes_per_second(self) -> u64 {
        self.bytes_per_second
    }

    /// The time that `len` bytes take at this rate.
    pub(crate) fn time_for(self, len: u64) -> Duration {
        let (whole, rest) = (len / self.bytes_per_second, len % self.bytes_per_second);
        let nanos = u128::from(rest) * 1_000_000_000 / u128::from(self.bytes_per_second);
        // Less than a second, so that the cast loses nothing.
        Duration::new(whole, nanos as u32)
    }
}

/// The longest time that a driver may leave a transport unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Five minutes if the end of the transport can only be seen by reading, else without limit.
    Default,
    Off,
    After(Duration),
}

/// The least of those deadlines that cannot be switched off: zero would fail each connection.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// The least of the longest head: no request that opens a WebSocket is shorter.
const MIN_HEAD_LEN: usize = 128;

impl Default for Config {
    fn default() -> Self {
        Self {
            ping_interval: None,
            ping_timeout: Duration::from_secs(15),
            idle_timeout: None,
            message_timeout: None,
            message_rate: Some(MessageRate::DEFAULT),
            write_timeout: Some(Duration::from_secs(60)),
            stall_timeout: Stall::Default,
            max_age: None,
            opening_timeout: Duration::from_secs(10),
            closing_timeout: Duration::from_secs(5),
            max_message_len: 1 << 20,
            max_streamed_len: 0,
            max_frame_len: u64::MAX,
            // Autobahn 9.3.1 sends a message in 65,536 fragments.
            max_fragments: 131_072,
            recv_chunk_len: usize::MAX,
            max_send_frame_len: usize::MAX,
            high_water: 64 << 10,
            read_ahead: 64 << 10,
            masking: Masking::Clients,
            accept_any_masking: false,
            send_overflow: Overflow::Wait,
            recv_overflow: Overflow::Wait,
            max_head_len: 16 << 10,
            extensions: Extensions::default(),
        }
    }
}

impl Config {
    /// Sets the interval between pings (RFC 6455 §5.5.2). Default: off.
    #[must_use]
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.ping_interval = interval.into().filter(|interval| !interval.is_zero());
        self
    }

    /// Closes a connection with 1011 when the peer stays silent for `timeout` after a ping. Default: 15 s;
    /// less than 1 ms is raised to it.
    ///
    /// Any byte of the peer counts, not only a pong. Time does not count while our own bytes wait to be
    /// written, where [`write_timeout`](Self::write_timeout) applies instead, or while the transport is
    /// not read. Without a write timeout, waiting bytes count only if the transport accepts some within
    /// `timeout`.
    #[must_use]
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.ping_timeout = timeout.max(MIN_TIMEOUT);
        self
    }

    /// Closes a connection with 1001 when no message was sent or received for `timeout`; pings and pongs
    /// do not count. Default: off.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into().filter(|timeout| !timeout.is_zero());
        self
    }

    /// Closes a connection with 1008 when a message takes longer than `timeout` from its first byte to its
    /// last. Default: off.
    #[must_use]
    pub fn message_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.message_timeout = timeout.into().filter(|timeout| !timeout.is_zero());
        self
    }

    /// Closes a connection with 1008 when a message arrives more slowly than `rate`; `None` sets no lower
    /// limit. Default: [`MessageRate::DEFAULT`].
    ///
    /// The rate is measured in bytes on the wire, before they are inflated. Time does not count while the
    /// transport is not read.
    #[must_use]
    pub fn message_rate(mut self, rate: impl Into<Option<MessageRate>>) -> Self {
        self.message_rate = rate.into();
        self
    }

    /// Ends a connection when bytes wait to be sent and the transport has accepted none for `timeout`. It
    /// ends without a Close frame, which could not be written either. Default: 60 s.
    ///
    /// When it is off, a peer that never reads keeps the connection open until a ping times out or it is closed.
    #[must_use]
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write_timeout = timeout.into().filter(|timeout| !timeout.is_zero());
        self
    }

    /// Ends a connection with 1008 when a driver has not read from its transport for `timeout`, because
    /// [`read_ahead`](Self::read_ahead) bytes wait to be received and the application receives nothing.
    ///
    /// Default: 5 minutes for a transport whose end can only be seen by reading from it, such as an HTTP/2
    /// stream, and for one that the peer has ended with more unread than may be held; off for others, such
    /// as TCP on Linux. `None` or zero switches it off for all. Each message that the application receives
    /// begins it anew.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into().filter(|timeout| !timeout.is_zero());
        self.stall_timeout = timeout.map_or(Stall::Off, Stall::After);
        self
    }

    /// Closes a connection with 1001 when it has been open for `age`. Default: off.
    #[must_use]
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.max_age = age.into().filter(|age| !age.is_zero());
        self
    }

    /// Sets how long the opening handshake may take; then it fails. Default: 10 s; less than 1 ms is raised
    /// to it.
    #[must_use]
    pub fn opening_timeout(mut self, timeout: Duration) -> Self {
        self.opening_timeout = timeout.max(MIN_TIMEOUT);
        self
    }

    /// Sets how long the peer may take to answer a Close frame that has been written, and then to end the
    /// transport; after each of the two the transport is dropped. Default: 5 s; less than 1 ms is raised
    /// to it.
    ///
    /// It begins when the transport has taken and passed on the Close frame, and again with each byte that
    /// the peer sends. Before that, [`write_timeout`](Self::write_timeout) without progress ends the
    /// connection. In all, the end takes at most 12 closing timeouts and the time that a peer which takes
    /// 1 KiB per second needs for what it has taken.
    #[must_use]
    pub fn closing_timeout(mut self, timeout: Duration) -> Self {
        self.closing_timeout = timeout.max(MIN_TIMEOUT);
        self
    }

    /// Rejects messages longer than `len` bytes with 1009, as soon as the header of a frame declares more.
    /// Compressed messages count with their inflated length. Default: 1 MiB.
    #[must_use]
    pub fn max_message_len(mut self, len: u64) -> Self {
        self.max_message_len = len;
        self
    }

    /// Accepts messages of up to `len` bytes from a receiver that takes them in chunks and so never holds
    /// a whole one; a receiver of whole messages still rejects those longer than
    /// [`max_message_len`](Self::max_message_len). Default: `max_message_len`, which is also the minimum.
    #[must_use]
    pub fn max_streamed_len(mut self, len: u64) -> Self {
        self.max_streamed_len = len;
        self
    }

    /// Rejects frames with payloads longer than `len` bytes with 1009, as soon as a header declares more.
    /// Default: no limit except that of the message.
    #[must_use]
    pub fn max_frame_len(mut self, len: u64) -> Self {
        self.max_frame_len = len;
        self
    }

    /// Rejects messages in more than `count` frames with 1008; 0 rejects every message. Default: 131,072.
    #[must_use]
    pub fn max_fragments(mut self, count: u32) -> Self {
        self.max_fragments = count;
        self
    }

    /// Delivers messages longer than `len` bytes as [`Event::Chunk`](crate::Event::Chunk)s while they
    /// arrive. Default: all messages are delivered whole.
    ///
    /// Each chunk is `len` bytes long except the last; a chunk of text is up to three bytes shorter where
    /// it would split a character. `len` is raised to 4 if it is less.
    #[must_use]
    pub fn recv_chunk_len(mut self, len: usize) -> Self {
        self.recv_chunk_len = len.max(4);
        self
    }

    /// Sends messages longer than `len` bytes in fragments of `len` bytes (RFC 6455 §5.4). Default: each
    /// message is one frame. `len` is raised to 1 if it is 0.
    #[must_use]
    pub fn max_send_frame_len(mut self, len: usize) -> Self {
        self.max_send_frame_len = len.max(1);
        self
    }

    /// Sets how many bytes may wait to be sent before a connection is no longer writable. Default: 64 KiB.
    ///
    /// A message is queued whole, so the last one may exceed the mark by any length. Pongs and Close
    /// frames are queued beyond it. `bytes` is raised to 1 if it is 0.
    #[must_use]
    pub fn high_water(mut self, bytes: usize) -> Self {
        self.high_water = bytes.max(1);
        self
    }

    /// Sets how many bytes of messages a driver holds for an application that does not receive them. Then
    /// it stops reading from the transport, which makes the peer wait. Default: 64 KiB.
    #[must_use]
    pub fn read_ahead(mut self, bytes: usize) -> Self {
        self.read_ahead = bytes;
        self
    }

    /// Sets which frames are masked when they are sent. Default: [`Masking::Clients`].
    ///
    /// Any other value breaks RFC 6455 §5.1: a peer that follows the RFC closes the connection.
    #[must_use]
    pub fn masking(mut self, masking: Masking) -> Self {
        self.masking = masking;
        self
    }

    /// Sets whether received frames may be masked or not, whatever the role of the peer. Default: no;
    /// RFC 6455 §5.1 requires to close the connection. This is a leniency for old peers.
    #[must_use]
    pub fn accept_any_masking(mut self, accept: bool) -> Self {
        self.accept_any_masking = accept;
        self
    }

    /// Sets what happens when a message is sent while [`high_water`](Self::high_water) bytes wait: the
    /// sender waits, or the session is closed with 1013. Default: [`Overflow::Wait`].
    #[must_use]
    pub fn send_overflow(mut self, overflow: Overflow) -> Self {
        self.send_overflow = overflow;
        self
    }

    /// Sets what happens when [`read_ahead`](Self::read_ahead) bytes wait to be received: the peer waits,
    /// or the session is closed with 1013. Default: [`Overflow::Wait`].
    #[must_use]
    pub fn recv_overflow(mut self, overflow: Overflow) -> Self {
        self.recv_overflow = overflow;
        self
    }

    /// Rejects HTTP heads longer than `len` bytes; a server answers with 431. Default: 16 KiB; less than 128
    /// bytes is raised to it.
    #[must_use]
    pub fn max_head_len(mut self, len: usize) -> Self {
        self.max_head_len = len.max(MIN_HEAD_LEN);
        self
    }

    /// Adds an extension after those already present, and replaces one of the same name. Default: no
    /// extensions.
    ///
    /// Extensions are negotiated when a connection opens;
    /// [`set_config`](crate::Connection::set_config) does not change them later.
    ///
    /// ```
    /// use sockless::{Config, Deflate};
    ///
    /// let config = Config::default().extension(Deflate::default());
    /// assert_eq!(config.get_extensions().iter().count(), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// If it uses a reserved bit that another extension uses (RFC 6455 §9.1).
    #[must_use]
    pub fn extension(mut self, extension: impl Extension + 'static) -> Self {
        self.extensions.push(Arc::new(extension));
        self
    }

    /// Removes all extensions, for example for a route that does not want those of its router.
    #[must_use]
    pub fn no_extensions(mut self) -> Self {
        self.extensions = Extensions::default();
        self
    }

    /// Returns an upper bound in bytes on the memory that a peer can make a
    /// [`Connection`](crate::Connection) with these settings hold, whatever the peer sends and however
    /// slowly it reads.
    ///
    /// The bound includes the message that is arriving, up to [`max_message_len`](Self::max_message_len)
    /// or [`recv_chunk_len`](Self::recv_chunk_len); the read buffer, filled by reads of up to
    /// [`READ_LEN`](crate::limits::READ_LEN) bytes; the messages of [`read_ahead`](Self::read_ahead) with
    /// the blocks of memory that they share; the bytes that wait to be sent, up to
    /// [`high_water`](Self::high_water); the codecs of extensions; and the state of the connection.
    /// Buffers grow to twice their content, and while one is moved both the old and the new one count.
    ///
    /// Memory that the application keeps, messages that it sends beyond `high_water`, and the chunks of a
    /// message that are joined for it, up to `max_message_len` bytes, are not included.
    ///
    /// Neither is a transport's own memory: that of TLS is bounded by `sockless::tls::MEMORY_CEILING`,
    /// which comes on top for each connection over TLS.
    ///
    /// ```
    /// use sockless::Config;
    ///
    /// let config = Config::default().max_message_len(64 << 10);
    /// assert!(config.memory_ceiling() < 2 << 20);
    /// ```
    pub fn memory_ceiling(&self) -> usize {
        let held =
            usize::try_from(self.max_message_len).unwrap_or(usize::MAX).min(self.recv_chunk_len);
        let buffer = held.saturating_add(READ_LEN);
        // The next message may be arriving while the previous one is the last that fits `read_ahead`.
        let arriving = buffer.saturating_mul(3);
        let last_undelivered = buffer.saturating_mul(2);
        // A payload that is just too long to be copied keeps the whole block that it arrived in.
        let read_ahead = self.read_ahead.saturating_mul(READ_LEN / COPY_LEN);
        let waiting = self.high_water.saturating_add(READ_LEN).saturating_mul(2);
        let codecs = self.extensions.iter().map(|extension| extension.memory_ceiling());
        let rest = [arriving, last_undelivered, read_ahead, waiting];
        rest.into_iter().chain(codecs).fold(STATE_LEN, usize::saturating_add)
    }
}
