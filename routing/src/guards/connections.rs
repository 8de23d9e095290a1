//! Limits on the number of open connections: [`limit_connections`].

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use sockless_core::handshake::text_response;
use sockless_driver::Request;

use super::peer::{Admission, Peer, PeerOf};

/// The maximum number of open connections, for [`limit_connections`].
///
/// ```
/// use sockless::Router;
/// use sockless::guards::{ConnectionLimit, limit_connections};
///
/// let limit = ConnectionLimit::new().per_peer(4).total(10_000);
/// let router = Router::new().guard(limit_connections(limit));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a limit has no effect until it is passed to `limit_connections`"]
pub struct ConnectionLimit {
    per_peer: usize,
    total: usize,
}

impl ConnectionLimit {
    /// Creates a value without limits.
    pub fn new() -> Self {
        Self { per_peer: usize::MAX, total: usize::MAX }
    }

    /// Sets the maximum per peer address. Further connections are answered with 429. Default: no
    /// limit.
    pub fn per_peer(mut self, count: usize) -> Self {
        self.per_peer = count;
        self
    }

    /// Sets the maximum of all peers together. Further connections are answered with 503. Default:
    /// no limit.
    pub fn total(mut self, count: usize) -> Self {
        self.total = count;
        self
    }
}

impl Default for ConnectionLimit {
    fn default() -> Self {
        Self::new()
    }
}

/// Creates a guard that accepts requests within `limit`. An accepted request counts until its
/// connection ends.
///
/// The peer address is [`Request::client_network`]. Requests without an address count towards
/// [`total`](ConnectionLimit::total) only: see [the module](crate::guards). Only addresses with
/// open connections are kept in memory.
pub fn limit_connections(
    limit: ConnectionLimit,
) -> impl Fn(Request) -> Ready<Admission> + Clone + Send + Sync + 'static {
    let counts = Arc::new(Mutex::new(Counts::default()));
    let peer_of = Arc::new(PeerOf::new("limit_connections"));
    move |mut request| {
        let peer = if limit.per_peer == usize::MAX { None } else { peer_of.find(&request) };
        ready(match admit(&limit, &counts, peer) {
            Ok(permit) => {
                request.hold(permit);
                Ok(request)
            }
            Err((status, why)) => Err(text_response(status, why)),
        })
    }
}

#[derive(Debug, Default)]
struct Counts {
    per_peer: BTreeMap<Peer, usize>,
    total: usize,
}

/// One counted connection, until it is dropped.
#[derive(Debug)]
struct Permit {
    counts: Arc<Mutex<Counts>>,
    /// The peer whose connections are counted, if it is known and there is a limit per peer.
    peer: Option<Peer>,
}

fn admit(
    limit: &ConnectionLimit,
    shared: &Arc<Mutex<Counts>>,
    peer: Option<Peer>,
) -> Result<Permit, (StatusCode, &'static str)> {
    let mut counts = lock(shared);
    if counts.total >= limit.total {
        let why = "the maximum number of connections is open: try again later\n";
        return Err((StatusCode::SERVICE_UNAVAILABLE, why));
    }
    if let Some(peer) = peer {
        let own = counts.per_peer.get(&peer).copied().unwrap_or(0);
        if own >= limit.per_peer {
            let why = "too many open connections from this address\n";
            return Err((StatusCode::TOO_MANY_REQUESTS, why));
        }
        counts.per_peer.insert(peer, own + 1);
    }
    counts.total += 1;
    Ok(Permit { counts: Arc::clone(shared), peer })
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.total -= 1;
        if let Some(peer) = self.peer
            && let Some(own) = counts.per_peer.get_mut(&peer)
        {
            *own -= 1;
            if *own == 0 {
                counts.per_peer.remove(&peer);
            }
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn an_address_without_connections_is_removed() {
        let limit = ConnectionLimit::new().per_peer(2);
        let counts = Arc::default();
        let permits: Vec<_> = (0..1000_u32)
            .map(|n| admit(&limit, &counts, Some(Peer::Network(IpAddr::V4(n.into())))).unwrap())
            .collect();
        let sizes = || {
            let counts = lock(&counts);
            (counts.per_peer.len(), counts.total)
        };
        assert_eq!(sizes(), (1000, 1000));
        drop(permits);
        assert_eq!(sizes(), (0, 0));
    }
}
