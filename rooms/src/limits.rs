//! Access and limits: [`Attempt`], and the rate at which a member may publish.

use std::fmt;
use std::time::Duration;

use bytestring::ByteString;
use sockless_core::Instant;
use sockless_driver::Request;

use crate::publication::Publication;

/// An attempt of a session to join a room or to publish in it, for
/// [`RoomConfig::authorize`](crate::RoomConfig::authorize) to allow or to deny.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// The action that the session attempts.
    pub action: Action<'a>,
    /// The name of the room, without its namespace.
    pub room: &'a str,
    /// The identity with which the session joins or has joined.
    pub identity: Option<&'a str>,
    /// The request that opened the session, with what guards have attached to it.
    pub request: &'a Request,
}

/// The action of an [`Attempt`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Action<'a> {
    /// To join.
    Join,
    /// To publish this.
    Publish(&'a Publication),
}

/// The refusal of an [`Attempt`], with a reason for the program's own handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(ByteString);

impl Denied {
    /// Denies with this reason.
    pub fn new(reason: impl Into<ByteString>) -> Self {
        Self(reason.into())
    }

    /// Returns the reason.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        sockless_core::Escaped(&self.0).fmt(f)
    }
}

impl std::error::Error for Denied {}

/// So many units within a time, which may come at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) units: u64,
    pub(crate) per: Duration,
}

/// The use that a member has made of its rates (the generic cell rate algorithm).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// The times at which the messages, and the bytes, would have come at a steady rate.
    messages: Instant,
    bytes: Instant,
}

impl Used {
    /// Counts a message of `len` bytes. If that is too much, counts nothing, and returns how long to
    /// wait.
    pub(crate) fn count(
        &mut self,
        len: usize,
        messages: Option<Rate>,
        bytes: Option<Rate>,
        now: Instant,
    ) -> Result<(), Duration> {
        let messages = messages.map_or(Ok(self.messages), |rate| rate.next(self.messages, 1, now));
        let bytes = bytes.map_or(Ok(self.bytes), |rate| rate.next(self.bytes, len as u64, now));
        (self.messages, self.bytes) = (messages?, bytes?);
        Ok(())
    }
}

impl Rate {
    fn next(self, steady: Instant, units: u64, now: Instant) -> Result<Instant, Duration> {
        let limit = u128::from(self.units.max(1));
        // More than the limit at once takes all of it.
        let units = u128::from(units).min(limit);
        let nanos = self.per.as_nanos() * units / limit;
        let next = steady.max(now) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let latest = now + self.per;
        if next > latest { Err(next.saturating_since(latest)) } else { Ok(next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_allows_a_burst_and_then_its_share() {
        let rate = Some(Rate { units: 10, per: Duration::from_secs(1) });
        let at = |millis| Instant::EPOCH + Duration::from_millis(millis);
        let mut used = Used::default();
        for _ in 0..10 {
            assert_eq!(used.count(1, rate, None, at(0)), Ok(()));
        }
        assert_eq!(used.count(1, rate, None, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(used.count(1, rate, None, at(99)), Err(Duration::from_millis(1)));
        assert_eq!(used.count(1, rate, None, at(100)), Ok(()));
        assert!(used.count(1, rate, None, at(100)).is_err());
        // After a pause there is a burst again, and not two.
        let allowed = (0..30).filter(|_| used.count(1, rate, None, at(60_000)).is_ok()).count();
        assert_eq!(allowed, 10);
    }

    #[test]
    fn bytes_have_a_rate_of_their_own() {
        let bytes = Some(Rate { units: 1000, per: Duration::from_secs(1) });
        let mut used = Used::default();
        assert_eq!(used.count(600, None, bytes, Instant::EPOCH), Ok(()));
        assert_eq!(used.count(600, None, bytes, Instant::EPOCH), Err(Duration::from_millis(200)));
        assert_eq!(used.count(400, None, bytes, Instant::EPOCH), Ok(()));
        // A longer message than the limit passes once nothing else has been sent.
        let later = Instant::EPOCH + Duration::from_secs(1);
        assert_eq!(used.count(5000, None, bytes, later), Ok(()));
        assert!(used.count(0, None, bytes, later).is_ok());
        assert!(used.count(1, None, bytes, later).is_err());
    }
}
