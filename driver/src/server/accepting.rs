//! Accepting connections, and making room for them: [`Accepting`].

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::runtime::{Accepted, Listen, Runtime, Timer};
use crate::server::connections::ConnectionServer;

/// The pause after a failure, unless a connection ends earlier.
const PAUSE: Duration = Duration::from_millis(100);

/// The time without failures after which accepting counts as working again. With a shorter one, a
/// server at its limit would log each connection.
const RECOVERY: Duration = Duration::from_secs(10);

/// Accepts connections one after the other, and makes room for them.
pub(super) struct Accepting {
    runtime: Arc<dyn Runtime>,
    max_connections: usize,
    /// An accepted connection for which there is no room yet.
    waiting: Option<Accepted>,
    pause: Option<Pause>,
    failures: Option<Failures>,
}

/// A pause that ends early when a connection ends.
struct Pause {
    timer: Box<dyn Timer>,
    /// The number of connections that had ended when it began.
    ended: u64,
}

/// A series of failures to accept.
struct Failures {
    count: u64,
    /// Expires after [`RECOVERY`] without a failure.
    over: Box<dyn Timer>,
}

impl Accepting {
    pub(super) fn new(runtime: Arc<dyn Runtime>, max_connections: usize) -> Self {
        Self { runtime, max_connections, waiting: None, pause: None, failures: None }
    }

    /// Returns the next connection for which there is room, or `None` if accepting one has failed.
    pub(super) fn poll_next(
        &mut self,
        listener: &mut dyn Listen,
        server: &ConnectionServer,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Accepted>> {
        self.poll_recovery(cx);
        if self.waiting.is_none() {
            ready!(self.poll_pause(server, cx));
            // While no connection can be evicted, new ones wait in the listener's own queue.
            ready!(server.poll_room(self.max_connections, cx));
            match ready!(listener.poll_accept(cx)) {
                Ok(accepted) => self.waiting = Some(accepted),
                Err(error) => {
                    self.handle_failure(server, &error);
                    self.poll_recovery(cx);
                    return Poll::Ready(None);
                }
            }
        }
        ready!(self.poll_place(server, cx));
        Poll::Ready(self.waiting.take())
    }

    /// Ready once there is room for one more connection. Evicts connections to make it.
    fn poll_place(&mut self, server: &ConnectionServer, cx: &mut Context<'_>) -> Poll<()> {
        while server.poll_fewer_than(self.max_connections, cx).is_pending() {
            if self.pause.is_none() {
                // The pause is made first, since the evicted connection may end at once.
                let pause = self.pause(server);
                if !server.evict_one() {
                    return Poll::Pending;
                }
                self.pause = Some(pause);
            }
            ready!(self.poll_pause(server, cx));
        }
        Poll::Ready(())
    }

    fn poll_pause(&mut self, server: &ConnectionServer, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.poll(server, cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    fn handle_failure(&mut self, server: &ConnectionServer, error: &io::Error) {
        if concerns_one_connection(error) {
            tracing::debug!(%error, "a connection ended before it was accepted");
            return;
        }
        self.pause = Some(self.pause(server));
        if is_out_of_files(error) {
            server.evict_one();
        }
        self.note_failure(error);
    }

    fn pause(&self, server: &ConnectionServer) -> Pause {
        Pause { timer: self.runtime.timer(self.runtime.now() + PAUSE), ended: server.ended() }
    }

    /// Logs the first of a series of failures, and counts the others.
    fn note_failure(&mut self, error: &io::Error) {
        let deadline = self.runtime.now() + RECOVERY;
        match &mut self.failures {
            Some(failures) => {
                failures.count += 1;
                failures.over.reset(deadline);
            }
            None => {
                let hint = match is_out_of_files(error) {
                    true => "; raise the limit of open files, or set max_connections below it",
                    false => "",
                };
                tracing::warn!(%error, "accepting connections fails and is tried again{hint}");
                let over = self.runtime.timer(deadline);
                self.failures = Some(Failures { count: 1, over });
            }
        }
    }

    fn poll_recovery(&mut self, cx: &mut Context<'_>) {
        if let Some(failures) = &mut self.failures
            && failures.over.poll_expired(cx).is_ready()
        {
            let failures = failures.count;
            tracing::info!(failures, "accepting connections works again");
            self.failures = None;
        }
    }
}

impl Pause {
    fn poll(&mut self, server: &ConnectionServer, cx: &mut Context<'_>) -> Poll<()> {
        match server.poll_ended(self.ended, cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.timer.poll_expired(cx),
        }
    }
}

/// True if one connection failed rather than the listener.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// True if the process, or the system, has as many open files as it may.
fn is_out_of_files(error: &io::Error) -> bool {
    // `EMFILE` and `ENFILE`, and `WSAEMFILE`: the standard library has no kind for them.
    let codes: &[i32] = if cfg!(windows) { &[10_024] } else { &[24, 23] };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
