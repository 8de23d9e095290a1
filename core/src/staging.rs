//! The room that frames are staged in: [`Staging`].

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Staging grows in blocks of this many bytes: to reserve header by header costs an allocation a
/// message.
const BLOCK_LEN: usize = 4096;

/// The room that frames are staged in, which a driver may lend to many connections in turn, so that
/// an idle one holds none.
#[derive(Clone, Debug, Default)]
pub struct Staging(Option<Box<Blocks>>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    /// Full blocks and long payloads, in order.
    pub(crate) sealed: VecDeque<Bytes>,
    /// The block that frames are copied to, which comes after all that is sealed.
    pub(crate) block: BytesMut,
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
}
