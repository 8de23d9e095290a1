//! The steps of an end, and the actions on a pair of ends: [`PairStep`] and [`PairAction`].

use std::fmt;

use bytes::Bytes;
use sockless_core::{Chunk, CloseReason, Escaped, Message, Role};

/// A step of the script of one end; see [`Pair`](super::Pair).
///
/// A step that the state of the connection does not allow, such as to send after a Close frame, has
/// no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PairStep {
    /// It drops its transport without a closing handshake.
    Abort,
    /// Its transport fails.
    BreakTransport,
    /// It sends a part of a message. A message that is never finished is not expected to arrive.
    Chunk(Chunk),
    /// It starts the closing handshake.
    Close(CloseReason),
    /// It sends a ping.
    Ping(Bytes),
    /// It reads again.
    Read,
    /// It sends a message.
    Send(Message),
    /// It stops reading until [`PairStep::Read`], or until nothing else can happen.
    StopReading,
    /// It puts these bytes on the wire as they are, as a peer does that breaks the protocol. From
    /// then on no messages of this end are expected to arrive.
    Write(Bytes),
}

impl fmt::Display for PairStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abort => f.write_str("aborts"),
            Self::BreakTransport => f.write_str("loses its transport"),
            Self::Chunk(Chunk { data, last }) => {
                f.write_str(if *last { "sends the last chunk " } else { "sends a chunk " })?;
                show(data, f)
            }
            Self::Close(reason) => write!(f, "closes with {reason}"),
            Self::Ping(payload) => write!(f, "sends a ping of {} bytes", payload.len()),
            Self::Read => f.write_str("reads again"),
            Self::Send(message) => {
                f.write_str("sends ")?;
                show(message, f)
            }
            Self::StopReading => f.write_str("stops reading"),
            Self::Write(bytes) => write!(f, "puts {} bytes on the wire", bytes.len()),
        }
    }
}

fn show(message: &Message, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match message {
        Message::Text(text) if text.len() <= 40 => write!(f, "\"{}\"", Escaped(text)),
        _ => write!(f, "{} bytes", message.len()),
    }
}

/// Something that can happen to a [`Pair`](super::Pair).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairAction {
    /// An end does the next step of its script.
    Step(Role, PairStep),
    /// The transport of an end accepts all that it has to send.
    Write(Role),
    /// Bytes arrive at an end, which polls its events.
    Deliver(Role, Amount),
    /// The end of the transport arrives at an end.
    End(Role),
    /// The clock advances to the next deadline of either end.
    Timer,
}

/// The number of bytes under way that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// All of them.
    All,
    /// The first half, rounded down.
    Half,
    /// One.
    One,
}

impl fmt::Display for PairAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(role, step) => write!(f, "the {} {step}", name(*role)),
            Self::Write(role) => write!(f, "the {} writes", name(*role)),
            Self::Deliver(role, amount) => {
                let amount = match amount {
                    Amount::All => "all bytes arrive",
                    Amount::Half => "half of the bytes arrive",
                    Amount::One => "one byte arrives",
                };
                write!(f, "{amount} at the {}", name(*role))
            }
            Self::End(role) => write!(f, "the transport ends at the {}", name(*role)),
            Self::Timer => f.write_str("the next deadline passes"),
        }
    }
}

pub(super) fn name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}
