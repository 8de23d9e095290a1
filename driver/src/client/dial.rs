//! From a name to an open transport: [`Dial`], and the race of the addresses.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use sockless_core::Instant;

use super::destination::Destination;
use super::error::{ConnectError, ConnectStep, DialAttempt};
use super::eyeballs::Eyeballs;
use crate::future::BoxFuture;
use crate::runtime::{Io, Runtime, Timer};

/// Opens transports to servers, which a runtime fills in.
///
/// Both futures end at once when they are dropped, as far as the caller can tell; a thread that the
/// system's resolver blocks may go on until that returns.
pub trait Dial: Send + Sync + 'static {
    /// Looks up the addresses of `host`, with `port` in each, in the order in which they should be
    /// tried (RFC 6724). Not asked for a `host` that is an address already.
    ///
    /// # Errors
    ///
    /// What the resolver reports. No address at all is an error too.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

    /// Opens a transport to `addr`.
    ///
    /// # Errors
    ///
    /// What the system reports, such as `ConnectionRefused`.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}

/// What dialling needs: the runtime, and the time that all steps share.
#[derive(Clone)]
pub(crate) struct Dialler {
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) deadline: Instant,
    pub(crate) timeout: std::time::Duration,
}

impl Dialler {
    /// The addresses of `host`, which may be one itself.
    pub(crate) async fn resolve(
        &self,
        host: &str,
        port: u16,
        destination: &Destination,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let resolved = self.within(self.dial.resolve(host, port)).await;
        let resolved = resolved
            .ok_or_else(|| self.timed_out(destination, ConnectStep::Resolve, Vec::new()))?;
        let named = |error| ConnectError::Resolve {
            destination: destination.clone(),
            name: host.into(),
            error,
        };
        let addrs = resolved.map_err(named)?;
        if addrs.is_empty() {
            let error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(named(error));
        }
        Ok(addrs)
    }

    /// Opens a transport to the first of `addrs` that takes it (RFC 8305 §5), and notes its address in
    /// `peer`. The other attempts are dropped.
    pub(crate) async fn connect(
        &self,
        addrs: Vec<SocketAddr>,
        destination: &mut Destination,
    ) -> Result<Box<dyn Io>, ConnectError> {
        let mut race = Race::new(self, addrs);
        let mut deadline = self.runtime.timer(self.deadline);
        let won = poll_fn(|cx| match race.poll(self, cx) {
            Poll::Ready(won) => Poll::Ready(Some(won)),
            Poll::Pending => deadline.poll_expired(cx).map(|()| None),
        });
        match won.await {
            Some(Some((transport, addr))) => {
                destination.addr = Some(addr);
                Ok(transport)
            }
            Some(None) => {
                Err(ConnectError::Dial { destination: destination.clone(), attempts: race.failed })
            }
            None => {
                let unanswered = || io::Error::new(io::ErrorKind::TimedOut, "no answer so far");
                let running = race.running.iter();
                let unanswered =
                    running.map(|(addr, _)| DialAttempt { addr: *addr, error: unanswered() });
                race.failed.extend(unanswered);
                Err(self.timed_out(destination, ConnectStep::Connect, race.failed))
            }
        }
    }

    /// Waits for `future`; `None` when the deadline has passed.
    pub(crate) async fn within<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        let mut deadline = self.runtime.timer(self.deadline);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => deadline.poll_expired(cx).map(|()| None),
        })
        .await
    }

    pub(crate) fn timed_out(
        &self,
        destination: &Destination,
        step: ConnectStep,
        attempts: Vec<DialAttempt>,
    ) -> ConnectError {
        ConnectError::Timeout {
            destination: destination.clone(),
            step,
            timeout: self.timeout,
            attempts,
        }
    }
}

type Connecting = BoxFuture<'static, io::Result<Box<dyn Io>>>;

/// The attempts that run, and those that have failed.
struct Race {
    eyeballs: Eyeballs,
    running: Vec<(SocketAddr, Connecting)>,
    failed: Vec<DialAttempt>,
    timer: Option<Box<dyn Timer>>,
}

impl Race {
    fn new(dialler: &Dialler, addrs: Vec<SocketAddr>) -> Self {
        let eyeballs = Eyeballs::new(addrs, dialler.runtime.now());
        Self { eyeballs, running: Vec::new(), failed: Vec::new(), timer: None }
    }

    /// The first transport, or `None` once all attempts have failed.
    fn poll(
        &mut self,
        dialler: &Dialler,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(Box<dyn Io>, SocketAddr)>> {
        loop {
            let now = dialler.runtime.now();
            if let Some(addr) = self.eyeballs.poll_attempt(now) {
                self.running.push((addr, dialler.dial.connect(addr)));
            }
            if let Some(won) = self.poll_running(cx, now) {
                return Poll::Ready(Some(won));
            }
            let Some(next_at) = self.eyeballs.poll_timeout() else {
                return if self.running.is_empty() { Poll::Ready(None) } else { Poll::Pending };
            };
            if next_at > now {
                let timer = self.timer.get_or_insert_with(|| dialler.runtime.timer(next_at));
                timer.reset(next_at);
                if timer.poll_expired(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        }
    }

    /// The first of the running attempts that has succeeded; takes note of those that have failed.
    fn poll_running(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Option<(Box<dyn Io>, SocketAddr)> {
        let mut index = 0;
        while let Some((addr, connecting)) = self.running.get_mut(index) {
            let addr = *addr;
            match connecting.as_mut().poll(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(Ok(transport)) => return Some((transport, addr)),
                Poll::Ready(Err(error)) => {
                    drop(self.running.remove(index));
                    self.failed.push(DialAttempt { addr, error });
                    self.eyeballs.handle_failure(now);
                }
            }
        }
        None
    }
}
