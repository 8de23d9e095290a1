//! What every runtime does with the sockets of the operating system.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// How long a TCP connection may be silent before the kernel asks whether the peer is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

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

/// Sets a TCP socket up: without delay, since what is written together is written at once, and with
/// keep-alive, so that the kernel notices a peer that is gone.
///
/// A socket that refuses a setting still works; one that is broken says so when it is read.
pub fn prepare_tcp(socket: &SockRef<'_>) {
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
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
