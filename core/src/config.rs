//! Every setting of a connection, with its default and its reason: [`Config`].

use alloc::sync::Arc;
use core::time::Duration;

use crate::extension::{Extension, Extensions};
use crate::raw::COPY_LEN;

/// The settings of a connection: limits in bytes, deadlines in time.
///
/// Start from the default and chain what differs. The fields are there to be read; lengths are in
/// bytes, and `None` switches a deadline off.
///
/// ```
/// use core::time::Duration;
/// use sockless::Config;
///
/// let config = Config::default()
///     .ping_interval(Duration::from_secs(30))
///     .max_message_len(64 * 1024)
///     .idle_timeout(None);
/// assert_eq!(config.ping_interval, Some(Duration::from_secs(30)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How long after the last ping the next one is sent. Default: off.
    pub ping_interval: Option<Duration>,
    /// How long the peer may stay silent after a ping. Default: 15 s.
    pub ping_timeout: Duration,
    /// How long no message may go either way. Default: off.
    pub idle_timeout: Option<Duration>,
    /// How long one message may take from its first byte to its last. Default: off.
    pub message_timeout: Option<Duration>,
    /// How old a connection may become. Default: off.
    pub max_age: Option<Duration>,
    /// How long the opening handshake may take. Default: 10 s.
    pub opening_timeout: Duration,
    /// How long the closing handshake may take, and after it the transport's end. Default: 5 s.
    pub closing_timeout: Duration,
    /// The longest message that is accepted. Default: 16 MiB.
    pub max_message_len: u64,
    /// The longest frame that is accepted. Default: no limit beyond `max_message_len`.
    pub max_frame_len: u64,
    /// The most frames that one message may come in. Default: 131,072.
    pub max_fragments: u32,
    /// Messages longer than this are delivered in pieces of this length. Default: none are.
    pub piece_len: usize,
    /// Messages longer than this are sent in frames of this length. Default: none are.
    pub fragment_len: usize,
    /// The connection is writable while fewer bytes than this wait to be sent. Default: 64 KiB.
    pub high_water: usize,
    /// A driver reads ahead while fewer bytes than this wait to be received. Default: 64 KiB.
    pub read_ahead: usize,
    /// Which frames are masked. Default: those of clients.
    pub masking: Masking,
    /// Whether frames are accepted that the peer should have masked, or should not have. Default: no.
    pub accept_any_masking: bool,
    /// What a driver does with a message that is sent while `high_water` is reached. Default: wait.
    pub send_overflow: Overflow,
    /// What a driver does when `read_ahead` is reached. Default: wait.
    pub recv_overflow: Overflow,
    /// The longest head of a request or response that is accepted. Default: 16 KiB.
    pub max_head_len: usize,
    /// The extensions that are offered or answered, in order of preference. Default: none.
    pub extensions: Extensions,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            ping_interval: None,
            ping_timeout: Duration::from_secs(15),
            idle_timeout: None,
            message_timeout: None,
            max_age: None,
            opening_timeout: Duration::from_secs(10),
            closing_timeout: Duration::from_secs(5),
            max_message_len: 16 << 20,
            max_frame_len: u64::MAX,
            // Autobahn 9.3.1 sends a message in 65,536 fragments.
            max_fragments: 131_072,
            piece_len: usize::MAX,
            fragment_len: usize::MAX,
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
        self.idle_timeout = timeout.into();
        self
    }

    /// Fails a connection with 1008 when one message takes longer than `timeout`.
    #[must_use]
    pub fn message_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.message_timeout = timeout.into();
        self
    }

    /// Closes a connection with 1001 when it is older than `age`.
    #[must_use]
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.max_age = age.into();
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

    /// Refuses frames longer than `len` bytes with 1009, as soon as a header declares more.
    #[must_use]
    pub fn max_frame_len(mut self, len: u64) -> Self {
        self.max_frame_len = len;
        self
    }

    /// Refuses messages in more than `count` frames with 1008.
    #[must_use]
    pub fn max_fragments(mut self, count: u32) -> Self {
        self.max_fragments = count;
        self
    }

    /// Delivers messages longer than `len` bytes as [`Event::Piece`](crate::Event::Piece)s while
    /// they arrive, each of `len` bytes but the last; a piece of text is up to three bytes shorter
    /// where it would split a character. At least 4.
    #[must_use]
    pub fn piece_len(mut self, len: usize) -> Self {
        self.piece_len = len.max(4);
        self
    }

    /// Sends messages longer than `len` bytes in fragments of `len` bytes each (RFC 6455 §5.4). At
    /// least 1.
    #[must_use]
    pub fn fragment_len(mut self, len: usize) -> Self {
        self.fragment_len = len.max(1);
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
    /// [`piece_len`](Self::piece_len); the read buffer, filled by reads of up to 64 KiB; the messages
    /// of [`read_ahead`](Self::read_ahead), with the blocks that they share; what waits to be sent, up
    /// to [`high_water`](Self::high_water); what the extensions hold; and the state itself. Buffers grow to twice what they must
    /// hold, and while one is moved both the old and the new one count.
    ///
    /// It does not count what the application keeps, nor messages that it sends beyond the mark.
    ///
    /// ```
    /// use sockless::Config;
    ///
    /// let config = Config::default().max_message_len(64 << 10);
    /// assert!(config.memory_ceiling() < 2 << 20);
    /// ```
    pub fn memory_ceiling(&self) -> usize {
        let held = usize::try_from(self.max_message_len).unwrap_or(usize::MAX).min(self.piece_len);
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

/// The most that one read of a driver brings.
const READ_LEN: usize = (64 << 10) + 256;

/// More than a connection's own state takes: its fields, its keys, its end.
const STATE_LEN: usize = 4 << 10;
