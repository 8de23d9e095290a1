//! Frames and their headers (RFC 6455 §5.2).

pub(crate) mod reader;
pub(crate) mod rules;
pub(crate) mod wire;
pub(crate) mod writer;

use core::fmt;
use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::ProtocolError;
use crate::limits::COPY_LEN;

/// The length in bytes of the longest payload of a control frame (RFC 6455 §5.5).
pub(crate) const MAX_CONTROL_LEN: usize = 125;

/// The type of a frame (RFC 6455 §5.2). Reserved opcodes have no variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// 0x8: a Close frame.
    Close,
    /// 0x0: a fragment of a message after the first.
    Continuation,
    /// 0x2: a binary message, or its first fragment.
    Binary,
    /// 0x9: a ping.
    Ping,
    /// 0xA: a pong.
    Pong,
    /// 0x1: a text message, or its first fragment.
    Text,
}

impl Opcode {
    /// Returns `true` for the opcodes of control frames: Close, Ping and Pong (RFC 6455 §5.5).
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    pub(crate) const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }
}

/// A subset of the three reserved bits in the header of a frame (RFC 6455 §5.2).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rsv(u8);

impl Rsv {
    /// No bit.
    pub const NONE: Self = Self(0);
    /// The first reserved bit, RSV1.
    pub const RSV1: Self = Self(0x40);
    /// The second reserved bit, RSV2.
    pub const RSV2: Self = Self(0x20);
    /// The third reserved bit, RSV3.
    pub const RSV3: Self = Self(0x10);

    /// Returns `true` if this set has every bit of `other`.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns `true` if the two sets have a bit in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the bits that are in both sets.
    #[must_use]
    pub(crate) const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the bits that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits in the first byte of a header.
    pub(crate) const fn from_byte(byte: u8) -> Self {
        Self(byte & 0x70)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }
}

impl fmt::Debug for Rsv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rsv({:03b})", self.0 >> 4)
    }
}

/// The header of a frame (RFC 6455 §5.2), for proxies, extensions and tools.
///
/// ```
/// use sockless_core::{FrameHead, Opcode};
///
/// // RFC 6455 §5.7: a single-frame unmasked text message, "Hello".
/// let bytes = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
/// let (head, header_len) = FrameHead::decode(&bytes).unwrap().unwrap();
/// assert_eq!((head.opcode, head.fin, head.len), (Opcode::Text, true, 5));
/// assert_eq!(&bytes[header_len..], b"Hello");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// True if this is the last frame of its message.
    pub fin: bool,
    /// The reserved bits that are set.
    pub rsv: Rsv,
    /// The type of the frame.
    pub opcode: Opcode,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// The length of the payload in bytes, at most 2^63 − 1.
    pub len: u64,
}

impl FrameHead {
    /// The length of the longest header in bytes: 2, and 8 for the length and 4 for the masking key.
    pub const MAX_LEN: usize = 14;

    /// Decodes the header at the start of `bytes` and returns it with its length in bytes; `None` if it is
    /// incomplete.
    ///
    /// # Errors
    ///
    /// If the header is invalid regardless of what was negotiated: a reserved opcode, a fragmented or
    /// oversized control frame, or a length that is not minimal or has its top bit set.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        let opcode =
            Opcode::from_bits(first & 0x0F).ok_or(ProtocolError::OpcodeReserved(first & 0x0F))?;
        let fin = first & 0x80 != 0;
        let short_len = second & 0x7F;
        if opcode.is_control() {
            if !fin {
                return Err(ProtocolError::ControlFragmented);
            }
            if usize::from(short_len) > MAX_CONTROL_LEN {
                return Err(ProtocolError::ControlTooLong);
            }
        }
        let (len, rest, len_len) = match short_len {
            126 => {
                let Some((len, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                let len = u64::from(u16::from_be_bytes(*len));
                if len < 126 {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                (len, rest, 2)
            }
            127 => {
                let Some((len, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                let len = u64::from_be_bytes(*len);
                if len > u64::MAX >> 1 {
                    return Err(ProtocolError::LengthInvalid);
                }
                if len <= u64::from(u16::MAX) {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                (len, rest, 8)
            }
            len => (u64::from(len), rest, 0),
        };
        let (mask, mask_len) = if second & 0x80 == 0 {
            (None, 0)
        } else {
            let Some(key) = rest.first_chunk() else {
                return Ok(None);
            };
            (Some(*key), 4)
        };
        let head = Self { fin, rsv: Rsv(first & 0x70), opcode, mask, len };
        Ok(Some((head, 2 + len_len + mask_len)))
    }

    /// Writes the header to the start of `bytes` and returns its length in bytes.
    #[inline]
    pub fn encode(&self, bytes: &mut [u8; Self::MAX_LEN]) -> usize {
        let mut end = 0;
        self.write(|part| {
            bytes[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        });
        end
    }

    /// Appends the header to `bytes`.
    #[inline]
    pub(crate) fn put(&self, bytes: &mut BytesMut) {
        self.write(|part| bytes.extend_from_slice(part));
    }

    /// Passes the header to `put` in parts whose lengths the compiler knows, so that copying one is a single
    /// store.
    #[inline]
    fn write(&self, put: impl FnMut(&[u8])) {
        let fin = if self.fin { 0x80 } else { 0 };
        write_header(fin | self.rsv.0 | self.opcode.bits(), self.mask, self.len, put);
    }
}

/// Passes a header with this first byte to `put` in parts.
#[inline]
pub(crate) fn write_header(first: u8, mask: Option<[u8; 4]>, len: u64, mut put: impl FnMut(&[u8])) {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match len {
        // The match bounds the length, so that no cast loses a bit.
        len @ 0..=125 => put(&[first, masked | len as u8]),
        len @ 126..=0xFFFF => {
            put(&[first, masked | 126]);
            put(&(len as u16).to_be_bytes());
        }
        len => {
            put(&[first, masked | 127]);
            put(&len.to_be_bytes());
        }
    }
    if let Some(key) = mask {
        put(&key);
    }
}

/// A frame that a [`RawConnection`](crate::RawConnection) receives or sends. The payload is never masked
/// here: masking is added and removed on the wire.
///
/// ```
/// use sockless_core::{Frame, Opcode, Rsv};
///
/// let ping = Frame::new(Opcode::Ping, "are you there?".into());
/// assert!(ping.fin && ping.rsv == Rsv::NONE);
///
/// // The first fragment of a text message.
/// let first = Frame { fin: false, ..Frame::new(Opcode::Text, "Hel".into()) };
/// # let _ = first;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// True if this is the last frame of its message.
    pub fin: bool,
    /// The reserved bits that are set.
    pub rsv: Rsv,
    /// The type of the frame.
    pub opcode: Opcode,
    /// The payload.
    pub payload: Bytes,
}

impl Frame {
    /// Returns an unfragmented frame without reserved bits.
    pub const fn new(opcode: Opcode, payload: Bytes) -> Self {
        Self { fin: true, rsv: Rsv::NONE, opcode, payload }
    }
}

/// Takes `payload` and all before it out of `inbound`: copied if it is short, split off if it is
/// long.
#[inline(always)]
pub(crate) fn take_payload(inbound: &mut BytesMut, payload: Range<usize>) -> Bytes {
    if payload.len() > COPY_LEN {
        inbound.advance(payload.start);
        return inbound.split_to(payload.len()).freeze();
    }
    let end = payload.end;
    let copy = Bytes::copy_from_slice(&inbound[payload]);
    if end == inbound.len() {
        // It keeps its room: the next read needs no other memory.
        inbound.clear();
    } else {
        inbound.advance(end);
    }
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(opcode: Opcode, mask: Option<[u8; 4]>, len: u64) -> FrameHead {
        FrameHead { fin: true, rsv: Rsv::NONE, opcode, mask, len }
    }

    #[test]
    fn every_encoding_of_a_length_round_trips() {
        for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, u64::from(u32::MAX), u64::MAX >> 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let head = head(Opcode::Binary, mask, len);
                let mut bytes = [0; FrameHead::MAX_LEN];
                let end = head.encode(&mut bytes);
                assert_eq!(FrameHead::decode(&bytes[..end]), Ok(Some((head, end))));
                for cut in 0..end {
                    assert_eq!(FrameHead::decode(&bytes[..cut]), Ok(None), "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn every_pair_of_first_bytes_is_accepted_or_rejected() {
        for pair in 0..=u16::MAX {
            let [first, second] = pair.to_be_bytes();
            let mut bytes = [0xFF; FrameHead::MAX_LEN];
            (bytes[0], bytes[1]) = (first, second);
            let reserved = matches!(first & 0x0F, 3..=7 | 11..=15);
            match FrameHead::decode(&bytes) {
                Ok(head) => assert!(head.is_some() && !reserved),
                Err(ProtocolError::OpcodeReserved(opcode)) => {
                    assert!(reserved && opcode == first & 0x0F);
                }
                Err(_) => assert!(!reserved),
            }
        }
    }

    #[test]
    fn a_length_that_is_not_minimal_is_rejected() {
        let short = [0x82, 126, 0, 125];
        assert_eq!(FrameHead::decode(&short), Err(ProtocolError::LengthNotMinimal));
        let long = [0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF];
        assert_eq!(FrameHead::decode(&long), Err(ProtocolError::LengthNotMinimal));
        let top_bit = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(FrameHead::decode(&top_bit), Err(ProtocolError::LengthInvalid));
    }
}
