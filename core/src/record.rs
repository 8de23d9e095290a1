//! Recordings of connections, and their replay: [`Recorder`], [`Recording`].
//!
//! A [`Connection`](crate::Connection) depends on its inputs only, so a recording of them repeats
//! what happened, byte for byte: in production, put a [`Recorder`] in the place of the connection;
//! in a test, [`Recording::replay`] it, and see what the connection did, or where the present code
//! does something else.
//!
//! A recording has the calls of one end with their arguments, settings and results, so that they can be repeated exactly. What
//! passed between two ends is a [`trace`](crate::trace), another format: it has frames and times, whatever program made them.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::BytesMut;
//! use sockless_core::record::{Recorder, Recording};
//! use sockless_core::{Config, Event, Instant, Negotiated};
//!
//! let (config, now) = (Arc::new(Config::default()), Instant::EPOCH);
//! let mut server = Recorder::server(Negotiated::default(), config.clone(), now).redact();
//! let mut inbound = BytesMut::from(&b"\x81\x86\0\0\0\0secret"[..]);
//! assert_eq!(server.poll_event(&mut inbound, now), Some(Event::Message("secret".into())));
//! server.send("reply", now)?;
//! let saved = server.into_recording().to_string();
//!
//! let recording: Recording = saved.parse()?;
//! let replayed = recording.replay(Negotiated::default(), &[config])?;
//! assert_eq!(replayed.events(), [Event::Message("xxxxxx".into())]);
//! assert_eq!(replayed.sent(), b"\x81\x05xxxxx");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod lines;
mod received;
mod recorder;
mod redact;
mod replay;
mod text;

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

pub use error::{Difference, ReplayError};
pub use received::Received;
pub use recorder::Recorder;
pub use replay::Replayed;

/// The first line: the format and its version.
const HEADER: &str = "sockless-recording 1";

/// The last line of a recording that lacks what happened after it.
const STOPPED: &str = "stopped";

/// The inputs of a connection with the outputs that followed, from a [`Recorder`].
///
/// `Display` writes it as text, and `FromStr` reads that. The first line is the version of the
/// format, then come the role, the seed of the masking keys and the settings; each further line is
/// a call with its time in nanoseconds and, behind `=`, its result, the bytes that were queued so
/// far, the next deadline, and the action for the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    text: String,
}

impl Recording {
    /// Returns true if it lacks the end: the limit of its length was reached, or a compressed
    /// message could not be redacted. What came before is replayed as usual.
    pub fn is_cut(&self) -> bool {
        self.text.lines().next_back() == Some(STOPPED)
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Accepts any text that begins with the version of this format. The rest is checked by
/// [`Recording::replay`].
impl FromStr for Recording {
    type Err = ReplayError;

    fn from_str(text: &str) -> Result<Self, ReplayError> {
        match text.lines().next() {
            Some(HEADER) => Ok(Self { text: text.into() }),
            _ => Err(ReplayError::Malformed { line: 1 }),
        }
    }
}
