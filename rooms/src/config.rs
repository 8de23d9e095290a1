//! The settings of rooms: [`RoomConfig`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Envelope, Plain};
use crate::limits::{Attempt, Denied, Rate};

/// The settings of the rooms of a namespace.
///
/// ```
/// use std::time::Duration;
///
/// use sockless::rooms::{History, Lag, RoomConfig};
///
/// let config = RoomConfig::default()
///     .history(History::last(100).max_age(Duration::from_secs(120)))
///     .lag(Lag::DropOldest { max_bytes: 64 << 10 })
///     .max_message_len(4 << 10);
/// # let _ = config;
/// ```
#[derive(Clone)]
pub struct RoomConfig {
    history: History,
    lag: Lag,
    max_message_len: usize,
    max_members: usize,
    resume_timeout: Duration,
    presence_ttl: Option<Duration>,
    envelope: Arc<dyn Envelope>,
    authorize: Option<Arc<Authorize>>,
    publish_rate: Option<Rate>,
    publish_bytes: Option<Rate>,
    max_rooms: Option<usize>,
}

type Authorize = dyn Fn(&Attempt<'_>) -> Result<(), Denied> + Send + Sync;

impl Default for RoomConfig {
    fn default() -> Self {
        Self {
            history: History::NONE,
            lag: Lag::default(),
            max_message_len: 64 << 10,
            max_members: usize::MAX,
            resume_timeout: Duration::from_secs(5),
            presence_ttl: None,
            envelope: Arc::new(Plain),
            authorize: None,
            publish_rate: None,
            publish_bytes: None,
            max_rooms: None,
        }
    }
}

impl RoomConfig {
    /// Sets the messages that are kept for members that come back. Default: [`History::NONE`].
    #[must_use]
    pub fn history(mut self, history: History) -> Self {
        self.history = history;
        self
    }

    /// Sets what happens to a member that reads more slowly than the room publishes. Default:
    /// [`Lag::Close`] with 256 KiB.
    #[must_use]
    pub fn lag(mut self, lag: Lag) -> Self {
        self.lag = lag;
        self
    }

    /// Sets the length in bytes of the longest message that may be published. Default: 64 KiB.
    #[must_use]
    pub fn max_message_len(mut self, len: usize) -> Self {
        self.max_message_len = len;
        self
    }

    /// Sets the number of members that one room may have on this server, at least 1. Default: no
    /// limit.
    #[must_use]
    pub fn max_members(mut self, members: usize) -> Self {
        self.max_members = members.max(1);
        self
    }

    /// Sets how long joining waits for the bus. After that the member is in the room, and a member
    /// that resumes has a [gap](crate::Resumed::Gap). Default: 5 s.
    #[must_use]
    pub fn resume_timeout(mut self, timeout: Duration) -> Self {
        self.resume_timeout = timeout;
        self
    }

    /// Lets members know of each other: [`Member::occupants`](crate::Member::occupants) lists them,
    /// and [`RoomEvent::Joined`](crate::RoomEvent::Joined) and
    /// [`RoomEvent::Left`](crate::RoomEvent::Left) report changes, on all servers of the bus.
    ///
    /// The members of a server that ends without a notice are gone after 30 s, and at most 60; see
    /// [`presence_ttl`](Self::presence_ttl). Default: off.
    #[must_use]
    pub fn presence(self) -> Self {
        self.presence_ttl(Duration::from_secs(30))
    }

    /// Turns on [presence](Self::presence), and sets how long a server may be silent before its
    /// members are gone. All servers need the same. Each room sends a signal three times in this
    /// time. At least 1 s.
    #[must_use]
    pub fn presence_ttl(mut self, ttl: Duration) -> Self {
        self.presence_ttl = Some(ttl.max(Duration::from_secs(1)));
        self
    }

    /// Sets how events become messages. Default: [`Plain`].
    #[must_use]
    pub fn envelope(mut self, envelope: impl Envelope) -> Self {
        self.envelope = Arc::new(envelope);
        self
    }

    /// Sets who may join and publish: `authorize` is called when a session joins a room and for each
    /// message that a member publishes, and must be quick. What takes time, such as a query, belongs
    /// in the handler before it joins, or in a guard, whose findings are attached to the request.
    /// Default: all may.
    ///
    /// Not called for what is published from outside of a session.
    ///
    /// ```
    /// use sockless::rooms::{Action, Denied, RoomConfig};
    ///
    /// /// The name of a user, attached to the request by a guard.
    /// struct User(String);
    ///
    /// let config = RoomConfig::default().authorize(|attempt| match attempt.action {
    ///     Action::Publish(_) if attempt.request.get::<User>().is_none() => {
    ///         Err(Denied::new("guests may only read"))
    ///     }
    ///     _ => Ok(()),
    /// });
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn authorize(
        mut self,
        authorize: impl Fn(&Attempt<'_>) -> Result<(), Denied> + Send + Sync + 'static,
    ) -> Self {
        self.authorize = Some(Arc::new(authorize));
        self
    }

    /// Sets how many messages a member may publish within a time, all of them at once if it likes.
    /// Default: no limit.
    #[must_use]
    pub fn publish_rate(mut self, messages: u64, per: Duration) -> Self {
        self.publish_rate = Some(Rate { units: messages, per });
        self
    }

    /// Sets how many bytes a member may publish within a time. A longer message may be published
    /// when nothing else was within that time. Default: no limit.
    #[must_use]
    pub fn publish_bytes(mut self, bytes: u64, per: Duration) -> Self {
        self.publish_bytes = Some(Rate { units: bytes, per });
        self
    }

    /// Sets how many rooms of this namespace a session may be in at once, counting a room twice that
    /// it joins twice. Set it where clients choose the rooms. At
    /// least 1. Default: no limit.
    #[must_use]
    pub fn max_rooms_per_session(mut self, rooms: usize) -> Self {
        self.max_rooms = Some(rooms.max(1));
        self
    }

    pub(crate) fn get_history(&self) -> &History {
        &self.history
    }

    pub(crate) fn get_lag(&self) -> Lag {
        self.lag
    }

    pub(crate) fn get_max_message_len(&self) -> usize {
        self.max_message_len
    }

    pub(crate) fn get_max_members(&self) -> usize {
        self.max_members
    }

    pub(crate) fn get_resume_timeout(&self) -> Duration {
        self.resume_timeout
    }

    pub(crate) fn get_presence_ttl(&self) -> Option<Duration> {
        self.presence_ttl
    }

    pub(crate) fn get_authorize(&self) -> Option<&Authorize> {
        self.authorize.as_deref()
    }

    pub(crate) fn get_publish_rates(&self) -> (Option<Rate>, Option<Rate>) {
        (self.publish_rate, self.publish_bytes)
    }

    pub(crate) fn get_max_rooms(&self) -> Option<usize> {
        self.max_rooms
    }

    pub(crate) fn get_envelope(&self) -> &dyn Envelope {
        &*self.envelope
    }
}

impl fmt::Debug for RoomConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomConfig")
            .field("history", &self.history)
            .field("lag", &self.lag)
            .field("max_message_len", &self.max_message_len)
            .field("max_members", &self.max_members)
            .field("resume_timeout", &self.resume_timeout)
            .field("presence_ttl", &self.presence_ttl)
            .field("publish_rate", &self.publish_rate)
            .field("publish_bytes", &self.publish_bytes)
            .field("max_rooms", &self.max_rooms)
            .finish_non_exhaustive()
    }
}

/// The messages of a room that its bus keeps for members that come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    count: usize,
    max_age: Duration,
    max_bytes: usize,
}

impl History {
    /// No history: a member that comes back has a [gap](crate::Resumed::Gap), unless nothing was
    /// published meanwhile.
    pub const NONE: Self = Self { count: 0, max_age: Duration::ZERO, max_bytes: 0 };

    /// Keeps the last `count` messages, for at most 5 minutes and in at most 1 MiB.
    pub const fn last(count: usize) -> Self {
        Self { count, max_age: Duration::from_secs(300), max_bytes: 1 << 20 }
    }

    /// Sets how long a message is kept. Default: 5 minutes.
    #[must_use]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets how many bytes the messages of one room may take. Default: 1 MiB.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Returns the number of messages that are kept; 0 if there is no history.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Returns how long a message is kept.
    pub const fn get_max_age(&self) -> Duration {
        self.max_age
    }

    /// Returns how many bytes the messages of one room may take.
    pub const fn get_max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Returns true if no messages are kept.
    pub const fn is_none(&self) -> bool {
        self.count == 0
    }
}

/// The policy for a member that reads more slowly than its room publishes.
///
/// Messages first fill the session's own queue, up to
/// [`Config::high_water`](sockless_core::Config::high_water) bytes. What comes then waits in the
/// room, for this member alone, until `max_bytes` are reached. A session whose settings have
/// [`Overflow::Close`](sockless_core::Overflow::Close) is closed before that.
///
/// The messages of the history that a member receives when it resumes do not count, and are dropped
/// only where [`Conflate`](Self::Conflate) replaces them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lag {
    /// Closes the session with 1013, and drops the messages that waited.
    Close {
        /// The most bytes that may wait.
        max_bytes: usize,
    },
    /// Drops the messages that have waited longest, and reports their number as
    /// [`RoomEvent::Dropped`](crate::RoomEvent::Dropped) in their place.
    ///
    /// Other events, such as those of presence, are not dropped. If these alone are too much, closes
    /// the session with 1013.
    DropOldest {
        /// The most bytes that may wait.
        max_bytes: usize,
    },
    /// Drops a message that waits when another one with the same
    /// [conflation key](crate::Publication::conflation_key) comes. If the rest is still too much,
    /// closes the session with 1013.
    Conflate {
        /// The most bytes that may wait.
        max_bytes: usize,
    },
    /// Pauses those who publish: while more than `max_bytes` wait for this member,
    /// [`Member::publish`](crate::Member::publish) waits, and the handler that awaits it receives
    /// nothing, which is backpressure for its peer. Members of the same room that only receive do not
    /// wait.
    ///
    /// Closes the session of the slow member with 1013 if a publisher has waited for `max_wait`, or
    /// if twice `max_bytes` wait: publishers on other servers, and
    /// [outside of sessions](crate::Namespace::publish), are not paused.
    Wait {
        /// The number of bytes that may wait before publishers are paused.
        max_bytes: usize,
        /// The longest pause.
        max_wait: Duration,
    },
}

impl Lag {
    pub(crate) fn max_bytes(self) -> usize {
        match self {
            Self::Close { max_bytes }
            | Self::DropOldest { max_bytes }
            | Self::Conflate { max_bytes }
            | Self::Wait { max_bytes, .. } => max_bytes,
        }
    }
}

/// [`Lag::Close`] with 256 KiB.
impl Default for Lag {
    fn default() -> Self {
        Self::Close { max_bytes: 256 << 10 }
    }
}
