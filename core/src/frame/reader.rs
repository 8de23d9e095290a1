//! Frames out of bytes, part by part: [`FrameReader`].

use bytes::{Buf, Bytes, BytesMut};

use super::rules::FrameRules;
use super::wire::WireHead;
use super::{FrameHead, take_payload};
use crate::error::ProtocolError;
use crate::mask;

/// A part of a frame, as a [`FrameReader`] returns it. `B` holds bytes of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramePart<B> {
    /// A frame begins with this header.
    Head(WireHead),
    /// The next bytes of the payload, at least one.
    Payload(B),
    /// The frame has ended.
    End,
}

/// Reads frames of any length out of bytes as they arrive, without holding one.
///
/// Each frame is returned as one [`Head`](FramePart::Head), any number of [`Payload`](FramePart::Payload)s and one
/// [`End`](FramePart::End). How the bytes were split changes only how the payload is split. The reader takes bytes in
/// the form that the caller has:
///
/// * [`read`](Self::read): from a `&[u8]`, which is not changed, so that masked payloads stay masked;
/// * [`read_mut`](Self::read_mut): from a `&mut [u8]`, unmasked in place;
/// * [`read_buf`](Self::read_buf): from a [`BytesMut`], unmasked in place and split off.
///
/// The three may be mixed. Call each until it returns `None`, which means that all bytes were taken.
///
/// ```
/// use sockless_core::frames::{FramePart, FrameReader, FrameRules};
///
/// let mut reader = FrameReader::new(FrameRules::STRICT);
/// // RFC 6455 §5.7: a single-frame masked text message, "Hello", of which the last byte is missing.
/// let mut read = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51";
/// let mut bytes = &mut read[..];
///
/// let Some(FramePart::Head(head)) = reader.read_mut(&mut bytes)? else { panic!("a header") };
/// assert_eq!((head.len, head.mask), (5, Some([0x37, 0xfa, 0x21, 0x3d])));
/// assert_eq!(reader.read_mut(&mut bytes)?, Some(FramePart::Payload(&mut b"Hell".to_owned()[..])));
/// assert_eq!(reader.read_mut(&mut bytes)?, None);
/// assert_eq!(reader.remaining(), 1);
/// # Ok::<(), sockless_core::ProtocolError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FrameReader {
    rules: FrameRules,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between two frames, or within a header, of which `len` bytes have arrived.
    Header {
        bytes: [u8; FrameHead::MAX_LEN],
        len: usize,
    },
    /// Within a frame, of which `remaining` bytes of payload have not been taken. `taken` counts those that have,
    /// modulo the length of the key.
    Payload {
        remaining: u64,
        key: Option<[u8; 4]>,
        taken: usize,
    },
    Failed(ProtocolError),
}

/// The bytes at the start of the input that were taken, and what they are.
enum Step {
    Head(WireHead, usize),
    Payload(usize, Unmask),
    End,
    Starved(usize),
}

/// The key for bytes of a payload, and their place in it.
#[derive(Clone, Copy)]
struct Unmask {
    key: Option<[u8; 4]>,
    phase: usize,
}

impl FrameReader {
    /// Creates a reader that enforces `rules`.
    pub const fn new(rules: FrameRules) -> Self {
        Self { rules, state: State::START }
    }

    /// Takes the next part of a frame from the start of `input`, which then begins after it. A masked payload is
    /// returned masked. Returns `None` when all bytes were taken.
    ///
    /// # Errors
    ///
    /// If a header breaks a rule. The error is final: each later call returns it again and takes nothing.
    pub fn read<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<FramePart<&'a [u8]>>, ProtocolError> {
        let step = self.step(input)?;
        let mut take = |len| {
            let (taken, rest) = input.split_at(len);
            *input = rest;
            taken
        };
        Ok(step.into_part(&mut take, |payload, _| payload))
    }

    /// Takes the next part of a frame from the start of `input`, which then begins after it. A masked payload is
    /// unmasked in place. Returns `None` when all bytes were taken.
    ///
    /// # Errors
    ///
    /// If a header breaks a rule. The error is final: each later call returns it again and takes nothing.
    pub fn read_mut<'a>(
        &mut self,
        input: &mut &'a mut [u8],
    ) -> Result<Option<FramePart<&'a mut [u8]>>, ProtocolError> {
        let step = self.step(input)?;
        let mut take = |len| {
            let (taken, rest) = core::mem::take(input).split_at_mut(len);
            *input = rest;
            taken
        };
        Ok(step.into_part(&mut take, |payload, unmask| {
            unmask.apply(payload);
            payload
        }))
    }

    /// Takes the next part of a frame out of `inbound`. A masked payload is unmasked. Returns `None` when all bytes
    /// were taken.
    ///
    /// A long payload shares the memory of `inbound`; one of up to
    /// [`COPY_LEN`](crate::limits::COPY_LEN) bytes is copied, so that it does not keep a large buffer in memory.
    ///
    /// # Errors
    ///
    /// If a header breaks a rule. The error is final: each later call returns it again and takes nothing.
    pub fn read_buf(
        &mut self,
        inbound: &mut BytesMut,
    ) -> Result<Option<FramePart<Bytes>>, ProtocolError> {
        Ok(match self.step(inbound)? {
            Step::Head(head, len) => {
                inbound.advance(len);
                Some(FramePart::Head(head))
            }
            Step::Payload(len, unmask) => {
                unmask.apply(&mut inbound[..len]);
                Some(FramePart::Payload(take_payload(inbound, 0..len)))
            }
            Step::End => Some(FramePart::End),
            Step::Starved(len) => {
                inbound.advance(len);
                None
            }
        })
    }

    /// Returns the number of bytes of the payload that have not been taken; 0 within a header.
    pub fn remaining(&self) -> u64 {
        match self.state {
            State::Payload { remaining, .. } => remaining,
            State::Header { .. } | State::Failed(_) => 0,
        }
    }

    /// Returns `true` between the end of a frame and the first byte of the next. Where the transport ends elsewhere,
    /// a frame was cut off.
    pub fn is_between_frames(&self) -> bool {
        matches!(self.state, State::Header { len: 0, .. })
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, ProtocolError> {
        match &mut self.state {
            State::Failed(error) => Err(*error),
            State::Header { .. } => {
                let step = self.read_header(input);
                if let Err(error) = step {
                    self.state = State::Failed(error);
                }
                step
            }
            State::Payload { remaining: 0, .. } => {
                self.state = State::START;
                Ok(Step::End)
            }
            State::Payload { .. } if input.is_empty() => Ok(Step::Starved(0)),
            State::Payload { remaining, key, taken } => {
                let len = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
                let unmask = Unmask { key: *key, phase: *taken };
                *remaining -= len as u64;
                *taken = (*taken + len % 4) % 4;
                Ok(Step::Payload(len, unmask))
            }
        }
    }

    fn read_header(&mut self, input: &[u8]) -> Result<Step, ProtocolError> {
        let State::Header { bytes, len } = &mut self.state else { return Ok(Step::Starved(0)) };
        let new = input.len().min(FrameHead::MAX_LEN - *len);
        bytes[*len..*len + new].copy_from_slice(&input[..new]);
        let arrived = &bytes[..*len + new];
        if let &[first, second, ..] = arrived {
            self.rules.check_start(first, second)?;
        }
        // As soon as it is known, which may be ahead of the masking key.
        let payload_len = WireHead::decode_len(arrived);
        if let Some(payload_len) = payload_len {
            self.rules.check_len(payload_len)?;
        }
        let decoded = payload_len.and_then(|len| WireHead::decode(arrived, len));
        let Some((head, header_len)) = decoded else {
            // A header of the greatest length is complete, so that all of the input was copied.
            *len += new;
            return Ok(Step::Starved(new));
        };
        let taken = header_len - *len;
        self.state = State::Payload { remaining: head.len, key: head.mask, taken: 0 };
        Ok(Step::Head(head, taken))
    }
}

impl State {
    const START: Self = Self::Header { bytes: [0; FrameHead::MAX_LEN], len: 0 };
}

impl Step {
    /// The part, with its payload from `take`, which takes bytes from the input.
    fn into_part<B>(
        self,
        take: &mut impl FnMut(usize) -> B,
        payload: impl FnOnce(B, Unmask) -> B,
    ) -> Option<FramePart<B>> {
        match self {
            Self::Head(head, len) => {
                take(len);
                Some(FramePart::Head(head))
            }
            Self::Payload(len, unmask) => Some(FramePart::Payload(payload(take(len), unmask))),
            Self::End => Some(FramePart::End),
            Self::Starved(len) => {
                take(len);
                None
            }
        }
    }
}

impl Unmask {
    fn apply(self, payload: &mut [u8]) {
        if let Some(key) = self.key {
            mask::apply(payload, key, self.phase);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::role::Role;

    /// The parts of `bytes`, with their payloads joined.
    fn read(rules: FrameRules, bytes: &[u8]) -> Result<Vec<(WireHead, Vec<u8>)>, ProtocolError> {
        let (mut reader, mut input, mut frames) = (FrameReader::new(rules), bytes, Vec::new());
        while let Some(part) = reader.read(&mut input)? {
            match part {
                FramePart::Head(head) => frames.push((head, Vec::new())),
                FramePart::Payload(bytes) => frames.last_mut().unwrap().1.extend(bytes),
                FramePart::End => {}
            }
        }
        Ok(frames)
    }

    #[test]
    fn every_rule_has_its_error_and_its_exception() {
        let strict = FrameRules::STRICT;
        let (rsv, long) = (crate::frame::Rsv::RSV2, u64::MAX);
        for (bytes, error, exception) in [
            (&[0x83, 0][..], ProtocolError::OpcodeReserved(3), strict.accept_reserved(true)),
            (&[0xA1, 0], ProtocolError::ReservedBitSet, strict.accept_rsv(rsv)),
            (&[0xA9, 0], ProtocolError::ReservedBitSet, strict.accept_reserved(true)),
            (&[0x09, 0], ProtocolError::ControlFragmented, strict.accept_any_control(true)),
            (&[0x89, 126, 0, 126], ProtocolError::ControlTooLong, strict.accept_any_control(true)),
            (&[0x82, 126, 0, 0], ProtocolError::LengthNotMinimal, strict.accept_any_length(true)),
            (
                &[0x82, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
                ProtocolError::LengthInvalid,
                strict.accept_any_length(true),
            ),
        ] {
            assert_eq!(read(strict, bytes), Err(error));
            assert_eq!(read(exception, bytes).unwrap().len(), 1, "{bytes:x?}");
            assert_eq!(read(FrameRules::ANY, bytes).unwrap().len(), 1, "{bytes:x?}");
        }
        // A bit that extensions of messages use is not accepted elsewhere.
        assert!(read(strict.accept_rsv(rsv), &[0xA9, 0]).is_err());
        assert!(read(strict.accept_rsv(rsv), &[0xA0, 0]).is_err());
        let limited = FrameRules::ANY.max_frame_len(4);
        assert_eq!(read(limited, &[0x82, 4]).unwrap().len(), 1);
        assert_eq!(
            read(limited, &[0x82, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            Err(ProtocolError::FrameTooLong { len: long, max: 4 })
        );
    }

    #[test]
    fn a_length_is_checked_before_the_masking_key_has_arrived() {
        let too_long = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(FrameRules::STRICT, &too_long), Err(ProtocolError::LengthInvalid));
        let head = FrameHead::decode(&too_long);
        assert_eq!(head.map(|_| ()), Err(ProtocolError::LengthInvalid));
        assert_eq!(read(FrameRules::STRICT, &too_long[..9]), Ok(Vec::new()));
    }

    #[test]
    fn the_sender_decides_whether_frames_are_masked() {
        let (masked, plain) = ([0x82, 0x80, 1, 2, 3, 4], [0x82, 0]);
        let of = |sender| FrameRules::ANY.sender(sender);
        assert!(read(of(Role::Client), &masked).is_ok());
        assert_eq!(read(of(Role::Client), &plain), Err(ProtocolError::MaskMissing));
        assert!(read(of(Role::Server), &plain).is_ok());
        assert_eq!(read(of(Role::Server), &masked), Err(ProtocolError::MaskUnexpected));
    }

    /// Every pair of first bytes is rejected as by [`FrameHead::decode`], and with two bytes.
    #[test]
    fn the_strict_rules_are_those_of_a_frame_head() {
        let any_bit = FrameRules::STRICT.accept_reserved(true);
        for pair in 0..=u16::MAX {
            let [first, second] = pair.to_be_bytes();
            let mut bytes = [0x7F; FrameHead::MAX_LEN];
            (bytes[0], bytes[1]) = (first, second);
            let by_rules = match FrameHead::decode(&bytes) {
                Err(error @ ProtocolError::OpcodeReserved(_)) => {
                    assert_eq!(read(FrameRules::STRICT, &bytes[..2]), Err(error));
                    continue;
                }
                decoded => decoded.map(|head| WireHead::from(head.unwrap().0)),
            };
            let mut reader = FrameReader::new(any_bit);
            let part = reader.read(&mut &bytes[..]);
            let head = part.map(|part| match part {
                Some(FramePart::Head(head)) => head,
                other => panic!("{other:?}"),
            });
            assert_eq!(head, by_rules, "{first:x} {second:x}");
        }
    }

    #[test]
    fn an_error_is_final() {
        let mut reader = FrameReader::new(FrameRules::STRICT);
        for _ in 0..2 {
            let mut input = &[0x83, 0, 0x82, 0][..];
            assert_eq!(reader.read(&mut input), Err(ProtocolError::OpcodeReserved(3)));
            assert_eq!(input.len(), 4, "nothing is taken");
        }
        assert!(!reader.is_between_frames());
    }
}
