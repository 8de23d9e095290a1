//! Frames into bytes, chunk by chunk: [`FrameWriter`].

use bytes::BytesMut;
use thiserror::Error;

use super::reader::FramePart;
use super::wire::WireHead;
use crate::mask;
use crate::seed::{MaskKeys, Seed};

/// Writes frames of any length in chunks of their payloads, without holding one.
///
/// A frame is one [`begin`](Self::begin) and then chunks with [`payload`](Self::payload), or
/// [`payload_in_place`](Self::payload_in_place), until [`remaining`](Self::remaining) is 0;
/// [`part`](Self::part) passes on what a [`FrameReader`](super::reader::FrameReader) returns. The
/// constructor decides about masks.
///
/// ```
/// use bytes::BytesMut;
/// use sockless_core::frames::FrameWriter;
/// use sockless_core::{FrameHead, Opcode, Rsv};
///
/// let mut writer = FrameWriter::server();
/// let mut out = BytesMut::new();
/// let head = FrameHead { fin: true, rsv: Rsv::NONE, opcode: Opcode::Text, mask: None, len: 5 };
/// writer.begin(&head.into(), &mut out)?;
/// writer.payload(b"Hel", &mut out)?;
/// assert_eq!(writer.remaining(), 2);
/// writer.payload(b"lo", &mut out)?;
/// assert_eq!(out, &b"\x81\x05Hello"[..]);
/// # Ok::<(), sockless_core::frames::FrameWriteError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FrameWriter {
    masks: Masks,
    /// The key with which chunks are masked.
    key: Option<[u8; 4]>,
    remaining: u64,
    /// The number of bytes of the payload that have been written, modulo the length of the key.
    written: usize,
}

#[derive(Clone, Debug)]
enum Masks {
    Fresh(MaskKeys),
    None,
    AsGiven,
}

/// A caller does not complete a frame as its header declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameWriteError {
    /// A frame begins while the payload of the one before it is incomplete.
    #[error("{remaining} bytes of the frame's payload must be written before the next header")]
    FrameUnfinished {
        /// The number of bytes that are missing.
        remaining: u64,
    },
    /// A chunk is longer than the rest of the payload.
    #[error("a chunk of {len} bytes is longer than the {remaining} that the frame's header leaves")]
    PayloadTooLong {
        /// The length of the chunk in bytes.
        len: usize,
        /// The number of bytes that may be written.
        remaining: u64,
    },
}

impl FrameWriter {
    /// Creates the writer of a client, which masks each frame with a fresh key out of `seed`. The key in a header is
    /// ignored.
    pub fn client(seed: Seed) -> Self {
        Self::new(Masks::Fresh(MaskKeys::new(seed)))
    }

    /// Creates the writer of a server, which masks no frame. The key in a header is ignored.
    pub const fn server() -> Self {
        Self::new(Masks::None)
    }

    /// Creates a writer that passes on headers with their keys, and payloads as they are: those of a frame with a key
    /// must be masked already, as [`FrameReader::read`](super::reader::FrameReader::read) returns them.
    pub const fn verbatim() -> Self {
        Self::new(Masks::AsGiven)
    }

    const fn new(masks: Masks) -> Self {
        Self { masks, key: None, remaining: 0, written: 0 }
    }

    /// Appends a part as a [`FrameReader`](super::reader::FrameReader) returns it: begins a frame, or
    /// continues its payload.
    ///
    /// # Errors
    ///
    /// Those of [`begin`](Self::begin) and [`payload`](Self::payload), which do not occur while all parts of one
    /// reader are passed on in order.
    pub fn part(
        &mut self,
        part: &FramePart<impl AsRef<[u8]>>,
        out: &mut BytesMut,
    ) -> Result<(), FrameWriteError> {
        match part {
            FramePart::Head(head) => self.begin(head, out),
            FramePart::Payload(chunk) => self.payload(chunk.as_ref(), out),
            FramePart::End => Ok(()),
        }
    }

    /// Begins a frame: appends its header to `out`, with the length in the fewest bytes.
    ///
    /// # Errors
    ///
    /// [`FrameWriteError::FrameUnfinished`] until the payload of the frame before it is complete. Nothing else is
    /// checked.
    pub fn begin(&mut self, head: &WireHead, out: &mut BytesMut) -> Result<(), FrameWriteError> {
        if self.remaining > 0 {
            return Err(FrameWriteError::FrameUnfinished { remaining: self.remaining });
        }
        let (shown, key) = match &mut self.masks {
            Masks::AsGiven => (head.mask, None),
            Masks::None => (None, None),
            Masks::Fresh(keys) => {
                let key = Some(keys.next_key());
                (key, key)
            }
        };
        WireHead { mask: shown, ..*head }.write(|part| out.extend_from_slice(part));
        (self.key, self.remaining, self.written) = (key, head.len, 0);
        Ok(())
    }

    /// Appends the next chunk of the payload to `out`.
    ///
    /// # Errors
    ///
    /// [`FrameWriteError::PayloadTooLong`] if the header declares less. Then nothing is written.
    pub fn payload(&mut self, chunk: &[u8], out: &mut BytesMut) -> Result<(), FrameWriteError> {
        let (start, key) = (out.len(), self.key);
        let phase = self.take(chunk.len())?;
        out.extend_from_slice(chunk);
        if let Some(key) = key {
            mask::apply(&mut out[start..], key, phase);
        }
        Ok(())
    }

    /// Makes `chunk`, the next of the payload, what is to be sent: masks it in place if frames are masked.
    ///
    /// # Errors
    ///
    /// [`FrameWriteError::PayloadTooLong`] if the header declares less. Then the chunk is unchanged.
    pub fn payload_in_place(&mut self, chunk: &mut [u8]) -> Result<(), FrameWriteError> {
        let phase = self.take(chunk.len())?;
        if let Some(key) = self.key {
            mask::apply(chunk, key, phase);
        }
        Ok(())
    }

    /// Returns the number of bytes that the payload of the frame lacks.
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Counts a chunk, and returns its place in the payload, modulo the length of the key.
    fn take(&mut self, len: usize) -> Result<usize, FrameWriteError> {
        let remaining = self.remaining;
        let rest = remaining.checked_sub(len as u64);
        self.remaining = rest.ok_or(FrameWriteError::PayloadTooLong { len, remaining })?;
        let phase = self.written;
        self.written = (phase + len % 4) % 4;
        Ok(phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameHead, Opcode, Rsv};

    fn head(mask: Option<[u8; 4]>, len: u64) -> WireHead {
        FrameHead { fin: true, rsv: Rsv::RSV1, opcode: Opcode::Binary, mask, len }.into()
    }

    #[test]
    fn a_frame_has_exactly_its_length() {
        let (mut writer, mut out) = (FrameWriter::server(), BytesMut::new());
        assert_eq!(
            writer.payload(b"x", &mut out),
            Err(FrameWriteError::PayloadTooLong { len: 1, remaining: 0 })
        );
        writer.begin(&head(None, 3), &mut out).unwrap();
        writer.payload(b"ab", &mut out).unwrap();
        assert_eq!(
            writer.begin(&head(None, 0), &mut out),
            Err(FrameWriteError::FrameUnfinished { remaining: 1 })
        );
        assert_eq!(
            writer.payload_in_place(&mut [0; 2]),
            Err(FrameWriteError::PayloadTooLong { len: 2, remaining: 1 })
        );
        writer.payload(b"c", &mut out).unwrap();
        writer.begin(&head(None, 0), &mut out).unwrap();
        assert_eq!(out, &b"\xC2\x03abc\xC2\x00"[..]);
    }

    #[test]
    fn the_constructor_decides_about_masks() {
        let key = [1, 2, 3, 4];
        let written = |mut writer: FrameWriter, chunk: usize| {
            let mut out = BytesMut::new();
            writer.begin(&head(Some(key), 10), &mut out).unwrap();
            for part in b"0123456789".chunks(chunk) {
                writer.payload(part, &mut out).unwrap();
            }
            out
        };
        for chunk in 1..=10 {
            assert_eq!(written(FrameWriter::server(), chunk), &b"\xC2\x0A0123456789"[..]);
            let verbatim = b"\xC2\x8A\x01\x02\x03\x040123456789";
            assert_eq!(written(FrameWriter::verbatim(), chunk), &verbatim[..]);
            let client = FrameWriter::client(Seed::new([7; 32]));
            let mut masked = written(client, chunk);
            let fresh: [u8; 4] = masked[2..6].try_into().unwrap();
            assert_ne!(fresh, key);
            mask::apply(&mut masked[6..], fresh, 0);
            assert_eq!(masked[6..], *b"0123456789");
        }
    }

    #[test]
    fn chunks_in_place_are_those_that_are_copied() {
        let seed = || FrameWriter::client(Seed::new([7; 32]));
        let (mut copying, mut in_place, mut out) = (seed(), seed(), BytesMut::new());
        copying.begin(&head(None, 9), &mut out).unwrap();
        let header_len = out.len();
        in_place.begin(&head(None, 9), &mut BytesMut::new()).unwrap();
        let mut payload = *b"unchanged";
        for part in payload.chunks_mut(2) {
            copying.payload(part, &mut out).unwrap();
            in_place.payload_in_place(part).unwrap();
        }
        assert_eq!(out[header_len..], payload);
    }
}
