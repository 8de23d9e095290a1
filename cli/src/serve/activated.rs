//! A listener that the program's parent passes to it, as systemd does.

use std::io;

use sockless::Server;

/// Serves the first of the sockets that `LISTEN_FDS` counts.
#[cfg(unix)]
pub(crate) fn server() -> io::Result<Server> {
    let mut passed = listenfd::ListenFd::from_env();
    // Either kind reports the other one as an error, and leaves the socket to the next call.
    if let Ok(Some(listener)) = passed.take_tcp_listener(0) {
        listener.set_nonblocking(true)?;
        return sockless::tokio::listen_on(tokio::net::TcpListener::from_std(listener)?);
    }
    if let Some(listener) = passed.take_unix_listener(0)? {
        listener.set_nonblocking(true)?;
        return sockless::tokio::listen_on_unix(tokio::net::UnixListener::from_std(listener)?);
    }
    let text =
        "expected a socket from systemd, or from another program that sets LISTEN_FDS; found none";
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

#[cfg(not(unix))]
pub(crate) fn server() -> io::Result<Server> {
    Err(io::ErrorKind::Unsupported.into())
}
