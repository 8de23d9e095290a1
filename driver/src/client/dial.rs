//! From a host name to an open transport: [`Dial`], and the race of the addresses.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use sockless_core::Instant;

use super::destination::Destination;
use super::error::{ConnectError, ConnectStep, DialAttempt};
use super::eyeballs::Eyeballs;
use crate::future::BoxFuture;
use crate::runtime::{Io, Runtime, Timer, timeout};

/// Resolves names and opens transports to addresses, as each runtime implements it.
///
/// Dropping a future that a method returned cancels the operation. A thread in which the system's
/// resolver blocks may continue until the resolver returns.
pub trait Dial: Send + Sync + 'static {
    /// Returns the addresses of `host`, each with `port`, in the order in which they should be
    /// tried (RFC 6724). Not called for a `host` that is an address.
    ///
    /// # Errors
    ///
    /// Returns the resolver's error. An empty list is treated as an error, too.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

    /// Opens a transport to `addr`.
    ///
    /// # Errors
    ///
    /// Returns the system's error, such as `ConnectionRefused`.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;

    /// Opens a transport to the Unix socket at `path`, for
    /// [`Connect::unix_socket`](super::Connect::unix_socket).
    ///
    /// # Errors
    ///
    /// Returns the system's error, with the path; [`Unsupported`](io::ErrorKind::Unsupported), the
    /// default, where there are no such sockets.
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let _ = path;
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }
}

/// The runtime, and the deadline that all steps of dialling share.
#[derive(Clone)]
pub(crate) struct Dialler {
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) deadline: Instant,
    pub(crate) timeout: std::time::Duration,
}

impl Dialler {
    /// Opens a transport to the Unix socket at `path`.
    pub(crate) async fn connect_unix(
        &self,
        path: &Path,
        destination: &Destination,
    ) -> Result<Box<dyn Io>, ConnectError> {
        let step = ConnectStep::Connect;
        match self.within(self.dial.connect_unix(path)).await {
            Some(Ok(transport)) => Ok(transport),
            Some(Err(error)) => {
                Err(ConnectError::Transport { destination: destination.clone(), step, error })
            }
            None => Err(self.timed_out(destination, step, Vec::new())),
        }
    }

    /// Returns the addresses of `host`, which may be an address itself.
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
            let error = io::Error::new(io::ErrorKind::NotFound, "the resolver returned no address");
            return Err(named(error));
        }
        Ok(addrs)
    }

    /// Opens a transport to the first of `addrs` that accepts (RFC 8305 §5), and sets the address
    /// of `destination`. The other attempts are dropped.
    pub(crate) async fn connect(
        &self,
        addrs: Vec<SocketAddr>,
        destination: &mut Destination,
    ) -> Result<Box<dyn Io>, ConnectError> {
        let mut race = Race::new(self, addrs);
        let won = self.within(poll_fn(|cx| race.poll(self, cx))).await;
        match won {
            Some(Some((transport, addr))) => {
                destination.set_addr(addr);
                Ok(transport)
            }
            Some(None) => {
                let destination = destination.clone();
                Err(ConnectError::Dial { destination, attempts: race.failed })
            }
            None => {
                race.failed.extend(race.pending.iter().map(|(addr, _)| {
                    let error = io::Error::new(io::ErrorKind::TimedOut, "still pending");
                    DialAttempt { addr: *addr, error }
                }));
                Err(self.timed_out(destination, ConnectStep::Connect, race.failed))
            }
        }
    }

    /// Waits for `future`. Returns `None` if the deadline passes first.
    pub(crate) async fn within<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut deadline = self.runtime.timer(self.deadline);
        timeout(&mut *deadline, future).await
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

/// The attempts that are pending, and those that have failed.
struct Race {
    eyeballs: Eyeballs,
    pending: Vec<(SocketAddr, Connecting)>,
    failed: Vec<DialAttempt>,
    timer: Option<Box<dyn Timer>>,
}

impl Race {
    fn new(dialler: &Dialler, addrs: Vec<SocketAddr>) -> Self {
        let eyeballs = Eyeballs::new(addrs, dialler.runtime.now());
        Self { eyeballs, pending: Vec::new(), failed: Vec::new(), timer: None }
    }

    /// Returns the first transport that opens, or `None` once all attempts have failed.
    fn poll(
        &mut self,
        dialler: &Dialler,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(Box<dyn Io>, SocketAddr)>> {
        loop {
            let now = dialler.runtime.now();
            if let Some(addr) = self.eyeballs.poll_attempt(now) {
                self.pending.push((addr, dialler.dial.connect(addr)));
            }
            if let Some(won) = self.poll_pending(cx, now) {
                return Poll::Ready(Some(won));
            }
            let Some(next_at) = self.eyeballs.poll_timeout() else {
                return if self.pending.is_empty() { Poll::Ready(None) } else { Poll::Pending };
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

    /// Polls the pending attempts. Returns the first transport that opened, and notes the attempts
    /// that failed.
    fn poll_pending(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Option<(Box<dyn Io>, SocketAddr)> {
        let mut index = 0;
        while let Some((addr, connecting)) = self.pending.get_mut(index) {
            let addr = *addr;
            match connecting.as_mut().poll(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(Ok(transport)) => return Some((transport, addr)),
                Poll::Ready(Err(error)) => {
                    drop(self.pending.remove(index));
                    self.failed.push(DialAttempt { addr, error });
                    self.eyeballs.handle_failure(now);
                }
            }
        }
        None
    }
}
