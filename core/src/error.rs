//! Errors, one type for each party that can cause them: the peer ([`ProtocolError`]), the caller
//! ([`SendError`]), a codec ([`CodecError`]).

use thiserror::Error;

use crate::close::{CloseCode, CloseReason};

/// The peer broke a rule of the protocol, or exceeded a limit of [`Config`](crate::Config).
///
/// It is reported in [`Cause::Protocol`](crate::Cause::Protocol), not as an `Err`, since mistakes of a
/// peer are expected. The peer receives the [close code](Self::close_code) and, as the reason, the text
/// of the error with the [clause](Self::clause) of RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The payload of a Close frame is one byte long; a code takes two (RFC 6455 §5.5.1).
    #[error("a Close frame has 1 byte of payload, a code takes 2")]
    CloseTruncated,
    /// A Close frame has a code that cannot be sent (RFC 6455 §7.4).
    #[error("a Close frame has the code {0}, which may not be sent")]
    CloseCodeInvalid(u16),
    /// The reason in a Close frame is not UTF-8 (RFC 6455 §5.5.1).
    #[error("the reason in a Close frame is not UTF-8")]
    CloseReasonInvalid,
    /// A codec cannot decode a message of the peer, or the message exceeds a limit of the codec.
    #[error("{name}: {error}")]
    CodecFailed {
        /// The name of the extension.
        name: &'static str,
        /// The error of the codec.
        #[source]
        error: CodecError,
    },
    /// A continuation frame arrived while no message was unfinished (RFC 6455 §5.4).
    #[error("a continuation frame came with no message to continue")]
    ContinuationUnexpected,
    /// A control frame is fragmented (RFC 6455 §5.5).
    #[error("a control frame is fragmented")]
    ControlFragmented,
    /// The payload of a control frame is longer than 125 bytes (RFC 6455 §5.5).
    #[error("a control frame is longer than 125 bytes")]
    ControlTooLong,
    /// The payload of a frame is longer than
    /// [`Config::max_frame_len`](crate::Config::max_frame_len).
    #[error("a frame of {len} bytes is longer than max_frame_len = {max}")]
    FrameTooLong {
        /// The length in bytes, as declared by the header of the frame.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The most significant bit of a 64-bit length is set (RFC 6455 §5.2).
    #[error("a frame's length has its top bit set")]
    LengthInvalid,
    /// A length is not encoded in the smallest number of bytes (RFC 6455 §5.2).
    #[error("a frame's length takes more bytes than it needs")]
    LengthNotMinimal,
    /// A client sent a frame that is not masked (RFC 6455 §5.1).
    #[error("a frame from a client is not masked")]
    MaskMissing,
    /// A server sent a masked frame (RFC 6455 §5.1).
    #[error("a frame from a server is masked")]
    MaskUnexpected,
    /// A message is longer than [`Config::max_message_len`](crate::Config::max_message_len).
    #[error("a message of at least {len} bytes is longer than max_message_len = {max}")]
    MessageTooLong {
        /// The length in bytes as far as it is known: what has arrived and what the last header declares.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// A new message began before the previous one was finished (RFC 6455 §5.4).
    #[error("a new message began before the last one ended")]
    MessageUnfinished,
    /// The memory for a message could not be allocated.
    #[error("out of memory for a message of at least {len} bytes")]
    OutOfMemory {
        /// The number of bytes of the message that had to be held.
        len: u64,
    },
    /// The opcode of a frame is reserved (RFC 6455 §5.2).
    #[error("opcode {0:#x} is reserved")]
    OpcodeReserved(u8),
    /// A frame has a reserved bit that no negotiated extension uses (RFC 6455 §5.2).
    #[error("a reserved bit is set that no extension owns")]
    ReservedBitSet,
    /// A message that is received in chunks is longer than
    /// [`Config::max_streamed_len`](crate::Config::max_streamed_len).
    #[error("a message of at least {len} bytes is longer than max_streamed_len = {max}")]
    StreamTooLong {
        /// The length in bytes as far as it is known: what has arrived and what the last header declares.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// A text message is not UTF-8 (RFC 6455 §8.1).
    #[error("a text message is not UTF-8")]
    TextInvalid,
    /// A message has more frames than [`Config::max_fragments`](crate::Config::max_fragments).
    #[error("a message comes in more frames than max_fragments = {max}")]
    TooManyFragments {
        /// The limit in frames.
        max: u32,
    },
}

impl ProtocolError {
    /// Returns the code with which the connection is closed.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::CodecFailed { error, .. } => error.close_code(),
            Self::CloseReasonInvalid | Self::TextInvalid => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooLong { .. }
            | Self::MessageTooLong { .. }
            | Self::OutOfMemory { .. }
            | Self::StreamTooLong { .. } => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyFragments { .. } => CloseCode::POLICY_VIOLATION,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// Returns the clause of RFC 6455 that the peer broke, such as `"5.4"`; `"10.4"` for limits.
    pub const fn clause(&self) -> &'static str {
        match self {
            Self::MaskMissing | Self::MaskUnexpected => "5.1",
            Self::LengthInvalid
            | Self::LengthNotMinimal
            | Self::OpcodeReserved(_)
            | Self::ReservedBitSet => "5.2",
            Self::ContinuationUnexpected | Self::MessageUnfinished => "5.4",
            Self::ControlFragmented | Self::ControlTooLong => "5.5",
            Self::CloseTruncated | Self::CloseReasonInvalid => "5.5.1",
            Self::CloseCodeInvalid(_) => "7.4",
            Self::TextInvalid => "8.1",
            Self::CodecFailed { .. } => "9",
            Self::FrameTooLong { .. }
            | Self::MessageTooLong { .. }
            | Self::OutOfMemory { .. }
            | Self::StreamTooLong { .. }
            | Self::TooManyFragments { .. } => "10.4",
        }
    }

    /// Returns the reason that the Close frame to the peer contains.
    pub fn close_reason(&self) -> CloseReason {
        CloseReason::new(self.close_code(), alloc::format!("{self} (RFC 6455 {})", self.clause()))
    }
}

/// A message or control frame cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The closing handshake has begun: no frame is sent after a Close frame (RFC 6455 §5.5.1).
    #[error("the connection is closing: no frame can follow a Close frame")]
    Closing,
    /// The payload of a control frame is longer than 125 bytes (RFC 6455 §5.5).
    #[error("the payload of a control frame must be at most 125 bytes long, not {len}")]
    ControlTooLong {
        /// The length of the payload in bytes.
        len: usize,
    },
    /// A codec could not encode the message; the connection is closed with 1011.
    #[error("{name} cannot encode the message: {error}")]
    CodecFailed {
        /// The name of the extension.
        name: &'static str,
        /// The error of the codec.
        #[source]
        error: CodecError,
    },
    /// A message that is sent in chunks is unfinished: neither a whole message nor a chunk of the other
    /// kind can be sent before its last chunk (RFC 6455 §5.4).
    #[error("a message is being sent in chunks: its last chunk must be sent first")]
    MessageUnfinished,
}

/// A codec of an [`Extension`](crate::extension::Extension) failed.
///
/// ```
/// use sockless_core::CloseCode;
/// use sockless_core::extension::CodecError;
///
/// let error = CodecError::new(CloseCode::INVALID_PAYLOAD, "the checksum is wrong");
/// assert_eq!(error.to_string(), "the checksum is wrong");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct CodecError {
    code: CloseCode,
    text: &'static str,
}

impl CodecError {
    /// Returns an error that closes the connection with `code` when it comes from
    /// [`decode`](crate::extension::Codec::decode); one from [`encode`](crate::extension::Codec::encode)
    /// closes it with 1011.
    ///
    /// `text` states in a few words what is wrong with the message. The peer receives it.
    pub const fn new(code: CloseCode, text: &'static str) -> Self {
        Self { code, text }
    }

    /// Returns the code with which the connection is closed.
    pub const fn close_code(&self) -> CloseCode {
        self.code
    }
}
