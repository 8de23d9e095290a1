//! The lengths that a bound on memory depends on.
//!
//! [`Config::memory_ceiling`](crate::Config::memory_ceiling) holds for a caller whose read buffer follows
//! [`READ_LEN`]: the driver does, and the tests that measure memory use the same constants.

/// The largest number of bytes that one read of the transport may append to a read buffer: 64 KiB, and
/// room for the headers of frames with that much payload.
pub const READ_LEN: usize = (64 << 10) + 256;

/// The longest payload that is copied out of the read buffer; a longer one is split off and shares it.
///
/// So an application that keeps a short message does not keep the block of 64 KiB that it arrived in, and
/// a payload that shares such a block is at least a sixteenth of it.
pub const COPY_LEN: usize = 4096;

/// An upper bound on the state of a connection: its fields, its keys, and how it ended.
pub(crate) const STATE_LEN: usize = 4 << 10;
