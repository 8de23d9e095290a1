//! The order and the times in which addresses are tried: [`Eyeballs`], the part of happy eyeballs
//! (RFC 8305) that needs no socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use sockless_core::Instant;

/// The time between the start of an attempt and the start of the next one (RFC 8305 §5 and §8).
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The attempts to reach one of several addresses. The next attempt starts when the previous one
/// has failed, or has been pending for [`ATTEMPT_DELAY`]; pending attempts continue.
pub(crate) struct Eyeballs {
    waiting: VecDeque<SocketAddr>,
    /// The earliest time for the next attempt.
    next_at: Instant,
}

impl Eyeballs {
    /// Takes the addresses in the order of the resolver, which is that of RFC 6724, and alternates
    /// the address families, beginning with the family of the first address (RFC 8305 §4).
    pub(crate) fn new(addrs: impl IntoIterator<Item = SocketAddr>, now: Instant) -> Self {
        let mut distinct = Vec::new();
        for addr in addrs {
            if !distinct.contains(&addr) {
                distinct.push(addr);
            }
        }
        let first_is_v6 = distinct.first().is_some_and(SocketAddr::is_ipv6);
        let (preferred, others): (VecDeque<_>, VecDeque<_>) =
            distinct.into_iter().partition(|addr| addr.is_ipv6() == first_is_v6);
        Self { waiting: interleaved(preferred, others), next_at: now }
    }

    /// Returns the address to try now, if it is time for an attempt.
    pub(crate) fn poll_attempt(&mut self, now: Instant) -> Option<SocketAddr> {
        if now < self.next_at {
            return None;
        }
        let addr = self.waiting.pop_front()?;
        self.next_at = now + ATTEMPT_DELAY;
        Some(addr)
    }

    /// Handles a failed attempt: the next one starts without delay (RFC 8305 §5).
    pub(crate) fn handle_failure(&mut self, now: Instant) {
        self.next_at = now;
    }

    /// Returns the time at which [`poll_attempt`](Self::poll_attempt) will return an address;
    /// `None` if all addresses were tried.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next_at)
    }
}

fn interleaved(
    mut one: VecDeque<SocketAddr>,
    mut other: VecDeque<SocketAddr>,
) -> VecDeque<SocketAddr> {
    let mut mixed = VecDeque::with_capacity(one.len() + other.len());
    while !one.is_empty() || !other.is_empty() {
        mixed.extend(one.pop_front());
        mixed.extend(other.pop_front());
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(addrs: &[&str]) -> Vec<SocketAddr> {
        addrs.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    fn order(given: &[&str]) -> Vec<SocketAddr> {
        let mut eyeballs = Eyeballs::new(addrs(given), Instant::EPOCH);
        let mut now = Instant::EPOCH;
        let mut order = Vec::new();
        while let Some(at) = eyeballs.poll_timeout() {
            now = now.max(at);
            order.extend(eyeballs.poll_attempt(now));
        }
        order
    }

    #[test]
    fn address_families_alternate() {
        let (a, b, c) = ("[2001:db8::1]:80", "[2001:db8::2]:80", "[2001:db8::3]:80");
        let (x, y) = ("192.0.2.1:80", "192.0.2.2:80");
        assert_eq!(order(&[a, b, c, x, y]), addrs(&[a, x, b, y, c]));
        assert_eq!(order(&[x, a, b, y]), addrs(&[x, a, y, b]));
        assert_eq!(order(&[x, y]), addrs(&[x, y]));
        assert_eq!(order(&[a, x, a, x]), addrs(&[a, x]), "the same address is tried once");
        assert_eq!(order(&[]), []);
    }

    #[test]
    fn the_next_attempt_waits_for_the_delay_or_a_failure() {
        let given = ["[2001:db8::1]:80", "192.0.2.1:80", "192.0.2.2:80"];
        let mut eyeballs = Eyeballs::new(addrs(&given), Instant::EPOCH);
        let start = Instant::EPOCH;
        assert!(eyeballs.poll_attempt(start).is_some());
        assert_eq!(eyeballs.poll_attempt(start), None);
        assert_eq!(eyeballs.poll_timeout(), Some(start + ATTEMPT_DELAY));
        let almost = start + (ATTEMPT_DELAY - Duration::from_nanos(1));
        assert_eq!(eyeballs.poll_attempt(almost), None);
        assert!(eyeballs.poll_attempt(start + ATTEMPT_DELAY).is_some());

        let failed_at = start + ATTEMPT_DELAY + Duration::from_millis(1);
        assert_eq!(eyeballs.poll_attempt(failed_at), None);
        eyeballs.handle_failure(failed_at);
        assert!(eyeballs.poll_attempt(failed_at).is_some());
        assert_eq!(eyeballs.poll_timeout(), None, "there is no other address");
        eyeballs.handle_failure(failed_at);
        assert_eq!(eyeballs.poll_attempt(failed_at), None);
    }
}
