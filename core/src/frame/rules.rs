//! The rules that a reader of frames enforces: [`FrameRules`].

use super::wire::PayloadLen;
use super::{MAX_CONTROL_LEN, Opcode, Rsv};
use crate::error::ProtocolError;
use crate::role::Role;

/// The rules for headers that a [`FrameReader`](super::reader::FrameReader) enforces.
///
/// Start from [`STRICT`](Self::STRICT) and name the exceptions, or from [`ANY`](Self::ANY) and add limits.
///
/// ```
/// use sockless_core::frames::FrameRules;
/// use sockless_core::{Role, Rsv};
///
/// // What a client sends after permessage-deflate was agreed, in frames of up to 16 MiB.
/// let rules = FrameRules::STRICT.sender(Role::Client).accept_rsv(Rsv::RSV1).max_frame_len(16 << 20);
/// # let _ = rules;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRules {
    rsv: Rsv,
    reserved: bool,
    any_control: bool,
    any_length: bool,
    sender: Option<Role>,
    max_frame_len: u64,
}

impl FrameRules {
    /// RFC 6455 §5.2 and §5.5 without extensions. Frames may be masked or not, and of any valid length.
    pub const STRICT: Self = Self {
        rsv: Rsv::NONE,
        reserved: false,
        any_control: false,
        any_length: false,
        sender: None,
        max_frame_len: u64::MAX,
    };

    /// Every frame that can be delimited.
    pub const ANY: Self =
        Self::STRICT.accept_reserved(true).accept_any_control(true).accept_any_length(true);

    /// Accepts these reserved bits on the first frame of a message, as extensions of messages use them.
    /// Default: none.
    #[must_use]
    pub const fn accept_rsv(mut self, rsv: Rsv) -> Self {
        self.rsv = rsv;
        self
    }

    /// Sets whether reserved opcodes are accepted, and reserved bits on any frame. Default: no.
    #[must_use]
    pub const fn accept_reserved(mut self, accept: bool) -> Self {
        self.reserved = accept;
        self
    }

    /// Sets whether control frames may be fragmented, and longer than 125 bytes. Default: no.
    #[must_use]
    pub const fn accept_any_control(mut self, accept: bool) -> Self {
        self.any_control = accept;
        self
    }

    /// Sets whether a length may take more bytes than it needs, and have its top bit set. Default: no.
    #[must_use]
    pub const fn accept_any_length(mut self, accept: bool) -> Self {
        self.any_length = accept;
        self
    }

    /// Sets the end that sends the frames: those of a client must be masked, those of a server must not
    /// (RFC 6455 §5.1). Default: not known, so that a frame may be masked or not.
    #[must_use]
    pub const fn sender(mut self, sender: Role) -> Self {
        self.sender = Some(sender);
        self
    }

    /// Rejects frames with payloads longer than `len` bytes. Default: no limit.
    #[must_use]
    pub const fn max_frame_len(mut self, len: u64) -> Self {
        self.max_frame_len = len;
        self
    }

    /// Checks the first two bytes of a header, as soon as they have arrived.
    pub(super) fn check_start(&self, first: u8, second: u8) -> Result<(), ProtocolError> {
        let opcode = first & 0x0F;
        let is_control = opcode & 0x8 != 0;
        let known = Opcode::from_bits(opcode);
        if known.is_none() && !self.reserved {
            return Err(ProtocolError::OpcodeReserved(opcode));
        }
        if is_control && !self.any_control {
            if first & 0x80 == 0 {
                return Err(ProtocolError::ControlFragmented);
            }
            if usize::from(second & 0x7F) > MAX_CONTROL_LEN {
                return Err(ProtocolError::ControlTooLong);
            }
        }
        let rsv = Rsv::from_byte(first);
        let begins = matches!(known, Some(Opcode::Text | Opcode::Binary));
        if rsv != Rsv::NONE && !self.reserved && !(begins && self.rsv.contains(rsv)) {
            return Err(ProtocolError::ReservedBitSet);
        }
        match (self.sender, second & 0x80 != 0) {
            (Some(Role::Client), false) => Err(ProtocolError::MaskMissing),
            (Some(Role::Server), true) => Err(ProtocolError::MaskUnexpected),
            _ => Ok(()),
        }
    }

    /// Checks the length in a header.
    pub(super) fn check_len(&self, len: PayloadLen) -> Result<(), ProtocolError> {
        let PayloadLen { len, is_minimal, .. } = len;
        if !self.any_length {
            if len > u64::MAX >> 1 {
                return Err(ProtocolError::LengthInvalid);
            }
            if !is_minimal {
                return Err(ProtocolError::LengthNotMinimal);
            }
        }
        let max = self.max_frame_len;
        if len > max { Err(ProtocolError::FrameTooLong { len, max }) } else { Ok(()) }
    }
}

/// [`FrameRules::STRICT`].
impl Default for FrameRules {
    fn default() -> Self {
        Self::STRICT
    }
}
