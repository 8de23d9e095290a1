//! The text of compressed messages, by another decompressor than that of the core: [`Inflater`].

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use super::{Broken, TakeText};

/// Decompresses the messages of one end (RFC 7692 §7.2.2). It does not notice a reference to data before the window, which it takes
/// for zeros.
pub(super) struct Inflater {
    state: Box<InflateState>,
    /// A message may refer to those before it.
    takes_over: bool,
}

impl Inflater {
    pub(super) fn new(takes_over: bool) -> Self {
        Self { state: InflateState::new_boxed(DataFormat::Raw), takes_over }
    }

    /// Decompresses the next bytes of a message and hands the result over in chunks. Returns false if what follows cannot be
    /// judged: a sender may end its last block (RFC 7692 §7.2.3.5), after which this decompressor does not go on.
    pub(super) fn inflate(
        &mut self,
        mut bytes: &[u8],
        take: &mut TakeText<'_>,
    ) -> Result<bool, Broken> {
        let mut buffer = [0; CHUNK];
        loop {
            let done = inflate(&mut self.state, bytes, &mut buffer, MZFlush::None);
            bytes = &bytes[done.bytes_consumed..];
            take(&buffer[..done.bytes_written])?;
            match done.status {
                Ok(MZStatus::StreamEnd) => return Ok(false),
                // It needs more input, or room for its output.
                Ok(_) | Err(MZError::Buf) if done.bytes_written < CHUNK && bytes.is_empty() => {
                    return Ok(true);
                }
                Ok(_) | Err(MZError::Buf) => {}
                Err(_) => return Err("sends compressed data that is invalid (RFC 7692 §7.2.2)"),
            }
        }
    }

    /// Decompresses the bytes that are not sent at the end of a message (RFC 7692 §7.2.1).
    pub(super) fn end_of_message(&mut self, take: &mut TakeText<'_>) -> Result<bool, Broken> {
        let goes_on = self.inflate(&[0, 0, 0xff, 0xff], take)?;
        if !self.takes_over {
            self.state.reset(DataFormat::Raw);
        }
        Ok(goes_on)
    }
}

/// The most bytes that are decompressed at a time.
const CHUNK: usize = 4096;
