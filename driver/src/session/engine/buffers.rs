//! Buffers that a thread lends to its connections in turn, so that an idle connection holds none.

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::BytesMut;
use sockless_core::Staging;
use sockless_core::limits::READ_LEN;

use crate::session::engine::machine::Item;

/// The size of a thread's staging block: the bytes that one turn writes, up to the default of
/// `high_water`.
const STAGING_LEN: usize = 64 << 10;

/// The size of a thread's buffer for short messages that are written at once.
pub(crate) const GATHERED_LEN: usize = 16 << 10;

/// Leftover bytes up to this length are moved to a block of their own, and the thread keeps its
/// buffer.
const LEFTOVER_LEN: usize = 4 << 10;

/// A returned buffer that is longer than this is given back to the allocator. A shorter one is
/// kept, because to allocate a long one for each message costs page faults.
const KEPT_LEN: usize = 1 << 20;

/// A returned queue with room for more items than this is given back to the allocator.
const KEPT_ITEMS: usize = 1024;

thread_local! {
    static GATHERED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static QUEUE: Cell<VecDeque<Item>> = const { Cell::new(VecDeque::new()) };
    static READ: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static STAGING: Cell<Option<Staging>> = const { Cell::new(None) };
}

/// Frees the buffers that this thread lends to its sessions in turn. The next session allocates
/// them again.
///
/// For a thread that serves no further sessions.
pub fn release_buffers() {
    drop(GATHERED.take());
    drop(QUEUE.take());
    drop(READ.take());
    drop(STAGING.take());
}

/// Frees those of the buffers that this thread lends to its sessions that are not as large as new
/// ones.
///
/// For a simulation: how much a read returns depends on the buffer, which must not depend on earlier
/// simulations.
pub fn reset_buffers() {
    let read = READ.take().and_then(|mut buffer| {
        let is_longer = buffer.try_reclaim(READ_LEN + 1);
        (!is_longer && buffer.capacity() == READ_LEN).then_some(buffer)
    });
    READ.set(read);
    let staging = STAGING.take().and_then(|mut staging| {
        let is_longer = staging.try_reclaim(STAGING_LEN + 1);
        (!is_longer && staging.capacity() == STAGING_LEN).then_some(staging)
    });
    STAGING.set(staging);
}

/// Lends this thread's read buffer, empty and with room for [`READ_LEN`] bytes.
pub(crate) fn lend_read() -> BytesMut {
    with_read_len(READ.take().unwrap_or_default())
}

fn with_read_len(mut buffer: BytesMut) -> BytesMut {
    buffer.clear();
    // This reclaims the whole buffer once the payloads that were split off it have been dropped.
    buffer.reserve(READ_LEN);
    buffer
}

/// Prepares `buffer` for another read: reclaims its memory if payloads that were split off it have
/// been dropped, and otherwise replaces it by the thread's buffer.
pub(crate) fn renew_read(buffer: &mut BytesMut) {
    if buffer.capacity() == 0
        && let Some(kept) = READ.take()
    {
        // The first read of a turn, as a rule. If the thread has none, the memory of this one may be free again.
        *buffer = with_read_len(kept);
        return;
    }
    // A few short messages may have taken up to an eighth of it.
    let has_room = buffer.capacity() - buffer.len() > READ_LEN - READ_LEN / 8;
    let is_short = buffer.len() <= LEFTOVER_LEN;
    if has_room || (is_short && buffer.try_reclaim(READ_LEN - buffer.len())) {
        return;
    }
    if buffer.capacity() <= LEFTOVER_LEN {
        let leftover = std::mem::replace(buffer, lend_read());
        buffer.extend_from_slice(&leftover);
    }
}

/// Takes a read buffer back, unless it holds the beginning of a frame that is too long to move.
pub(crate) fn give_back_read(buffer: &mut BytesMut) {
    if buffer.is_empty() {
        keep_read(std::mem::take(buffer));
    } else if buffer.len() <= LEFTOVER_LEN && buffer.capacity() > LEFTOVER_LEN {
        let leftover = BytesMut::from(&buffer[..]);
        keep_read(std::mem::replace(buffer, leftover));
    }
}

/// Keeps a buffer for the next connection, unless payloads that were split off it are still in use.
fn keep_read(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.try_reclaim(READ_LEN) && !has_grown(&mut buffer, READ_LEN) {
        if buffer.capacity() != READ_LEN {
            // The memory before the bytes that were taken out last counts too.
            let _ = buffer.try_reclaim(buffer.capacity() + 1);
        }
        let kept = READ.take().filter(|kept| is_kept_over(kept, &buffer));
        READ.set(Some(kept.unwrap_or(buffer)));
    }
}

/// Returns true if `kept` stays a thread's buffer rather than `other`, both of which are empty.
///
/// The shorter one is kept, so that how much the next read returns follows from what was read
/// before. Of two that are equally long it is the one at the lower address, because an allocator
/// returns memory to the system from the top, and there were as many buffers as long messages that
/// had arrived in part.
fn is_kept_over(kept: &BytesMut, other: &BytesMut) -> bool {
    (kept.capacity(), kept.as_ptr()) < (other.capacity(), other.as_ptr())
}

/// Returns true if an empty buffer of at least `len` bytes has grown past [`KEPT_LEN`]. Its
/// capacity does not count the memory before the bytes that were taken out of it last.
fn has_grown(buffer: &mut BytesMut, len: usize) -> bool {
    buffer.capacity() > len && buffer.try_reclaim(KEPT_LEN + 1)
}

/// Lends this thread's staging block.
pub(crate) fn lend_staging() -> Staging {
    let mut staging = STAGING.take().unwrap_or_default();
    staging.reserve(STAGING_LEN);
    staging
}

/// Takes a staging block back, if the bytes that were staged in it have been dropped.
#[inline]
pub(crate) fn give_back_staging(staging: Staging) {
    if staging.capacity() > 0 {
        keep_staging(staging);
    }
}

fn keep_staging(mut staging: Staging) {
    let has_grown = |staging: &mut Staging| {
        staging.capacity() > STAGING_LEN && staging.try_reclaim(KEPT_LEN + 1)
    };
    if staging.try_reclaim(STAGING_LEN) && !has_grown(&mut staging) {
        STAGING.set(Some(staging));
    }
}

/// Lends this thread's buffer for [`GATHERED_LEN`] bytes, empty.
pub(crate) fn lend_gathered() -> Vec<u8> {
    let mut gathered = GATHERED.take();
    gathered.reserve_exact(GATHERED_LEN);
    gathered
}

pub(crate) fn give_back_gathered(mut gathered: Vec<u8>) {
    gathered.clear();
    GATHERED.set(gathered);
}

/// Lends this thread's queue of items, empty.
pub(crate) fn lend_queue() -> VecDeque<Item> {
    QUEUE.take()
}

/// Takes a queue back that is empty.
pub(crate) fn give_back_queue(queue: VecDeque<Item>) {
    if queue.is_empty() && queue.capacity() <= KEPT_ITEMS {
        QUEUE.set(queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_read_buffers_the_shorter_is_kept() {
        for shorter_first in [true, false] {
            let mut shorter = BytesMut::with_capacity(READ_LEN);
            shorter.extend_from_slice(b"a message that was taken out of it");
            drop(shorter.split());
            let mut buffers = [shorter, BytesMut::with_capacity(2 * READ_LEN)];
            if !shorter_first {
                buffers.reverse();
            }
            buffers.into_iter().for_each(keep_read);
            assert_eq!(lend_read().capacity(), READ_LEN);
        }
    }

    #[test]
    fn a_reset_keeps_buffers_that_are_like_new_ones() {
        let mut used = lend_read();
        used.extend_from_slice(b"a message that was taken out of it");
        drop(used.split());
        let at = used.as_ptr();
        give_back_read(&mut used);
        give_back_staging(lend_staging());
        reset_buffers();
        let mut kept = lend_read();
        assert_eq!((kept.as_ptr() <= at, kept.capacity()), (true, READ_LEN));
        assert!(STAGING.take().is_some());

        kept.reserve(READ_LEN + 1);
        give_back_read(&mut kept);
        give_back_staging(Staging::with_capacity(STAGING_LEN + 1));
        reset_buffers();
        assert_eq!((READ.take(), STAGING.take().is_some()), (None, false));
    }

    #[test]
    fn of_two_equally_long_read_buffers_the_lower_is_kept() {
        for lower_first in [true, false] {
            let mut buffers = [lend_read(), lend_read()];
            buffers.sort_by_key(|buffer| buffer.as_ptr());
            let lower = buffers[0].as_ptr();
            if !lower_first {
                buffers.reverse();
            }
            buffers.into_iter().for_each(keep_read);
            assert_eq!(lend_read().as_ptr(), lower);
        }
    }
}
