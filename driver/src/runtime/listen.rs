//! Where connections come from: [`Listen`].

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::Io;

/// Something that accepts connections, which a runtime fills in.
pub trait Listen: Send + 'static {
    /// The next connection.
    ///
    /// # Errors
    ///
    /// What accepting failed with. The next call tries again.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>>;

    /// The address that is listened on, where there is one.
    fn local_addr(&self) -> Option<SocketAddr>;
}

/// A connection that was accepted.
pub struct Accepted {
    /// Its transport.
    pub transport: Box<dyn Io>,
    /// The address of the other end, where it has one.
    pub peer_addr: Option<SocketAddr>,
    /// The address of the near end, where it has one.
    pub local_addr: Option<SocketAddr>,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("peer_addr", &self.peer_addr).finish_non_exhaustive()
    }
}
