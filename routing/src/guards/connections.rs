//! How many connections may be open at a time: [`limit_connections`].

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use sockless_driver::Request;

use super::{Admission, Peer, PeerOf};
use crate::reject::text_response;

/// How many connections may be open at a time, for [`limit_connections`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until a guard has it"]
pub struct ConnectionLimit {
    per_peer: usize,
    total: usize,
}

impl ConnectionLimit {
    /// No limit yet.
    pub fn new() -> Self {
        Self { per_peer: usize::MAX, total: usize::MAX }
    }

    /// At most `count` of one peer address; further ones are answered with 429. Default: no limit.
    pub fn per_peer(mut self, count: usize) -> Self {
        self.per_peer = count;
        self
    }

    /// At most `count` of all peers together; further ones are answered with 503. Default: no limit.
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

/// A guard that lets calls through while `limit` holds. One that got through counts until its
/// connection is over.
///
/// The peer address is [`Request::client_network`]; see [the module](crate::guards) for calls that have
/// none, which count towards [`total`](ConnectionLimit::total) alone. It remembers no address that has no
/// connection.
pub fn limit_connections(
    limit: ConnectionLimit,
) -> impl Fn(Request) -> Ready<Admission> + Clone + Send + Sync + 'static {
    let open = Arc::new(Mutex::new(Open::default()));
    let peer_of = Arc::new(PeerOf::new("limit_connections"));
    move |mut request| {
        let peer = if limit.per_peer == usize::MAX { None } else { peer_of.find(&request) };
        ready(match admit(&limit, &open, peer) {
            Ok(permit) => {
                request.hold(permit);
                Ok(request)
            }
            Err((status, why)) => Err(text_response(status, why)),
        })
    }
}

#[derive(Debug, Default)]
struct Open {
    per_peer: BTreeMap<Peer, usize>,
    total: usize,
}

/// One connection's place in the count, given up when dropped.
#[derive(Debug)]
struct Permit {
    open: Arc<Mutex<Open>>,
    /// Where it is known, and there is a limit for each.
    peer: Option<Peer>,
}

fn admit(
    limit: &ConnectionLimit,
    open: &Arc<Mutex<Open>>,
    peer: Option<Peer>,
) -> Result<Permit, (StatusCode, &'static str)> {
    let mut counts = lock(open);
    if counts.total >= limit.total {
        let why = "as many connections as there may be are open\n";
        return Err((StatusCode::SERVICE_UNAVAILABLE, why));
    }
    if let Some(peer) = peer {
        let own = counts.per_peer.get(&peer).copied().unwrap_or(0);
        if own >= limit.per_peer {
            let why = "as many connections as one address may have are open\n";
            return Err((StatusCode::TOO_MANY_REQUESTS, why));
        }
        counts.per_peer.insert(peer, own + 1);
    }
    counts.total += 1;
    Ok(Permit { open: Arc::clone(open), peer })
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.open);
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

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn an_address_without_connections_is_forgotten() {
        let limit = ConnectionLimit::new().per_peer(2);
        let open = Arc::default();
        let permits: Vec<_> = (0..1000_u32)
            .map(|n| admit(&limit, &open, Some(Peer::Network(IpAddr::V4(n.into())))).unwrap())
            .collect();
        let counts = || {
            let open = lock(&open);
            (open.per_peer.len(), open.total)
        };
        assert_eq!(counts(), (1000, 1000));
        drop(permits);
        assert_eq!(counts(), (0, 0));
    }
}
