//! Keep-alive as a machine of its own: [`Pinger`].

use alloc::boxed::Box;
use core::num::NonZeroU64;
use core::time::Duration;

use bytes::Bytes;

use crate::config::Config;
use crate::time::Instant;

/// Keep-alive as a state machine without a clock: decides when to send a ping, and when the peer
/// has been silent for too long.
///
/// A [`Connection`](crate::Connection) has one of its own. Use a `Pinger` beside a
/// [`RawConnection`](crate::RawConnection), which sends no pings.
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
/// // The peer sends nothing within `ping_timeout`.
/// let deadline = pinger.poll_timeout().unwrap();
/// assert_eq!(pinger.handle_timeout(deadline), Some(PingAction::Disconnect));
/// ```
#[derive(Clone, Debug)]
pub struct Pinger(
    /// Allocated when pings are first switched on, which they are not by default.
    Option<Box<Pings>>,
);

#[derive(Clone, Debug)]
struct Pings {
    interval: Option<Nanos>,
    timeout: Nanos,
    /// When the last ping was sent; before the first, when the pinger was created.
    last: Instant,
    /// The deadline for a byte from the peer, as the time after `last`, while a ping has not been
    /// followed by one.
    deadline: Option<Nanos>,
    count: u64,
    /// The ping whose round trip is being measured, by the time from its sending to `last`. It is not
    /// always the last one: pongs that come later than the next ping is sent are measured too.
    timed: Option<Nanos>,
    /// The number of pings that were sent after the one that is being measured.
    later: u32,
    /// The number of round trips that were measured.
    round_trips: u32,
    round_trip: Option<Nanos>,
    /// The position of the last ping among the bytes to send.
    mark: u64,
    /// The number of bytes that had been taken when the timeout was last restarted.
    taken: u64,
}

/// A time of up to 584 years, in nanoseconds plus one, so that an `Option` of it takes 8 bytes. Every
/// connection that pings has a few of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nanos(NonZeroU64);

impl Nanos {
    const ZERO: Self = Self(NonZeroU64::MIN);

    fn of(time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    fn get(self) -> Duration {
        Duration::from_nanos(self.0.get() - 1)
    }
}

/// The action that a [`Pinger`] requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PingAction {
    /// The peer has been silent for too long: end the connection.
    Disconnect,
    /// Send a ping with this payload.
    Ping(Bytes),
}

impl Pinger {
    /// Creates a pinger with [`Config::ping_interval`] and [`Config::ping_timeout`]. The first ping
    /// is due after one interval.
    pub fn new(config: &Config, now: Instant) -> Self {
        let pings = |interval| {
            Box::new(Pings {
                interval: Some(Nanos::of(interval)),
                timeout: Nanos::of(config.ping_timeout),
                last: now,
                deadline: None,
                count: 0,
                timed: None,
                later: 0,
                round_trips: 0,
                round_trip: None,
                mark: 0,
                taken: 0,
            })
        };
        Self(config.ping_interval.map(pings))
    }

    /// Applies a changed interval and timeout. A ping that waits for its answer is forgotten, and
    /// the next one is due after one interval.
    pub fn configure(&mut self, config: &Config, now: Instant) {
        let Some(pings) = &mut self.0 else {
            *self = Self::new(config, now);
            return;
        };
        let (interval, timeout) =
            (config.ping_interval.map(Nanos::of), Nanos::of(config.ping_timeout));
        if (pings.interval, pings.timeout) != (interval, timeout) {
            pings.interval = interval;
            pings.timeout = timeout;
            pings.last = now;
            pings.timed = None;
            pings.deadline = None;
        }
    }

    /// Records that bytes have come from the peer. Any byte shows that it is alive.
    #[inline]
    pub fn handle_received(&mut self) {
        if let Some(pings) = &mut self.0 {
            pings.deadline = None;
        }
    }

    /// Records that a pong has come. If it answers the last ping or the one that is being measured,
    /// the [round trip](Self::round_trip) is updated.
    pub fn handle_pong(&mut self, payload: &[u8], now: Instant) {
        let Some(pings) = &mut self.0 else { return };
        pings.deadline = None;
        let Some(before_last) = pings.timed else { return };
        let Ok(answered) = payload.try_into().map(u64::from_be_bytes) else { return };
        let timed = pings.count - u64::from(pings.later);
        if !(timed..=pings.count).contains(&answered) {
            return;
        }
        let since_last = now.saturating_since(pings.last);
        let is_last = answered == pings.count;
        // A peer may answer only the last of several pings (RFC 6455 §5.5.3).
        if is_last || answered == timed {
            let since_sent =
                if is_last { since_last } else { since_last.saturating_add(before_last.get()) };
            pings.round_trip = Some(Nanos::of(since_sent));
            pings.round_trips = pings.round_trips.saturating_add(1);
        }
        pings.timed = (!is_last).then_some(Nanos::ZERO);
        pings.later = 0;
    }

    /// Returns the action that is due at `now`, if any; an early call does nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<PingAction> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return None;
        }
        let pings = self.0.as_mut()?;
        if pings.deadline.is_some() {
            return Some(PingAction::Disconnect);
        }
        pings.count += 1;
        match &mut pings.timed {
            Some(before_last) => {
                let since_last = now.saturating_since(pings.last);
                *before_last = Nanos::of(before_last.get().saturating_add(since_last));
                pings.later = pings.later.saturating_add(1);
            }
            None => pings.timed = Some(Nanos::ZERO),
        }
        pings.last = now;
        pings.deadline = Some(pings.timeout);
        Some(PingAction::Ping(Bytes::copy_from_slice(&pings.count.to_be_bytes())))
    }

    /// Restarts the timeout of the ping that was sent last, because the peer could not answer it:
    /// the ping was still queued, or nothing was read.
    pub fn restart_timeout(&mut self, now: Instant) {
        if let Some(pings) = &mut self.0
            && pings.deadline.is_some()
        {
            let since_last = now.saturating_since(pings.last);
            pings.deadline = Some(Nanos::of(since_last.saturating_add(pings.timeout.get())));
        }
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout), or `None` while
    /// pings are off.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pings = self.0.as_ref()?;
        let interval = pings.interval?;
        Some(pings.last + pings.deadline.unwrap_or(interval).get())
    }

    /// Records the position of the ping among the bytes to send.
    pub(crate) fn set_mark(&mut self, mark: u64) {
        if let Some(pings) = &mut self.0 {
            pings.mark = mark;
        }
    }

    /// Records that `taken` of the bytes to send have been taken.
    pub(crate) fn set_taken(&mut self, taken: u64) {
        if let Some(pings) = &mut self.0 {
            pings.taken = taken;
        }
    }

    /// Returns true if bytes before our ping were still queued when [`set_taken`](Self::set_taken)
    /// was last called, and some of them have been taken since.
    pub(crate) fn is_on_its_way(&self, taken: u64) -> bool {
        self.0.as_ref().is_some_and(|pings| taken != pings.taken && pings.taken < pings.mark)
    }

    /// The time at which the next ping is due, whether or not the last one has been answered.
    pub(crate) fn next_ping(&self) -> Option<Instant> {
        let pings = self.0.as_ref()?;
        Some(pings.last + pings.interval?.get())
    }

    /// Returns true if a ping has been sent and no byte has come since.
    pub(crate) fn awaits_pong(&self) -> bool {
        self.0.as_ref().is_some_and(|pings| pings.deadline.is_some())
    }

    /// Returns the round-trip time of the last ping that was answered.
    pub fn round_trip(&self) -> Option<Duration> {
        Some(self.0.as_ref()?.round_trip?.get())
    }

    /// Returns the number of round trips that were measured.
    pub(crate) fn round_trips(&self) -> u64 {
        self.0.as_ref().map_or(0, |pings| pings.round_trips.into())
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
    fn any_byte_shows_that_the_peer_is_alive() {
        let mut pinger = pinger();
        assert!(matches!(pinger.handle_timeout(at(10)), Some(PingAction::Ping(_))));
        assert_eq!(pinger.poll_timeout(), Some(at(13)));
        pinger.handle_received();
        assert_eq!(pinger.poll_timeout(), Some(at(20)));
        assert!(matches!(pinger.handle_timeout(at(20)), Some(PingAction::Ping(_))));
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let mut pinger = pinger();
        pinger.handle_timeout(at(10));
        assert_eq!(pinger.handle_timeout(at(12)), None);
        assert_eq!(pinger.handle_timeout(at(13)), Some(PingAction::Disconnect));
    }

    #[test]
    fn a_pong_updates_the_round_trip() {
        let mut pinger = pinger();
        let Some(PingAction::Ping(payload)) = pinger.handle_timeout(at(10)) else { panic!() };
        pinger.handle_pong(b"unasked for", at(11));
        assert_eq!((pinger.round_trip(), pinger.round_trips()), (None, 0));
        pinger.handle_pong(&payload, at(12));
        pinger.handle_pong(&payload, at(13));
        assert_eq!((pinger.round_trip(), pinger.round_trips()), (Some(2 * SECOND), 1));
    }

    #[test]
    fn a_round_trip_longer_than_the_interval_is_measured() {
        let mut pinger = pinger();
        let ping = |pinger: &mut Pinger, seconds| {
            let Some(PingAction::Ping(payload)) = pinger.handle_timeout(at(seconds)) else {
                panic!()
            };
            // Another byte of the peer's, without which no further ping would be sent.
            pinger.handle_received();
            payload
        };
        let first = ping(&mut pinger, 10);
        let second = ping(&mut pinger, 20);
        pinger.handle_pong(&first, at(25));
        assert_eq!(pinger.round_trip(), Some(15 * SECOND));
        pinger.handle_pong(&second, at(29));
        assert_eq!(pinger.round_trip(), Some(9 * SECOND));
        let third = ping(&mut pinger, 30);
        ping(&mut pinger, 40);
        let fifth = ping(&mut pinger, 50);
        pinger.handle_pong(&fifth, at(51));
        assert_eq!(pinger.round_trip(), Some(SECOND));
        // Neither an answer that was overtaken nor a repeated one counts.
        pinger.handle_pong(&third, at(52));
        pinger.handle_pong(&fifth, at(53));
        assert_eq!(pinger.round_trip(), Some(SECOND));
    }

    #[test]
    fn a_restarted_timeout_sends_no_ping_meanwhile() {
        let mut pinger = pinger();
        pinger.handle_timeout(at(10));
        pinger.restart_timeout(at(13));
        assert_eq!(pinger.handle_timeout(at(15)), None);
        assert_eq!(pinger.handle_timeout(at(16)), Some(PingAction::Disconnect));
    }

    #[test]
    fn a_pinger_that_is_switched_off_sends_nothing() {
        let mut pinger = pinger();
        pinger.handle_timeout(at(10));
        pinger.configure(&Config::default(), at(11));
        assert_eq!(pinger.poll_timeout(), None);
        assert_eq!(pinger.handle_timeout(at(100)), None);
    }

    #[test]
    fn the_first_ping_after_switching_on_is_one_interval_away() {
        let mut pinger = Pinger::new(&Config::default(), Instant::EPOCH);
        pinger.handle_received();
        pinger.handle_pong(b"unasked for", at(1));
        pinger.restart_timeout(at(2));
        assert_eq!((pinger.poll_timeout(), pinger.round_trip()), (None, None));
        pinger.configure(&Config::default().ping_interval(10 * SECOND), at(3));
        assert_eq!(pinger.poll_timeout(), Some(at(13)));
        assert!(matches!(pinger.handle_timeout(at(13)), Some(PingAction::Ping(_))));
    }
}
