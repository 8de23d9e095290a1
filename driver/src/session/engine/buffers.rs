//! Buffers that a thread lends to the connections it serves, so that an idle one holds none.

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::BytesMut;
use sockless_core::Staging;
pub(crate) use sockless_core::limits::READ_LEN;

use crate::session::engine::machine::Item;

/// How much a thread's staging block holds: what one turn writes, up to the default high-water mark.
const STAGING_LEN: usize = 64 << 10;

/// Leftovers up to this length move to a block of their own, and the thread keeps its buffer.
const LEFTOVER_LEN: usize = 4 << 10;

/// A returned buffer that has grown past this is given back to the allocator: it is a thread's, not a
/// connection's, and to fetch a long one anew for each message costs page faults.
const KEPT_LEN: usize = 1 << 20;

/// A returned queue with room for more items than this is given back to the allocator.
const KEPT_ITEMS: usize = 1024;

thread_local! {
    static QUEUE: Cell<VecDeque<Item>> = const { Cell::new(VecDeque::new()) };
    static READ: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static STAGING: Cell<Option<Staging>> = const { Cell::new(None) };
}

/// Lends this thread's read buffer, empty and with room for [`READ_LEN`] bytes.
pub(crate) fn lend_read() -> BytesMut {
    let mut buffer = READ.take().unwrap_or_default();
    buffer.clear();
    // Reclaims the whole buffer once the payloads that were split off it are gone.
    buffer.reserve(READ_LEN);
    buffer
}

/// Makes `buffer` ready to be read into once more: in the room that it has, where payloads that were
/// split off it have gone, and else in the thread's own buffer.
pub(crate) fn renew_read(buffer: &mut BytesMut) {
    // What a few short messages took of it is not missed.
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

/// Takes a read buffer back, unless it holds the beginning of a frame too long to move.
pub(crate) fn give_back_read(buffer: &mut BytesMut) {
    if buffer.is_empty() {
        keep_read(std::mem::take(buffer));
    } else if buffer.len() <= LEFTOVER_LEN && buffer.capacity() > LEFTOVER_LEN {
        let leftover = BytesMut::from(&buffer[..]);
        keep_read(std::mem::replace(buffer, leftover));
    }
}

/// Keeps a buffer for the next connection, unless payloads that were split off still lie in it.
fn keep_read(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.try_reclaim(READ_LEN) && !has_grown(&mut buffer, READ_LEN) {
        // Of two the one that lies lower: an allocator gives back to the system what is free above all
        // that is in use, and there have been as many as there were long messages half arrived.
        let lower = READ.take().filter(|kept| kept.as_ptr() < buffer.as_ptr());
        READ.set(Some(lower.unwrap_or(buffer)));
    }
}

/// Whether an empty buffer of at least `len` bytes has grown past [`KEPT_LEN`]. Its capacity alone tells
/// only what lies behind the bytes that were taken out of it.
fn has_grown(buffer: &mut BytesMut, len: usize) -> bool {
    buffer.capacity() > len && buffer.try_reclaim(KEPT_LEN + 1)
}

/// Lends this thread's staging block.
pub(crate) fn lend_staging() -> Staging {
    let mut staging = STAGING.take().unwrap_or_default();
    staging.reserve(STAGING_LEN);
    staging
}

/// Takes a staging block back, if what was staged in it has gone.
pub(crate) fn give_back_staging(mut staging: Staging) {
    let has_grown = |staging: &mut Staging| {
        staging.capacity() > STAGING_LEN && staging.try_reclaim(KEPT_LEN + 1)
    };
    if staging.capacity() > 0 && staging.try_reclaim(STAGING_LEN) && !has_grown(&mut staging) {
        STAGING.set(Some(staging));
    }
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
    fn of_two_read_buffers_the_lower_is_kept() {
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
