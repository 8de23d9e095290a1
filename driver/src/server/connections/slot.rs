//! A connection's place in the registry of its server: [`Slot`].

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use super::Inner;
use super::registry::Start;
use crate::request::network_of;

/// A connection's place in the registry, which counts it until this is dropped.
pub(crate) struct Slot {
    pub(crate) server: Arc<Inner>,
    pub(super) id: u64,
}

impl Slot {
    /// Registers a connection; returns `None` if its peer has as many as it may.
    pub(crate) fn new(server: &Arc<Inner>, peer: Option<SocketAddr>, start: Start) -> Option<Self> {
        let id = server.lock().add(peer.map(|peer| network_of(peer.ip())), start)?;
        Some(Self { server: server.clone(), id })
    }

    /// Sets the peer of a connection that was registered without one; returns false if it has as
    /// many connections as it may.
    pub(super) fn set_peer(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_none_or(|peer| self.server.lock().set_peer(self.id, network_of(peer.ip())))
    }

    /// Waits for `future`; returns `None` if the connection is evicted, or the server terminates
    /// its connections, before.
    pub(crate) async fn unless_dropped<F: Future + Unpin>(
        &self,
        mut future: F,
    ) -> Option<F::Output> {
        let mut registered: Option<Waker> = None;
        let mut seen = 0;
        std::future::poll_fn(|cx| {
            if self.server.terminated.load(Ordering::Acquire)
                || (registered.is_some() && self.is_newly_evicted(&mut seen))
            {
                return Poll::Ready(None);
            }
            if let Poll::Ready(output) = pin!(&mut future).poll(cx) {
                return Poll::Ready(Some(output));
            }
            if registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            registered = Some(cx.waker().clone());
            let goes_on = self.server.lock().set_waker(self.id, cx.waker().clone());
            // After the waker is registered: from now on an eviction or the termination wakes it.
            match goes_on && !self.server.terminated.load(Ordering::Acquire) {
                true => Poll::Pending,
                false => Poll::Ready(None),
            }
        })
        .await
    }

    /// Returns true if the connection was evicted, perhaps since the evictions that were `seen`.
    fn is_newly_evicted(&self, seen: &mut u64) -> bool {
        let evictions = self.server.evictions.load(Ordering::Acquire);
        std::mem::replace(seen, evictions) != evictions && self.server.lock().is_evicted(self.id)
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.server.shutting_down.load(Ordering::Acquire)
    }

    /// True if requests are rejected because the server is shutting down.
    pub(super) fn rejects(&self) -> bool {
        self.is_shutting_down() && !self.server.answers_to_the_end.load(Ordering::Acquire)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let waiters = self.server.lock().remove(self.id);
        waiters.into_iter().for_each(Waker::wake);
    }
}
