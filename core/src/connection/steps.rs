//! The calls that a driver makes in its own order: the steps of
//! [`poll_output`](Connection::poll_output), and what only drivers need.

use bytes::BytesMut;

use super::Connection;
use crate::close::{CloseCode, CloseReason};
use crate::error::ProtocolError;
use crate::event::{Cause, Event, Party};
use crate::lifecycle::TransportAction;
use crate::outbound::Outbound;
use crate::time::Instant;

/// # Steps
///
/// [`poll_output`](Self::poll_output) consists of these. A driver that reads ahead of its
/// application
/// calls them itself: after each read it polls events until `None`, writes, reports with
/// [`handle_blocked`](Self::handle_blocked) that it has, does with the transport what
/// [`transport_action`](Self::transport_action) requires, and waits until
/// [`poll_timeout`](Self::poll_timeout), at which time it calls
/// [`handle_timeout`](Self::handle_timeout).
impl Connection {
    /// Takes the next event out of `inbound`, unmasking it in place. Returns `None` when it needs
    /// more bytes.
    ///
    /// Bytes that were not consumed stay in `inbound`. To apply backpressure, stop polling.
    #[inline]
    pub fn poll_event(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        self.raw.watch.at(now);
        if inbound.len() != self.seen {
            self.handle_received(inbound.len().saturating_sub(self.seen), now);
        }
        let event =
            self.next_event(inbound, now).or_else(|| self.handle_starved(inbound.len(), now));
        self.seen = inbound.len();
        event
    }

    /// Like [`poll_event`](Self::poll_event), but also returns `None` once the extensions have decoded
    /// `budget` bytes or up to 16 KiB more; what they decode is subtracted from it. For a driver of
    /// many connections: a short message may inflate to a very long one.
    ///
    /// If nothing is left of the budget, call again without reading first, when other connections
    /// have had their turn. Until then the deadlines that the peer may have met are not enforced.
    /// Without [extensions](Self::has_extensions) it is the same as `poll_event`.
    pub fn poll_event_within(
        &mut self,
        inbound: &mut BytesMut,
        now: Instant,
        budget: &mut usize,
    ) -> Option<Event> {
        if self.codecs.is_empty() {
            return self.poll_event(inbound, now);
        }
        self.raw.watch.at(now);
        if inbound.len() != self.seen {
            self.handle_received(inbound.len().saturating_sub(self.seen), now);
        }
        self.codecs.set_budget(*budget);
        let mut event = self.next_event(inbound, now);
        // The codecs are dropped with a connection that fails.
        *budget = self.codecs.lift_budget().min(*budget);
        if event.is_none() && *budget > 0 {
            event = self.handle_starved(inbound.len(), now);
        }
        self.seen = inbound.len();
        event
    }

    /// Returns how many bytes of messages the extensions have encoded and decoded since the last
    /// call, with 1 KiB more for each message. Those of a [`Broadcast`](crate::Broadcast) that was
    /// encoded for another connection do not count. 0 without [extensions](Self::has_extensions).
    ///
    /// For a driver that bounds the turn of each connection: such a byte counts as
    /// [`CODING_COST`](crate::limits::CODING_COST) that are read or written.
    #[inline]
    pub fn take_coded(&mut self) -> usize {
        self.codecs.take_coded()
    }

    /// Enforces the deadlines that have passed at `now`; an early call does nothing.
    ///
    /// A deadline that the peer may have met is enforced only after a
    /// [`poll_event`](Self::poll_event) has run out of bytes since the deadline was found to have
    /// passed. Until then [`poll_timeout`](Self::poll_timeout) stays in the past, so that a loop
    /// comes round again and reads bytes that may have arrived in time. If that takes several
    /// reads, bytes that come defer it, for 250 ms at most. A poll that runs out of bytes enforces
    /// deadlines too, so that a peer that never stops sending stops no clock.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.raw.watch.at(now);
        self.fire_timers(now);
    }

    /// Records that the caller has written as much of [`outbound`](Self::outbound) as the transport
    /// accepts for now.
    ///
    /// [`Config::write_timeout`](crate::Config::write_timeout) counts from here. When a transport
    /// that was full accepts bytes
    /// again, the peer is known to be alive. Without this call the timeout may take up to twice as
    /// long.
    pub fn handle_blocked(&mut self, now: Instant) {
        self.note_blocked(now);
    }

    /// Records whether the transport has passed on all that it has accepted.
    ///
    /// Needed only for a transport that holds bytes itself, as TLS does, and once the connection has
    /// begun to end: until all has been passed on, the peer cannot have seen our Close frame, so that
    /// [`Config::closing_timeout`](crate::Config::closing_timeout) does not begin, and
    /// [`Config::write_timeout`](crate::Config::write_timeout) holds. Before the end, the call does
    /// nothing.
    pub fn handle_flushed(&mut self, is_flushed: bool, now: Instant) {
        self.raw.note_flushed(is_flushed, now);
    }

    /// Records whether the caller reads from the transport.
    ///
    /// While it does not, the peer can neither answer a ping nor finish a message, and
    /// [`Config::ping_timeout`](crate::Config::ping_timeout),
    /// [`Config::message_timeout`](crate::Config::message_timeout) and
    /// [`Config::message_rate`](crate::Config::message_rate) are
    /// suspended. Pings are still sent, and [`Config::idle_timeout`](crate::Config::idle_timeout)
    /// and [`Config::write_timeout`](crate::Config::write_timeout)
    /// continue.
    pub fn set_reading(&mut self, reading: bool, now: Instant) {
        self.timers.set_reading(reading, &self.raw.config, now);
    }

    /// Returns the bytes to send, lent or owned: see [`Outbound`].
    #[inline]
    pub fn outbound(&mut self) -> Outbound<'_> {
        self.flush_waiting();
        Outbound(&mut self.raw.outbound)
    }

    /// Returns what to do with the transport once [`outbound`](Self::outbound) is empty.
    #[inline]
    pub fn transport_action(&self) -> TransportAction {
        self.raw.action()
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout). Any other call
    /// may change it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline()
    }
}

/// # For drivers
///
/// A driver that reads ahead, bounds memory across connections or delivers messages in chunks uses
/// these. A simple loop gets along without them.
impl Connection {
    /// Takes the part of an unfinished message that has arrived, although it is shorter than
    /// [`Config::recv_chunk_len`](crate::Config::recv_chunk_len): for an application that wants a
    /// message as it arrives. The rest
    /// of the message follows in chunks.
    ///
    /// Call it after [`poll_event`](Self::poll_event) has returned `None`, with the same `inbound`.
    pub fn poll_partial(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        let event = self.partial_message(inbound, now);
        self.seen = inbound.len();
        event
    }

    /// Returns messages longer than `len` bytes in chunks of that length, if
    /// [`Config::recv_chunk_len`](crate::Config::recv_chunk_len) is longer. `None` restores that
    /// setting. The minimum is 4.
    pub fn set_chunk_len(&mut self, len: Option<u32>) {
        self.chunk_len = len.unwrap_or(u32::MAX).max(4);
    }

    /// Records that a message that the driver had read ahead was handed to the application, which
    /// counts as activity for [`Config::idle_timeout`](crate::Config::idle_timeout).
    pub fn handle_delivery(&mut self, now: Instant) {
        self.timers.message_sent(now);
    }

    /// Fails the connection with 1009, as for a message longer than
    /// [`Config::max_message_len`](crate::Config::max_message_len):
    /// for a driver that joins the chunks of a message. `len` is the length so far.
    pub fn reject_message(&mut self, len: u64, now: Instant) {
        let max = self.raw.config.max_message_len;
        let error = ProtocolError::MessageTooLong { len, max };
        // After our Close frame messages are still received.
        if self.raw.ending().is_none_or(|ending| !ending.discards_input()) {
            let reason = error.close_reason();
            self.fail_with(Cause::Protocol(error), &reason, now);
        }
    }

    /// Ends the connection with 1008 because it could not be read from for
    /// [`Config::stall_timeout`](crate::Config::stall_timeout), since the application received
    /// nothing. Does nothing once either
    /// side has begun to close.
    pub fn handle_stall(&mut self, now: Instant) {
        self.fail_stalled(now);
    }

    /// Ends the connection with 1013 because all connections of the driver together hold too much.
    /// The part that is held of an unfinished message is dropped, and so are the bytes to send if
    /// there are more than [`Config::high_water`](crate::Config::high_water).
    pub fn handle_overload(&mut self, now: Instant) {
        if self.is_open() && self.is_writable() {
            let reason = CloseReason::new(
                CloseCode::TRY_AGAIN_LATER,
                "too much is held for all connections (memory_budget)",
            );
            self.fail_with(Cause::Overloaded, &reason, now);
        } else {
            self.end_at_once(Party::Local, Cause::Overloaded, now);
        }
    }

    /// Returns the number of bytes that are held of an unfinished message and of what is queued,
    /// without payloads that are shared with other connections.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        let assembly = self.assembly.as_ref().map_or(0, |assembly| assembly.capacity());
        assembly + self.waiting_cost() + self.raw.held_bytes()
    }

    /// Returns how many bytes the frame that is arriving lacks, beyond those in `inbound`, if the
    /// frame stays there until it is complete, so that a driver can read into a buffer of the right
    /// size.
    ///
    /// Never reserve all of it at once: the number is the peer's claim.
    pub fn bytes_needed(&self, inbound: &BytesMut) -> u64 {
        if self.assembly.is_some() { 0 } else { self.raw.bytes_needed(inbound) }
    }

    /// Returns an independent copy, to explore what would become of the connection, or `None` when
    /// an extension's codec cannot be copied.
    pub fn try_clone(&self) -> Option<Self> {
        Some(Self {
            raw: self.raw.clone(),
            codecs: self.codecs.try_clone()?,
            subprotocol: self.subprotocol.clone(),
            assembly: self.assembly.clone(),
            sending: self.sending,
            waiting: self.waiting.clone(),
            timers: self.timers.clone(),
            seen: self.seen,
            chunk_len: self.chunk_len,
            unchecked_head: self.unchecked_head,
        })
    }
}
