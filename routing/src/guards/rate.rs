//! Limits on the number of requests per time: [`limit_rate`].
//!
//! This is not `governor`, because its limiters read a clock of their own and keep all keys: here
//! the time is that of the request, so that it is virtual in the simulator, and the number of keys
//! is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use sockless_core::Instant;
use sockless_core::handshake::text_response;
use sockless_driver::Request;

use super::peer::{Admission, Peer, PeerOf};

/// The maximum number of requests per time and peer address, for [`limit_rate`].
///
/// ```
/// use std::time::Duration;
///
/// use sockless::Router;
/// use sockless::guards::{RateLimit, limit_rate};
///
/// // One request per second, up to five at once.
/// let limit = RateLimit::new(60, Duration::from_secs(60)).burst(5);
/// let router = Router::new().guard_all(limit_rate(limit));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a limit has no effect until it is passed to `limit_rate`"]
pub struct RateLimit {
    interval: Duration,
    burst: u32,
    max_peers: usize,
}

impl RateLimit {
    /// Allows `count` requests per `period`, at least 1. They may come all at once; after that, one
    /// more is allowed each time `period / count` has passed.
    pub fn new(count: u32, period: Duration) -> Self {
        let count = count.max(1);
        Self { interval: period / count, burst: count, max_peers: 1 << 16 }
    }

    /// Sets how many requests may come at once, at least 1. Default: the `count` of
    /// [`new`](Self::new).
    pub fn burst(mut self, count: u32) -> Self {
        self.burst = count.max(1);
        self
    }

    /// Sets how many addresses are kept in memory, at least 1. Beyond that, the address that has
    /// used the smallest part of its limit is dropped. Each takes about 100 bytes. Default: 65,536.
    pub fn max_peers(mut self, count: usize) -> Self {
        self.max_peers = count.max(1);
        self
    }
}

/// Creates a guard that accepts requests within `limit` and answers others with 429 and
/// `Retry-After`.
///
/// The peer address is [`Request::client_network`]. Requests without an address are not limited:
/// see [the module](crate::guards). The time is [`Request::received_at`]. If the server does not
/// set it, a used-up limit never recovers.
pub fn limit_rate(
    limit: RateLimit,
) -> impl Fn(Request) -> Ready<Admission> + Clone + Send + Sync + 'static {
    let buckets = Arc::new(Mutex::new(Buckets::default()));
    let peer_of = Arc::new(PeerOf::new("limit_rate"));
    move |request| {
        let Some(peer) = peer_of.find(&request) else { return ready(Ok(request)) };
        let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
        ready(match buckets.take(&limit, peer, request.received_at()) {
            Ok(()) => Ok(request),
            Err(wait) => Err(too_many(wait)),
        })
    }
}

/// The token buckets, each as the time at which it is full again (the "generic cell rate
/// algorithm"). Full buckets do not have to be stored.
#[derive(Debug, Default)]
struct Buckets {
    full_at: BTreeMap<Peer, Instant>,
    /// The same entries, sorted by time.
    order: BTreeSet<(Instant, Peer)>,
}

impl Buckets {
    /// Takes a token for `peer`, or returns the time until one is available.
    fn take(&mut self, limit: &RateLimit, peer: Peer, now: Instant) -> Result<(), Duration> {
        self.forget_full(now);
        let known = self.full_at.get(&peer).copied();
        let full_at = known.unwrap_or(now).max(now);
        let used_up = full_at.saturating_since(now);
        let spare = limit.interval.saturating_mul(limit.burst - 1);
        if used_up > spare {
            return Err(used_up - spare);
        }
        if let Some(known) = known {
            self.order.remove(&(known, peer));
        } else if self.full_at.len() >= limit.max_peers
            && let Some((_, forgotten)) = self.order.pop_first()
        {
            self.full_at.remove(&forgotten);
        }
        let full_at = full_at + limit.interval;
        self.full_at.insert(peer, full_at);
        self.order.insert((full_at, peer));
        Ok(())
    }

    /// Removes at most two full buckets: more than a request adds, and few enough for every request
    /// to be fast.
    fn forget_full(&mut self, now: Instant) {
        for _ in 0..2 {
            match self.order.first() {
                Some((full_at, _)) if *full_at <= now => {}
                _ => return,
            }
            if let Some((_, peer)) = self.order.pop_first() {
                self.full_at.remove(&peer);
            }
        }
    }
}

fn too_many(wait: Duration) -> Response<Bytes> {
    let mut response =
        text_response(StatusCode::TOO_MANY_REQUESTS, "too many requests from this address\n");
    // Whole seconds (RFC 9110 §10.2.3), rounded up: a retry before that would be rejected again.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(number: u32) -> Peer {
        Peer::Network(IpAddr::V4(number.into()))
    }

    fn at(millis: u64) -> Instant {
        Instant::from_epoch(Duration::from_millis(millis))
    }

    /// Two at once, then one each 100 ms.
    fn limit() -> RateLimit {
        RateLimit::new(10, Duration::from_secs(1)).burst(2)
    }

    #[test]
    fn a_bucket_allows_a_burst_and_then_one_request_per_interval() {
        let mut buckets = Buckets::default();
        let mut take = |millis| buckets.take(&limit(), peer(1), at(millis));
        let wait = |millis| Err(Duration::from_millis(millis));
        assert_eq!([take(0), take(0), take(0)], [Ok(()), Ok(()), wait(100)]);
        assert_eq!([take(99), take(100), take(100)], [wait(1), Ok(()), wait(100)]);
        assert_eq!([take(5000), take(5000), take(5000)], [Ok(()), Ok(()), wait(100)]);
    }

    #[test]
    fn a_clock_that_goes_backwards_does_not_refill_a_bucket() {
        let mut buckets = Buckets::default();
        let limit = limit();
        for _ in 0..2 {
            buckets.take(&limit, peer(1), at(1000)).unwrap();
        }
        assert_eq!(buckets.take(&limit, peer(1), at(500)), Err(Duration::from_millis(600)));
    }

    #[test]
    fn full_buckets_are_removed() {
        let mut buckets = Buckets::default();
        for number in 0..1000 {
            buckets.take(&limit(), peer(number), at(0)).unwrap();
        }
        assert_eq!(buckets.full_at.len(), 1000);
        for _ in 0..1000 {
            let _ = buckets.take(&limit(), peer(0), at(100));
        }
        assert_eq!((buckets.full_at.len(), buckets.order.len()), (1, 1));
    }

    #[test]
    fn the_number_of_stored_addresses_is_bounded() {
        let limit = limit().max_peers(10);
        let mut buckets = Buckets::default();
        for _ in 0..2 {
            buckets.take(&limit, peer(0), at(0)).unwrap();
        }
        for number in 1..10_000 {
            buckets.take(&limit, peer(number), at(0)).unwrap();
            assert!(buckets.full_at.len() <= 10);
            assert_eq!(buckets.full_at.len(), buckets.order.len());
        }
        // The peer that used the most stays stored: requests of other peers do not evict it.
        assert!(buckets.take(&limit, peer(0), at(0)).is_err());
    }
}
