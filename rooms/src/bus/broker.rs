//! What the engines over a broker have in common, besides the [`Outbox`]: the connection that is made again, and epochs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use sockless_driver::Runtime;

use super::BusSink;
use super::outbox::Outbox;
use crate::error::BusError;
use crate::lock;
use crate::position::Epoch;

/// The longest time that a request may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The delay before the first attempt to connect again, and the longest.
const MIN_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_millis(500);

/// The time that a connection lasts before the next one is attempted without a longer delay.
const STABLE: Duration = Duration::from_secs(10);

/// The delays between attempts to connect.
pub(super) struct Delays(Duration);

impl Delays {
    pub(super) fn new() -> Self {
        Self(MIN_DELAY)
    }

    /// Returns the delay after a connection that lasted for this time, or was not made.
    pub(super) fn after(&mut self, lasted: Duration) -> Duration {
        let delay = if lasted > STABLE { MIN_DELAY } else { self.0 };
        self.0 = (delay * 2).min(MAX_DELAY);
        delay
    }
}

/// Reports that there is no connection to the broker of this name.
pub(super) fn report_down(broker: &str, sink: &BusSink, error: &BusError) {
    tracing::debug!("no connection to {broker}: {error}");
    if matches!(error, BusError::Invalid(_)) {
        sink.invalid(error);
    }
    sink.down(error);
}

/// Waits for `future`, or until the rooms are gone, which is `None`.
pub(super) async fn until_closed<C: Clone, F: Future>(
    outbox: &Mutex<Outbox<C>>,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => lock(outbox).poll_closed(cx).map(|()| None),
    })
    .await
}

/// Numbers that no other log has: each server counts from a place of its own.
#[derive(Default)]
pub(super) struct Epochs(AtomicU64);

impl Epochs {
    /// Chooses the place from which this server counts.
    pub(super) fn start(&self, runtime: &dyn Runtime) {
        self.0.store(super::random(runtime), Ordering::Relaxed);
    }

    pub(super) fn fresh(&self) -> Epoch {
        Epoch(self.0.fetch_add(1, Ordering::Relaxed))
    }
}
