//! The lengths that the bound of [`Config::memory_ceiling`](crate::Config::memory_ceiling) depends on.
//!
//! The bound holds for a caller that appends at most [`READ_LEN`] bytes to a read buffer at a time, as the
//! driver does.

/// The largest number of bytes that one read of the transport should append to a read buffer.
///
/// It is 64 KiB and the headers of a few frames: a batch of small messages, or a frame with a payload of
/// 64 KiB, arrives in one read and is not moved.
pub const READ_LEN: usize = (64 << 10) + 256;

/// The longest payload that is copied out of the read buffer; a longer one is split off and shares it.
///
/// So an application that keeps a short message does not keep the block of 64 KiB that it arrived in, and
/// a payload that shares such a block is at least a sixteenth of it.
pub const COPY_LEN: usize = 4096;

/// An upper bound on the state of a connection: its fields, its keys, and how it ended.
pub(crate) const STATE_LEN: usize = 4 << 10;

/// The most that one turn of [`Connection::poll_output`](crate::Connection::poll_output) does, in bytes of
/// messages; an event counts as at least 64, a write as a sixteenth of it, and a byte that extensions
/// encode or decode as [`CODING_COST`], with 1 KiB more for each message.
pub const TURN_LEN: usize = 256 << 10;

/// How many bytes of a turn a byte takes that extensions encode or decode.
///
/// permessage-deflate takes some seven times as long for a byte as receiving or sending it. This is
/// less, so that more answers share the write of a turn.
pub const CODING_COST: usize = 3;
