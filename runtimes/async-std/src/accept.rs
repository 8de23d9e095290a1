//! Accepting connections with async-std's listeners.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;

use async_std::net::{TcpListener, ToSocketAddrs};
#[cfg(unix)]
use async_std::os::unix::net::UnixListener;
use sockless_driver::Listen;
use sockless_driver::async_io::{self, Async};

pub(crate) async fn resolve(
    addr: impl ToSocketAddrs,
) -> io::Result<impl Iterator<Item = SocketAddr>> {
    addr.to_socket_addrs().await
}

pub(crate) fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    Ok(listener.into())
}

/// async-std's listener cannot be polled, so its socket is registered with async-io instead.
pub(crate) fn listen(listener: TcpListener) -> io::Result<impl Listen> {
    let listener = Async::new(std::net::TcpListener::try_from(listener)?)?;
    async_io::listen_on(listener.into())
}

#[cfg(unix)]
pub(crate) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    Ok(std::os::unix::net::UnixListener::bind(path)?.into())
}

#[cfg(unix)]
pub(crate) fn listen_unix(listener: UnixListener) -> io::Result<impl Listen> {
    let listener = Async::new(std::os::unix::net::UnixListener::try_from(listener)?)?;
    Ok(async_io::listen_on_unix(listener.into()))
}
