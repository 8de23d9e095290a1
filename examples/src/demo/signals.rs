//! The signals that the demo answers to, on every runtime the same.

use async_signal::{Signal, Signals};
use smol::stream::StreamExt;

use crate::options::Failure;

/// The signals that end the demo: Ctrl-C, and what a supervisor sends.
pub(crate) struct Stop(Signals);

impl Stop {
    /// Catches them from now on: one that comes before it is waited for is not missed.
    pub(crate) fn catch() -> Result<Self, Failure> {
        const STOP: &[Signal] =
            if cfg!(unix) { &[Signal::Int, Signal::Term] } else { &[Signal::Int] };
        let signals = Signals::new(STOP);
        signals
            .map(Self)
            .map_err(|error| Failure::new("SIGINT and SIGTERM cannot be caught", error))
    }

    /// Waits for the first of them.
    pub(crate) async fn wait(mut self) {
        if let Some(Err(error)) = self.0.next().await {
            // To end is better than a server that no signal ends.
            tracing::error!(%error, "signals cannot be waited for");
        }
    }
}

/// The signal to read the certificate again.
#[cfg(unix)]
pub(crate) struct Hangups(Signals);

#[cfg(unix)]
impl Hangups {
    /// Catches it from now on.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let signals = Signals::new([Signal::Hup]);
        signals.map(Self).map_err(|error| Failure::new("SIGHUP cannot be caught", error))
    }

    /// Waits for the next one; without end when there will not be another.
    pub(crate) async fn next(&mut self) {
        if !matches!(self.0.next().await, Some(Ok(_))) {
            std::future::pending::<()>().await;
        }
    }
}

/// Where there is no such signal.
#[cfg(not(unix))]
pub(crate) struct Hangups;

#[cfg(not(unix))]
impl Hangups {
    pub(crate) fn catch() -> Result<Self, Failure> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) {
        std::future::pending::<()>().await;
    }
}
