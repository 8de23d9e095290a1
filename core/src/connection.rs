//! The message layer: [`Connection`] and its public methods.

mod assembly;
mod closing;
mod receive;
mod send;
mod timers;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::close::{CloseCode, CloseReason};
use crate::config::Config;
use crate::error::{ProtocolError, SendError};
use crate::event::{Cause, Event, Party};
use crate::extension::{Agreed, Codecs, Params};
use crate::message::Chunk;
use crate::observer::Observer;
use crate::outbound::Outbound;
use crate::outgoing::OutgoingMessage;
use crate::raw::{RawConnection, Role};
use crate::seed::Seed;
use crate::stats::Stats;
use crate::time::Instant;

use assembly::Assembly;
use send::Kind;
use timers::Timers;

/// The result of an opening handshake: the subprotocol and the extensions that both ends agreed on.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Negotiated {
    /// The subprotocol, if one was agreed (RFC 6455 §1.9).
    pub subprotocol: Option<ByteString>,
    /// The extensions that were agreed on, in the order of the server's response (RFC 6455 §9.1).
    pub extensions: Vec<Agreed>,
}

/// The action for the transport once [`Connection::outbound`] is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportAction {
    /// Drop the transport: the connection is over.
    Close,
    /// Continue to read and write.
    KeepOpen,
    /// Shut down the writing half, and read until the peer ends its half, so that a reset does not
    /// destroy the bytes that were sent last.
    ShutdownWrite,
}

/// An open WebSocket connection without its transport: it sends and receives messages, answers
/// pings, runs both closing handshakes, and enforces limits and deadlines.
///
/// Its methods are
///
/// * *inputs*: [`poll_event`](Self::poll_event) takes bytes and returns events;
///   [`handle_eof`](Self::handle_eof), [`handle_transport_error`](Self::handle_transport_error),
///   [`handle_timeout`](Self::handle_timeout), [`handle_blocked`](Self::handle_blocked) and
///   [`set_reading`](Self::set_reading) report what else happened;
/// * *commands*: [`send`](Self::send), [`send_chunk`](Self::send_chunk), [`ping`](Self::ping),
///   [`close`](Self::close), [`abort`](Self::abort), [`set_config`](Self::set_config);
/// * *outputs*, to be looked at after any of the former: [`poll_event`](Self::poll_event) again,
///   [`outbound`](Self::outbound), [`transport_action`](Self::transport_action) and
///   [`poll_timeout`](Self::poll_timeout);
/// * *getters*;
/// * methods [for drivers](#for-drivers), which a simple loop gets along without.
///
/// Every call that depends on time is passed `now`, which must not go back. Between calls only
/// append to `inbound`.
///
/// A loop around a connection
///
/// 1. reads as much as the transport has;
/// 2. polls events until `None`;
/// 3. writes the bytes in [`outbound`](Self::outbound) and calls
///    [`handle_blocked`](Self::handle_blocked);
/// 4. does with the transport what [`transport_action`](Self::transport_action) requires;
/// 5. waits for bytes, or until [`poll_timeout`](Self::poll_timeout), at which time it calls
///    [`handle_timeout`](Self::handle_timeout); and starts again.
///
/// ```
/// use bytes::{Buf, BytesMut};
/// use sockless_core::{Config, Connection, Event, Instant, Message, Negotiated, Seed};
///
/// let (config, now) = (std::sync::Arc::new(Config::default()), Instant::EPOCH);
/// let mut client =
///     Connection::client(Negotiated::default(), Seed::new([7; 32]), config.clone(), now);
/// let mut server = Connection::server(Negotiated::default(), config, now);
///
/// client.send("hello", now)?;
/// let outbound = client.outbound();
/// let mut inbound = BytesMut::from(&outbound.copy_to_bytes(outbound.remaining())[..]);
///
/// let event = server.poll_event(&mut inbound, now);
/// assert_eq!(event, Some(Event::Message(Message::from("hello"))));
/// assert_eq!(server.poll_event(&mut inbound, now), None);
/// # Ok::<(), sockless_core::SendError>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    pub(crate) raw: RawConnection,
    codecs: Codecs,
    subprotocol: Option<Box<str>>,
    /// The message that is arriving, unless all of it so far is in the read buffer.
    assembly: Option<Assembly>,
    /// The kind of the message that is being sent in chunks.
    sending: Option<Kind>,
    /// The one pong that waits for room (RFC 6455 §5.5.3 allows to answer the newest ping only).
    pong: Option<Box<[u8]>>,
    timers: Timers,
    /// The number of bytes that the last poll left in the read buffer.
    seen: usize,
    /// The longest chunk that the caller wants.
    chunk_len: u32,
    /// The header of the frame that is arriving was taken by a raw connection, and checked by its
    /// rules only.
    unchecked_head: bool,
}

impl Connection {
    /// Creates the client's end of a connection whose opening handshake was done elsewhere. `seed`
    /// feeds its masking keys.
    pub fn client(negotiated: Negotiated, seed: Seed, config: Arc<Config>, now: Instant) -> Self {
        Self::from_raw(RawConnection::client(seed, config), negotiated, now)
    }

    /// Creates the server's end of a connection whose opening handshake was done elsewhere.
    pub fn server(negotiated: Negotiated, config: Arc<Config>, now: Instant) -> Self {
        Self::from_raw(RawConnection::server(config), negotiated, now)
    }

    /// Puts messages on top of a connection of frames.
    ///
    /// The raw connection must be between two messages; a frame that has arrived in part is held to
    /// the rules and limits of messages. A raw connection that has ended stays ended, except that
    /// after a breach of protocol a Close frame is sent that names the broken rule, as
    /// [`Event::Closed`] does.
    pub fn from_raw(mut raw: RawConnection, negotiated: Negotiated, now: Instant) -> Self {
        let codecs = Codecs::new(negotiated.extensions);
        raw.accept_rsv(codecs.rsv());
        let failure = raw.failure.as_deref().copied();
        if failure.is_some() {
            raw.reopen();
        }
        let mut connection = Self {
            timers: Timers::new(&raw.config, now),
            unchecked_head: raw.incoming.is_some(),
            raw,
            codecs,
            subprotocol: negotiated.subprotocol.as_deref().map(Box::from),
            assembly: None,
            sending: None,
            pong: None,
            seen: 0,
            chunk_len: u32::MAX,
        };
        if let Some(error) = failure {
            connection.fail_with(Cause::Protocol(error), &error.close_reason(), now);
        }
        connection
    }

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

    /// Records that the transport will deliver nothing more. Events of bytes that are still in the
    /// read buffer are returned first.
    pub fn handle_eof(&mut self, now: Instant) {
        self.raw.eof = true;
        self.ending_saw_eof(now);
    }

    /// Ends the connection because the transport has failed. `error` describes the failure in
    /// [`Cause::Transport`].
    pub fn handle_transport_error(&mut self, error: impl Into<ByteString>, now: Instant) {
        let by = self.raw.ender(Party::Peer);
        self.end_at_once(by, Cause::Transport(error.into()), now);
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
    /// [`Config::write_timeout`] counts from here. When a transport that was full accepts bytes
    /// again, the peer is known to be alive. Without this call the timeout may take up to twice as
    /// long.
    pub fn handle_blocked(&mut self, now: Instant) {
        self.note_blocked(now);
    }

    /// Records whether the caller reads from the transport.
    ///
    /// While it does not, the peer can neither answer a ping nor finish a message, and
    /// [`Config::ping_timeout`], [`Config::message_timeout`] and [`Config::message_rate`] are
    /// suspended. Pings are still sent, and [`Config::idle_timeout`] and [`Config::write_timeout`]
    /// continue.
    pub fn set_reading(&mut self, reading: bool, now: Instant) {
        self.timers.set_reading(reading, &self.raw.config, now);
    }

    /// Queues a whole message: a [`Message`](crate::Message), one that is
    /// [not to be compressed](crate::Message::uncompressed), or a [`Broadcast`](crate::Broadcast).
    ///
    /// It is queued even if the queue is full: check [`is_writable`](Self::is_writable) first.
    ///
    /// # Errors
    ///
    /// [`SendError::Closing`] once either side has begun to close;
    /// [`SendError::MessageUnfinished`] while a message is being sent in chunks;
    /// [`SendError::CodecFailed`] when an extension fails, which closes the connection with 1011.
    #[inline]
    pub fn send(
        &mut self,
        message: impl Into<OutgoingMessage>,
        now: Instant,
    ) -> Result<(), SendError> {
        self.send_message(message.into(), now)
    }

    /// Queues the next chunk of a message that is too long to hold. The first chunk begins the
    /// message, and the one marked `last` ends it. Each is sent in a frame of its own (RFC 6455
    /// §5.4).
    ///
    /// # Errors
    ///
    /// [`SendError::Closing`] once either side has begun to close, except that a message begun
    /// before the peer closed may be finished; [`SendError::MessageUnfinished`] when the chunk is
    /// text and the one before it binary, or the other way round; [`SendError::CodecFailed`] when
    /// an extension fails, which closes the connection with 1011.
    pub fn send_chunk(&mut self, chunk: Chunk, now: Instant) -> Result<(), SendError> {
        self.send_next_chunk(chunk, now)
    }

    /// Queues a ping (RFC 6455 §5.5.2), in addition to those of [`Config::ping_interval`].
    ///
    /// # Errors
    ///
    /// [`SendError::Closing`] once either side has begun to close; [`SendError::ControlTooLong`]
    /// for more than 125 bytes.
    pub fn ping(&mut self, payload: impl Into<Bytes>, now: Instant) -> Result<(), SendError> {
        self.raw.watch.at(now);
        self.send_ping(payload.into())
    }

    /// Starts the closing handshake (RFC 6455 §7.1.2). Events keep arriving until
    /// [`Event::Closed`]. A second call does nothing.
    ///
    /// The peer has [`Config::closing_timeout`] to answer, counted from the time at which the
    /// transport has taken the Close frame, and again from each byte that it sends. Before that,
    /// [`Config::write_timeout`] without progress ends the connection. In all it takes at most 12
    /// closing timeouts, and longer only for a peer that takes at least 1 KiB per second.
    pub fn close(&mut self, reason: impl Into<CloseReason>, now: Instant) {
        self.start_closing(reason.into(), None, now);
    }

    /// Ends the connection without a closing handshake, and drops what is queued.
    pub fn abort(&mut self, now: Instant) {
        self.end_at_once(Party::Local, Cause::Aborted, now);
    }

    /// Replaces the settings. Deadlines change at once, limits of length with the next frame.
    pub fn set_config(&mut self, config: Arc<Config>, now: Instant) {
        self.timers.configure(&config, now);
        self.raw.config = config;
    }

    /// Returns the bytes to send, a [`bytes::Buf`]: write its chunks, vectored if possible, then
    /// `advance`.
    #[inline]
    pub fn outbound(&mut self) -> &mut Outbound {
        self.flush_pong();
        &mut self.raw.outbound
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

    /// Returns true while fewer than [`Config::high_water`] bytes are queued.
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.raw.is_writable()
    }

    /// Returns true until either side has begun to close.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.raw.is_open()
    }

    /// Returns true if a chunk may be sent: until either side has begun to close, and after the
    /// peer has, to finish the message that is being sent.
    #[inline]
    pub fn can_send_chunk(&self) -> bool {
        self.may_send_chunk()
    }

    /// Returns which end this is.
    pub fn role(&self) -> Role {
        self.raw.role()
    }

    /// Returns the settings in force.
    #[inline]
    pub fn config(&self) -> &Arc<Config> {
        self.raw.config()
    }

    /// Returns the subprotocol that was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Returns the extensions that were agreed on, in the order in which they encode.
    pub fn extensions(&self) -> impl Iterator<Item = &Params> {
        self.codecs.params()
    }

    /// Sets the observer of frames and states, or removes it.
    pub fn set_observer(&mut self, observer: Option<Box<dyn Observer>>) {
        self.raw.set_observer(observer);
    }

    /// Starts to count frames and received bytes for [`stats`](Self::stats), unless an observer has started it.
    /// The counters take some 200 bytes.
    pub fn start_counting(&mut self) {
        self.raw.start_counting();
    }

    /// Returns the counters of the connection.
    pub fn stats(&self) -> Stats {
        let (held_bytes, round_trip) = (self.held_bytes(), self.round_trip());
        Stats { held_bytes, round_trip, ..self.raw.stats() }
    }

    /// Returns the round-trip time of the last ping of [`Config::ping_interval`] that was answered.
    pub fn round_trip(&self) -> Option<Duration> {
        self.timers.round_trip()
    }
}

/// # For drivers
///
/// A driver that reads ahead, bounds memory across connections or delivers messages in chunks uses
/// these. A simple loop gets along without them.
impl Connection {
    /// Takes the part of an unfinished message that has arrived, although it is shorter than
    /// [`Config::recv_chunk_len`]: for an application that wants a message as it arrives. The rest
    /// of the message follows in chunks.
    ///
    /// Call it after [`poll_event`](Self::poll_event) has returned `None`, with the same `inbound`.
    pub fn poll_partial(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        let event = self.partial_message(inbound, now);
        self.seen = inbound.len();
        event
    }

    /// Returns messages longer than `len` bytes in chunks of that length, if
    /// [`Config::recv_chunk_len`] is longer. `None` restores that setting. The minimum is 4.
    pub fn set_chunk_len(&mut self, len: Option<u32>) {
        self.chunk_len = len.unwrap_or(u32::MAX).max(4);
    }

    /// Records that a message that the driver had read ahead was handed to the application, which
    /// counts as activity for [`Config::idle_timeout`].
    pub fn handle_delivery(&mut self, now: Instant) {
        self.timers.message_sent(now);
    }

    /// Fails the connection with 1009, as for a message longer than [`Config::max_message_len`]:
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
    /// [`Config::stall_timeout`], since the application received nothing. Does nothing once either
    /// side has begun to close.
    pub fn handle_stall(&mut self, now: Instant) {
        self.fail_stalled(now);
    }

    /// Ends the connection with 1013 because all connections of the driver together hold too much.
    /// The part that is held of an unfinished message is dropped, and so are the bytes to send if
    /// there are more than [`Config::high_water`].
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
        assembly + self.raw.held_bytes()
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
            pong: self.pong.clone(),
            timers: self.timers.clone(),
            seen: self.seen,
            chunk_len: self.chunk_len,
            unchecked_head: self.unchecked_head,
        })
    }
}

impl Connection {
    /// Records that bytes have come from the peer, which is therefore alive.
    #[inline]
    fn handle_received(&mut self, len: usize, now: Instant) {
        self.timers.handle_received(len, &self.raw.config, now);
        self.raw.note_ending_progress(true, now);
    }

    /// The longest chunk that is wanted.
    #[inline]
    fn max_chunk_len(&self) -> usize {
        match self.chunk_len {
            u32::MAX => self.raw.config.recv_chunk_len,
            len => self.raw.config.recv_chunk_len.min(len as usize),
        }
    }
}
