//! Messages that arrive in several parts: [`Assembly`].

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::error::ProtocolError;
use crate::event::Event;
use crate::extension::Decoding;
use crate::frame::{FrameHead, Opcode};
use crate::message::{Chunk, Message};
use crate::utf8::Text;

/// A message that is arriving in several parts.
#[derive(Clone, Debug)]
pub(super) struct Assembly {
    pub(super) held: Held,
    /// The length that is known so far: of the chunks that were returned, of the bytes that are
    /// held, and of the frame that is arriving.
    pub(super) len: u64,
    pub(super) frames: u32,
    /// The state of the extensions that decode it, if its first frame has one of their bits.
    pub(super) decoding: Option<Box<Decoding>>,
    /// True if a chunk has been returned, so that the rest must be returned in chunks too.
    in_chunks: bool,
}

/// The part of a message that has arrived and has not been returned.
#[derive(Clone, Debug)]
pub(super) enum Held {
    Binary(Vec<u8>),
    Text(Text),
}

impl Assembly {
    pub(super) fn new(head: &FrameHead, decoding: Option<Box<Decoding>>) -> Self {
        let held = if head.opcode == Opcode::Text {
            Held::Text(Text::default())
        } else {
            Held::Binary(Vec::new())
        };
        Self { held, len: head.len, frames: 1, decoding, in_chunks: false }
    }

    /// The memory that is reserved for it, in bytes.
    pub(super) fn capacity(&self) -> usize {
        match &self.held {
            Held::Binary(bytes) => bytes.capacity(),
            Held::Text(text) => text.capacity(),
        }
    }

    /// Takes the bytes that are held as a chunk.
    pub(super) fn take_chunk(&mut self) -> Chunk {
        self.in_chunks = true;
        Chunk { data: self.held.take(), last: false }
    }

    /// Takes the bytes that are held, as the whole message or as its last chunk.
    pub(super) fn finish(&mut self) -> Result<Event, ProtocolError> {
        let data = match &mut self.held {
            Held::Binary(bytes) => Message::Binary(core::mem::take(bytes).into()),
            Held::Text(text) => Message::Text(text.finish()?.into()),
        };
        Ok(if self.in_chunks {
            Event::Chunk(Chunk { data, last: true })
        } else {
            Event::Message(data)
        })
    }
}

impl Held {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Binary(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }

    /// The length of the part that can be returned: without the beginning of an incomplete
    /// character.
    pub(super) fn whole_len(&self) -> usize {
        match self {
            Self::Binary(bytes) => bytes.len(),
            Self::Text(text) => text.whole_len(),
        }
    }

    /// Takes out the bytes that are held, but for an incomplete character.
    pub(super) fn take(&mut self) -> Message {
        match self {
            Self::Binary(bytes) => Message::Binary(core::mem::take(bytes).into()),
            Self::Text(text) => Message::Text(text.take().into()),
        }
    }

    pub(super) fn push(&mut self, part: &[u8]) -> Result<(), ProtocolError> {
        match self {
            Self::Binary(bytes) => bytes.extend_from_slice(part),
            Self::Text(text) => text.push(part)?,
        }
        Ok(())
    }

    /// Makes room for `len` bytes that have arrived, where at most `useful` more can come of this
    /// message and at most `most` of it are ever held.
    ///
    /// The room doubles as bytes arrive, so that a message in very many fragments is not moved for
    /// each of them.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::OutOfMemory`] if the allocation fails.
    pub(super) fn make_room(
        &mut self,
        len: usize,
        useful: u64,
        most: u64,
    ) -> Result<(), ProtocolError> {
        let (held, capacity) = match self {
            Self::Binary(bytes) => (bytes.len(), bytes.capacity()),
            Self::Text(text) => (text.len(), text.capacity()),
        };
        if held + len <= capacity {
            return Ok(());
        }
        let most = most.min((held as u64).saturating_add(useful));
        let target = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .min((held + len).saturating_mul(2))
            .max(held + len);
        let reserved = match self {
            Self::Binary(bytes) => bytes.try_reserve_exact(target - held),
            Self::Text(text) => text.try_reserve_exact(target - held),
        };
        reserved.map_err(|_| ProtocolError::OutOfMemory { len: target as u64 })
    }
}
