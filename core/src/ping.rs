//! Keep-alive as a machine of its own: [`Pinger`].

use alloc::boxed::Box;
use core::time::Duration;

use bytes::Bytes;

use crate::config::Config;
use crate::time::Instant;

/// Says when to ping, and when to give the peer up.
///
/// A [`Connection`](crate::Connection) has one at work; beside a
/// [`RawConnection`](crate::RawConnection) it is the caller's to drive.
///
/// ```
/// use core::time::Duration;
/// use sockless_core::{Config, Instant, PingAction, Pinger};
///
/// let config = Config::default().ping_interval(Duration::from_secs(30));
/// let mut pinger = Pinger::new(&config, Instant::EPOCH);
///
/// let due = pinger.poll_timeout().unwrap();
/// assert_eq!(due, Instant::EPOCH + Duration::from_secs(30));
/// assert!(matches!(pinger.handle_timeout(due), Some(PingAction::Ping(_))));
///
/// // Nothing comes within `ping_timeout`.
/// let deadline = pinger.poll_timeout().unwrap();
/// assert_eq!(pinger.handle_timeout(deadline), Some(PingAction::GiveUp));
/// ```
#[derive(Clone, Debug)]
pub struct Pinger(
    /// Made when pings are first switched on: by default a connection does without.
    Option<Box<Pings>>,
);

#[derive(Clone, Debug)]
struct Pings {
    interval: Option<Duration>,
    timeout: Duration,
    /// When the last ping went out; before the first, when the pinger began.
    last: Instant,
    /// When the peer is given up, while a ping has not been followed by anything.
    deadline: Option<Instant>,
    count: u64,
    round_trip: Option<Duration>,
    /// How many bytes must have been taken out for the last ping to be the next.
    mark: u64,
    /// How many had been taken out when the peer was last excused.
    taken: u64,
}

/// What a [`Pinger`] wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PingAction {
    /// The peer has been silent for too long.
    GiveUp,
    /// Send a ping with this payload.
    Ping(Bytes),
}

impl Pinger {
    /// A pinger with the interval and timeout of `config`, whose first ping is one interval away.
    pub fn new(config: &Config, now: Instant) -> Self {
        let pings = |interval| {
            Box::new(Pings {
                interval: Some(interval),
                timeout: config.ping_timeout,
                last: now,
                deadline: None,
                count: 0,
                round_trip: None,
                mark: 0,
                taken: 0,
            })
        };
        Self(config.ping_interval.map(pings))
    }

    /// Takes up a changed interval and timeout; a ping that waits for its answer is forgotten, and
    /// the next one is one interval away.
    pub fn configure(&mut self, config: &Config, now: Instant) {
        let Some(pings) = &mut self.0 else {
            *self = Self::new(config, now);
            return;
        };
        if (pings.interval, pings.timeout) != (config.ping_interval, config.ping_timeout) {
            pings.interval = config.ping_interval;
            pings.timeout = config.ping_timeout;
            pings.last = now;
            pings.deadline = None;
        }
    }

    /// Bytes have come from the peer, whatever they say: it is alive.
    #[inline]
    pub fn handle_received(&mut self) {
        if let Some(pings) = &mut self.0 {
            pings.deadline = None;
        }
    }

    /// A pong has come; if it answers the last ping, it tells the round trip.
    pub fn handle_pong(&mut self, payload: &[u8], now: Instant) {
        let Some(pings) = &mut self.0 else { return };
        pings.deadline = None;
        if pings.count > 0 && payload == pings.count.to_be_bytes() {
            pings.round_trip = Some(now.saturating_since(pings.last));
        }
    }

    /// Says what is due at `now`; a spurious call does no harm.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<PingAction> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return None;
        }
        let pings = self.0.as_mut()?;
        if pings.deadline.is_some() {
            return Some(PingAction::GiveUp);
        }
        pings.count += 1;
        pings.last = now;
        pings.deadline = Some(now + pings.timeout);
        Some(PingAction::Ping(Bytes::copy_from_slice(&pings.count.to_be_bytes())))
    }

    /// Gives the peer its whole timeout again, because it could not answer: our ping had not left,
    /// or we did not read.
    pub fn excuse(&mut self, now: Instant) {
        if let Some(pings) = &mut self.0
            && pings.deadline.is_some()
        {
            pings.deadline = Some(now + pings.timeout);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` while pings are off.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pings = self.0.as_ref()?;
        let interval = pings.interval?;
        Some(pings.deadline.unwrap_or(pings.last + interval))
    }

    /// The next ping goes behind `mark` bytes.
    pub(crate) fn set_mark(&mut self, mark: u64) {
        if let Some(pings) = &mut self.0 {
            pings.mark = mark;
        }
    }

    /// `taken` bytes have been taken out.
    pub(crate) fn set_taken(&mut self, taken: u64) {
        if let Some(pings) = &mut self.0 {
            pings.taken = taken;
        }
    }

    /// Whether something was before our ping when we last looked, and has moved since, now that `taken` bytes
    /// have been taken out.
    pub(crate) fn is_on_its_way(&self, taken: u64) -> bool {
        self.0.as_ref().is_some_and(|pings| taken != pings.taken && pings.taken < pings.mark)
    }

    /// When the next ping is due, whether or not the last one has been answered.
    pub(crate) fn next_ping(&self) -> Option<Instant> {
        let pings = self.0.as_ref()?;
        Some(pings.last + pings.interval?)
    }

    /// Whether a ping has been sent, and nothing has come since.
    pub(crate) fn awaits_pong(&self) -> bool {
        self.0.as_ref().is_some_and(|pings| pings.deadline.is_some())
    }

    /// How long the last ping that was answered took to come back.
    pub fn round_trip(&self) -> Option<Duration> {
        self.0.as_ref()?.round_trip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pinger() -> Pinger {
        let config = Config::default().ping_interval(10 * SECOND).ping_timeout(3 * SECOND);
        Pinger::new(&config, Instant::EPOCH)
    }

    fn at(seconds: u32) -> Instant {
        Instant::EPOCH + seconds * SECOND
    }

    #[test]
    fn a_spurious_call_does_nothing() {
        let mut pinger = pinger();
        assert_eq!(pinger.handle_timeout(at(9)), None);
        assert_eq!(pinger.poll_timeout(), Some(at(10)));
    }

    #[test]
    fn any_byte_saves_the_peer() {
        let mut pinger = pinger();
        assert!(matches!(pinger.handle_timeout(at(10)), Some(PingAction::Ping(_))));
        assert_eq!(pinger.poll_timeout(), Some(at(13)));
        pinger.handle_received();
        assert_eq!(pinger.poll_timeout(), Some(at(20)));
        assert!(matches!(pinger.handle_timeout(at(20)), Some(PingAction::Ping(_))));
    }

    #[test]
    fn silence_gives_the_peer_up_at_the_deadline() {
        let mut pinger = pinger();
        pinger.handle_timeout(at(10));
        assert_eq!(pinger.handle_timeout(at(12)), None);
        assert_eq!(pinger.handle_timeout(at(13)), Some(PingAction::GiveUp));
    }

    #[test]
    fn a_pong_tells_the_round_trip() {
        let mut pinger = pinger();
        let Some(PingAction::Ping(payload)) = pinger.handle_timeout(at(10)) else { panic!() };
        pinger.handle_pong(b"unasked for", at(11));
        assert_eq!(pinger.round_trip(), None);
        pinger.handle_pong(&payload, at(12));
        assert_eq!(pinger.round_trip(), Some(2 * SECOND));
    }

    #[test]
    fn an_excuse_restarts_the_timeout_and_no_ping_is_sent_meanwhile() {
        let mut pinger = pinger();
        pinger.handle_timeout(at(10));
        pinger.excuse(at(13));
        assert_eq!(pinger.handle_timeout(at(15)), None);
        assert_eq!(pinger.handle_timeout(at(16)), Some(PingAction::GiveUp));
    }

    #[test]
    fn switched_off_it_is_silent() {
        let mut pinger = pinger();
        pinger.handle_timeout(at(10));
        pinger.configure(&Config::default(), at(11));
        assert_eq!(pinger.poll_timeout(), None);
        assert_eq!(pinger.handle_timeout(at(100)), None);
    }

    #[test]
    fn switched_on_later_its_first_ping_is_one_interval_away() {
        let mut pinger = Pinger::new(&Config::default(), Instant::EPOCH);
        pinger.handle_received();
        pinger.handle_pong(b"unasked for", at(1));
        pinger.excuse(at(2));
        assert_eq!((pinger.poll_timeout(), pinger.round_trip()), (None, None));
        pinger.configure(&Config::default().ping_interval(10 * SECOND), at(3));
        assert_eq!(pinger.poll_timeout(), Some(at(13)));
        assert!(matches!(pinger.handle_timeout(at(13)), Some(PingAction::Ping(_))));
    }
}
