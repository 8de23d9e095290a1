//! Errors sorted by who made them: the peer ([`ProtocolError`]) or the caller ([`SendError`]).

use thiserror::Error;

use crate::close::{CloseCode, CloseReason};
use crate::extension::CodecError;

/// The peer broke the protocol, or a limit that was set for it.
///
/// It arrives inside of [`Cause::Protocol`](crate::Cause::Protocol), never as an `Err`: a peer's
/// mistake is an ordinary event. Each variant knows the clause it breaks and the close code that
/// the peer is told; its text goes to the peer as the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A Close frame has a payload of a single byte, where a code takes two (RFC 6455 §5.5.1).
    #[error("a Close frame has 1 byte of payload, a code takes 2")]
    CloseTruncated,
    /// A Close frame has a code that may not travel (RFC 6455 §7.4).
    #[error("a Close frame has the code {0}, which may not be sent")]
    CloseCodeInvalid(u16),
    /// A Close frame's reason is not UTF-8 (RFC 6455 §5.5.1).
    #[error("the reason in a Close frame is not UTF-8")]
    CloseReasonInvalid,
    /// An extension cannot make sense of what the peer sent, or found a limit of its own broken.
    #[error("{name}: {what}", what = error.what)]
    CodecFailed {
        /// The extension's name.
        name: &'static str,
        /// What it said.
        error: CodecError,
    },
    /// A continuation frame came with no message to continue (RFC 6455 §5.4).
    #[error("a continuation frame came with no message to continue")]
    ContinuationUnexpected,
    /// A control frame is fragmented (RFC 6455 §5.5).
    #[error("a control frame is fragmented")]
    ControlFragmented,
    /// A control frame's payload is longer than 125 bytes (RFC 6455 §5.5).
    #[error("a control frame is longer than 125 bytes")]
    ControlTooLong,
    /// A frame's payload is longer than `max` bytes, set by
    /// [`Config::max_frame_len`](crate::Config::max_frame_len).
    #[error("a frame of {len} bytes is longer than max_frame_len = {max}")]
    FrameTooLong {
        /// The length in bytes that the frame's header declares.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// A 64-bit length has its top bit set (RFC 6455 §5.2).
    #[error("a frame's length has its top bit set")]
    LengthInvalid,
    /// A length takes more bytes than it needs (RFC 6455 §5.2).
    #[error("a frame's length takes more bytes than it needs")]
    LengthNotMinimal,
    /// A client sent a frame without a mask (RFC 6455 §5.1).
    #[error("a frame from a client is not masked")]
    MaskMissing,
    /// A server sent a masked frame (RFC 6455 §5.1).
    #[error("a frame from a server is masked")]
    MaskUnexpected,
    /// A message is longer than `max` bytes, set by
    /// [`Config::max_message_len`](crate::Config::max_message_len).
    #[error("a message of at least {len} bytes is longer than max_message_len = {max}")]
    MessageTooLong {
        /// The length in bytes that is known so far: what arrived and what the last header declares.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// A new message began inside of another (RFC 6455 §5.4).
    #[error("a new message began before the last one ended")]
    MessageUnfinished,
    /// A frame has an opcode that no extension has given a meaning (RFC 6455 §5.2).
    #[error("opcode {0:#x} is reserved")]
    OpcodeReserved(u8),
    /// A frame has a reserved bit set that no extension owns (RFC 6455 §5.2).
    #[error("a reserved bit is set that no extension owns")]
    ReservedBitSet,
    /// A message that is accepted in pieces is longer than `max` bytes, set by
    /// [`Config::max_streamed_len`](crate::Config::max_streamed_len).
    #[error("a message of at least {len} bytes is longer than max_streamed_len = {max}")]
    StreamTooLong {
        /// The length in bytes that is known so far: what arrived and what the last header declares.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// A text message is not UTF-8 (RFC 6455 §8.1).
    #[error("a text message is not UTF-8")]
    TextInvalid,
    /// A message comes in more than `max` frames, set by
    /// [`Config::max_fragments`](crate::Config::max_fragments).
    #[error("a message comes in more frames than max_fragments = {max}")]
    TooManyFragments {
        /// The limit in frames.
        max: u32,
    },
}

impl ProtocolError {
    /// The code that the connection is closed with.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::CodecFailed { error, .. } => error.code,
            Self::CloseReasonInvalid | Self::TextInvalid => CloseCode::INVALID_PAYLOAD,
            Self::FrameTooLong { .. }
            | Self::MessageTooLong { .. }
            | Self::StreamTooLong { .. } => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyFragments { .. } => CloseCode::POLICY_VIOLATION,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The clause of RFC 6455 that the peer broke.
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
            | Self::StreamTooLong { .. }
            | Self::TooManyFragments { .. } => "10.4",
        }
    }

    /// What the peer is told in the Close frame.
    pub fn close_reason(&self) -> CloseReason {
        CloseReason::new(self.close_code(), alloc::format!("{self} (RFC 6455 {})", self.clause()))
    }
}

/// The caller asked for what the protocol or the state of the connection does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The closing handshake has begun: after a Close frame nothing more is sent (RFC 6455 §5.5.1).
    #[error("the connection is closing: nothing is sent after a Close frame")]
    Closing,
    /// A control frame's payload is longer than 125 bytes (RFC 6455 §5.5).
    #[error("a control frame holds 125 bytes, not {len}")]
    ControlTooLong {
        /// The payload's length in bytes.
        len: usize,
    },
    /// An extension could not encode the message; the connection is closed with 1011.
    #[error("{name} cannot encode the message: {what}", what = error.what)]
    CodecFailed {
        /// The extension's name.
        name: &'static str,
        /// What it said.
        error: CodecError,
    },
    /// A whole message, or a piece of the other kind, while a message that is sent in pieces has
    /// not ended (RFC 6455 §5.4).
    #[error("a message that is sent in pieces has not ended")]
    MessageUnfinished,
}
