//! The messages that the browser has delivered and the program has not received: [`Inbox`].

use std::collections::VecDeque;

use sockless_core::Message;

/// The bytes that a message counts besides its payload, so that empty ones are bounded too.
pub(crate) const OVERHEAD: usize = 64;

/// The number of messages for which an empty queue keeps its memory.
const KEPT: usize = 32;

/// A queue of messages that counts their bytes.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    messages: VecDeque<Message>,
    bytes: usize,
}

impl Inbox {
    /// The bytes that count: payloads, and [`OVERHEAD`] for each message.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the message if all together take at most `max` bytes.
    pub(crate) fn push(&mut self, message: Message, max: usize) -> Result<(), Full> {
        self.bytes = self.check(message.len(), max)?;
        self.messages.push_back(message);
        Ok(())
    }

    /// Returns the bytes with a message of `len` bytes more, if they are at most `max`.
    pub(crate) fn check(&self, len: usize, max: usize) -> Result<usize, Full> {
        let bytes = self.bytes.saturating_add(len).saturating_add(OVERHEAD);
        if bytes > max { Err(Full { bytes }) } else { Ok(bytes) }
    }

    pub(crate) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len() + OVERHEAD;
        if self.messages.is_empty() && self.messages.capacity() > KEPT {
            // Memory that a burst made grow is given back.
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The message would have made this many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_with_the_overhead_of_each_message() {
        let mut inbox = Inbox::default();
        let max = 2 * OVERHEAD + 5;
        inbox.push("hello".into(), max).unwrap();
        inbox.push("".into(), max).unwrap();
        assert_eq!(inbox.bytes(), max);
        assert_eq!(inbox.push("".into(), max), Err(Full { bytes: max + OVERHEAD }));
        assert_eq!(inbox.pop().unwrap(), "hello");
        assert_eq!(inbox.pop().unwrap(), "");
        assert_eq!(inbox.pop(), None);
        assert_eq!(inbox.bytes(), 0);
    }
}
