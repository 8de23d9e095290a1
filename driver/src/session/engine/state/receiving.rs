//! Receiving: items out of the read buffer, to a receiver or to the backlog.

use std::task::{Context, Poll, Waker};

use sockless_core::limits::READ_LEN;
use sockless_core::{CloseCode, Closed, Event, Instant, Message, Overflow};

use super::{Delivery, State, Transport, Turn};
use crate::session::engine::handler_turn::HandlerTurn;
use crate::session::engine::machine::Item;

/// The limit of one turn for what is taken out of the read buffer, in units of [`weight`]: 4,096
/// short messages, or 1 MiB of long ones. Then other tasks get their turn.
const TURN: u32 = 4096;

/// How much longer than on the wire items may be that are read ahead of an end, with the memory that
/// an item takes: short messages are read, and those that are inflated much more wait.
const GROWTH: usize = 4;

/// The share of a turn that a message of `len` bytes takes: as much as one short message for each
/// 256 bytes, so that a turn is bounded in bytes too, whatever they were inflated from.
#[inline]
pub(super) fn weight(len: usize) -> u32 {
    u32::try_from(1 + len / 256).unwrap_or(TURN)
}

impl State {
    /// The next message, if nothing else comes before it, which is the usual case.
    #[inline]
    pub(crate) fn next_message(&mut self) -> Option<Message> {
        if !self.backlog.is_empty() || !self.may_parse() {
            return None;
        }
        let connection = self.machine.messages()?;
        if connection.has_extensions() {
            return self.next_decoded_message();
        }
        match connection.poll_event(&mut self.inbound, self.driver.now) {
            Some(Event::Message(message)) => {
                self.driver.take(message.len());
                // An open connection reports nothing of its own accord.
                self.is_unparsed = !self.inbound.is_empty()
                    || matches!(self.transport, Transport::Ended | Transport::Gone)
                    || !connection.is_open();
                Some(message)
            }
            Some(event) => {
                if let Some(item) = self.settle(Item::Event(event)) {
                    self.backlog.push(item);
                }
                None
            }
            None => {
                self.is_unparsed = false;
                None
            }
        }
    }

    /// The next message of a connection with extensions, as [`next_message`](Self::next_message).
    #[inline(never)]
    fn next_decoded_message(&mut self) -> Option<Message> {
        let item = self.parse()?;
        let Item::Event(Event::Message(message)) = item else {
            self.backlog.push(item);
            return None;
        };
        self.is_unparsed =
            !self.inbound.is_empty() || self.is_input_over() || !self.machine.is_open();
        Some(message)
    }

    /// Takes the next item of a connection with extensions, unless more is decoded for it than a turn
    /// may move. The turn is over then, although the read buffer may hold a whole message.
    #[inline(never)]
    fn poll_decoding(&mut self) -> Option<Item> {
        // After the transport has gone, nothing else makes the session end.
        let is_gone = self.transport == Transport::Gone;
        if self.has_moved_enough() && !is_gone {
            self.driver.taken = TURN;
            return None;
        }
        // A message that was read at once is decoded at once: what is left half decoded has gone from
        // the cache when its turn comes again.
        let (mut left, now) = (if is_gone { usize::MAX } else { READ_LEN }, self.driver.now);
        let event = self.machine.decoding()?.poll_event_within(&mut self.inbound, now, &mut left);
        if left == 0 {
            self.driver.taken = TURN;
        }
        event.map(Item::Event)
    }

    /// Returns true if a receiver can only wait.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.backlog.is_empty() && self.closed.is_none() && !self.may_parse()
    }

    /// Registers the task of `cx` to be woken once there is an item.
    #[inline]
    pub(crate) fn wait_for_item(&mut self, cx: &Context<'_>) {
        self.wakes.replace(&mut self.receiver, cx.waker());
    }

    /// The next item, or how the connection ended once all items have been received.
    #[inline]
    pub(crate) fn poll_item(
        &mut self,
        clock: impl FnOnce() -> Instant,
        cx: &Context<'_>,
    ) -> Poll<Result<Item, Closed>> {
        if let Some(item) = self.next_item(clock) {
            return Poll::Ready(Ok(item));
        }
        if let Some(closed) = &self.closed {
            return Poll::Ready(Err(closed.clone()));
        }
        self.wait_for_item(cx);
        Poll::Pending
    }

    /// The part that has arrived of an unfinished message. If this task cannot look, the driver
    /// does, and wakes the receiver.
    pub(crate) fn poll_partial(&mut self) -> Option<Item> {
        if self.may_look() {
            return self.take_partial();
        }
        self.wants_partial = true;
        self.ask_driver();
        None
    }

    /// Delivers long messages in chunks of `len` bytes, or as the settings say.
    pub(crate) fn set_chunk_len(&mut self, len: Option<u32>) {
        self.wants_partial = false;
        if let Some(connection) = self.machine.messages() {
            connection.set_chunk_len(len);
        }
    }

    /// Fails the connection because a message of at least `len` bytes is longer than a receiver
    /// joins.
    pub(crate) fn reject_message(&mut self, len: u64, now: Instant) {
        if let Some(connection) = self.machine.messages() {
            connection.reject_message(len, now);
        }
        // Messages behind it are not delivered either, even if the peer could not be notified.
        self.stop_receiving();
        self.is_unparsed = true;
    }

    /// Records that the receiver has joined `len` bytes of a message that arrives in chunks.
    pub(crate) fn set_joined(&mut self, len: usize) {
        self.joined = len;
    }

    /// Drops what was received and will be.
    pub(crate) fn stop_receiving(&mut self) {
        self.delivery = Delivery::DropsAll;
        self.backlog.clear();
        self.joined = 0;
        self.ask_driver();
    }

    /// Reads ahead of the application, as far as there is room, so that pings, Close frames and the
    /// end are noticed.
    #[inline]
    pub(crate) fn parse_ahead(&mut self) {
        // After the end of input, the session ends when all has been parsed.
        while self.is_unparsed
            && (self.has_room() || self.is_input_over())
            && self.has_turn_left()
            && !self.has_sent_enough()
        {
            let Some(item) = self.parse() else { break };
            if self.keeps_item() {
                self.backlog.push(item);
                self.wake_receiver();
            }
        }
        if self.wants_partial
            && self.backlog.is_empty()
            && self.delivery != Delivery::DropsAll
            && let Some(item) = self.take_partial()
        {
            self.wants_partial = false;
            self.backlog.push(item);
            self.wake_receiver();
        }
    }

    /// Returns true if more may be read ahead; always, if it would be dropped.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.backlog.is_empty()
            || self.backlog.bytes() < self.limit()
            || self.delivery == Delivery::DropsAll
            || !self.machine.is_open()
    }

    /// The length in bytes from which the backlog is full.
    #[inline]
    fn limit(&self) -> usize {
        self.machine.config().get_read_ahead().saturating_add(self.allowance)
    }

    /// Closes the session if the backlog is full and the settings require it. Items that arrive
    /// from then on are dropped, so that the closing handshake completes.
    #[inline]
    pub(crate) fn enforce_recv_overflow(&mut self) {
        if !self.has_room() && self.machine.config().get_recv_overflow() == Overflow::Close {
            self.delivery = Delivery::DropsAll;
            let reason =
                (CloseCode::TRY_AGAIN_LATER, "messages arrive faster than they are received");
            self.close(reason.into(), self.driver.now);
        }
    }

    /// Returns true if the turn may go on before other tasks get theirs.
    #[inline]
    pub(crate) fn has_turn_left(&self) -> bool {
        self.driver.taken < TURN || self.transport == Transport::Gone
    }

    /// Returns true if the handler has sent so much to other sessions that nothing more is received in
    /// this turn.
    #[inline]
    pub(crate) fn has_sent_enough(&self) -> bool {
        HandlerTurn::has_sent_enough() && self.transport != Transport::Gone
    }

    /// Returns true if the task of `waker` waits to receive.
    #[inline]
    pub(crate) fn is_received_by(&self, waker: &Waker) -> bool {
        self.receiver.as_ref().is_some_and(|receiver| receiver.will_wake(waker))
    }

    #[inline]
    fn next_item(&mut self, clock: impl FnOnce() -> Instant) -> Option<Item> {
        let Some(item) = self.backlog.pop() else {
            return if self.may_parse() { self.parse() } else { None };
        };
        let now = self.now_or(clock);
        self.received_at = now;
        if let Some(connection) = self.machine.messages() {
            connection.handle_delivery(now);
        }
        if self.transport == Transport::Paused && self.has_room() {
            self.ask_driver();
        }
        Some(item)
    }

    /// Returns true if a receiver may parse the read buffer. The end is the last item.
    #[inline]
    fn may_parse(&self) -> bool {
        self.is_unparsed && self.may_look() && self.closed.is_none()
    }

    /// Returns true if a receiver may look into the read buffer.
    ///
    /// Outside of the driver's turn the time may be long past, and the driver reads ahead anyway.
    /// At the end of the turn other tasks come first, and the handler is polled again in the next.
    /// After items were dropped nothing is received: there would be a gap.
    #[inline]
    fn may_look(&self) -> bool {
        (self.driver.turn == Turn::Polling || self.transport == Transport::Gone)
            && self.has_turn_left()
            && !self.has_sent_enough()
            && self.delivery == Delivery::Keeps
    }

    fn take_partial(&mut self) -> Option<Item> {
        let connection = self.machine.messages()?;
        let item = Item::Event(connection.poll_partial(&mut self.inbound, self.driver.now)?);
        self.driver.take(item.len());
        // More of the message may be in the read buffer.
        self.is_unparsed = true;
        self.settle(item)
    }

    /// Takes the next item out of the read buffer.
    #[inline]
    fn parse(&mut self) -> Option<Item> {
        while self.has_turn_left() {
            let len = self.inbound.len();
            let item = match self.machine.decoding() {
                None => self.machine.poll(&mut self.inbound, self.driver.now),
                Some(_) => self.poll_decoding(),
            };
            let Some(item) = item else {
                self.is_unparsed = !self.has_turn_left();
                break;
            };
            if self.allowance > 0 {
                self.allowance += GROWTH * (len - self.inbound.len());
            }
            self.driver.take(item.len());
            let item = self.settle(item);
            if item.is_some() {
                return item;
            }
        }
        None
    }

    /// Returns an item that is for the application. The connection has handled the others, but for
    /// the end.
    #[inline]
    fn settle(&mut self, item: Item) -> Option<Item> {
        match item {
            Item::Event(Event::Message(_) | Event::Chunk(_)) | Item::Frame(_) => return Some(item),
            Item::Event(Event::Closed(closed)) => self.set_closed(closed),
            Item::Event(Event::Pong(payload)) => self.note_pong(&payload),
            Item::Event(_) => {}
        }
        None
    }

    /// Returns true if an item is kept that arrives now. It is not once the application has stopped
    /// receiving, nor if the backlog is full after our Close frame, since the peer's answer follows
    /// it, or when the transport has been dropped, since nothing else makes the session end.
    fn keeps_item(&mut self) -> bool {
        let is_full = !self.backlog.is_empty() && self.backlog.bytes() >= self.limit();
        let must_drop = is_full && (!self.machine.is_open() || self.transport == Transport::Gone);
        if must_drop && self.delivery == Delivery::Keeps {
            self.delivery = Delivery::DropsNew;
        }
        self.delivery == Delivery::Keeps
    }
}
