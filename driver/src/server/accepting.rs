//! Accepting where there may be no room: [`Accepting`].

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::runtime::{Accepted, Listen, Runtime, Timer};
use crate::server::connections::ConnectionServer;

/// How long accepting rests after a failure, unless a connection goes before.
const PAUSE: Duration = Duration::from_millis(100);

/// How long accepting has to go well before a failure counts as over. Shorter, and a server at its limit
/// would log with each connection.
const RECOVERY: Duration = Duration::from_secs(10);

/// Accepts connections one after the other, and makes room for them.
pub(super) struct Accepting {
    runtime: Arc<dyn Runtime>,
    max_connections: usize,
    /// A connection that was accepted and has no room yet.
    waiting: Option<Accepted>,
    pause: Option<Pause>,
    trouble: Option<Trouble>,
}

/// Waits for a connection to go, for a while.
struct Pause {
    timer: Box<dyn Timer>,
    /// How many had gone when it began.
    gone: u64,
}

/// Accepting fails.
struct Trouble {
    failures: u64,
    /// Goes off when it has not failed for [`RECOVERY`].
    over: Box<dyn Timer>,
}

impl Accepting {
    pub(super) fn new(runtime: Arc<dyn Runtime>, max_connections: usize) -> Self {
        Self { runtime, max_connections, waiting: None, pause: None, trouble: None }
    }

    /// The next connection that there is room for; `None` when accepting one has failed.
    pub(super) fn poll_next(
        &mut self,
        listener: &mut dyn Listen,
        host: &ConnectionServer,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Accepted>> {
        self.poll_recovery(cx);
        if self.waiting.is_none() {
            ready!(self.poll_pause(host, cx));
            // Where nothing can make room, connections wait in the listener's own queue.
            ready!(host.poll_room(self.max_connections, cx));
            match ready!(listener.poll_accept(cx)) {
                Ok(accepted) => self.waiting = Some(accepted),
                Err(error) => {
                    self.handle_failure(host, &error);
                    self.poll_recovery(cx);
                    return Poll::Ready(None);
                }
            }
        }
        ready!(self.poll_place(host, cx));
        Poll::Ready(self.waiting.take())
    }

    /// Ready once there is room for one more connection.
    fn poll_place(&mut self, host: &ConnectionServer, cx: &mut Context<'_>) -> Poll<()> {
        while host.poll_fewer_than(self.max_connections, cx).is_pending() {
            if self.pause.is_none() {
                // The pause first: what is dropped may go at once.
                let pause = self.pause(host);
                if !host.evict_one() {
                    return Poll::Pending;
                }
                self.pause = Some(pause);
            }
            ready!(self.poll_pause(host, cx));
        }
        Poll::Ready(())
    }

    fn poll_pause(&mut self, host: &ConnectionServer, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.poll(host, cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    fn handle_failure(&mut self, host: &ConnectionServer, error: &io::Error) {
        if is_the_peers(error) {
            tracing::debug!(%error, "a connection ended before it was accepted");
            return;
        }
        self.pause = Some(self.pause(host));
        if is_out_of_files(error) {
            host.evict_one();
        }
        self.note_failure(error);
    }

    fn pause(&self, host: &ConnectionServer) -> Pause {
        Pause { timer: self.runtime.timer(self.runtime.now() + PAUSE), gone: host.gone() }
    }

    /// Logs the first of several failures; the others are counted.
    fn note_failure(&mut self, error: &io::Error) {
        let deadline = self.runtime.now() + RECOVERY;
        match &mut self.trouble {
            Some(trouble) => {
                trouble.failures += 1;
                trouble.over.reset(deadline);
            }
            None => {
                let hint = match is_out_of_files(error) {
                    true => "; raise the limit of open files, or set max_connections below it",
                    false => "",
                };
                tracing::warn!(%error, "accepting connections fails and is tried again{hint}");
                let over = self.runtime.timer(deadline);
                self.trouble = Some(Trouble { failures: 1, over });
            }
        }
    }

    fn poll_recovery(&mut self, cx: &mut Context<'_>) {
        if let Some(trouble) = &mut self.trouble
            && trouble.over.poll_expired(cx).is_ready()
        {
            let failures = trouble.failures;
            tracing::info!(failures, "accepting connections works again");
            self.trouble = None;
        }
    }
}

impl Pause {
    fn poll(&mut self, host: &ConnectionServer, cx: &mut Context<'_>) -> Poll<()> {
        match host.poll_gone(self.gone, cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.timer.poll_expired(cx),
        }
    }
}

/// Whether accepting failed for one connection only.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Whether the process, or the system, has as many open files as it may.
fn is_out_of_files(error: &io::Error) -> bool {
    // `EMFILE` and `ENFILE`, and `WSAEMFILE`: the standard library has no kind for them.
    let codes: &[i32] = if cfg!(windows) { &[10_024] } else { &[24, 23] };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
