//! What every runtime does with the sockets of the operating system.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::runtime::Ending;

/// How long a TCP connection may be silent before the kernel asks whether the peer is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// How long the kernel waits for an answer before it asks again.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// How often the kernel asks before it gives the peer up.
const KEEPALIVE_PROBES: u32 = 4;

/// How many bytes the kernel queues that it has not sent yet before the socket takes no more: above
/// the default [`high_water`](sockless_core::Config::high_water), so that what a session sends at once goes
/// in one write; far below the megabytes to which a send buffer grows. What was sent and waits to be
/// acknowledged does not count, so that it costs no throughput on long ways.
#[cfg(any(target_os = "android", target_os = "linux"))]
const NOTSENT_LOWAT: u32 = 128 << 10;

/// How a TCP address is listened on; the default is what most programs want.
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
    /// Shares the address with other listeners that say so too, in this process and in others of the
    /// same user: `SO_REUSEPORT`. Default: off, and a second listener is told that the address is in
    /// use.
    ///
    /// The system gives each new connection to one of them, by a hash of the addresses of its two
    /// ends: each gets about as many, whatever it has to do already. So several servers can share
    /// one address and nothing else, such as one for each core. With port 0 the first of them gets
    /// a port, and the others bind to its [`local_addr`](crate::Server::local_addr).
    ///
    /// A connection waits in the queue of the listener that was chosen for it. When that one is
    /// closed, what it has not accepted is reset; Linux hands it to another one if
    /// `net.ipv4.tcp_migrate_req` is 1 (since 5.14). Those that were accepted are not concerned.
    ///
    /// Only Linux, Android, FreeBSD (12 and later) and DragonFly spread connections in this way. On
    /// other systems, where the same option gives all of them to one listener or does not exist,
    /// binding fails with [`Unsupported`](io::ErrorKind::Unsupported).
    #[must_use]
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// How many connections may wait to be accepted; what comes beyond is ignored until there is
    /// room, and tries again after a second or more. Default: 4096.
    ///
    /// The system has a bound of its own, on Linux `net.core.somaxconn`, and takes the lower one.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }
}

/// Listens on the first of `addrs` that can be listened on. The listener does not block.
///
/// # Errors
///
/// What the system says about the last of them; [`InvalidInput`](io::ErrorKind::InvalidInput) when
/// there is none.
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
        io::Error::new(io::ErrorKind::InvalidInput, "there is no address to listen on")
    }))
}

fn listen_at(addr: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A port whose last connections still linger can be taken again. On Windows the same option
    // would take it from whoever listens there.
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

/// There, `SO_REUSEPORT` alone gives all connections to one of the listeners.
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
    let error = "this system does not spread connections over listeners that share a port";
    Err(io::Error::new(io::ErrorKind::Unsupported, error))
}

/// Sets a TCP socket up, as the runtimes' own crates do with each that they accept or dial.
///
/// * `TCP_NODELAY`: what is written together is sent at once.
/// * Keep-alive, so that a peer that vanished without a word ends the connection after about two minutes,
///   whether anything is read or not: after 60 s of silence the kernel probes, up to 4 times, 15 s apart.
///   It does not probe while something that it has sent waits to be acknowledged: then the system's
///   retransmissions decide, which Linux gives up after about 15 minutes, unless
///   [`ping_timeout`](sockless_core::Config::ping_timeout) or
///   [`write_timeout`](sockless_core::Config::write_timeout) is faster. Where a time cannot be set for one
///   socket, as on OpenBSD and Haiku, the system's own holds.
/// * `TCP_NOTSENT_LOWAT`, on Android and Linux: the kernel takes no more while it holds 128 KiB that it
///   has not sent. What a session has written is then on its way to the peer, but for these; `send` waits
///   and `write_timeout` runs as soon as a peer does not keep up, and not after megabytes.
///
/// A socket that refuses a setting still works; one that is broken says so when it is read.
pub fn prepare_tcp(socket: &SockRef<'_>) {
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive());
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket.set_tcp_notsent_lowat(NOTSENT_LOWAT);
}

fn keepalive() -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    // Elsewhere, the system's own interval and count hold.
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

/// Whether the peer of a connected socket has ended the connection, or it has failed, found out without
/// reading from it: for [`Io::poll_ending`](crate::Io::poll_ending).
///
/// It asks `poll(2)` for `POLLRDHUP`, `POLLHUP` and `POLLERR`, and does not wait. What was received and is
/// unread does not hide the end behind it. What the peer could not send yet, because this side's receive
/// buffer is full, does: a FIN waits its turn in the peer's own queue, whereas a reset overtakes. That our
/// own side has been shut down is not an end.
///
/// [`Ending::Unknown`] on systems without `POLLRDHUP`: it exists on Android, FreeBSD, illumos and Linux,
/// except on SPARC.
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
        // A signal may have come in between: the next time will tell.
        Ok(0) | Err(_) => Ending::Open,
    }
}

/// On this system, the end of a socket is only seen by reading from it: [`Ending::Unknown`].
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

/// Ends the writing half of a socket; reading goes on.
///
/// # Errors
///
/// What the system reports, unless the peer was faster.
pub fn shutdown_write(socket: &SockRef<'_>) -> io::Result<()> {
    match socket.shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// The same error, with the path of the Unix socket that it is about.
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
        let socket = SockRef::from(&stream);
        prepare_tcp(&socket);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 128 << 10);
    }
}
