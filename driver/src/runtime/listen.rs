//! The source of a server's connections: [`Listen`].

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::Io;

/// A listener, which accepts connections. A runtime's adapter implements it.
pub trait Listen: Send + 'static {
    /// Accepts the next connection.
    ///
    /// # Errors
    ///
    /// The error of the system. The next call tries again.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>>;

    /// Returns the address of the listener; `None` for a Unix socket.
    fn local_addr(&self) -> Option<SocketAddr>;
}

/// An accepted connection.
pub struct Accepted {
    /// The transport.
    pub transport: Box<dyn Io>,
    /// The peer's address, if it has one.
    pub peer_addr: Option<SocketAddr>,
    /// The address of this end, if it has one.
    pub local_addr: Option<SocketAddr>,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("peer_addr", &self.peer_addr)
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}
