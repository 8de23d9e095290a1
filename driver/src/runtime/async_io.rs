//! The clock, the random numbers and the sockets of runtimes that are built on async-io.
//!
//! Such runtimes differ in how they start tasks and resolve names, which is not part of this
//! module.

#![expect(clippy::disallowed_methods, reason = "this is the clock that the driver is given")]

use std::any::Any;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use sockless_core::{Instant, Seed};

use crate::runtime::futures_io::{FuturesTransport, Sockets};
use crate::runtime::sockets::{accepted_addr, prepare_listener, prepare_tcp};
use crate::runtime::{Accepted, Io, Listen, Timer};

#[doc(no_inline)]
pub use async_io::Async;

/// An arbitrary time, fixed before it is first compared with another.
static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// Returns the current time of the system's monotonic clock.
pub fn now() -> Instant {
    let epoch = *EPOCH;
    Instant::from_epoch(std::time::Instant::now().saturating_duration_since(epoch))
}

/// Returns a timer that expires at `deadline`.
pub fn timer(deadline: Instant) -> Box<dyn Timer> {
    Box::new(AsyncIoTimer { timer: async_io::Timer::at(to_std(deadline)), expired: false })
}

/// Returns a seed from the operating system's random numbers.
///
/// # Panics
///
/// If the operating system has no random numbers: masking keys would be predictable.
pub fn seed() -> Seed {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system provides random numbers");
    Seed::new(bytes)
}

/// Accepts connections from a TCP listener.
///
/// # Errors
///
/// The error of the system, if the listener has no address.
pub fn listen_on(listener: Arc<Async<std::net::TcpListener>>) -> io::Result<impl Listen> {
    let own_addr = listener.get_ref().local_addr()?;
    let is_prepared = prepare_listener(&SockRef::from(listener.get_ref()));
    let accept = move |listener: &std::net::TcpListener| {
        let (stream, peer) = listener.accept()?;
        let local_addr = accepted_addr(own_addr, || stream.local_addr());
        let stream = Async::new(stream)?;
        let transport = if is_prepared { transport(stream) } else { tcp(stream) };
        Ok(Accepted { transport, peer_addr: Some(peer), local_addr })
    };
    Ok(Listener { listener, accept, local_addr: Some(own_addr) })
}

/// Accepts connections from a Unix listener.
#[cfg(unix)]
pub fn listen_on_unix(listener: Arc<Async<std::os::unix::net::UnixListener>>) -> impl Listen {
    let accept = |listener: &std::os::unix::net::UnixListener| {
        let (stream, _) = listener.accept()?;
        let transport = transport(Async::new(stream)?);
        Ok(Accepted { transport, peer_addr: None, local_addr: None })
    };
    Listener { listener, accept, local_addr: None }
}

/// Opens a TCP connection to `addr`.
///
/// # Errors
///
/// The error of the system, such as `ConnectionRefused`.
pub async fn connect(addr: SocketAddr) -> io::Result<Box<dyn Io>> {
    Ok(tcp(Async::<std::net::TcpStream>::connect(addr).await?))
}

/// Connects to the Unix socket at `path`.
///
/// # Errors
///
/// The error of the system, such as `NotFound`, with the path.
#[cfg(unix)]
pub async fn connect_unix(path: &Path) -> io::Result<Box<dyn Io>> {
    let connected = Async::<std::os::unix::net::UnixStream>::connect(path).await;
    connected.map(transport).map_err(|error| crate::runtime::sockets::at_path(path, &error))
}

/// Uses the socket itself rather than a runtime's own stream, which allocates a future for each
/// wait.
fn tcp(stream: Async<std::net::TcpStream>) -> Box<dyn Io> {
    prepare_tcp(&SockRef::from(stream.get_ref()));
    transport(stream)
}

fn transport<S>(stream: Async<S>) -> Box<dyn Io>
where
    Async<S>: futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static,
{
    Box::new(FuturesTransport::<_, AsyncIoSockets>::new(stream))
}

/// Finds the sockets of async-io.
#[derive(Debug)]
pub struct AsyncIoSockets;

impl Sockets for AsyncIoSockets {
    fn socket(stream: &dyn Any) -> Option<SockRef<'_>> {
        let socket = stream.downcast_ref::<Async<std::net::TcpStream>>().map(SockRef::from);
        #[cfg(unix)]
        let socket = {
            type Unix = Async<std::os::unix::net::UnixStream>;
            socket.or_else(|| stream.downcast_ref::<Unix>().map(SockRef::from))
        };
        socket
    }
}

struct Listener<L, A> {
    listener: Arc<Async<L>>,
    accept: A,
    local_addr: Option<SocketAddr>,
}

impl<L, A> Listen for Listener<L, A>
where
    L: Send + Sync + 'static,
    A: Fn(&L) -> io::Result<Accepted> + Send + 'static,
{
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        loop {
            match (self.accept)(self.listener.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => return Poll::Ready(accepted),
            }
            ready!(self.listener.poll_readable(cx))?;
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }
}

struct AsyncIoTimer {
    timer: async_io::Timer,
    /// The timer has fired, which it reports only once.
    expired: bool,
}

impl Timer for AsyncIoTimer {
    fn reset(&mut self, deadline: Instant) {
        self.timer.set_at(to_std(deadline));
        self.expired = false;
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.expired {
            ready!(Pin::new(&mut self.timer).poll(cx));
            self.expired = true;
        }
        Poll::Ready(())
    }
}

/// Converts a deadline to the system's clock; one that is out of its range becomes a year from now.
fn to_std(deadline: Instant) -> std::time::Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let epoch = *EPOCH;
    epoch.checked_add(deadline.since_epoch()).unwrap_or_else(|| std::time::Instant::now() + YEAR)
}
