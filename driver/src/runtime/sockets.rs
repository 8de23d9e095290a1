//! The settings of TCP sockets, which are the same on every runtime.
//!
//! The adapters set up each TCP socket that they accept or dial as [`prepare_tcp`] does: `TCP_NODELAY`,
//! keep-alive and `TCP_NOTSENT_LOWAT`. On Android and Linux they set up the listener instead, whose settings
//! the sockets that it accepts inherit. A program that passes its own stream to an adapter's
//! `serve_connection` or `connect_over` calls it itself.
//!
//! A session that does not read, because its handler does not receive, asks once a second whether
//! its peer has ended or reset the connection ([`ending`]). The operating system can report that on
//! Linux, Android, FreeBSD and illumos, for TCP and Unix sockets, also under TLS. On other systems
//! and for other streams [`Config::stall_timeout`](sockless_core::Config::stall_timeout) ends the
//! session instead.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::runtime::Ending;

/// The time of silence after which the kernel sends the first keep-alive probe.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// The time between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// The number of unanswered probes after which the kernel ends the connection.
const KEEPALIVE_PROBES: u32 = 4;

/// The number of unsent bytes in the kernel from which on a socket is not writable.
///
/// It is above the default [`high_water`](sockless_core::Config::high_water), so that a session's
/// queue is sent in one write, and far below the megabytes to which a send buffer grows. Bytes that
/// were sent and not acknowledged yet do not count, so it does not reduce the throughput on links
/// with a long delay.
#[cfg(any(target_os = "android", target_os = "linux"))]
const NOTSENT_LOWAT: u32 = 128 << 10;

/// Options of a listening TCP socket.
///
/// ```
/// use sockless::ListenOptions;
///
/// let options = ListenOptions::default().reuse_port(true).backlog(1024);
/// ```
#[derive(Clone, Debug)]
pub struct ListenOptions {
    reuse_port: bool,
    backlog: u32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { reuse_port: false, backlog: 4096 }
    }
}

impl ListenOptions {
    /// Shares the address with other listeners that set this too, in this process and in others of
    /// the same user: `SO_REUSEPORT`. Default: off; listening on an address in use fails.
    ///
    /// The system assigns each new connection to one of the listeners, by a hash of the addresses
    /// of its two ends, so each gets about the same number, regardless of its load. Servers can
    /// share an address in this way without sharing anything else, for example one server for each
    /// core. With port 0, the first listener gets a port, and the others bind to its
    /// [`local_addr`](crate::Server::local_addr).
    ///
    /// A connection waits in the queue of the listener to which it was assigned. When that listener
    /// is closed, connections that it has not accepted are reset; Linux assigns them to another
    /// listener if `net.ipv4.tcp_migrate_req` is 1 (since 5.14). Accepted connections are not
    /// affected.
    ///
    /// Only Linux, Android, FreeBSD (12 and later) and DragonFly distribute connections in this
    /// way. On other systems, where the option assigns all of them to one listener or does not
    /// exist, listening fails with [`Unsupported`](io::ErrorKind::Unsupported).
    #[must_use]
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Sets the number of connections that can wait to be accepted. Default: 4096.
    ///
    /// Further ones are ignored until there is room; their clients try again after a second or
    /// more. The system has a limit of its own, on Linux `net.core.somaxconn`, and the lower one
    /// applies.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }
}

/// Returns a listener on the first of `addrs` that can be listened on. It is in non-blocking mode.
///
/// # Errors
///
/// The error of the last address; [`InvalidInput`](io::ErrorKind::InvalidInput) if there is no
/// address.
pub fn listen(
    addrs: impl IntoIterator<Item = SocketAddr>,
    options: &ListenOptions,
) -> io::Result<TcpListener> {
    let mut failed = None;
    for addr in addrs {
        match listen_at(addr, options) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected at least one address to listen on, found none",
        )
    }))
}

fn listen_at(addr: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Allows a port that still has connections in TIME_WAIT. On Windows, the same option would take
    // the port from another process that listens on it.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        set_reuse_port(&socket)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

#[cfg(any(target_os = "android", target_os = "dragonfly", target_os = "linux"))]
fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// On FreeBSD, `SO_REUSEPORT` assigns all connections to one of the listeners.
#[cfg(target_os = "freebsd")]
fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port_lb(true)
}

#[cfg(not(any(
    target_os = "android",
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "linux"
)))]
fn set_reuse_port(_socket: &Socket) -> io::Result<()> {
    let error =
        "reuse_port is not supported: this system does not distribute connections over listeners";
    Err(io::Error::new(io::ErrorKind::Unsupported, error))
}

/// Sets up a TCP socket, as the adapters do with each socket that they accept or dial.
///
/// * `TCP_NODELAY`: written data is sent at once.
/// * Keep-alive, so that a peer that has vanished ends the connection after about two minutes,
///   whether the session reads or not: after 60 s of silence the kernel sends up to 4 probes, 15 s
///   apart. It does not probe while data waits to be acknowledged. Then the system's
///   retransmissions decide, which time out after about 15 minutes on Linux, unless
///   [`ping_timeout`](sockless_core::Config::ping_timeout) or
///   [`write_timeout`](sockless_core::Config::write_timeout) ends the session earlier. On systems
///   where the times cannot be set for one socket, such as OpenBSD and Haiku, those of the system
///   apply.
/// * `TCP_NOTSENT_LOWAT`, on Android and Linux: a socket is not writable while the kernel holds 128
///   KiB of unsent data. So `send` waits and `write_timeout` runs as soon as a peer does not keep
///   up, rather than after megabytes.
///
/// Errors are ignored: a socket without one of the settings works, and one that has failed reports
/// that when it is read.
pub fn prepare_tcp(socket: &SockRef<'_>) {
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive());
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket.set_tcp_notsent_lowat(NOTSENT_LOWAT);
}

/// Sets up a listening TCP socket so that the sockets which it accepts are set up as by [`prepare_tcp`], and
/// returns true if they are. It saves six system calls for each connection.
///
/// Accepted sockets inherit the settings on Android and Linux. On other systems, and after an error, it
/// returns false: then each accepted socket is set up for itself.
pub fn prepare_listener(socket: &SockRef<'_>) -> bool {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    return socket.set_tcp_nodelay(true).is_ok()
        && socket.set_tcp_keepalive(&keepalive()).is_ok()
        && socket.set_tcp_notsent_lowat(NOTSENT_LOWAT).is_ok();
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    {
        let _ = socket;
        false
    }
}

/// Returns the address of a socket that a listener with the address `listener` has accepted, and which
/// `own` asks the system for: it differs only if the listener accepts at all addresses of the machine.
pub fn accepted_addr(
    listener: SocketAddr,
    own: impl FnOnce() -> io::Result<SocketAddr>,
) -> Option<SocketAddr> {
    if listener.ip().is_unspecified() { own().ok() } else { Some(listener) }
}

fn keepalive() -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    // On other systems the system's own interval and count apply.
    let _ = (KEEPALIVE_INTERVAL, KEEPALIVE_PROBES);
    #[cfg(any(
        target_os = "android",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "fuchsia",
        target_os = "illumos",
        target_os = "linux",
        target_os = "netbsd",
        target_os = "windows",
        target_vendor = "apple"
    ))]
    let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    keepalive
}

/// Returns whether the peer of a connected socket has ended the connection, or it has failed,
/// without reading from it: for [`Io::poll_ending`](crate::Io::poll_ending).
///
/// It calls `poll(2)` with `POLLRDHUP`, `POLLHUP` and `POLLERR`, and does not wait. It sees an end
/// behind unread data. While this side's receive buffer is full, it sees a reset but not a FIN,
/// which waits in the peer's queue. That this side has shut down writing is not an end.
///
/// [`Ending::Unknown`] on systems without `POLLRDHUP`, which exists on Android, FreeBSD, illumos
/// and Linux, except on SPARC.
#[cfg(any(
    target_os = "freebsd",
    target_os = "illumos",
    all(
        any(target_os = "android", target_os = "linux"),
        not(any(target_arch = "sparc", target_arch = "sparc64"))
    )
))]
pub fn ending(socket: &SockRef<'_>) -> Ending {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let flags = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    match poll(&mut [PollFd::new(&**socket, flags)], Some(&Timespec::default())) {
        Ok(1..) => Ending::Ended,
        // After an interruption by a signal, the next call returns the state.
        Ok(0) | Err(_) => Ending::Open,
    }
}

/// Returns [`Ending::Unknown`]: on this system, the end of a socket is seen only by reading from
/// it.
#[cfg(not(any(
    target_os = "freebsd",
    target_os = "illumos",
    all(
        any(target_os = "android", target_os = "linux"),
        not(any(target_arch = "sparc", target_arch = "sparc64"))
    )
)))]
pub fn ending(_socket: &SockRef<'_>) -> Ending {
    Ending::Unknown
}

/// Shuts down writing to a socket. Reading continues.
///
/// # Errors
///
/// The error of the system, except that the peer has closed the connection already.
pub fn shutdown_write(socket: &SockRef<'_>) -> io::Result<()> {
    match socket.shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// Adds the path of a Unix socket to an error.
#[cfg(unix)]
pub fn at_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_tcp_socket_is_set_up_as_documented() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        prepare_tcp(&SockRef::from(&stream));
        assert_is_set_up(&stream);
    }

    #[test]
    fn an_accepted_socket_inherits_the_settings_of_its_listener() {
        for addr in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(addr).unwrap();
            assert!(prepare_listener(&SockRef::from(&listener)));
            let port = listener.local_addr().unwrap().port();
            let _peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (stream, _) = listener.accept().unwrap();
            assert_is_set_up(&stream);
            let own = accepted_addr(listener.local_addr().unwrap(), || stream.local_addr());
            assert_eq!(own, stream.local_addr().ok());
        }
    }

    fn assert_is_set_up(stream: &TcpStream) {
        let socket = SockRef::from(stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 128 << 10);
    }
}
