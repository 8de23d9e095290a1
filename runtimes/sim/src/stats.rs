//! Counters of a pipe: [`WireStats`].

/// Counters of one end of a pipe, from [`Wire::stats`](crate::Wire::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireStats {
    /// The reads that returned bytes.
    pub reads: u64,
    /// The writes that took bytes.
    pub writes: u64,
    /// The bytes that were read.
    pub bytes_read: u64,
    /// The bytes that were written.
    pub bytes_written: u64,
    /// The largest number of bytes that one write took.
    pub largest_write: usize,
    /// The largest number of non-empty slices that were passed to one write.
    pub most_slices: usize,
}
