//! What every runtime does with the sockets of the operating system.

use std::io;
use std::net::Shutdown;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long a TCP connection may be silent before the kernel asks whether the peer is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

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
