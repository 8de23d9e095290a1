//! The input of a recorded connection: [`Recording::received`].

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::Recording;
use super::error::ReplayError;
use super::lines::{self, Call};

/// Something that a recorded connection received from its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes of the peer, as they arrived.
    Bytes(Vec<u8>),
    /// The end of the stream.
    Eof,
    /// An error of the transport, with its text.
    Error(String),
}

impl Recording {
    /// Returns what the connection received, with the times since it was opened: the peer's part of
    /// the recording, for a test that repeats it against another program.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Malformed`] if the text is not a recording.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use sockless_core::record::{Received, Recorder};
    /// use sockless_core::{Instant, Negotiated};
    ///
    /// let mut server = Recorder::server(Negotiated::default(), Default::default(), Instant::EPOCH);
    /// let mut inbound = BytesMut::from(&b"\x81\x82\0\0\0\0hi"[..]);
    /// let later = Instant::EPOCH + std::time::Duration::from_secs(2);
    /// server.poll_event(&mut inbound, later);
    ///
    /// let received = server.into_recording().received()?;
    /// assert_eq!(received[0].0.as_secs(), 2);
    /// assert_eq!(received[0].1, Received::Bytes(b"\x81\x82\0\0\0\0hi".to_vec()));
    /// # Ok::<(), sockless_core::record::ReplayError>(())
    /// ```
    pub fn received(&self) -> Result<Vec<(Duration, Received)>, ReplayError> {
        let (opening, calls) = lines::parse(&self.text)?;
        let mut received = Vec::new();
        for call in calls {
            let Call { line, now, name, mut arguments, .. } = call?;
            let what = match name {
                "output" | "poll" | "partial" => arguments.bytes().map(Received::Bytes),
                "eof" => Some(Received::Eof),
                "error" => arguments.text().map(Received::Error),
                _ => continue,
            };
            let what = what.ok_or(ReplayError::Malformed { line })?;
            if what != Received::Bytes(Vec::new()) {
                received.push((now.saturating_since(opening.opened), what));
            }
        }
        Ok(received)
    }
}
