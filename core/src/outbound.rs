//! The queue of bytes to send: [`Outbound`].

use bytes::{Buf, Bytes, BytesMut};

use crate::frame::FrameHead;
use crate::mask;
use crate::staging::Staging;

/// A payload up to this length is copied behind its header; a longer one is queued by reference.
///
/// To copy 4 KiB costs about as much as to keep the payload in a queue and to write it as a second
/// slice. It is also the size of a staging block.
const INLINE_LEN: usize = 4096;

/// The bytes that a connection has to send, a [`bytes::Buf`]. Short frames are joined in blocks,
/// long payloads are queued by reference.
///
/// Write its [`chunk`](Buf::chunk), or several with [`chunks_vectored`] if
/// the transport supports vectored writes, then [`advance`](Buf::advance) by the number of bytes
/// written:
///
/// ```
/// use std::io::{self, IoSlice, Write};
///
/// use bytes::Buf;
/// use sockless_core::Outbound;
///
/// fn write_all(outbound: &mut Outbound, transport: &mut impl Write) -> io::Result<()> {
///     while outbound.has_remaining() {
///         let mut slices = [IoSlice::new(&[]); 16];
///         let count = outbound.chunks_vectored(&mut slices);
///         let written = transport.write_vectored(&slices[..count])?;
///         if written == 0 {
///             return Err(io::ErrorKind::WriteZero.into());
///         }
///         outbound.advance(written);
///     }
///     Ok(())
/// }
/// # use sockless_core::{Connection, Instant, Negotiated};
/// # let now = Instant::EPOCH;
/// # let mut connection = Connection::server(Negotiated::default(), Default::default(), now);
/// # connection.send("hello", now)?;
/// # let mut sent = Vec::new();
/// # write_all(connection.outbound(), &mut sent)?;
/// # assert_eq!(sent, b"\x81\x05hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`chunks_vectored`]: https://docs.rs/bytes/1/bytes/buf/trait.Buf.html#method.chunks_vectored
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    staging: Staging,
    len: usize,
    /// The number of bytes taken since the connection was created.
    taken: u64,
    /// The number of bytes that were queued and dropped.
    dropped: u64,
}

/// # For drivers
///
/// A simple loop uses this type as a [`bytes::Buf`] only.
impl Outbound {
    /// Replaces the memory in which frames are joined by `staging`, and returns the former. While
    /// bytes are queued, returns `staging` itself.
    pub fn lend(&mut self, staging: Staging) -> Staging {
        if self.len > 0 {
            return staging;
        }
        core::mem::replace(&mut self.staging, staging)
    }

    /// Returns the memory in which frames are joined, or `None` while bytes are queued.
    pub fn reclaim(&mut self) -> Option<Staging> {
        (self.len == 0).then(|| core::mem::take(&mut self.staging))
    }

    /// Returns the number of bytes queued since the connection was created. All of them have been
    /// sent when [`taken`](Self::taken) reaches it, which it does not if the end of the connection
    /// drops some.
    pub fn queued(&self) -> u64 {
        self.taken + self.dropped + self.len as u64
    }

    /// Returns the number of bytes taken since the connection was created.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The number of queued bytes that are held for this connection alone: without shared payloads,
    /// such as those of a message that is sent to many peers.
    pub(crate) fn held_bytes(&self) -> usize {
        let Some(blocks) = self.staging.get().filter(|_| self.len > 0) else { return 0 };
        let own = blocks.sealed.iter().filter(|bytes| bytes.is_unique());
        blocks.block.len() + own.map(Bytes::len).sum::<usize>()
    }

    /// Drops everything that is queued.
    pub(crate) fn clear(&mut self) {
        self.staging = Staging::default();
        self.dropped += self.len as u64;
        self.len = 0;
    }

    /// Queues the head of a handshake.
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

/// Masks a payload in place if it is not shared, or else a copy of it.
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
        assert!(count <= self.len, "cannot advance by {count}: only {} bytes are queued", self.len);
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
            // Unlike `advance`, `clear` keeps the whole block for the next frames.
            blocks.block.clear();
        } else {
            blocks.block.advance(count);
        }
    }
}
