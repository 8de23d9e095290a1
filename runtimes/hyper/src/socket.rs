//! The socket of tokio under an upgraded connection of hyper: [`reveal`].

use std::task::Context;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade;
use sockless_driver::{Ending, sockets};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::io::Stream;

/// Returns the socket and the bytes that had been read from it, or the connection unchanged if it
/// is over anything else, such as TLS.
pub(crate) fn reveal(upgraded: Upgraded) -> Result<(Box<dyn Stream>, Bytes), Upgraded> {
    let upgraded = match reveal_as::<TokioIo<TcpStream>>(upgraded) {
        Err(upgraded) => upgraded,
        revealed => return revealed,
    };
    #[cfg(unix)]
    let upgraded = match reveal_as::<TokioIo<UnixStream>>(upgraded) {
        Err(upgraded) => upgraded,
        revealed => return revealed,
    };
    Err(upgraded)
}

fn reveal_as<S: Stream + 'static>(
    upgraded: Upgraded,
) -> Result<(Box<dyn Stream>, Bytes), Upgraded> {
    let upgraded = match upgraded.downcast::<S>() {
        Ok(parts) => return Ok((Box::new(parts.io), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    // The server of hyper-util for both versions of HTTP, which `axum::serve` uses, adds a wrapper.
    upgrade::downcast::<S>(upgraded).map(|parts| (Box::new(parts.io) as _, parts.read_buf))
}

impl Stream for TokioIo<TcpStream> {
    fn poll_ending(&mut self, _cx: &mut Context<'_>) -> Ending {
        sockets::ending(&self.inner().into())
    }
}

#[cfg(unix)]
impl Stream for TokioIo<UnixStream> {
    fn poll_ending(&mut self, _cx: &mut Context<'_>) -> Ending {
        sockets::ending(&self.inner().into())
    }
}
