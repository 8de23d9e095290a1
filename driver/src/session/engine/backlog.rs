//! Items that were read ahead and have not been received: [`Backlog`].

use std::collections::VecDeque;

use crate::session::engine::buffers;
use crate::session::engine::machine::Item;

/// A queue of items, and the memory that it takes. Its own room is lent by the thread.
#[derive(Default)]
pub(crate) struct Backlog {
    items: VecDeque<Item>,
    bytes: usize,
}

impl Backlog {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The memory in bytes that its items take.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.bytes += item.cost();
        if self.items.capacity() == 0 {
            self.items = buffers::lend_queue();
        }
        self.items.push_back(item);
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.cost();
        Some(item)
    }

    /// Removes and returns all items.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Item> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.items).into_iter()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives its room back to the thread, if it is empty.
    pub(crate) fn give_back(&mut self) {
        if self.items.is_empty() && self.items.capacity() > 0 {
            buffers::give_back_queue(std::mem::take(&mut self.items));
        }
    }
}
