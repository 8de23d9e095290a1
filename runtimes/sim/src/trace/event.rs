//! The events of a trace.

use std::fmt;

use serde::{Deserialize, Serialize};
use sockless_core::Role;

use crate::tap::fmt_frame;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// In nanoseconds since the beginning.
    pub(crate) time: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A task is polled.
    Poll {
        task: u64,
        /// At its first poll that is kept.
        named: Option<Named>,
    },
    /// The machines are those of the client and the server.
    Opened {
        connection: u64,
        client: Option<String>,
        server: Option<String>,
    },
    /// A line of the head of a request or a response. Of those of a run, only the first one is kept.
    Head {
        connection: u64,
        from: End,
        line: String,
    },
    Frame(FrameEvent),
    Write {
        connection: u64,
        from: End,
        len: u64,
    },
    Read {
        connection: u64,
        by: End,
        len: u64,
    },
    /// A fault, or the drop of an end.
    Note {
        connection: u64,
        from: End,
        text: String,
    },
    /// The run fails, with this message.
    Failure {
        text: String,
    },
}

impl What {
    /// Returns the number of the connection to which it happens.
    #[cfg(feature = "record")]
    pub(crate) fn connection(&self) -> Option<u64> {
        match self {
            Self::Poll { .. } | Self::Failure { .. } => None,
            Self::Frame(frame) => Some(frame.connection),
            Self::Opened { connection, .. }
            | Self::Head { connection, .. }
            | Self::Write { connection, .. }
            | Self::Read { connection, .. }
            | Self::Note { connection, .. } => Some(*connection),
        }
    }
}

/// The name of a task and of its machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) machine: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FrameEvent {
    pub(crate) connection: u64,
    pub(crate) from: End,
    pub(crate) opcode: u8,
    pub(crate) is_final: bool,
    pub(crate) rsv: u8,
    pub(crate) len: u64,
    /// The number of bytes that the end has written once it has written this frame.
    pub(crate) end: u64,
    pub(crate) payload: Payload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    Client,
    Server,
}

impl End {
    pub(crate) fn of(side: usize) -> Self {
        if side == 0 { Self::Client } else { Self::Server }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    pub(crate) fn role(self) -> Role {
        match self {
            Self::Client => Role::Client,
            Self::Server => Role::Server,
        }
    }
}

/// The beginning of a payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Vec<u8>);

impl Payload {
    pub(crate) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads pairs of hexadecimal digits. Returns `None` if the text is something else.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes = pairs.iter().map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8));
        if rest.is_empty() { bytes.collect::<Option<_>>().map(Self) } else { None }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "the client",
            Self::Server => "the server",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = std::time::Duration::from_nanos(self.time);
        write!(f, "+{at:?} {}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poll { named: Some(named), .. } => write!(f, "{} runs", named.name),
            Self::Poll { task: 0, .. } => f.write_str("main runs"),
            Self::Poll { task, .. } => write!(f, "task {task} runs"),
            Self::Opened { connection, client, server } => {
                write!(f, "connection #{connection} opens")?;
                let machine =
                    |name: &Option<String>| name.clone().unwrap_or_else(|| "the test".into());
                match (client, server) {
                    (None, None) => Ok(()),
                    _ => write!(f, " from {} to {}", machine(client), machine(server)),
                }
            }
            Self::Head { connection, from, line } => {
                write!(f, "{from} of connection #{connection} sends {line}")
            }
            Self::Frame(frame) => {
                write!(f, "{} of connection #{} sends {frame}", frame.from, frame.connection)
            }
            Self::Write { connection, from, len } => {
                write!(f, "{from} of connection #{connection} writes {len} bytes")
            }
            Self::Read { connection, by, len } => {
                write!(f, "{by} of connection #{connection} reads {len} bytes")
            }
            Self::Note { connection, from, text } => {
                write!(f, "{from} of connection #{connection}: {text}")
            }
            Self::Failure { text } => {
                write!(f, "the run fails: {}", text.lines().next().unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for FrameEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fin = if self.is_final { 0x80 } else { 0 };
        let shown = &self.payload.0[..self.payload.0.len().min(SHOWN)];
        fmt_frame(f, fin | self.rsv << 4 | self.opcode, self.len, shown)
    }
}

/// The bytes of a payload that are shown.
const SHOWN: usize = 60;
