//! What a runtime fills in: [`Io`], [`Clock`] and [`Spawn`], which together make a [`Runtime`].

#[cfg(feature = "sockets")]
mod adapter;
#[cfg(feature = "async-io")]
pub mod async_io;
#[cfg(feature = "futures-io")]
pub mod futures_io;
mod listen;
mod scratch;
#[cfg(feature = "sockets")]
pub mod sockets;
mod timeout;

use std::io;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use sockless_core::{Instant, Seed};

use crate::future::BoxFuture;

pub use listen::{Accepted, Listen};
pub use scratch::poll_read_into;
pub use timeout::timeout;

/// A transport of bytes in both directions: a TCP or TLS stream, a pipe in memory.
///
/// Every method is polled from one task only, which is woken through the context it passed last.
/// Dropping the value ends the transport at once.
pub trait Io: Send + 'static {
    /// Reads into the spare capacity of `buffer` and says how many bytes came; 0 means that the peer
    /// sends nothing more.
    ///
    /// `buffer` always has spare capacity, is never grown, and keeps what it held.
    ///
    /// # Errors
    ///
    /// What the transport reports. The transport is dropped afterwards.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut)
    -> Poll<io::Result<usize>>;

    /// Writes a prefix of `slices`, as one vectored write where the transport can, and says how many
    /// bytes went.
    ///
    /// # Errors
    ///
    /// What the transport reports. The transport is dropped afterwards.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Sends on what the transport itself still holds back, as TLS may.
    ///
    /// # Errors
    ///
    /// What the transport reports. The transport is dropped afterwards.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Tells the peer that nothing more will be sent; reading goes on.
    ///
    /// # Errors
    ///
    /// What the transport reports. The transport is dropped afterwards.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether the peer has ended the transport, found out without reading from it: for a session that has
    /// as much unread as it may hold, and must not miss the end of its peer.
    ///
    /// [`Ending::Watched`] promises that the task of `cx` is woken when that changes. Default:
    /// [`Ending::Unknown`].
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        let _ = cx;
        Ending::Unknown
    }

    /// What was agreed on, when this is a transport of TLS; `None`, the default, when it is not.
    fn tls(&self) -> Option<TlsInfo> {
        None
    }
}

/// What a transport that is not read from knows of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The peer has ended it, or it has failed: reading would get there, after what was received.
    Ended,
    /// It has not ended as far as is known now. It wakes nobody: ask again after a while.
    Open,
    /// That it has not ended cannot be known without reading. It wakes nobody; a later answer may be
    /// [`Ended`](Self::Ended), as on a stream of HTTP/2, of which a reset is seen and an orderly end is not.
    Unknown,
    /// It has not ended, and the task that asked is woken when it does.
    Watched,
}

/// What the two ends of a TLS transport have agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The protocol that is spoken within (RFC 7301), such as `http/1.1` or `h2`; `None` when they did
    /// not settle that.
    pub alpn: Option<Bytes>,
    /// The name that the client asked for (RFC 6066 §3), in lower case; `None` on the client's side,
    /// and when it asked for none.
    pub server_name: Option<ByteString>,
    /// The certificates that the peer showed, its own first, as DER (RFC 5280 §4.1). Clients show none
    /// unless the server's settings ask for it.
    pub peer_certificates: Vec<Bytes>,
    /// Whether the client resumed an earlier connection.
    pub is_resumed: bool,
}

/// Time as a runtime tells it.
pub trait Clock: Send + Sync + 'static {
    /// The time now. It never goes back.
    fn now(&self) -> Instant;

    /// A timer that expires at `deadline`.
    fn timer(&self, deadline: Instant) -> Box<dyn Timer>;

    /// As [`timer`](Self::timer), for the few deadlines that have to hold while a task blocks a thread of
    /// the runtime, such as that of a [shutdown](crate::ConnectionServer::shutdown). It may cost a thread. Default: a
    /// `timer`, for runtimes whose timers have a thread of their own.
    fn alarm(&self, deadline: Instant) -> Box<dyn Timer> {
        self.timer(deadline)
    }
}

/// An alarm that can be set again.
pub trait Timer: Send + 'static {
    /// Sets the alarm to `deadline`, whatever it was set to before.
    fn reset(&mut self, deadline: Instant);

    /// Ready once the deadline has passed, and until the next [`reset`](Self::reset).
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Tasks as a runtime runs them.
pub trait Spawn: Send + Sync + 'static {
    /// Runs `task` beside the others until it ends.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Has the task of `cx`, which could go on, be polled again once others have had their turn. Default:
    /// wakes it at once.
    fn yield_now(&self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }
}

/// All that the driver asks of a runtime, besides the transports.
pub trait Runtime: Clock + Spawn {
    /// A fresh seed for one connection: from the operating system in production, from the
    /// simulation's own seed in a simulation.
    fn seed(&self) -> Seed;
}
