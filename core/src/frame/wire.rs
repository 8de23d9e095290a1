//! Headers as they are on the wire, of any opcode: [`WireHead`].

use core::fmt;

use super::{FrameHead, Opcode, Rsv, write_header};

/// The four bits of an opcode, assigned or reserved (RFC 6455 §5.2).
///
/// ```
/// use sockless_core::Opcode;
/// use sockless_core::frames::OpcodeBits;
///
/// assert_eq!(OpcodeBits::from(Opcode::Ping).get(), 0x9);
/// let reserved = OpcodeBits::new(0xB).expect("four bits");
/// assert!(reserved.is_control() && reserved.opcode().is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpcodeBits(u8);

impl OpcodeBits {
    /// Returns the opcode with this number, or `None` if it is more than 15.
    pub const fn new(bits: u8) -> Option<Self> {
        if bits < 16 { Some(Self(bits)) } else { None }
    }

    /// Returns the number, 0 to 15.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Returns the type of the frame; `None` for a reserved opcode.
    pub const fn opcode(self) -> Option<Opcode> {
        Opcode::from_bits(self.0)
    }

    /// Returns `true` for control frames, assigned and reserved: 8 to 15 (RFC 6455 §5.5).
    pub const fn is_control(self) -> bool {
        self.0 & 0x8 != 0
    }
}

impl From<Opcode> for OpcodeBits {
    fn from(opcode: Opcode) -> Self {
        Self(opcode.bits())
    }
}

impl fmt::Debug for OpcodeBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.opcode() {
            Some(opcode) => opcode.fmt(f),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

/// The header of any frame whose end can be found, whether or not RFC 6455 allows it.
///
/// [`FrameHead`] is the header of a frame that is valid; [`frame_head`](Self::frame_head) converts to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireHead {
    /// True if this is the last frame of its message.
    pub fin: bool,
    /// The reserved bits that are set.
    pub rsv: Rsv,
    /// The opcode.
    pub opcode: OpcodeBits,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// The length of the payload in bytes. Above 2^63 − 1 it breaks RFC 6455 §5.2.
    pub len: u64,
}

/// The length of a payload, as a header has it.
#[derive(Clone, Copy)]
pub(super) struct PayloadLen {
    pub(super) len: u64,
    /// The number of bytes that the length takes behind the first two of the header.
    size: usize,
    /// True if the length takes the fewest bytes that it can.
    pub(super) is_minimal: bool,
}

impl WireHead {
    /// Returns this header with a type instead of the opcode's number; `None` if the opcode is reserved.
    ///
    /// Nothing else is checked.
    pub fn frame_head(&self) -> Option<FrameHead> {
        let Self { fin, rsv, opcode, mask, len } = *self;
        Some(FrameHead { fin, rsv, opcode: opcode.opcode()?, mask, len })
    }

    /// Decodes the length in the header at the start of `bytes`; `None` if it has not arrived.
    pub(super) fn decode_len(bytes: &[u8]) -> Option<PayloadLen> {
        let &[_, second, ref rest @ ..] = bytes else { return None };
        let (len, size, least) = match second & 0x7F {
            126 => (u16::from_be_bytes(*rest.first_chunk()?).into(), 2, 126),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 8, 0x1_0000),
            len => (len.into(), 0, 0),
        };
        Some(PayloadLen { len, size, is_minimal: len >= least })
    }

    /// Decodes the header at the start of `bytes`, whose length has arrived. Returns it and its own
    /// length in bytes; `None` if it is incomplete.
    pub(super) fn decode(bytes: &[u8], len: PayloadLen) -> Option<(Self, usize)> {
        let &[first, second, ref rest @ ..] = bytes else { return None };
        let (mask, mask_len) = match second & 0x80 {
            0 => (None, 0),
            _ => (Some(*rest.get(len.size..)?.first_chunk()?), 4),
        };
        let (rsv, opcode) = (Rsv::from_byte(first), OpcodeBits(first & 0x0F));
        let head = Self { fin: first & 0x80 != 0, rsv, opcode, mask, len: len.len };
        Some((head, 2 + len.size + mask_len))
    }

    /// Passes the header to `put` in parts.
    pub(super) fn write(&self, put: impl FnMut(&[u8])) {
        let fin = if self.fin { 0x80 } else { 0 };
        write_header(fin | self.rsv.bits() | self.opcode.0, self.mask, self.len, put);
    }
}

impl From<FrameHead> for WireHead {
    fn from(head: FrameHead) -> Self {
        let FrameHead { fin, rsv, opcode, mask, len } = head;
        Self { fin, rsv, opcode: opcode.into(), mask, len }
    }
}
