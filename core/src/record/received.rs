//! What a recorded connection received: [`Recording::received`].

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::replay::{hex, instant};
use super::{Recording, ReplayError, STOPPED};

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
        let mut lines =
            self.text.lines().enumerate().map(|(index, line)| (index + 1, line)).skip(1);
        let opened = lines.next().and_then(|(_, text)| instant(text.split_once(' ')?.1));
        let opened = opened.ok_or(ReplayError::Malformed { line: 2 })?;
        let mut received = Vec::new();
        for (line, text) in lines {
            let Some((input, _)) = text.split_once(" = ") else {
                // The lines before the first call, and the last one.
                let is_known = text == STOPPED || line <= 4;
                if is_known {
                    continue;
                }
                return Err(ReplayError::Malformed { line });
            };
            let malformed = ReplayError::Malformed { line };
            let mut words = input.split_whitespace();
            let at = words.next().and_then(instant).ok_or_else(|| malformed.clone())?;
            let name = words.next().unwrap_or_default();
            let mut bytes = || words.next().and_then(hex).ok_or_else(|| malformed.clone());
            let what = match name {
                "poll" | "partial" => Received::Bytes(bytes()?),
                "eof" => Received::Eof,
                "error" => {
                    Received::Error(String::from_utf8(bytes()?).map_err(|_| malformed.clone())?)
                }
                _ => continue,
            };
            if what != Received::Bytes(Vec::new()) {
                received.push((at.saturating_since(opened), what));
            }
        }
        Ok(received)
    }
}
