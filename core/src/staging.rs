//! The room that a connection works in: [`Staging`].

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Staging grows in blocks of this many bytes: to reserve header by header costs an allocation a
/// message.
const BLOCK_LEN: usize = 4096;

/// A received payload up to this length shares a block with others like it: that takes three fifths of
/// the instructions of a block of its own.
const SHORT_LEN: usize = 128;

/// How long the blocks are that short payloads share. Whoever keeps one payload keeps its block, so it is
/// no longer than saves most of the allocations.
const SHORT_BLOCK_LEN: usize = 512;

/// The room that a connection works in, which a driver may lend to many connections in turn, so that
/// an idle one holds none: frames are staged in it, and short payloads that have arrived are copied
/// to it.
#[derive(Clone, Debug, Default)]
pub struct Staging(Option<Box<Blocks>>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    /// Full blocks and long payloads, in order.
    pub(crate) sealed: VecDeque<Bytes>,
    /// The block that frames are copied to, which comes after all that is sealed.
    pub(crate) block: BytesMut,
    /// What is left of the block that short payloads are copied to.
    short: BytesMut,
}

impl Staging {
    /// Room for `len` bytes of frames before another block is begun.
    pub fn with_capacity(len: usize) -> Self {
        let block = BytesMut::with_capacity(len);
        Self(Some(Box::new(Blocks { block, ..Blocks::default() })))
    }

    /// How many bytes of frames there is room for.
    pub fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |blocks| blocks.block.capacity())
    }

    /// Makes room for `len` bytes, with an allocation if need be.
    pub fn reserve(&mut self, len: usize) {
        self.blocks().block.reserve(len);
    }

    /// Makes room for `len` bytes again in what was allocated before, if what was split off it is
    /// gone; whether that was enough.
    pub fn try_reclaim(&mut self, len: usize) -> bool {
        self.0.as_mut().map_or(len == 0, |blocks| blocks.block.try_reclaim(len))
    }

    /// The blocks, unless nothing was ever put in them.
    #[inline]
    pub(crate) fn get(&self) -> Option<&Blocks> {
        self.0.as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> Option<&mut Blocks> {
        self.0.as_deref_mut()
    }

    /// The blocks, to put something in them.
    #[inline]
    pub(crate) fn blocks(&mut self) -> &mut Blocks {
        self.0.get_or_insert_default()
    }
}

impl Blocks {
    /// Makes room in whole blocks. A block that is full is sealed and the next one begun, so that
    /// what waits is never moved.
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
            self.sealed.push_back(self.block.split().freeze());
        }
    }

    /// A copy of a payload that was received.
    #[inline]
    pub(crate) fn copy(&mut self, payload: &[u8]) -> Bytes {
        if !(1..=SHORT_LEN).contains(&payload.len()) {
            return Bytes::copy_from_slice(payload);
        }
        if self.short.capacity() < payload.len() {
            self.begin_short_block();
        }
        self.short.extend_from_slice(payload);
        self.short.split().freeze()
    }

    /// Begins a block for short payloads: the last one again, if none of its payloads is left.
    #[cold]
    fn begin_short_block(&mut self) {
        self.short.reserve(SHORT_BLOCK_LEN);
    }
}
