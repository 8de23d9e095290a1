//! The message layer: [`Connection`], its public methods and nothing else.

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

use crate::close::CloseReason;
use crate::config::Config;
use crate::error::SendError;
use crate::event::{Cause, Event, Party};
use crate::extension::{Agreed, Codecs, Params};
use crate::message::Chunk;
use crate::outbound::Outbound;
use crate::outgoing::OutgoingMessage;
use crate::raw::{RawConnection, Role};
use crate::seed::Seed;
use crate::time::Instant;

use closing::Ending;
use receive::Assembly;
use send::Kind;
use timers::Timers;

/// What an opening handshake settled.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Negotiated {
    /// The subprotocol, if one was agreed (RFC 6455 §1.9).
    pub subprotocol: Option<ByteString>,
    /// The extensions that were agreed on, in the order of the server's answer (RFC 6455 §9.1).
    pub extensions: Vec<Agreed>,
}

/// What to do with the transport once [`Connection::outbound`] is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportAction {
    /// Drop it: the connection is over.
    Close,
    /// Go on reading and writing.
    KeepOpen,
    /// Shut down the writing half and go on reading until the peer ends, so that what was sent last
    /// is not lost to a reset.
    ShutdownWrite,
}

/// An open WebSocket connection without its transport: messages in and out, pings answered, both
/// closing handshakes run, limits and deadlines kept.
///
/// Its methods are
///
/// * *inputs*: [`poll_event`](Self::poll_event) takes bytes and gives what they mean;
///   [`handle_eof`](Self::handle_eof), [`handle_transport_error`](Self::handle_transport_error),
///   [`handle_timeout`](Self::handle_timeout), [`handle_blocked`](Self::handle_blocked),
///   [`handle_stall`](Self::handle_stall), [`set_reading`](Self::set_reading) and
///   [`note_delivery`](Self::note_delivery) report what else happened;
/// * *commands*: [`send`](Self::send), [`send_chunk`](Self::send_chunk), [`ping`](Self::ping),
///   [`close`](Self::close), [`abort`](Self::abort), [`reject_message`](Self::reject_message),
///   [`set_config`](Self::set_config), [`set_chunk_len`](Self::set_chunk_len);
/// * *outputs*, to be looked at after any of the former: [`poll_event`](Self::poll_event) again, and
///   [`poll_partial`](Self::poll_partial) after it; [`outbound`](Self::outbound),
///   [`transport`](Self::transport_action) and [`poll_timeout`](Self::poll_timeout);
/// * *getters*.
///
/// `now` must not go back. Between calls only append to `inbound`.
///
/// A loop around it reads as much as the transport has, polls until `None`, writes what is in
/// [`outbound`](Self::outbound), calls [`handle_blocked`](Self::handle_blocked), does with the transport what
/// [`transport`](Self::transport_action) says, and waits for bytes or for [`poll_timeout`](Self::poll_timeout). When
/// that has come it calls [`handle_timeout`](Self::handle_timeout), and goes round again:
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
/// client.send("hello")?;
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
    /// The message that is arriving, unless it is still whole in the read buffer.
    assembly: Option<Assembly>,
    /// The kind of the message that is being sent in pieces.
    sending: Option<Kind>,
    /// The one pong that waits for room (RFC 6455 §5.5.3 allows to answer the newest ping only).
    pong: Option<Box<[u8]>>,
    timers: Timers,
    /// Set once either side has begun to close.
    ending: Option<Box<Ending>>,
    /// The transport delivers nothing more.
    eof: bool,
    /// How many bytes the last poll left in the read buffer.
    seen: usize,
    /// The longest piece that the host wants.
    chunk_len: u32,
    /// The header of the frame that is arriving was taken by a raw connection, and checked by its rules only.
    unchecked_head: bool,
}

impl Connection {
    /// The client's end, for a host that did the opening handshake itself; `seed` feeds its masking
    /// keys.
    pub fn client(negotiated: Negotiated, seed: Seed, config: Arc<Config>, now: Instant) -> Self {
        Self::from_raw(RawConnection::client(seed, config), negotiated, now)
    }

    /// The server's end, for a host that did the opening handshake itself.
    pub fn server(negotiated: Negotiated, config: Arc<Config>, now: Instant) -> Self {
        Self::from_raw(RawConnection::server(config), negotiated, now)
    }

    /// Puts messages on top of frames. The raw connection must be between two messages; a frame that is half
    /// received is held to the rules and limits of messages. Over one that has failed the connection is over
    /// too: a Close frame names the rule that the peer broke, and so does [`Event::Closed`].
    pub fn from_raw(mut raw: RawConnection, negotiated: Negotiated, now: Instant) -> Self {
        let codecs = Codecs::new(negotiated.extensions);
        raw.accept_rsv(codecs.rsv());
        let failure = raw.failure.as_deref().copied();
        let mut connection = Self {
            timers: Timers::new(&raw.config, now),
            unchecked_head: raw.incoming.is_some(),
            raw,
            codecs,
            subprotocol: negotiated.subprotocol.as_deref().map(Box::from),
            assembly: None,
            sending: None,
            pong: None,
            ending: None,
            eof: false,
            seen: 0,
            chunk_len: u32::MAX,
        };
        if let Some(error) = failure {
            connection.fail_with(Cause::Protocol(error), &error.close_reason(), now);
        }
        connection
    }

    /// Takes the next event out of `inbound`, unmasking it in place; `None` when it needs more
    /// bytes.
    ///
    /// What it has not taken is still the caller's: not to poll is the backpressure.
    #[inline]
    pub fn poll_event(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        self.timers.tick(now);
        if inbound.len() != self.seen {
            self.handle_received(inbound.len().saturating_sub(self.seen), now);
        }
        let event =
            self.next_event(inbound, now).or_else(|| self.handle_starved(inbound.len(), now));
        self.seen = inbound.len();
        event
    }

    /// Bytes have come from the peer: it is alive.
    #[inline]
    fn handle_received(&mut self, len: usize, now: Instant) {
        self.timers.handle_received(len, &self.raw.config);
        if self.ending.is_some() {
            self.note_ending_progress(true, now);
        }
    }

    /// Takes what has arrived of the message that is arriving, if any, although it is neither whole nor a
    /// piece of [`Config::recv_chunk_len`](crate::Config::recv_chunk_len): for a receiver that wants a message as it
    /// comes. The rest of the message follows in pieces.
    ///
    /// Request it after [`poll_event`](Self::poll_event) has given `None`, with the same `inbound`.
    pub fn poll_partial(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Event> {
        let event = self.partial_message(inbound, now);
        self.seen = inbound.len();
        event
    }

    /// Says that the transport will deliver nothing more; events still in the read buffer come
    /// first.
    pub fn handle_eof(&mut self, now: Instant) {
        self.eof = true;
        self.ending_saw_eof(now);
    }

    /// Says that the transport has failed, in the host's words.
    pub fn handle_transport_error(&mut self, error: impl Into<ByteString>, now: Instant) {
        let by = self.ender(Party::Peer);
        self.end_at_once(by, Cause::Transport(error.into()), now);
    }

    /// Takes note that `now` has come, and fires what is due; a spurious call does no harm.
    ///
    /// What would be held against the peer is not fired before a [`poll_event`](Self::poll_event) has run
    /// out of bytes after it was first found due: until then [`poll_timeout`](Self::poll_timeout) stays in
    /// the past, so that a loop comes round once more, and reads what may have arrived in time. Where that takes
    /// several reads, bytes that come hold it back, for 250 ms at most. A poll that
    /// runs out of bytes fires what is due too, so that a peer that never stops sending stops no clock.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.fire_timers(now);
    }

    /// Takes note that the host has written as much of [`outbound`](Self::outbound) as the transport takes
    /// for now.
    ///
    /// [`Config::write_timeout`](crate::Config::write_timeout) counts from here, and what a transport takes
    /// that was full is a sign that the peer is alive. Without this call the timeout may take up to twice as
    /// long.
    pub fn handle_blocked(&mut self, now: Instant) {
        self.note_blocked(now);
    }

    /// Ends the connection with 1008, since the host has not read from the transport for
    /// [`Config::stall_timeout`](crate::Config::stall_timeout). Does nothing once either side has begun to
    /// close.
    pub fn handle_stall(&mut self, now: Instant) {
        self.fail_stalled(now);
    }

    /// Ends the connection with 1013, since the host holds too much for all its connections. What is held of
    /// an unfinished message is dropped, and so is what waits to be sent if it is more than
    /// [`Config::high_water`](crate::Config::high_water) bytes.
    pub fn handle_overload(&mut self, now: Instant) {
        if self.is_open() && self.is_writable() {
            let reason = CloseReason::new(
                crate::close::CloseCode::TRY_AGAIN_LATER,
                "too much is held for all connections (memory_budget)",
            );
            self.fail_with(Cause::Overloaded, &reason, now);
        } else {
            self.end_at_once(Party::Local, Cause::Overloaded, now);
        }
    }

    /// How many bytes the connection holds of a message that is arriving and of what waits to be sent, apart
    /// from payloads that are held elsewhere too.
    pub fn held(&self) -> usize {
        let assembly = self.assembly.as_ref().map_or(0, |assembly| assembly.capacity());
        assembly + self.raw.outbound.held()
    }

    /// Fails the connection with 1009, as for a message longer than
    /// [`Config::max_message_len`](crate::Config::max_message_len): for a receiver that puts the pieces of a
    /// message together. `len` is how long it is so far.
    pub fn reject_message(&mut self, len: u64, now: Instant) {
        let max = self.raw.config.max_message_len;
        let error = crate::error::ProtocolError::MessageTooLong { len, max };
        // After our Close frame messages still count.
        if self.ending.as_ref().is_none_or(|ending| !ending.is_deaf()) {
            let reason = error.close_reason();
            self.fail_with(Cause::Protocol(error), &reason, now);
        }
    }

    /// Has messages longer than `len` bytes delivered in pieces of that length, where
    /// [`Config::recv_chunk_len`](crate::Config::recv_chunk_len) is longer; `None` goes back to that. At least 4.
    pub fn set_chunk_len(&mut self, len: Option<u32>) {
        self.chunk_len = len.unwrap_or(u32::MAX).max(4);
    }

    /// The longest piece that is wanted.
    #[inline]
    pub(crate) fn longest_piece(&self) -> usize {
        match self.chunk_len {
            u32::MAX => self.raw.config.recv_chunk_len,
            len => self.raw.config.recv_chunk_len.min(len as usize),
        }
    }

    /// Takes note that the host has handed a message on that it had held, which counts as activity for
    /// [`Config::idle_timeout`](crate::Config::idle_timeout).
    pub fn note_delivery(&mut self) {
        self.timers.message_sent();
    }

    /// Queues a whole message, or what says how to send one: [`Message::uncompressed`](crate::Message::uncompressed), a
    /// [`Broadcast`](crate::Broadcast). It is never refused for lack of room: ask
    /// [`is_writable`](Self::is_writable) first.
    ///
    /// # Errors
    ///
    /// [`SendError::Closing`] once either side has begun to close;
    /// [`SendError::MessageUnfinished`] while a message is being sent in pieces;
    /// [`SendError::CodecFailed`] when an extension gives up, which closes the connection with 1011.
    #[inline]
    pub fn send(&mut self, message: impl Into<OutgoingMessage>) -> Result<(), SendError> {
        self.send_message(message.into())
    }

    /// Queues the next part of a message too long to hold; the first one begins the message, the one
    /// marked `last` ends it. Each is a frame of its own (RFC 6455 §5.4).
    ///
    /// # Errors
    ///
    /// [`SendError::Closing`] once either side has begun to close, except that a message begun
    /// before the peer closed may be ended; [`SendError::MessageUnfinished`] when the piece is of
    /// the other kind than the one before it; [`SendError::CodecFailed`] when an extension gives up,
    /// which closes the connection with 1011.
    pub fn send_chunk(&mut self, piece: Chunk) -> Result<(), SendError> {
        self.send_part(piece)
    }

    /// Queues a ping (RFC 6455 §5.5.2), apart from those of
    /// [`Config::ping_interval`](crate::Config::ping_interval).
    ///
    /// # Errors
    ///
    /// [`SendError::Closing`] once either side has begun to close; [`SendError::ControlTooLong`] for
    /// more than 125 bytes.
    pub fn ping(&mut self, payload: impl Into<Bytes>) -> Result<(), SendError> {
        self.send_ping(payload.into())
    }

    /// Starts the closing handshake (RFC 6455 §7.1.2). Events keep arriving until [`Event::Closed`]. A second
    /// call does nothing.
    ///
    /// The peer has [`Config::closing_timeout`](crate::Config::closing_timeout) to answer from when the
    /// transport has taken the Close frame, and again from whatever it sends. Before that,
    /// [`Config::write_timeout`](crate::Config::write_timeout) without progress ends the connection. In all
    /// it takes 12 closing timeouts at most, and longer only for a peer that takes at least 1 KiB a second.
    pub fn close(&mut self, reason: impl Into<CloseReason>, now: Instant) {
        self.start_closing(reason.into(), None, now);
    }

    /// Ends the connection without a closing handshake: what waits to be sent is dropped.
    pub fn abort(&mut self, now: Instant) {
        self.end_at_once(Party::Local, Cause::Aborted, now);
    }

    /// Replaces the settings. Deadlines follow at once; limits of length hold from the next frame on.
    pub fn set_config(&mut self, config: Arc<Config>, now: Instant) {
        self.timers.configure(&config, now);
        self.raw.config = config;
    }

    /// Takes note of whether the host reads from the transport. While it does not, the peer can neither
    /// answer nor finish a message, and neither is held against it; pings are sent all the same, and
    /// [`Config::idle_timeout`](crate::Config::idle_timeout) and
    /// [`Config::write_timeout`](crate::Config::write_timeout) go on.
    pub fn set_reading(&mut self, reading: bool, now: Instant) {
        self.timers.set_reading(reading, &self.raw.config, now);
    }

    /// The bytes to send, a [`bytes::Buf`]: write its (vectored) chunks, then `advance`.
    #[inline]
    pub fn outbound(&mut self) -> &mut Outbound {
        self.flush_pong();
        &mut self.raw.outbound
    }

    /// What to do with the transport once [`outbound`](Self::outbound) is drained.
    #[inline]
    pub fn transport_action(&self) -> TransportAction {
        self.ending.as_ref().map_or(TransportAction::KeepOpen, |ending| ending.transport_action())
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; any other call may change
    /// it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline()
    }

    /// Whether fewer bytes than [`Config::high_water`](crate::Config::high_water) wait to be sent.
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.raw.is_writable()
    }

    /// Whether neither side has begun to close.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.ending.is_none()
    }

    /// Whether a piece may be sent: while neither side has begun to close, and to end a message that was begun
    /// before the peer did.
    #[inline]
    pub fn can_send_chunk(&self) -> bool {
        self.may_send_part()
    }

    /// How many bytes of the frame that is arriving `inbound` still lacks, if the frame is left there
    /// until it is whole; for drivers that read straight into a buffer of the right size. Never make
    /// room for all of it at once: it is what the peer claims.
    pub fn bytes_needed(&self, inbound: &BytesMut) -> u64 {
        if self.assembly.is_some() { 0 } else { self.raw.bytes_needed(inbound) }
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.raw.role()
    }

    /// The settings in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.raw.config
    }

    /// The subprotocol that was agreed.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The extensions that were agreed on, in the order in which what is sent passes them.
    pub fn extensions(&self) -> impl Iterator<Item = &Params> {
        self.codecs.params()
    }

    /// A copy that goes on by itself, to try out what would become of a connection; `None` when an
    /// extension's codec cannot be copied.
    pub fn try_clone(&self) -> Option<Self> {
        Some(Self {
            raw: self.raw.clone(),
            codecs: self.codecs.try_clone()?,
            subprotocol: self.subprotocol.clone(),
            assembly: self.assembly.clone(),
            sending: self.sending,
            pong: self.pong.clone(),
            timers: self.timers.clone(),
            ending: self.ending.clone(),
            eof: self.eof,
            seen: self.seen,
            chunk_len: self.chunk_len,
            unchecked_head: self.unchecked_head,
        })
    }

    /// How long the last ping of [`Config::ping_interval`](crate::Config::ping_interval) took to
    /// come back.
    pub fn round_trip(&self) -> Option<Duration> {
        self.timers.round_trip()
    }
}
