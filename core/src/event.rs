//! The reports of a connection: [`Event`], and at its end [`Closed`].

use alloc::sync::Arc;
use core::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use crate::close::CloseReason;
use crate::error::ProtocolError;
use crate::escape::Escaped;
use crate::message::{Chunk, Message};

/// An event on a [`Connection`](crate::Connection).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The connection has ended. This event occurs exactly once and is the last.
    Closed(Closed),
    /// A whole message.
    Message(Message),
    /// The peer started the closing handshake; the reply is sent automatically (RFC 6455 §5.5.1).
    ///
    /// [`Event::Closed`] follows at once, unless a message that is being sent in chunks is unfinished: then
    /// the reply waits until it is finished, but not longer than the closing timeout.
    PeerClosed(CloseReason),
    /// A chunk of a message longer than [`Config::recv_chunk_len`](crate::Config::recv_chunk_len).
    Chunk(Chunk),
    /// A ping, which has already been answered (RFC 6455 §5.5.2).
    Ping(Bytes),
    /// A pong, in reply to a ping or unsolicited (RFC 6455 §5.5.3).
    Pong(Bytes),
}

impl Event {
    /// The length of the payload, in bytes.
    pub(crate) fn payload_len(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Chunk(chunk) => chunk.data.len(),
            Self::Ping(payload) | Self::Pong(payload) => payload.len(),
            Self::Closed(_) | Self::PeerClosed(_) => 0,
        }
    }
}

/// The end of a connection: which party ended it, why, and which Close frames were exchanged.
///
/// Cloning is cheap: all tasks that wait for the end share one value. `Display` writes it on one line, with
/// text from the peer [escaped](crate::Escaped).
///
/// ```
/// use sockless::{Cause, CloseCode, Closed, Timeout};
///
/// fn report(closed: &Closed) -> &'static str {
///     match closed.cause() {
///         Cause::ClosingHandshake => match closed.received().and_then(|reason| reason.code()) {
///             Some(CloseCode::NORMAL) => "done",
///             _ => "closed for another reason",
///         },
///         Cause::Timeout(Timeout::Ping) => "the peer has vanished",
///         Cause::Protocol(_) => "the peer broke the protocol",
///         _ => "the connection was lost",
///     }
/// }
/// # let _ = report;
/// ```
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
    /// Returns an end, for a session without a [`Connection`](crate::Connection) of this crate, such as
    /// one in a test.
    pub fn new(
        by: Party,
        cause: Cause,
        sent: Option<CloseReason>,
        received: Option<CloseReason>,
    ) -> Self {
        Self(Arc::new(End { by, cause, sent, received }))
    }

    /// Returns which party ended the connection.
    pub fn by(&self) -> Party {
        self.0.by
    }

    /// Returns why the connection ended.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// Returns the Close frame that was sent, if any.
    pub fn sent(&self) -> Option<&CloseReason> {
        self.0.sent.as_ref()
    }

    /// Returns the Close frame that the peer sent, if any. Other libraries report `None` as code 1006.
    pub fn received(&self) -> Option<&CloseReason> {
        self.0.received.as_ref()
    }

    /// Returns `true` if each party sent a Close frame (RFC 6455 §7.1.4).
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
            write!(f, "; received {received}")?;
        }
        if let Some(sent) = self.sent() {
            write!(f, "; sent {sent}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Closed {}

/// A party of a connection, as seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// This end.
    Local,
    /// The peer.
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

/// Why a connection ended; see [`Closed::cause`].
///
/// ```
/// use sockless::Cause;
///
/// fn is_worth_a_retry(cause: &Cause) -> bool {
///     matches!(cause, Cause::Eof | Cause::Timeout(_) | Cause::Transport(_))
/// }
/// assert!(is_worth_a_retry(&Cause::Eof));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// This end dropped the transport without a closing handshake.
    Aborted,
    /// The transport ended without a Close frame from the peer.
    Eof,
    /// The closing handshake was completed.
    ClosingHandshake,
    /// This end sent a Close frame and did not wait for the peer's; see
    /// [`Connection::fail`](crate::Connection::fail).
    Failed,
    /// All connections of this server together exceeded its memory budget.
    Overloaded,
    /// The peer broke a rule of the protocol or exceeded a limit.
    Protocol(ProtocolError),
    /// A deadline passed.
    Timeout(Timeout),
    /// The transport failed; the text comes from the caller that reported the failure.
    Transport(ByteString),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => f.write_str("the transport was dropped"),
            Self::Eof => f.write_str("the transport ended without a Close frame"),
            Self::ClosingHandshake => f.write_str("the closing handshake is complete"),
            Self::Failed => f.write_str("a Close frame was sent without waiting for the answer"),
            Self::Overloaded => f.write_str("all connections together exceeded memory_budget"),
            Self::Protocol(error) => {
                write!(f, "the peer broke RFC 6455 {}: {error}", error.clause())
            }
            Self::Timeout(timeout) => timeout.fmt(f),
            Self::Transport(error) => write!(f, "the transport failed: {}", Escaped(error)),
        }
    }
}

/// The deadline that passed; each is a setting of [`Config`](crate::Config).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timeout {
    /// The peer did not answer our Close frame within `closing_timeout`.
    Closing,
    /// No message was sent or received for `idle_timeout`.
    Idle,
    /// The connection was open for longer than `max_age`.
    MaxAge,
    /// A message took longer than `message_timeout` from its first byte to its last, or arrived more slowly
    /// than `message_rate`.
    Message,
    /// The peer was silent for `ping_timeout` after a ping.
    Ping,
    /// The application did not receive the messages that waited for it, and so the transport was not read
    /// for `stall_timeout`.
    Stall,
    /// The transport accepted none of the bytes that waited to be sent for `write_timeout`.
    Write,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closing => "the peer did not answer a Close frame within closing_timeout",
            Self::Idle => "no message was sent or received within idle_timeout",
            Self::MaxAge => "the connection is older than max_age",
            Self::Message => {
                "a message arrived more slowly than message_timeout or message_rate allows"
            }
            Self::Ping => "the peer was silent for ping_timeout after a ping",
            Self::Stall => {
                "the application received none of the waiting messages within stall_timeout"
            }
            Self::Write => "the transport accepted no byte within write_timeout",
        })
    }
}
