//! The queue behind [`Outbound`](super::Outbound): frames are joined in blocks, long payloads are
//! held by reference.

use bytes::{Bytes, BytesMut};

use crate::frame::FrameHead;
use crate::mask;
use crate::staging::{Blocks, Sealed, SealedKind, Staging};

/// A payload up to this length is copied behind its header; a longer one is queued by reference.
///
/// To copy 4 KiB costs about as much as to keep the payload in a queue and to write it as a second
/// slice. It is also the size of a staging block.
const INLINE_LEN: usize = 4096;

/// The bytes that a connection has to send.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    staging: Staging,
    /// The number of unsent bytes, with those that were handed out and have not been reported sent.
    len: usize,
    /// The number of bytes sent since the connection was created.
    taken: u64,
    /// The number of bytes that were queued and dropped.
    dropped: u64,
}

/// The queued bytes, and how many of them have been sent.
impl Queue {
    /// The number of bytes that have not been sent.
    #[inline]
    pub(crate) fn unsent(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn has_unsent(&self) -> bool {
        self.len > 0
    }

    /// The number of unsent bytes that have not been handed out.
    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        if self.len == 0 { 0 } else { self.len - self.in_flight() }
    }

    /// The number of bytes that were handed out and have not been reported sent.
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.staging.get().map_or(0, |blocks| blocks.in_flight)
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    pub(crate) fn queued(&self) -> u64 {
        self.taken + self.dropped + self.len as u64
    }

    /// The position in the outgoing bytes up to which they have been sent or handed out.
    pub(crate) fn handed_out(&self) -> u64 {
        self.queued() - self.remaining() as u64
    }

    pub(crate) fn lend(&mut self, staging: Staging) -> Staging {
        if self.len > 0 {
            return staging;
        }
        core::mem::replace(&mut self.staging, staging)
    }

    pub(crate) fn reclaim(&mut self) -> Option<Staging> {
        (self.len == 0).then(|| core::mem::take(&mut self.staging))
    }

    /// The number of queued bytes that are held for this connection alone: without shared payloads,
    /// such as those of a message that is sent to many peers.
    pub(crate) fn held_bytes(&self) -> usize {
        let Some(blocks) = self.staging.get().filter(|_| self.len > 0) else { return 0 };
        let own = blocks.sealed.iter().filter(|sealed| sealed.bytes.is_unique());
        blocks.block.len() + own.map(|sealed| sealed.bytes.len()).sum::<usize>()
    }

    /// The chunks that have not been handed out, in order; none is empty.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut front = self.staging.get().map_or(0, |blocks| blocks.front);
        let blocks = self.staging.get().into_iter();
        let chunks = blocks.flat_map(|blocks| {
            blocks.sealed.iter().map(|sealed| &sealed.bytes[..]).chain([&blocks.block[..]])
        });
        let chunks = chunks.map(move |chunk| &chunk[core::mem::take(&mut front)..]);
        chunks.filter(|chunk| !chunk.is_empty())
    }

    #[inline]
    pub(crate) fn chunk(&self) -> &[u8] {
        self.staging.get().map_or(&[], |blocks| &blocks.first()[blocks.front..])
    }
}

/// Taking bytes out.
impl Queue {
    /// Counts `count` bytes at the front as sent.
    #[inline]
    pub(crate) fn advance(&mut self, count: usize) {
        let Some(blocks) = self.staging.get_mut() else { return };
        let remaining = self.len - blocks.in_flight;
        if count < remaining {
            self.len -= count;
            self.taken += count as u64;
            return blocks.skip(count);
        }
        self.len = blocks.in_flight;
        self.taken += remaining as u64;
        blocks.clear();
    }

    /// Hands the first chunk out. It counts as unsent until it is reported sent.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let blocks = self.staging.get_mut()?;
        let chunk = match blocks.sealed.pop_front() {
            Some(first) => first.bytes,
            None if blocks.block.is_empty() => return None,
            None => blocks.block.split().freeze(),
        };
        let chunk = chunk.slice(blocks.front..);
        (blocks.front, blocks.head) = (0, 0);
        blocks.in_flight += chunk.len();
        Some(chunk)
    }

    /// Takes the first `len` bytes, which count as sent; without a copy if they are in one long
    /// chunk.
    pub(crate) fn take(&mut self, len: usize) -> Bytes {
        let len = len.min(self.remaining());
        let blocks = self.staging.get().filter(|_| len > INLINE_LEN);
        let first = blocks.and_then(|blocks| {
            let first = &blocks.sealed.front()?.bytes;
            (first.len() - blocks.front >= len)
                .then(|| first.slice(blocks.front..blocks.front + len))
        });
        let taken = match first {
            Some(first) => first,
            None => {
                let mut copy = BytesMut::with_capacity(len);
                for chunk in self.chunks() {
                    copy.extend_from_slice(&chunk[..chunk.len().min(len - copy.len())]);
                }
                copy.freeze()
            }
        };
        self.advance(len);
        taken
    }

    /// Counts `count` bytes that were handed out as sent.
    pub(crate) fn sent(&mut self, count: usize) {
        let Some(blocks) = self.staging.get_mut() else { return };
        let count = count.min(blocks.in_flight);
        blocks.in_flight -= count;
        self.len -= count;
        self.taken += count as u64;
    }

    /// Drops the frames of which no byte has been sent or handed out.
    pub(crate) fn drop_frames(&mut self) {
        let remaining = self.remaining();
        let Some(blocks) = self.staging.get_mut() else { return };
        let begun = blocks.begun();
        if begun < remaining {
            blocks.truncate(begun);
            self.len -= remaining - begun;
            self.dropped += (remaining - begun) as u64;
        }
    }

    /// Drops everything that is queued.
    pub(crate) fn clear(&mut self) {
        self.staging = Staging::default();
        self.dropped += self.len as u64;
        self.len = 0;
    }
}

/// Queueing.
impl Queue {
    /// Queues the head of a handshake.
    #[cfg(feature = "handshake")]
    pub(crate) fn push_head(&mut self, head: &[u8]) {
        self.push_head_with(head.len(), |block| block.extend_from_slice(head));
    }

    /// Queues the head of a handshake, which `write` appends to a block with room for `room` bytes.
    #[cfg(feature = "handshake")]
    pub(crate) fn push_head_with(&mut self, room: usize, write: impl FnOnce(&mut BytesMut)) {
        let blocks = self.staging.blocks();
        blocks.make_room(room);
        let start = blocks.block.len();
        write(&mut blocks.block);
        let len = blocks.block.len() - start;
        blocks.head = len;
        self.len += len;
    }

    /// Queues a frame whose payload is shared.
    #[inline]
    pub(crate) fn push_frame(&mut self, head: &FrameHead, payload: Bytes) {
        if payload.len() <= INLINE_LEN {
            self.push_frame_copied(head, &payload);
        } else {
            self.push_frame_shared(*head, payload);
        }
    }

    /// Queues a frame, and its payload by reference.
    fn push_frame_shared(&mut self, head: FrameHead, payload: Bytes) {
        let blocks = self.staging.blocks();
        blocks.make_room(FrameHead::MAX_LEN);
        let start = blocks.block.len();
        head.put(&mut blocks.block);
        self.len += blocks.block.len() - start + payload.len();
        blocks.seal();
        let bytes = match head.mask {
            None => payload,
            Some(key) => masked(payload, key),
        };
        blocks.push_sealed(Sealed { bytes, kind: SealedKind::Payload });
    }

    /// Queues whole frames by reference.
    pub(crate) fn push_frames(&mut self, frames: Bytes) {
        self.len += frames.len();
        let blocks = self.staging.blocks();
        blocks.seal();
        blocks.push_sealed(Sealed { bytes: frames, kind: SealedKind::Frames });
    }

    /// Queues a frame and copies its payload.
    #[inline]
    pub(crate) fn push_frame_copied(&mut self, head: &FrameHead, payload: &[u8]) {
        let blocks = self.staging.blocks();
        blocks.make_room(FrameHead::MAX_LEN + payload.len());
        let block = &mut blocks.block;
        let start = block.len();
        head.put(block);
        let header_end = block.len();
        block.extend_from_slice(payload);
        if let Some(key) = head.mask {
            mask::apply(&mut block[header_end..], key, 0);
        }
        self.len += block.len() - start;
    }
}

/// The front of the queue.
impl Blocks {
    /// The first chunk, with the bytes of it that have left.
    #[inline]
    fn first(&self) -> &[u8] {
        self.sealed.front().map_or(&self.block, |first| &first.bytes)
    }

    /// Drops `count` bytes at the front, which are not all.
    #[inline]
    fn skip(&mut self, count: usize) {
        self.front += count;
        while let Some(first) = self.sealed.front()
            && let Some(behind) = self.front.checked_sub(first.bytes.len())
        {
            (self.front, self.head) = (behind, 0);
            self.sealed.pop_front();
        }
    }

    /// Drops all bytes.
    #[inline]
    fn clear(&mut self) {
        // Cheaper than `clear` for the few that there are.
        while self.sealed.pop_front().is_some() {}
        // The whole block is kept for the next frames.
        self.block.clear();
        (self.front, self.head) = (0, 0);
    }

    /// The number of bytes at the front that belong to the handshake, or to a frame whose beginning
    /// has left.
    fn begun(&self) -> usize {
        let first = self.first();
        if self.sealed.front().is_some_and(|first| first.kind == SealedKind::Payload) {
            return first.len() - self.front;
        }
        let mut end = self.head;
        while end < self.front {
            end = end.saturating_add(frame_len(&first[end..]));
        }
        end - self.front
    }

    /// Keeps the first `len` bytes.
    fn truncate(&mut self, len: usize) {
        if len == 0 {
            return self.clear();
        }
        let mut end = self.front + len;
        for sealed in &mut self.sealed {
            sealed.bytes.truncate(end);
            end -= sealed.bytes.len();
        }
        self.sealed.retain(|sealed| !sealed.bytes.is_empty());
        self.block.truncate(end);
    }
}

/// The length of the frame that begins with these bytes, with its header.
fn frame_len(bytes: &[u8]) -> usize {
    let [_, second, rest @ ..] = bytes else { return usize::MAX };
    let (len, len_len) = match second & 0x7F {
        126 => (rest.first_chunk().map(|len| u64::from(u16::from_be_bytes(*len))), 2),
        127 => (rest.first_chunk().map(|len| u64::from_be_bytes(*len)), 8),
        len => (Some(u64::from(len)), 0),
    };
    let key_len = if second & 0x80 == 0 { 0 } else { 4 };
    let len = len.and_then(|len| usize::try_from(len).ok());
    // A header lies in one chunk. Of one that does not, the end would be unknown.
    len.map_or(usize::MAX, |len| len.saturating_add(2 + len_len + key_len))
}

/// Masks a payload in place if it is not shared, or else a copy of it.
fn masked(payload: Bytes, key: [u8; 4]) -> Bytes {
    let mut payload = payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    mask::apply(&mut payload, key, 0);
    payload.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Opcode, Rsv};

    /// A queue of a head, a short frame and two long ones.
    fn queue() -> Queue {
        let mut queue = Queue::default();
        queue.push_head(b"HTTP");
        for len in [3, 5000, 70_000] {
            let head =
                FrameHead { fin: true, rsv: Rsv::NONE, opcode: Opcode::Binary, mask: None, len };
            queue.push_frame(&head, Bytes::from(alloc::vec![7; len as usize]));
        }
        queue
    }

    /// Where something begins in that queue, and where it ends.
    const BOUNDARIES: [usize; 5] = [0, 4, 4 + 5, 4 + 5 + 5004, 4 + 5 + 5004 + 70_010];

    #[test]
    fn what_has_begun_to_leave_is_kept_to_its_end() {
        for sent in (0..=BOUNDARIES[4]).step_by(13).chain(BOUNDARIES) {
            let mut queue = queue();
            let mut left = sent;
            while left > 0 {
                let step = left.min(999);
                queue.advance(step);
                left -= step;
            }
            queue.drop_frames();
            // A head is kept whether or not it has begun to leave: frames follow it.
            let begun = if sent == 0 { 4 } else { sent };
            let end = BOUNDARIES.into_iter().find(|&end| end >= begun).expect("an end");
            assert_eq!(sent + queue.unsent(), end, "after {sent}");
            assert_eq!(queue.queued(), BOUNDARIES[4] as u64);
            assert_eq!(queue.chunks().map(<[u8]>::len).sum::<usize>(), end - sent);
        }
    }

    #[test]
    fn a_header_that_is_cut_has_no_known_end() {
        assert_eq!(frame_len(&[0x82]), usize::MAX);
        assert_eq!(frame_len(&[0x82, 126, 1]), usize::MAX);
        assert_eq!(frame_len(&[0x82, 126, 1, 0]), 4 + 256);
        assert_eq!(frame_len(&[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0]), 14 + 65536);
    }
}
