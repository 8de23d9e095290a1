//! What a connection reports: [`Event`], and in the end [`Closed`].

use alloc::sync::Arc;
use core::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use crate::close::CloseReason;
use crate::error::ProtocolError;
use crate::escape::Escaped;
use crate::message::{Chunk, Message};

/// Something that happened on a [`Connection`](crate::Connection).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The connection has ended. Comes exactly once, and last.
    Closed(Closed),
    /// A whole message.
    Message(Message),
    /// The peer closes: it sends nothing more, and is answered by itself (RFC 6455 §5.5.1).
    ///
    /// [`Event::Closed`] follows at once, unless a message that we send in pieces is unfinished:
    /// the answer waits until it ends, or until the closing timeout.
    PeerClosed(CloseReason),
    /// A part of a message longer than [`Config::recv_chunk_len`](crate::Config::recv_chunk_len).
    Chunk(Chunk),
    /// A ping, which has been answered already (RFC 6455 §5.5.2).
    Ping(Bytes),
    /// A pong, asked for or not (RFC 6455 §5.5.3).
    Pong(Bytes),
}

/// How a connection ended: who ended it, why, and which Close frames crossed.
///
/// Cheap to clone: everybody who waits for the end gets the same one. `Display` gives it in one line, with
/// the peer's text [escaped](crate::Escaped).
#[derive(Clone, PartialEq)]
pub struct Closed(Arc<End>);

#[derive(Debug, PartialEq)]
struct End {
    by: Party,
    cause: Cause,
    sent: Option<CloseReason>,
    received: Option<CloseReason>,
}

impl Closed {
    /// An end put together by a host, for a connection that never came to be one of this crate's.
    pub fn new(
        by: Party,
        cause: Cause,
        sent: Option<CloseReason>,
        received: Option<CloseReason>,
    ) -> Self {
        Self(Arc::new(End { by, cause, sent, received }))
    }

    /// Who ended it.
    pub fn by(&self) -> Party {
        self.0.by
    }

    /// Why it ended.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// The Close frame that we sent, if any.
    pub fn sent(&self) -> Option<&CloseReason> {
        self.0.sent.as_ref()
    }

    /// The Close frame that the peer sent, if any. `None` is what others call 1006.
    pub fn received(&self) -> Option<&CloseReason> {
        self.0.received.as_ref()
    }

    /// Whether Close frames crossed in both directions (RFC 6455 §7.1.4).
    pub fn is_clean(&self) -> bool {
        self.0.sent.is_some() && self.0.received.is_some()
    }
}

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed")
            .field("by", &self.0.by)
            .field("cause", &self.0.cause)
            .field("sent", &self.0.sent)
            .field("received", &self.0.received)
            .finish()
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "closed by {}: {}", self.0.by, self.0.cause)?;
        if let Some(received) = self.received() {
            write!(f, "; the peer said {received}")?;
        }
        if let Some(sent) = self.sent() {
            write!(f, "; we said {sent}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Closed {}

/// One of the two ends of a connection, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// This end.
    Local,
    /// The other end.
    Peer,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "us",
            Self::Peer => "the peer",
        })
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// This end dropped the transport without a closing handshake.
    Aborted,
    /// The transport ended without a Close frame from the peer.
    Eof,
    /// The closing handshake ran to its end.
    ClosingHandshake,
    /// This end held too much for all its connections, more than its memory budget.
    Overloaded,
    /// The peer broke the protocol or a limit.
    Protocol(ProtocolError),
    /// A deadline passed.
    Timeout(Timeout),
    /// The transport failed; the text is the host's.
    Transport(ByteString),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => f.write_str("the transport was dropped"),
            Self::Eof => f.write_str("the transport ended without a Close frame"),
            Self::ClosingHandshake => f.write_str("the closing handshake is complete"),
            Self::Overloaded => {
                f.write_str("too much was held for all connections (memory_budget)")
            }
            Self::Protocol(error) => {
                write!(f, "the peer broke RFC 6455 {}: {error}", error.clause())
            }
            Self::Timeout(timeout) => timeout.fmt(f),
            Self::Transport(error) => write!(f, "the transport failed: {}", Escaped(error)),
        }
    }
}

/// The deadline that passed. Each is a setting of [`Config`](crate::Config) of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timeout {
    /// The peer did not answer our Close frame within `closing_timeout`.
    Closing,
    /// No message went either way for `idle_timeout`.
    Idle,
    /// The connection became older than `max_age`.
    MaxAge,
    /// A message took longer than `message_timeout` from its first byte to its last, or came more slowly
    /// than `message_rate`.
    Message,
    /// Nothing came for `ping_timeout` after a ping.
    Ping,
    /// What waited to be received was not, for `stall_timeout`, so that nothing more could be read.
    Stall,
    /// The transport took none of the bytes that waited to be sent for `write_timeout`.
    Write,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closing => "the peer did not answer a Close frame within closing_timeout",
            Self::Idle => "no message within idle_timeout",
            Self::MaxAge => "the connection is older than max_age",
            Self::Message => "a message took longer than message_timeout or message_rate allows",
            Self::Ping => "no answer to a ping within ping_timeout",
            Self::Stall => {
                "the application received nothing within stall_timeout while more waited"
            }
            Self::Write => "the transport took no byte within write_timeout",
        })
    }
}
