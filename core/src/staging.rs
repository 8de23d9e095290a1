//! Memory in which frames are joined before they are sent: [`Staging`].

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Staging grows in blocks of this many bytes. Reserving for each header would cost an allocation
/// per message.
const BLOCK_LEN: usize = 4096;

/// Memory in which frames are joined before they are sent. A driver may lend it to many connections
/// in turn, so that an idle connection holds none: see [`Outbound::lend`](crate::Outbound::lend).
#[derive(Clone, Debug, Default)]
pub struct Staging(Option<Box<Blocks>>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    /// Full blocks and long payloads, in order.
    pub(crate) sealed: VecDeque<Sealed>,
    /// The block that frames are copied to, which follows all that is sealed.
    pub(crate) block: BytesMut,
    /// The number of bytes of the first chunk that have left. They are kept, so that the end of the
    /// frame which has begun to leave can be found.
    pub(crate) front: usize,
    /// The number of bytes at the beginning of the first chunk that belong to the head of the
    /// handshake.
    pub(crate) head: usize,
    /// The number of bytes that were handed out and have not been reported sent.
    pub(crate) in_flight: usize,
}

/// Bytes to which none are added.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) bytes: Bytes,
    pub(crate) kind: SealedKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealedKind {
    /// Frames, of which the last one may lack its payload.
    Frames,
    /// The payload of a frame whose header is at the end of the chunk before.
    Payload,
}

impl Staging {
    /// Allocates room for `len` bytes of frames before another block is begun.
    pub fn with_capacity(len: usize) -> Self {
        let block = BytesMut::with_capacity(len);
        Self(Some(Box::new(Blocks { block, ..Blocks::default() })))
    }

    /// Returns the number of bytes of frames that fit without an allocation.
    pub fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |blocks| blocks.block.capacity())
    }

    /// Makes room for `len` bytes, with an allocation if necessary.
    pub fn reserve(&mut self, len: usize) {
        self.blocks().block.reserve(len);
    }

    /// Makes room for `len` bytes in memory that was allocated before, if the parts that were split
    /// off it have been dropped. Returns whether that was enough.
    pub fn try_reclaim(&mut self, len: usize) -> bool {
        self.0.as_mut().map_or(len == 0, |blocks| blocks.block.try_reclaim(len))
    }

    /// The blocks, if there are any.
    #[inline]
    pub(crate) fn get(&self) -> Option<&Blocks> {
        self.0.as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> Option<&mut Blocks> {
        self.0.as_deref_mut()
    }

    /// The blocks, created if necessary.
    #[inline]
    pub(crate) fn blocks(&mut self) -> &mut Blocks {
        self.0.get_or_insert_default()
    }
}

impl Blocks {
    /// Makes room in whole blocks. A full block is sealed and the next one begun, so that queued
    /// bytes are never moved.
    #[inline]
    pub(crate) fn make_room(&mut self, len: usize) {
        if self.block.capacity() - self.block.len() < len {
            self.begin_block(len);
        }
    }

    #[cold]
    fn begin_block(&mut self, len: usize) {
        self.seal();
        self.block.reserve(len.max(BLOCK_LEN));
    }

    pub(crate) fn seal(&mut self) {
        if !self.block.is_empty() {
            let bytes = self.block.split().freeze();
            self.push_sealed(Sealed { bytes, kind: SealedKind::Frames });
        }
    }

    /// Adds a chunk. The first makes room for some more at once: a peer that is sent what many are sent gets
    /// several in a row.
    pub(crate) fn push_sealed(&mut self, sealed: Sealed) {
        const FIRST: usize = 8;
        if self.sealed.capacity() == 0 {
            self.sealed.reserve_exact(FIRST);
        }
        self.sealed.push_back(sealed);
    }
}
