//! Every setting of a connection, with its default and its reason: [`Config`].

use alloc::sync::Arc;
use core::time::Duration;

use crate::extension::{Extension, Extensions};
use crate::limits::{COPY_LEN, READ_LEN, STATE_LEN};

/// The settings of a connection: limits in bytes, deadlines in time.
///
/// Start from the default and chain what differs. Each setter `x` has a getter `get_x`; lengths are in
/// bytes, and `None` switches a deadline off.
///
/// ```
/// use core::time::Duration;
/// use sockless_core::Config;
///
/// let config = Config::default()
///     .ping_interval(Duration::from_secs(30))
///     .max_message_len(64 * 1024)
///     .idle_timeout(None);
/// assert_eq!(config.get_ping_interval(), Some(Duration::from_secs(30)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How long after the last ping the next one is sent. Default: off.
    pub(crate) ping_interval: Option<Duration>,
    /// How long the peer may stay silent after a ping. Default: 15 s.
    pub(crate) ping_timeout: Duration,
    /// How long no message may go either way. Default: off.
    pub(crate) idle_timeout: Option<Duration>,
    /// How long one message may take from its first byte to its last. Default: off.
    pub(crate) message_timeout: Option<Duration>,
    /// How slowly one message may arrive. Default: at 1 KiB a second, with pauses of 45 s.
    pub(crate) message_rate: Option<MessageRate>,
    /// How long the transport may take no byte of what waits to be sent. Default: 60 s.
    pub(crate) write_timeout: Option<Duration>,
    /// How long a driver may leave a transport unread whose end it cannot see otherwise.
    pub(crate) stall_timeout: Stall,
    /// How old a connection may become. Default: off.
    pub(crate) max_age: Option<Duration>,
    /// How long the opening handshake may take. Default: 10 s.
    pub(crate) opening_timeout: Duration,
    /// How long the closing handshake may take, and after it the transport's end. Default: 5 s.
    pub(crate) closing_timeout: Duration,
    /// The longest message that is accepted whole. Default: 1 MiB.
    pub(crate) max_message_len: u64,
    /// The longest message that is accepted in pieces. Default: `max_message_len`.
    pub(crate) max_streamed_len: u64,
    /// The longest frame that is accepted. Default: no limit beyond `max_message_len`.
    pub(crate) max_frame_len: u64,
    /// The most frames that one message may come in. Default: 131,072.
    pub(crate) max_fragments: u32,
    /// Messages longer than this are delivered in pieces of this length. Default: none are.
    pub(crate) recv_chunk_len: usize,
    /// Messages longer than this are sent in frames of this length. Default: none are.
    pub(crate) max_send_frame_len: usize,
    /// The connection is writable while fewer bytes than this wait to be sent. Default: 64 KiB.
    pub(crate) high_water: usize,
    /// A driver reads ahead while fewer bytes than this wait to be received. Default: 64 KiB.
    pub(crate) read_ahead: usize,
    /// Which frames are masked. Default: those of clients.
    pub(crate) masking: Masking,
    /// Whether frames are accepted that the peer should have masked, or should not have. Default: no.
    pub(crate) accept_any_masking: bool,
    /// What a driver does with a message that is sent while `high_water` is reached. Default: wait.
    pub(crate) send_overflow: Overflow,
    /// What a driver does when `read_ahead` is reached. Default: wait.
    pub(crate) recv_overflow: Overflow,
    /// The longest head of a request or response that is accepted. Default: 16 KiB.
    pub(crate) max_head_len: usize,
    /// The extensions that are offered or answered, in order of preference. Default: none.
    pub(crate) extensions: Extensions,
}

/// Which of the frames that an end sends are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Masking {
    /// All. The keys of a server can be predicted, which harms nobody: masking keeps what a client's
    /// script chose from being taken for something else on the way (RFC 6455 §10.3).
    All,
    /// Those of clients, as RFC 6455 §5.1 has it.
    Clients,
    /// None.
    None,
}

/// What a driver does when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// Closes the session with 1013.
    Close,
    /// Waits until there is room.
    Wait,
}

/// How slowly one message may arrive; see [`Config::message_rate`].
///
/// A message has `grace` from its first byte. Each byte that comes gives it the time that it takes at
/// `bytes_per_second`, but never more than `grace` from then: so what arrives faster may pause for `grace`, and
/// what arrives more slowly ends sooner or later.
///
/// ```
/// use core::time::Duration;
/// use sockless_core::{Config, MessageRate};
///
/// // At least 4 KiB a second, with pauses of up to ten seconds.
/// let config = Config::default().message_rate(MessageRate::new(Duration::from_secs(10), 4096));
/// assert!(config.get_message_rate().is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageRate {
    grace: Duration,
    bytes_per_second: u64,
}

impl MessageRate {
    /// 45 s, and 1 KiB a second.
    pub const DEFAULT: Self = Self { grace: Duration::from_secs(45), bytes_per_second: 1024 };

    /// Allows a message to be silent for `grace`, and to arrive at `bytes_per_second`, which is at least 1.
    pub const fn new(grace: Duration, bytes_per_second: u64) -> Self {
        let bytes_per_second = if bytes_per_second == 0 { 1 } else { bytes_per_second };
        Self { grace, bytes_per_second }
    }

    /// How long a message may be silent.
    pub const fn grace(self) -> Duration {
        self.grace
    }

    /// How slowly it may arrive, in bytes a second.
    pub const fn bytes_per_second(self) -> u64 {
        self.bytes_per_second
    }

    /// How long `len` bytes may take.
    pub(crate) fn time_for(self, len: u64) -> Duration {
        let (whole, rest) = (len / self.bytes_per_second, len % self.bytes_per_second);
        let nanos = u128::from(rest) * 1_000_000_000 / u128::from(self.bytes_per_second);
        // Less than a second, so that the cast loses nothing.
        Duration::new(whole, nanos as u32)
    }
}

/// How long a driver leaves a transport unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Five minutes where the transport's end cannot be seen without reading, and without limit elsewhere.
    Default,
    Off,
    After(Duration),
}

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
    /// Sends a ping each `interval`; `None` or zero sends none (RFC 6455 §5.5.2).
    #[must_use]
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.ping_interval = interval.into().filter(|interval| !interval.is_zero());
        self
    }

    /// Gives the peer up when nothing at all has come from it for this long after a ping: any byte
    /// counts as life. Time in which our own bytes wait to be written, or in which we do not read,
    /// is not the peer's.
    #[must_use]
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.ping_timeout = timeout;
        self
    }

    /// Closes a connection with 1001 when no message went either way for `timeout`. Pings do not
    /// count.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into().filter(|timeout| !timeout.is_zero());
        self
    }

    /// Fails a connection with 1008 when one message takes longer than `timeout`.
    #[must_use]
    pub fn message_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.message_timeout = timeout.into().filter(|timeout| !timeout.is_zero());
        self
    }

    /// Fails a connection with 1008 when a message arrives more slowly than `rate`, which counts its bytes
    /// as they come over the wire. Time in which we do not read is not the peer's. Default:
    /// [`MessageRate::DEFAULT`]; `None` lets a message take any time.
    #[must_use]
    pub fn message_rate(mut self, rate: impl Into<Option<MessageRate>>) -> Self {
        self.message_rate = rate.into();
        self
    }

    /// Ends a connection when bytes wait to be sent and the transport has taken none of them for `timeout`.
    /// It is dropped without a Close frame, which could not be written either. `None` or zero waits without
    /// limit, until the connection closes.
    #[must_use]
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write_timeout = timeout.into().filter(|timeout| !timeout.is_zero());
        self
    }

    /// Ends a connection that a driver has not read from for `timeout`, because
    /// [`read_ahead`](Self::read_ahead) bytes wait to be received and the application receives none: with 1008.
    ///
    /// Default: 5 minutes on a transport whose end can only be seen by reading from it, such as an HTTP/2
    /// stream, and off on the others, such as TCP on Linux. `None` or zero switches it off everywhere.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into().filter(|timeout| !timeout.is_zero());
        self.stall_timeout = timeout.map_or(Stall::Off, Stall::After);
        self
    }

    /// Closes a connection with 1001 when it is older than `age`.
    #[must_use]
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.max_age = age.into().filter(|age| !age.is_zero());
        self
    }

    /// Gives up an opening handshake that takes longer than `timeout`.
    #[must_use]
    pub fn opening_timeout(mut self, timeout: Duration) -> Self {
        self.opening_timeout = timeout;
        self
    }

    /// Drops the transport when the closing handshake takes longer than `timeout`; after it, the
    /// transport's own end has the same time again.
    #[must_use]
    pub fn closing_timeout(mut self, timeout: Duration) -> Self {
        self.closing_timeout = timeout;
        self
    }

    /// Refuses messages longer than `len` bytes with 1009, as soon as a header declares more.
    #[must_use]
    pub fn max_message_len(mut self, len: u64) -> Self {
        self.max_message_len = len;
        self
    }

    /// Accepts messages longer than [`max_message_len`](Self::max_message_len), up to `len` bytes, for a
    /// receiver that takes them in pieces and so never holds one. What asks for a whole message refuses
    /// these with 1009 all the same. Default: none are accepted.
    #[must_use]
    pub fn max_streamed_len(mut self, len: u64) -> Self {
        self.max_streamed_len = len;
        self
    }

    /// Refuses frames longer than `len` bytes with 1009, as soon as a header declares more.
    #[must_use]
    pub fn max_frame_len(mut self, len: u64) -> Self {
        self.max_frame_len = len;
        self
    }

    /// Refuses messages in more than `count` frames with 1008; 0 refuses every message.
    #[must_use]
    pub fn max_fragments(mut self, count: u32) -> Self {
        self.max_fragments = count;
        self
    }

    /// Delivers messages longer than `len` bytes as [`Event::Chunk`](crate::Event::Chunk)s while
    /// they arrive, each of `len` bytes but the last; a piece of text is up to three bytes shorter
    /// where it would split a character. At least 4.
    #[must_use]
    pub fn recv_chunk_len(mut self, len: usize) -> Self {
        self.recv_chunk_len = len.max(4);
        self
    }

    /// Sends messages longer than `len` bytes in fragments of `len` bytes each (RFC 6455 §5.4). At
    /// least 1.
    #[must_use]
    pub fn max_send_frame_len(mut self, len: usize) -> Self {
        self.max_send_frame_len = len.max(1);
        self
    }

    /// Lets `bytes` wait to be sent before a connection calls itself full. A message is taken whole,
    /// so one of any length may lie across the mark; pongs and Close frames are not refused by it. At
    /// least 1.
    #[must_use]
    pub fn high_water(mut self, bytes: usize) -> Self {
        self.high_water = bytes.max(1);
        self
    }

    /// Lets a driver hold `bytes` of messages that the application has not received. At the mark the
    /// transport is left alone, which is the peer's backpressure.
    #[must_use]
    pub fn read_ahead(mut self, bytes: usize) -> Self {
        self.read_ahead = bytes;
        self
    }

    /// Says which of the frames that this end sends are masked. Anything but
    /// [`Masking::Clients`] breaks RFC 6455 §5.1, and a peer that keeps to it fails the connection.
    #[must_use]
    pub fn masking(mut self, masking: Masking) -> Self {
        self.masking = masking;
        self
    }

    /// Accepts frames whether they are masked or not. A leniency for old peers: RFC 6455 §5.1 has the
    /// connection closed.
    #[must_use]
    pub fn accept_any_masking(mut self, accept: bool) -> Self {
        self.accept_any_masking = accept;
        self
    }

    /// Says what becomes of a message that is sent while [`high_water`](Self::high_water) bytes wait:
    /// the sender waits, or the session is closed with 1013.
    #[must_use]
    pub fn send_overflow(mut self, overflow: Overflow) -> Self {
        self.send_overflow = overflow;
        self
    }

    /// Says what happens when [`read_ahead`](Self::read_ahead) bytes have not been received: the peer
    /// waits, or the session is closed with 1013.
    #[must_use]
    pub fn recv_overflow(mut self, overflow: Overflow) -> Self {
        self.recv_overflow = overflow;
        self
    }

    /// Refuses a request's or response's head longer than `len` bytes, on a server with 431.
    #[must_use]
    pub fn max_head_len(mut self, len: usize) -> Self {
        self.max_head_len = len;
        self
    }

    /// Adds an extension after those that were added before, in place of one of the same name.
    ///
    /// Extensions are agreed on when a connection opens: what a
    /// [`set_config`](crate::Connection::set_config) brings later changes nothing about that.
    ///
    /// # Panics
    ///
    /// When it claims a reserved bit that another one has claimed: a bit has one owner.
    #[must_use]
    pub fn extension(mut self, extension: impl Extension + 'static) -> Self {
        self.extensions.push(Arc::new(extension));
        self
    }

    /// Does without the extensions that were added before: for a route that wants none of its
    /// router's.
    #[must_use]
    pub fn no_extensions(mut self) -> Self {
        self.extensions = Extensions::default();
        self
    }

    /// The most bytes that a peer can make a [`Connection`](crate::Connection) with these settings
    /// hold, whatever it sends and however slowly it reads.
    ///
    /// It counts the message that arrives, up to [`max_message_len`](Self::max_message_len) or
    /// [`recv_chunk_len`](Self::recv_chunk_len); the read buffer, filled by reads of up to 64 KiB; the messages
    /// of [`read_ahead`](Self::read_ahead), with the blocks that they share; what waits to be sent, up
    /// to [`high_water`](Self::high_water); what the extensions hold; and the state itself. Buffers grow to twice what they must
    /// hold, and while one is moved both the old and the new one count.
    ///
    /// It does not count what the application keeps, nor messages that it sends beyond the mark.
    ///
    /// ```
    /// use sockless_core::Config;
    ///
    /// let config = Config::default().max_message_len(64 << 10);
    /// assert!(config.memory_ceiling() < 2 << 20);
    /// ```
    pub fn memory_ceiling(&self) -> usize {
        let held =
            usize::try_from(self.max_message_len).unwrap_or(usize::MAX).min(self.recv_chunk_len);
        let buffer = held.saturating_add(READ_LEN);
        // The next message may be arriving while the last one is the one across the mark.
        let arriving = buffer.saturating_mul(3);
        let across = buffer.saturating_mul(2);
        // A payload that is just too long to be copied keeps the whole block that it arrived in.
        let read_ahead = self.read_ahead.saturating_mul(READ_LEN / COPY_LEN);
        let waiting = self.high_water.saturating_add(READ_LEN).saturating_mul(2);
        let codecs = self.extensions.iter().map(|extension| extension.memory_ceiling());
        let rest = [arriving, across, read_ahead, waiting];
        rest.into_iter().chain(codecs).fold(STATE_LEN, usize::saturating_add)
    }
}

/// What each setting is.
impl Config {
    /// How long after the last ping the next one is sent. Set by [`ping_interval`](Self::ping_interval).
    #[inline]
    pub fn get_ping_interval(&self) -> Option<Duration> {
        self.ping_interval
    }

    /// How long the peer may stay silent after a ping. Set by [`ping_timeout`](Self::ping_timeout).
    #[inline]
    pub fn get_ping_timeout(&self) -> Duration {
        self.ping_timeout
    }

    /// How long no message may go either way. Set by [`idle_timeout`](Self::idle_timeout).
    #[inline]
    pub fn get_idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// How long one message may take from its first byte to its last. Set by [`message_timeout`](Self::message_timeout).
    #[inline]
    pub fn get_message_timeout(&self) -> Option<Duration> {
        self.message_timeout
    }

    /// How slowly one message may arrive. Set by [`message_rate`](Self::message_rate).
    #[inline]
    pub fn get_message_rate(&self) -> Option<MessageRate> {
        self.message_rate
    }

    /// How long the transport may take no byte of what waits to be sent. Set by [`write_timeout`](Self::write_timeout).
    #[inline]
    pub fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    /// How old a connection may become. Set by [`max_age`](Self::max_age).
    #[inline]
    pub fn get_max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// How long the opening handshake may take. Set by [`opening_timeout`](Self::opening_timeout).
    #[inline]
    pub fn get_opening_timeout(&self) -> Duration {
        self.opening_timeout
    }

    /// How long the peer may take to answer a Close frame that has left. Set by [`closing_timeout`](Self::closing_timeout).
    #[inline]
    pub fn get_closing_timeout(&self) -> Duration {
        self.closing_timeout
    }

    /// The longest message that is accepted whole, in bytes. Set by [`max_message_len`](Self::max_message_len).
    #[inline]
    pub fn get_max_message_len(&self) -> u64 {
        self.max_message_len
    }

    /// The longest frame that is accepted, in bytes. Set by [`max_frame_len`](Self::max_frame_len).
    #[inline]
    pub fn get_max_frame_len(&self) -> u64 {
        self.max_frame_len
    }

    /// The most frames that one message may come in. Set by [`max_fragments`](Self::max_fragments).
    #[inline]
    pub fn get_max_fragments(&self) -> u32 {
        self.max_fragments
    }

    /// Messages longer than this are delivered in pieces of this length. Set by [`recv_chunk_len`](Self::recv_chunk_len).
    #[inline]
    pub fn get_recv_chunk_len(&self) -> usize {
        self.recv_chunk_len
    }

    /// Messages longer than this are sent in frames of this length. Set by [`max_send_frame_len`](Self::max_send_frame_len).
    #[inline]
    pub fn get_max_send_frame_len(&self) -> usize {
        self.max_send_frame_len
    }

    /// The connection is writable while fewer bytes than this wait to be sent. Set by [`high_water`](Self::high_water).
    #[inline]
    pub fn get_high_water(&self) -> usize {
        self.high_water
    }

    /// A driver reads ahead while fewer bytes than this wait to be received. Set by [`read_ahead`](Self::read_ahead).
    #[inline]
    pub fn get_read_ahead(&self) -> usize {
        self.read_ahead
    }

    /// Which frames are masked. Set by [`masking`](Self::masking).
    #[inline]
    pub fn get_masking(&self) -> Masking {
        self.masking
    }

    /// Whether frames are accepted whether they are masked or not. Set by [`accept_any_masking`](Self::accept_any_masking).
    #[inline]
    pub fn get_accept_any_masking(&self) -> bool {
        self.accept_any_masking
    }

    /// What a driver does with a message that is sent while `high_water` is reached. Set by [`send_overflow`](Self::send_overflow).
    #[inline]
    pub fn get_send_overflow(&self) -> Overflow {
        self.send_overflow
    }

    /// What a driver does when `read_ahead` is reached. Set by [`recv_overflow`](Self::recv_overflow).
    #[inline]
    pub fn get_recv_overflow(&self) -> Overflow {
        self.recv_overflow
    }

    /// The longest head of a request or response that is accepted, in bytes. Set by [`max_head_len`](Self::max_head_len).
    #[inline]
    pub fn get_max_head_len(&self) -> usize {
        self.max_head_len
    }

    /// The longest message that is accepted in pieces, in bytes: at least
    /// [`get_max_message_len`](Self::get_max_message_len). Set by
    /// [`max_streamed_len`](Self::max_streamed_len).
    #[inline]
    pub fn get_max_streamed_len(&self) -> u64 {
        self.max_streamed_len.max(self.max_message_len)
    }

    /// How long a driver may leave a transport unread; `end_is_seen` says whether it would see the
    /// transport's end meanwhile. Set by [`stall_timeout`](Self::stall_timeout).
    pub fn get_stall_timeout(&self, end_is_seen: bool) -> Option<Duration> {
        match self.stall_timeout {
            Stall::Default if end_is_seen => None,
            Stall::Default => Some(Duration::from_secs(300)),
            Stall::Off => None,
            Stall::After(timeout) => Some(timeout),
        }
    }

    /// The extensions that are offered or answered, in order of preference. Added by
    /// [`extension`](Self::extension).
    #[inline]
    pub fn get_extensions(&self) -> &Extensions {
        &self.extensions
    }
}
