//! The common part of the engines over a broker, besides the [`Outbox`]: the connection that is made again, and epochs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use sockless_driver::Runtime;
#[cfg(feature = "rustls")]
use sockless_driver::tls::TlsConnector;

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

/// The settings that all of them have.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) prefix: String,
    pub(super) is_durable: bool,
    #[cfg(feature = "rustls")]
    pub(super) tls: Option<TlsConnector>,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            prefix: "sockless".to_owned(),
            is_durable: false,
            #[cfg(feature = "rustls")]
            tls: None,
        }
    }
}

/// Adds the methods that set these, with the documentation of each engine.
macro_rules! common_settings {
    ($bus:ident: $(#[$prefix:meta])* prefix $(#[$durable:meta])* durable) => {
        impl $bus {
            $(#[$prefix])*
            #[must_use]
            pub fn prefix(self, prefix: impl Into<String>) -> Self {
                self.change(|common| common.prefix = prefix.into())
            }

            $(#[$durable])*
            #[must_use]
            pub fn durable(self) -> Self {
                self.change(|common| common.is_durable = true)
            }

            /// Connects by TLS, to the host of the URL. Feature `rustls`.
            #[cfg(feature = "rustls")]
            #[must_use]
            pub fn tls(self, connector: sockless_driver::tls::TlsConnector) -> Self {
                self.change(|common| common.tls = Some(connector))
            }

            fn change(self, change: impl FnOnce(&mut $crate::bus::broker::Common)) -> Self {
                let mut settings = self.0.settings.clone();
                change(&mut settings.common);
                Self::with(settings)
            }
        }

        impl ::std::fmt::Debug for $bus {
            /// Without the URL, which may have a password.
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                let $crate::bus::broker::Common { prefix, is_durable, .. } = &self.0.settings.common;
                let mut debug = f.debug_struct(stringify!($bus));
                debug.field("prefix", prefix).field("is_durable", is_durable);
                debug.finish_non_exhaustive()
            }
        }
    };
}

pub(super) use common_settings;

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
