//! The parts of a recording's lines, as they are written.

use alloc::vec::Vec;
use core::fmt;

use crate::close::CloseReason;
use crate::connection::Connection;
use crate::event::{Closed, Event};
use crate::message::{Chunk, Message};
use crate::outgoing::Priority;
use crate::time::Instant;
use crate::turn::{Output, Wait};

/// A payload as it is recorded.
pub(super) struct Recorded {
    pub(super) is_text: bool,
    pub(super) bytes: Vec<u8>,
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.is_text { "text" } else { "binary" }, Hex(&self.bytes))
    }
}

/// Bytes in hexadecimal after an `x`, so that no bytes are a word too.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The result of a call, without payloads.
pub(super) enum Outcome {
    None,
    Sent(bool),
    Write,
    ShutdownWrite,
    Wait(Wait),
    Close,
    Event { kind: &'static str, len: usize },
    Closed(Closed),
}

impl Outcome {
    /// The outcome of [`Connection::poll_output`]; `None` for bytes to write.
    pub(super) fn of_output(output: Option<&Output<'_>>) -> Self {
        match output {
            Some(Output::Event(event)) => Self::of(Some(event)),
            None | Some(Output::Write(_)) => Self::Write,
            Some(Output::ShutdownWrite) => Self::ShutdownWrite,
            Some(Output::Wait(wait)) => Self::Wait(*wait),
            Some(Output::Close) => Self::Close,
        }
    }

    pub(super) fn of(event: Option<&Event>) -> Self {
        let kind = |data: &Message, text, binary| if data.is_text() { text } else { binary };
        let (kind, len) = match event {
            None => return Self::None,
            Some(Event::Closed(closed)) => return Self::Closed(closed.clone()),
            Some(Event::Message(message)) => (kind(message, "text", "binary"), message.len()),
            Some(Event::Chunk(Chunk { data, last: false })) => {
                (kind(data, "text-chunk", "binary-chunk"), data.len())
            }
            Some(Event::Chunk(Chunk { data, last: true })) => {
                (kind(data, "last-text-chunk", "last-binary-chunk"), data.len())
            }
            Some(Event::PeerClosed(reason)) => ("peer-closed", reason.text().len()),
            Some(Event::Ping(payload)) => ("ping", payload.len()),
            Some(Event::Pong(payload)) => ("pong", payload.len()),
        };
        Self::Event { kind, len }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("-"),
            Self::Sent(true) => f.write_str("ok"),
            Self::Sent(false) => f.write_str("error"),
            Self::Write => f.write_str("write"),
            Self::ShutdownWrite => f.write_str("shutdown-write"),
            Self::Wait(Wait { read, write, until }) => {
                write!(f, "wait:{},{},{}", u8::from(*read), u8::from(*write), At(*until))
            }
            Self::Close => f.write_str("close"),
            Self::Event { kind, len } => write!(f, "{kind}:{len}"),
            Self::Closed(closed) => {
                let code = |reason: Option<&CloseReason>| {
                    reason.map(|reason| reason.code().map_or(0, |code| code.get()))
                };
                let (sent, received) = (code(closed.sent()), code(closed.received()));
                let cause = alloc::format!("{:?}", closed.cause()).replace(' ', "");
                write!(f, "closed:{:?},{cause},{sent:?},{received:?}", closed.by())
            }
        }
    }
}

/// The outputs of a connection besides its events.
pub(super) struct Outputs<'a>(pub(super) &'a Connection);

impl fmt::Display for Outputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.0.raw.outbound.queued())?;
        write!(f, "{} {:?}", At(self.0.poll_timeout()), self.0.transport_action())
    }
}

/// A time in nanoseconds.
struct At(Option<Instant>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, "{}", at.since_epoch().as_nanos()),
            None => f.write_str("-"),
        }
    }
}

/// The place of a message among those that wait, if it has one of its own: its priority and its key.
pub(super) struct Place(pub(super) Option<(Option<u64>, Priority)>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((key, priority)) = self.0 else { return Ok(()) };
        let priority = match priority {
            Priority::Urgent => "urgent",
            Priority::Normal => "normal",
            Priority::Bulk => "bulk",
        };
        write!(f, " {priority}")?;
        key.map_or(Ok(()), |key| write!(f, " {key}"))
    }
}
