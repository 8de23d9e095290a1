//! Reading from streams that need initialized memory: [`poll_read_into`].

use std::cell::Cell;
use std::io;
use std::task::Poll;

use bytes::BytesMut;

/// Implements [`Io::poll_read`](super::Io::poll_read) for a stream that reads into a `&mut [u8]`.
///
/// Calls `read` with initialized memory that the thread lends, as long as the spare capacity of
/// `buffer` or 64 KiB, whichever is less, and appends the bytes that it reports to `buffer`.
pub fn poll_read_into(
    buffer: &mut BytesMut,
    read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    let mut scratch = SCRATCH.take();
    scratch.resize(SCRATCH_LEN, 0);
    let room = SCRATCH_LEN.min(buffer.capacity() - buffer.len());
    let polled = read(&mut scratch[..room]);
    if let Poll::Ready(Ok(len)) = polled {
        buffer.extend_from_slice(&scratch[..len]);
    }
    SCRATCH.set(scratch);
    polled
}

/// The most that one read returns.
const SCRATCH_LEN: usize = 64 << 10;

thread_local! {
    /// The memory that this thread lends. The spare capacity of the driver's buffer is not
    /// initialized, and reading into it takes `unsafe` code. The copy costs nothing measurable up
    /// to 4 KiB, a fifth of the read at 16 KiB, and as much as the read at 64 KiB. Initializing the
    /// spare capacity instead costs 2 µs for each read, more than a whole read of 1 KiB;
    /// initializing only as much as is expected to arrive was slower than the copy from 16 KiB on.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
