//! Accepting connections with smol's listeners.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;

#[cfg(unix)]
use smol::net::unix::UnixListener;
use smol::net::{AsyncToSocketAddrs, TcpListener};
use sockless_driver::{Listen, async_io};

pub(crate) async fn resolve(addr: impl AsyncToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    smol::net::resolve(addr).await
}

pub(crate) fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.try_into()
}

pub(crate) fn listen(listener: TcpListener) -> io::Result<impl Listen> {
    async_io::listen_on(listener.into())
}

#[cfg(unix)]
pub(crate) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(path)
}

#[cfg(unix)]
pub(crate) fn listen_unix(listener: UnixListener) -> io::Result<impl Listen> {
    Ok(async_io::listen_on_unix(listener.into()))
}
