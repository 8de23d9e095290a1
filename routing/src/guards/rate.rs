//! How many calls may come in a time: [`limit_rate`].

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use sockless_core::Instant;
use sockless_driver::Request;

use super::{Admission, Peer, PeerOf};
use crate::reject::text_response;

/// How many calls one peer address may make, for [`limit_rate`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a guard has it"]
pub struct RateLimit {
    interval: Duration,
    burst: u32,
    max_peers: usize,
}

impl RateLimit {
    /// `count` calls in each `period`, at least one: they may come all at once, and then one more
    /// for each `count`th part of the period that passes.
    pub fn new(count: u32, period: Duration) -> Self {
        let count = count.max(1);
        Self { interval: period / count, burst: count, max_peers: 1 << 16 }
    }

    /// How many calls may come at once, at least one. Default: as many as in a period.
    pub fn burst(mut self, count: u32) -> Self {
        self.burst = count.max(1);
        self
    }

    /// How many addresses are remembered, at least one; beyond that the one that has used up least is
    /// forgotten. Each takes about 100 bytes. Default: 65,536.
    pub fn max_peers(mut self, count: usize) -> Self {
        self.max_peers = count.max(1);
        self
    }
}

/// A guard that lets calls through as `limit` allows, and answers others with 429 and `Retry-After`.
///
/// The peer address is [`Request::client_network`]; see [the module](crate::guards) for calls that have
/// none. Time is [`Request::received_at`], so where the host does not set it, what is used up stays so.
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
/// algorithm"): a full one tells nothing, and need not be remembered.
#[derive(Debug, Default)]
struct Buckets {
    full_at: BTreeMap<Peer, Instant>,
    /// The same, the next to be full first.
    order: BTreeSet<(Instant, Peer)>,
}

impl Buckets {
    /// Takes a token for `peer`; otherwise says how long until there is one.
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

    /// Two at a time are faster than the one that a call may add, and no call pays for many.
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
        text_response(StatusCode::TOO_MANY_REQUESTS, "this address makes too many requests\n");
    // Whole seconds (RFC 9110 §10.2.3), of which too few would only mean the same answer again.
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
    fn a_bucket_gives_a_burst_and_then_as_much_as_flows_in() {
        let mut buckets = Buckets::default();
        let mut take = |millis| buckets.take(&limit(), peer(1), at(millis));
        let wait = |millis| Err(Duration::from_millis(millis));
        assert_eq!([take(0), take(0), take(0)], [Ok(()), Ok(()), wait(100)]);
        assert_eq!([take(99), take(100), take(100)], [wait(1), Ok(()), wait(100)]);
        assert_eq!([take(5000), take(5000), take(5000)], [Ok(()), Ok(()), wait(100)]);
    }

    #[test]
    fn time_that_goes_back_gives_nothing_away() {
        let mut buckets = Buckets::default();
        let limit = limit();
        for _ in 0..2 {
            buckets.take(&limit, peer(1), at(1000)).unwrap();
        }
        assert_eq!(buckets.take(&limit, peer(1), at(500)), Err(Duration::from_millis(600)));
    }

    #[test]
    fn full_buckets_are_forgotten() {
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
    fn no_more_addresses_are_remembered_than_the_limit_says() {
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
        // Whoever used up most is remembered longest: others' calls are no way around the limit.
        assert!(buckets.take(&limit, peer(0), at(0)).is_err());
    }
}
