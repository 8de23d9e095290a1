//! The interface to runtimes: transports implement [`Io`]; a [`Runtime`] is a [`Clock`] and a
//! [`Spawn`].

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

use std::any::Any;
use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use sockless_core::{Instant, Seed};

use crate::future::{BoxError, BoxFuture};
#[cfg(feature = "server")]
use crate::server::ConnectionTask;

pub use listen::{Accepted, Listen};
pub use scratch::poll_read_into;
pub use timeout::timeout;

/// A transport: a byte stream in both directions, such as a TCP or TLS stream or a pipe in memory.
///
/// The methods are polled from one task only, and must wake the waker of the last context that was
/// passed. Dropping the value ends the transport at once. After an error of any method, the
/// transport is dropped.
///
/// ```
/// use std::io::{self, IoSlice};
/// use std::pin::Pin;
/// use std::task::{Context, Poll};
///
/// use sockless::bytes::BytesMut;
/// use sockless::driver::{Io, poll_read_into};
/// use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
///
/// /// A TCP stream of tokio as a transport.
/// struct Tcp(tokio::net::TcpStream);
///
/// impl Io for Tcp {
///     fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
///         poll_read_into(buffer, |bytes| {
///             let mut bytes = ReadBuf::new(bytes);
///             let polled = Pin::new(&mut self.0).poll_read(cx, &mut bytes);
///             polled.map_ok(|()| bytes.filled().len())
///         })
///     }
///
///     fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
///         Pin::new(&mut self.0).poll_write_vectored(cx, slices)
///     }
///
///     fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
///         Pin::new(&mut self.0).poll_flush(cx)
///     }
///
///     fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
///         Pin::new(&mut self.0).poll_shutdown(cx)
///     }
/// }
/// ```
pub trait Io: Send + 'static {
    /// Reads into the spare capacity of `buffer`, and returns the number of bytes that were read; 0
    /// means that the peer sends nothing further.
    ///
    /// `buffer` always has spare capacity. The method appends to its contents and must not grow it.
    ///
    /// # Errors
    ///
    /// The error of the transport.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut)
    -> Poll<io::Result<usize>>;

    /// Writes a prefix of `slices`, in one vectored write if the transport can, and returns the
    /// number of bytes that were written.
    ///
    /// # Errors
    ///
    /// The error of the transport.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Sends the data that the transport itself buffers, as TLS may.
    ///
    /// # Errors
    ///
    /// The error of the transport.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Shuts down writing: the peer receives the end of the stream. Reading continues.
    ///
    /// # Errors
    ///
    /// The error of the transport.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Returns whether the peer has ended the transport, without reading from it. A session that
    /// has received as much as it may hold stops reading, and asks this to notice the end of its
    /// peer.
    ///
    /// A transport that returns [`Ending::Watched`] must wake the task of `cx` when that changes.
    /// Default: [`Ending::Unknown`].
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Ending {
        let _ = cx;
        Ending::Unknown
    }

    /// Returns true if the transport may be dropped without [`poll_shutdown`](Self::poll_shutdown) once its peer has
    /// ended it: what was written is delivered nevertheless, and then the end, as with a plain socket. It
    /// saves a system call for each connection.
    ///
    /// Default: `false`, as is right for TLS, whose end is a message.
    fn ends_when_dropped(&self) -> bool {
        false
    }

    /// Returns what was negotiated by TLS; `None`, the default, if this is not a TLS stream.
    fn tls(&self) -> Option<TlsInfo> {
        None
    }
}

/// The state of a transport's end, as [`Io::poll_ending`] returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The peer has ended the transport, or it has failed: reading would reach the end after the
    /// data that was received before.
    Ended,
    /// The transport has not ended. No task is woken when it does: ask again after a while.
    Open,
    /// The transport cannot report its end without reading. No task is woken; a later answer may be
    /// [`Ended`](Self::Ended), as on a stream of HTTP/2, which can report a reset but not an
    /// END_STREAM.
    Unknown,
    /// The transport has not ended, and the task that asked is woken when it does.
    Watched,
}

/// The results of a TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The protocol that was negotiated by ALPN (RFC 7301), such as `http/1.1` or `h2`; `None` if
    /// there was no negotiation.
    pub alpn: Option<Bytes>,
    /// The version of TLS.
    pub version: Option<TlsVersion>,
    /// The server name that the client sent (RFC 6066 §3), in lower case; `None` if it sent no
    /// name, and on the client's side.
    pub server_name: Option<ByteString>,
    /// The certificate chain of the peer as DER (RFC 5280 §4.1), its own certificate first. Clients
    /// send no certificate unless the server's settings request one.
    pub peer_certificates: Vec<Bytes>,
    /// True if the client resumed an earlier connection.
    pub is_resumed: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// A monotonic clock with timers.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time, which never decreases.
    fn now(&self) -> Instant;

    /// Returns a timer that expires at `deadline`.
    fn timer(&self, deadline: Instant) -> Box<dyn Timer>;

    /// Returns a timer for the few deadlines that must be kept even while a task blocks a thread of
    /// the runtime, such as that of a [shutdown](crate::ConnectionServer::shutdown). It may use a
    /// thread.
    ///
    /// Default: [`timer`](Self::timer), for runtimes whose timers have a thread of their own.
    fn alarm(&self, deadline: Instant) -> Box<dyn Timer> {
        self.timer(deadline)
    }

    /// Returns a timer for the deadlines of a session, such as that of its next ping. They recur as
    /// long as the session lasts, so a simulation does not take them for progress.
    ///
    /// Default: [`timer`](Self::timer).
    fn background_timer(&self, deadline: Instant) -> Box<dyn Timer> {
        self.timer(deadline)
    }

    /// Returns when a session is woken for its next deadline: at `deadline`, or later by at most a
    /// 16th of the time until then. Sessions that are woken at the same time wake a thread once.
    ///
    /// Default: [`round_up`] by at most a 64th of that time, and 512 milliseconds. A simulation
    /// returns `deadline`.
    fn wake_time(&self, now: Instant, deadline: Instant) -> Instant {
        let share = deadline.saturating_since(now) / 64;
        round_up(deadline, share.min(Duration::from_millis(512)))
    }
}

/// Rounds a deadline up by at most `most`, so that many become equal: to the next multiple, since
/// the epoch, of the greatest power of two of milliseconds that is not longer.
///
/// For [`Clock::wake_time`]. Returns `deadline` if `most` is shorter than a millisecond, and if either has 2^64
/// milliseconds or more.
///
/// ```
/// use std::time::Duration;
///
/// use sockless_core::Instant;
/// use sockless_driver::round_up;
///
/// let deadline = Instant::from_epoch(Duration::from_millis(1_300));
/// let rounded = round_up(deadline, Duration::from_millis(300));
/// assert_eq!(rounded, Instant::from_epoch(Duration::from_millis(1_536)));
/// ```
pub fn round_up(deadline: Instant, most: Duration) -> Instant {
    let in_millis = |time: Duration| u64::try_from(time.as_millis()).ok();
    let (Some(most), Some(millis)) = (in_millis(most), in_millis(deadline.since_epoch())) else {
        return deadline;
    };
    let Some(exponent) = most.checked_ilog2() else { return deadline };
    let step = 1_u64 << exponent;
    Instant::from_epoch(Duration::from_millis((millis | (step - 1)).saturating_add(1)))
}

/// A timer with a deadline that can be changed.
pub trait Timer: Send + 'static {
    /// Replaces the deadline.
    fn reset(&mut self, deadline: Instant);

    /// Ready once the deadline has passed, and until the next [`reset`](Self::reset).
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// An executor of tasks.
pub trait Spawn: Send + Sync + 'static {
    /// Runs `task` concurrently until it ends.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs a connection that a server has accepted concurrently until it ends.
    ///
    /// Default: [`spawn`](Self::spawn)s it in a box. An executor that holds futures in its own memory saves the
    /// box.
    #[cfg(feature = "server")]
    fn spawn_connection(&self, connection: ConnectionTask) {
        self.spawn(Box::pin(connection));
    }

    /// Schedules the task of `cx`, which has more work, to be polled again after other tasks have
    /// run. Default: wakes it at once.
    fn yield_now(&self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }
}

/// A runtime: everything that the driver needs from it except transports.
///
/// The adapters have one: `TokioRuntime`, `SmolRuntime`, `AsyncStdRuntime`. A program can wrap it,
/// here to count the tasks:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use sockless::driver::{Clock, Runtime, Spawn, Timer};
/// use sockless::proto::Seed;
/// use sockless::tokio::TokioRuntime;
/// use sockless::{BoxFuture, Instant};
///
/// #[derive(Default)]
/// struct Counting {
///     tasks: AtomicU64,
/// }
///
/// impl Clock for Counting {
///     fn now(&self) -> Instant {
///         TokioRuntime.now()
///     }
///
///     fn timer(&self, deadline: Instant) -> Box<dyn Timer> {
///         TokioRuntime.timer(deadline)
///     }
///
///     fn alarm(&self, deadline: Instant) -> Box<dyn Timer> {
///         TokioRuntime.alarm(deadline)
///     }
/// }
///
/// impl Spawn for Counting {
///     fn spawn(&self, task: BoxFuture<'static, ()>) {
///         self.tasks.fetch_add(1, Ordering::Relaxed);
///         TokioRuntime.spawn(task);
///     }
/// }
///
/// impl Runtime for Counting {
///     fn seed(&self) -> Seed {
///         TokioRuntime.seed()
///     }
/// }
/// ```
pub trait Runtime: Clock + Spawn {
    /// Returns a fresh seed for one connection. It must be unpredictable in production; a
    /// simulation derives it from its own seed.
    fn seed(&self) -> Seed;

    /// Notifies the runtime of the end of a handler. A simulation reports failures to its test.
    ///
    /// Default: does nothing.
    fn handler_ended(&self, end: HandlerEnd<'_>) {
        let _ = end;
    }

    /// Returns the waker to poll a handler with, in place of that of its session's task. A
    /// simulation finds out with it what the handler waits for.
    ///
    /// Default: `None`.
    #[doc(hidden)]
    fn handler_waker(&self) -> Option<Waker> {
        None
    }
}

/// The end of a handler, for [`Runtime::handler_ended`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum HandlerEnd<'a> {
    /// It returned an error while its session was open, which was closed with 1011.
    Failed {
        /// The path of its request.
        path: &'a str,
        /// What it returned.
        error: &'a BoxError,
    },
    /// It panicked.
    Panicked {
        /// The path of its request.
        path: &'a str,
        /// What it panicked with.
        payload: &'a (dyn Any + Send),
    },
    /// It returned, perhaps with the end of its session as an error.
    Returned,
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            Instant::EPOCH
        }

        fn timer(&self, _: Instant) -> Box<dyn Timer> {
            unreachable!("no timer is set")
        }
    }

    /// How late a session is woken for a deadline that is so far away, `now` after the clock's epoch.
    fn delay(now: Duration, left: Duration) -> Duration {
        let now = Instant::from_epoch(now);
        let deadline = now + left;
        let wake = Stopped.wake_time(now, deadline);
        assert!(wake >= deadline, "{left:?} after {now:?} is early");
        wake.saturating_since(deadline)
    }

    #[test]
    fn a_session_is_woken_by_a_64th_late_at_most() {
        for exponent in 0..60 {
            let left = Duration::from_nanos((1 << exponent) + 12_345);
            for now in [0, 1, 999_999, 77_777_777_777].map(Duration::from_nanos) {
                let delay = delay(now, left);
                assert!(delay <= left / 64 && delay <= Duration::from_millis(512), "{delay:?}");
            }
        }
        assert_eq!(delay(Duration::ZERO, Duration::MAX), Duration::ZERO);
    }

    #[test]
    fn any_time_can_be_rounded() {
        let deadline = Instant::from_epoch(Duration::from_millis(1_300));
        for most in [Duration::ZERO, Duration::from_nanos(999_999), Duration::MAX] {
            assert_eq!(round_up(deadline, most), deadline, "{most:?}");
        }
        let rounded = round_up(deadline, Duration::from_millis(u64::MAX));
        assert_eq!(rounded, Instant::from_epoch(Duration::from_millis(1 << 63)));
        let last = Instant::from_epoch(Duration::MAX);
        assert_eq!(round_up(last, Duration::from_secs(1)), last);
    }

    #[test]
    fn sessions_are_woken_together() {
        let pings = (0..25_000).map(|millis| {
            let now = Instant::from_epoch(Duration::from_millis(millis));
            Stopped.wake_time(now, now + Duration::from_secs(25))
        });
        let instants: std::collections::BTreeSet<_> = pings.collect();
        // 99 multiples of 256 ms.
        assert_eq!(instants.len(), 99);
    }
}
