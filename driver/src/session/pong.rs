//! Waiting for pongs: [`Pong`], the answer to one ping, and [`Pongs`], all of them.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use sockless_core::Closed;

use crate::session::engine::shared::{Shared, Waiting};
use crate::session::engine::waiters::Slot;

/// The answer to a ping, from [`Session::ping`](crate::Session::ping): a future that returns the
/// round-trip time.
///
/// The time counts from the call of `ping`, so it includes the time for which the ping waited in
/// the outgoing queue, and it ends when the driver reads the pong: a session that leaves its
/// transport unread, because its handler does not receive, reads it late.
///
/// A pong with the ping's payload answers it, and so does one that answers a later ping (RFC 6455
/// §5.5.3). Wait for no longer than the application needs: there is no timeout other than those of
/// the session.
///
/// Cancel-safe. Dropping it has no effect on the ping. It does not keep the session open.
///
/// ```
/// use sockless::{Error, Session};
///
/// async fn latency(session: &Session) -> Result<(), Error> {
///     let round_trip = session.ping("")?.await?;
///     session.send(format!("{} ms", round_trip.as_millis())).await?;
///     Ok(())
/// }
/// # let _ = latency;
/// ```
pub struct Pong {
    shared: Arc<Shared>,
    slot: Slot,
    id: u64,
}

impl Pong {
    pub(super) fn new(shared: Arc<Shared>, id: u64) -> Self {
        Self { shared, slot: Slot::default(), id }
    }
}

impl Future for Pong {
    type Output = Result<Duration, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, slot, id } = &mut *self;
        shared.lock().poll_pong(*id, slot, cx)
    }
}

impl Drop for Pong {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.pongs().forget(self.id);
        state.stop_waiting(&self.slot);
    }
}

impl fmt::Debug for Pong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pong").finish_non_exhaustive()
    }
}

/// The pongs that arrive in a session, solicited or not, from
/// [`Session::pongs`](crate::Session::pongs).
///
/// ```
/// use sockless::{Closed, Session};
///
/// /// Logs the pongs of a peer that sends them as a heartbeat (RFC 6455 §5.5.3).
/// async fn log(session: &Session) -> Closed {
///     let mut pongs = session.pongs();
///     loop {
///         match pongs.recv().await {
///             Ok(payload) => println!("a pong with {} bytes", payload.len()),
///             Err(closed) => return closed,
///         }
///     }
/// }
/// # let _ = log;
/// ```
pub struct Pongs {
    shared: Arc<Shared>,
    seen: u64,
}

impl Pongs {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let seen = shared.lock().pongs().watch();
        Self { shared, seen }
    }

    /// Waits for a pong that arrives after this value was created, or after the last call, and
    /// returns its payload. Of several, it returns the newest.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// A [`Closed`] that describes how the session ended.
    pub async fn recv(&mut self) -> Result<Bytes, Closed> {
        let Self { shared, seen } = self;
        let mut waiting = Waiting::new(shared);
        let (payload, count) =
            poll_fn(|cx| shared.lock().poll_newer_pong(*seen, &mut waiting.slot, cx)).await?;
        *seen = count;
        Ok(payload)
    }
}

impl Drop for Pongs {
    fn drop(&mut self) {
        self.shared.lock().pongs().stop_watching();
    }
}

impl fmt::Debug for Pongs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pongs").finish_non_exhaustive()
    }
}
