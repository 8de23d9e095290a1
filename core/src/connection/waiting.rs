//! The queue of sends that wait for room: messages, so that a later one may replace or pass them, and the pong.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::Connection;
use crate::frame::Opcode;
use crate::outgoing::{OutgoingMessage, Placed};
use crate::raw::Ending;
use crate::time::Instant;

/// Messages that are not encoded yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    /// The messages that wait, the next one first.
    messages: VecDeque<Placed>,
    /// The sum of their [costs](cost).
    cost: usize,
    /// When the last of them was sent.
    now: Instant,
    /// The one pong that waits for room (RFC 6455 §5.5.3 allows to answer the newest ping only).
    pong: Option<Box<[u8]>>,
}

/// Messages are encoded while fewer bytes than this are unsent: enough for a write, and what a more
/// urgent message has to wait for.
const ENCODE_LEN: usize = 16 << 10;

/// The memory that a message takes while it waits.
fn cost(placed: &Placed) -> usize {
    size_of::<Placed>() + placed.content.message().len()
}

impl Waiting {
    /// Puts a message in its place: that of the message which it replaces, or behind the last one
    /// that is as urgent.
    fn insert(&mut self, placed: Placed) {
        self.cost += cost(&placed);
        if let Some(index) = placed.key.and_then(|key| self.position(key)) {
            self.cost -= cost(&self.messages[index]);
            if self.messages[index].priority == placed.priority {
                self.messages[index] = placed;
                return;
            }
            self.messages.remove(index);
        }
        let index = self.messages.partition_point(|other| other.priority <= placed.priority);
        self.messages.insert(index, placed);
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.pong.is_none()
    }

    fn position(&self, key: u64) -> Option<usize> {
        self.messages.iter().position(|placed| placed.key == Some(key))
    }
}

/// # Messages that wait
///
/// A message with a [key](OutgoingMessage::latest) or a [priority](OutgoingMessage::priority) waits
/// in the connection until fewer than 16 KiB are unsent, and is encoded then.
impl Connection {
    /// Cancels the message with this [key](OutgoingMessage::latest) that waits, and returns it.
    /// `None` if none waits: it was never sent, or its bytes have left or are about to.
    ///
    /// ```
    /// use sockless_core::{Connection, Instant, Message, Negotiated};
    ///
    /// # let now = Instant::EPOCH;
    /// let mut connection = Connection::server(Negotiated::default(), Default::default(), now);
    /// connection.send(Message::from("a draft").latest(7), now)?;
    /// let cancelled = connection.cancel(7).expect("it waits");
    /// assert_eq!(cancelled.message(), &Message::from("a draft"));
    /// assert!(!connection.outbound().has_remaining());
    /// # Ok::<(), sockless_core::SendError>(())
    /// ```
    pub fn cancel(&mut self, key: u64) -> Option<OutgoingMessage> {
        let waiting = self.waiting.as_mut()?;
        let placed = waiting.position(key).and_then(|index| waiting.messages.remove(index))?;
        waiting.cost -= cost(&placed);
        self.drop_empty();
        Some(OutgoingMessage(placed.content))
    }

    /// Returns true if a message with this [key](OutgoingMessage::latest) waits.
    pub fn is_waiting(&self, key: u64) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.position(key).is_some())
    }

    /// Returns the number of messages that wait.
    pub fn waiting_messages(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.messages.len())
    }

    /// Encodes all messages that wait, in their order, after which they can be neither replaced nor
    /// cancelled: for a caller that wants to know when they have been sent.
    ///
    /// It does nothing while a message is being sent in chunks.
    pub fn encode_waiting(&mut self) {
        self.encode_while(usize::MAX);
    }
}

impl Connection {
    /// Puts a message among those that wait.
    #[cold]
    pub(super) fn enqueue(&mut self, placed: Placed, now: Instant) {
        self.timers.message_sent(now);
        let waiting = self.waiting.get_or_insert_default();
        waiting.now = now;
        waiting.insert(placed);
    }

    /// Encodes what waits, as far as there is room for it.
    #[inline]
    pub(super) fn flush_waiting(&mut self) {
        if self.waiting.is_some() {
            self.flush_pong();
            self.encode_while(ENCODE_LEN);
        }
    }

    /// Encodes messages that wait while fewer than `room` bytes are unsent.
    #[cold]
    fn encode_while(&mut self, room: usize) {
        while self.can_encode(room)
            && let Some(waiting) = &mut self.waiting
            && let Some(placed) = waiting.messages.pop_front()
        {
            waiting.cost -= cost(&placed);
            let now = waiting.now;
            // An extension that fails ends the connection.
            let _ = self.push_content(placed.content, now);
        }
        self.drop_empty();
    }

    fn drop_empty(&mut self) {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.is_empty()) {
            self.waiting = None;
        }
    }

    /// Remembers a pong in place of the one before, or forgets that.
    pub(super) fn set_pong(&mut self, pong: Option<&[u8]>) {
        if pong.is_some() || self.waiting.is_some() {
            self.waiting.get_or_insert_default().pong = pong.map(Box::from);
            self.drop_empty();
        }
    }

    /// Queues the pong that waits, if there is room for it now.
    #[cold]
    fn flush_pong(&mut self) {
        if self.is_writable()
            && let Some(waiting) = &mut self.waiting
            && let Some(payload) = waiting.pong.take()
        {
            self.drop_empty();
            self.push_control(Opcode::Pong, payload.into());
        }
    }

    /// Returns true if any of what waits would be encoded now.
    #[inline]
    pub(super) fn has_encodable(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| {
            waiting.pong.is_some() && self.is_writable()
                || !waiting.messages.is_empty() && self.can_encode(ENCODE_LEN)
        })
    }

    #[inline]
    pub(super) fn has_waiting_messages(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.messages.is_empty())
    }

    fn can_encode(&self, room: usize) -> bool {
        // Not between the chunks of another message (RFC 6455 §5.4), and not behind a Close frame.
        self.sending.is_none()
            && !self.raw.ending().is_some_and(Ending::has_sent_close)
            && self.raw.outbound.unsent() < room
    }

    /// The memory that the messages which wait take.
    #[inline]
    pub(super) fn waiting_cost(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.cost)
    }
}
