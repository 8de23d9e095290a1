//! Bytes on their way out: [`Outbound`].

use bytes::{Buf, Bytes, BytesMut};

use crate::frame::FrameHead;
use crate::mask;
use crate::staging::Staging;

/// A payload up to this length is copied behind its header; a longer one is queued by reference.
///
/// A copy of 4 KiB costs about as much as keeping the payload alive in a queue and a second slice in
/// the vectored write; it is also the size of a staging block.
const INLINE_LEN: usize = 4096;

/// Bytes on their way out, a [`bytes::Buf`]: short frames lie together in blocks, long payloads are
/// queued by reference.
///
/// Write its chunks, with [`chunks_vectored`](Buf::chunks_vectored) where the transport can, then
/// [`advance`](Buf::advance) by what was written.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    staging: Staging,
    len: usize,
    /// How many bytes have been taken out since the connection began.
    taken: u64,
    /// How many were queued and dropped.
    dropped: u64,
}

impl Outbound {
    /// Takes `staging` as the room for what comes next, and gives back the room it had; while
    /// anything waits in that, gives back `staging` itself.
    pub fn lend(&mut self, staging: Staging) -> Staging {
        if self.len > 0 {
            return staging;
        }
        core::mem::replace(&mut self.staging, staging)
    }

    /// Gives the room back when nothing waits in it.
    pub fn reclaim(&mut self) -> Option<Staging> {
        (self.len == 0).then(|| core::mem::take(&mut self.staging))
    }

    /// How many bytes have been queued since the connection began, for waiting until
    /// [`taken`](Self::taken) gets there. It never does once some have been dropped, as the end of a
    /// connection may.
    pub fn queued(&self) -> u64 {
        self.taken + self.dropped + self.len as u64
    }

    /// How many bytes have been taken out since the connection began.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// How many of the bytes that wait are held for this connection alone: not those of payloads that are
    /// held elsewhere too, such as a message that goes to many.
    pub(crate) fn held(&self) -> usize {
        let Some(blocks) = self.staging.get().filter(|_| self.len > 0) else { return 0 };
        let own = blocks.sealed.iter().filter(|bytes| bytes.is_unique());
        blocks.block.len() + own.map(Bytes::len).sum::<usize>()
    }

    /// Forgets everything that waits.
    pub(crate) fn clear(&mut self) {
        self.staging = Staging::default();
        self.dropped += self.len as u64;
        self.len = 0;
    }

    /// Queues bytes that are no frame: the head of a handshake.
    #[cfg(feature = "handshake")]
    pub(crate) fn push_head(&mut self, head: &[u8]) {
        let blocks = self.staging.blocks();
        blocks.make_room(head.len());
        blocks.block.extend_from_slice(head);
        self.len += head.len();
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
        blocks.sealed.push_back(match head.mask {
            None => payload,
            Some(key) => masked(payload, key),
        });
    }

    /// Queues whole frames by reference.
    pub(crate) fn push_frames(&mut self, frames: Bytes) {
        self.len += frames.len();
        let blocks = self.staging.blocks();
        blocks.seal();
        blocks.sealed.push_back(frames);
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

/// Masks a payload in place when nobody else holds it, and a copy of it otherwise.
fn masked(payload: Bytes, key: [u8; 4]) -> Bytes {
    let mut payload = payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    mask::apply(&mut payload, key, 0);
    payload.freeze()
}

impl Buf for Outbound {
    #[inline]
    fn remaining(&self) -> usize {
        self.len
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        match self.staging.get() {
            Some(blocks) => blocks.sealed.front().map_or(&blocks.block, |first| first),
            None => &[],
        }
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, dst: &mut [std::io::IoSlice<'a>]) -> usize {
        let Some(blocks) = self.staging.get() else { return 0 };
        let waiting = blocks.sealed.iter().map(|bytes| &bytes[..]).chain([&blocks.block[..]]);
        let mut filled = 0;
        for (slot, chunk) in dst.iter_mut().zip(waiting.filter(|chunk| !chunk.is_empty())) {
            *slot = std::io::IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len, "cannot advance by {count}: {} bytes wait", self.len);
        self.len -= count;
        self.taken += count as u64;
        let Some(blocks) = self.staging.get_mut() else { return };
        while let Some(first) = blocks.sealed.front_mut() {
            if count < first.len() {
                return first.advance(count);
            }
            count -= first.len();
            blocks.sealed.pop_front();
        }
        if count == blocks.block.len() {
            // Not `advance`: `clear` keeps the whole block for the next frames.
            blocks.block.clear();
        } else {
            blocks.block.advance(count);
        }
    }
}
