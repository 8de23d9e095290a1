//! The message layer: [`Connection`] and its public methods.

mod assembly;
mod closing;
mod input;
mod output;
mod receive;
mod send;
mod state;
mod steps;
mod timers;
mod waiting;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use crate::close::CloseReason;
use crate::config::Config;
use crate::error::SendError;
use crate::event::{Cause, Party};
use crate::extension::{Agreed, Codecs, Params};
use crate::message::Chunk;
use crate::observer::Observer;
use crate::outgoing::OutgoingMessage;
use crate::raw::RawConnection;
use crate::role::Role;
use crate::seed::Seed;
use crate::stats::Stats;
use crate::time::Instant;
use crate::turn::Turn;

use assembly::Assembly;
use send::Kind;
use timers::Timers;
use waiting::Waiting;

/// The result of an opening handshake: the subprotocol and the extensions that both ends agreed on.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Negotiated {
    /// The subprotocol, if one was agreed (RFC 6455 §1.9).
    pub subprotocol: Option<ByteString>,
    /// The extensions that were agreed on, in the order of the server's response (RFC 6455 §9.1).
    pub extensions: Vec<Agreed>,
}

/// An open WebSocket connection without its transport: it sends and receives messages, answers
/// pings, runs both closing handshakes, and enforces limits and deadlines.
///
/// [`poll_output`](Self::poll_output) drives it: it takes received bytes, and returns events, bytes to
/// write and what to wait for. Besides it there are
///
/// * *inputs*, by which a loop reports what happened: [`handle_eof`](Self::handle_eof) and
///   [`handle_transport_error`](Self::handle_transport_error);
/// * *commands*: [`send`](Self::send), [`send_chunk`](Self::send_chunk), [`ping`](Self::ping),
///   [`close`](Self::close), [`fail`](Self::fail), [`abort`](Self::abort),
///   [`set_config`](Self::set_config);
/// * *getters*, such as [`state`](Self::state);
/// * the [steps](#steps) that `poll_output` takes, for a driver that takes them in another order.
///
/// Every call that depends on time is passed `now`, which must not go back. Between calls only
/// append to `inbound`.
///
/// ```
/// use bytes::BytesMut;
/// use sockless_core::{Config, Connection, Event, Instant, Message, Negotiated, Seed};
///
/// let (config, now) = (std::sync::Arc::new(Config::default()), Instant::EPOCH);
/// let mut client =
///     Connection::client(Negotiated::default(), Seed::new([7; 32]), config.clone(), now);
/// let mut server = Connection::server(Negotiated::default(), config, now);
///
/// client.send("hello", now)?;
/// let mut outbound = client.outbound();
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
    /// Messages and pongs that wait for room.
    waiting: Option<Box<Waiting>>,
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
    /// [`Event::Closed`](crate::Event::Closed) does.
    pub fn from_raw(mut raw: RawConnection, negotiated: Negotiated, now: Instant) -> Self {
        let codecs = Codecs::new(negotiated.extensions);
        raw.turn = Turn::default();
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
            waiting: None,
            seen: 0,
            chunk_len: u32::MAX,
        };
        if let Some(error) = failure {
            connection.fail_with(Cause::Protocol(error), &error.close_reason(), now);
        }
        connection
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

    /// Queues a whole message: a [`Message`](crate::Message), one that is
    /// [not to be compressed](crate::Message::uncompressed), one that
    /// [replaces](crate::Message::latest) or [passes](crate::Message::priority) others, or a
    /// [`Broadcast`](crate::Broadcast).
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
    /// [`Event::Closed`](crate::Event::Closed). A second call does nothing.
    ///
    /// The peer has [`Config::closing_timeout`] to answer, counted from the time at which the
    /// transport has taken the Close frame, and again from each byte that it sends. Before that,
    /// [`Config::write_timeout`] without progress ends the connection. In all it takes at most 12
    /// closing timeouts, and a second for each KiB that the transport takes meanwhile or, at most
    /// 256 KiB, has taken before.
    pub fn close(&mut self, reason: impl Into<CloseReason>, now: Instant) {
        self.start_closing(reason.into(), None, now);
    }

    /// Fails the connection (RFC 6455 §7.1.7): drops what is queued and sends a Close frame at once,
    /// without waiting for the peer's. [`Event::Closed`](crate::Event::Closed) follows, with [`Cause::Failed`]. Does
    /// nothing once this end has queued a Close frame or ended the connection.
    ///
    /// A frame of which the transport has taken a part is finished first: the peer could not find
    /// the Close frame otherwise. It is also how to abandon a message that is being sent in chunks:
    /// the protocol has no way to take back a part of a message, and an empty last chunk would
    /// deliver the part as if it were whole.
    pub fn fail(&mut self, reason: impl Into<CloseReason>, now: Instant) {
        self.fail_now(reason.into(), now);
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

    /// Returns true while fewer than [`Config::high_water`] bytes are queued.
    #[inline]
    pub fn is_writable(&self) -> bool {
        match &self.waiting {
            None => self.raw.is_writable(),
            Some(_) => self.raw.outbound.unsent() + self.waiting_cost() < self.config().high_water,
        }
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

    /// Returns true if extensions were agreed on.
    #[inline]
    pub fn has_extensions(&self) -> bool {
        !self.codecs.is_empty()
    }

    /// Sets the observer of frames and states, or removes it. Returns the former one.
    pub fn set_observer(
        &mut self,
        observer: Option<Box<dyn Observer>>,
    ) -> Option<Box<dyn Observer>> {
        self.raw.set_observer(observer)
    }

    /// Starts to count frames and received bytes for [`stats`](Self::stats), unless an observer has started it.
    /// The counters take some 200 bytes.
    pub fn start_counting(&mut self) {
        self.raw.start_counting();
    }

    /// Returns the counters of the connection.
    pub fn stats(&self) -> Stats {
        Stats {
            held_bytes: self.held_bytes(),
            round_trip: self.round_trip(),
            round_trips: self.timers.round_trips(),
            ..self.raw.stats()
        }
    }

    /// Returns the round-trip time of the last ping of [`Config::ping_interval`] that was answered.
    pub fn round_trip(&self) -> Option<Duration> {
        self.timers.round_trip()
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
