//! The protocol that a driver runs: messages or frames, behind one set of methods.

use std::sync::Arc;

use bytes::BytesMut;
use sockless_core::{
    CloseReason, Config, Connection, Event, Frame, Instant, Negotiated, Observer, Outbound,
    RawConnection, Role, Stats, TransportAction,
};

/// An item that a connection returns: an event of its messages, or a frame.
#[derive(Debug)]
pub(crate) enum Item {
    Event(Event),
    Frame(Frame),
}

impl Item {
    /// The memory in bytes that it takes.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Self>() + self.len()
    }

    /// The length of its payload.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.payload.len(),
            Self::Event(Event::Message(message)) => message.len(),
            Self::Event(Event::Chunk(chunk)) => chunk.data.len(),
            // No other event is kept.
            Self::Event(_) => 0,
        }
    }
}

pub(crate) enum Machine {
    Messages(Connection),
    /// Frames, with the result of the handshake for messages that may be put on top.
    Frames(RawConnection, Negotiated),
}

/// Calls the same method of either connection.
macro_rules! of_either {
    ($machine:expr, $connection:ident => $call:expr) => {
        match $machine {
            Machine::Messages($connection) => $call,
            Machine::Frames($connection, _) => $call,
        }
    };
}

impl Machine {
    /// A machine of frames, which accepts the reserved bits of the extensions that were agreed on.
    pub(crate) fn frames(mut connection: RawConnection, negotiated: Negotiated) -> Self {
        for agreed in &negotiated.extensions {
            connection.accept_rsv(connection.rsv().union(agreed.rsv()));
        }
        Self::Frames(connection, negotiated)
    }

    /// A client's machine of frames, which accepts the reserved bits that its handshake allows.
    pub(crate) fn frames_of_client(
        connection: RawConnection,
        negotiated: Negotiated,
        _opened_at: Instant,
    ) -> Self {
        Self::Frames(connection, negotiated)
    }

    /// The connection of messages, if it is one.
    #[inline]
    pub(crate) fn messages(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Messages(connection) => Some(connection),
            Self::Frames(..) => None,
        }
    }

    /// The connection of messages, while messages may be sent.
    #[inline]
    pub(crate) fn open_messages(&mut self) -> Option<&mut Connection> {
        self.messages().filter(|connection| connection.is_open())
    }

    /// The connection of frames, while frames may be sent.
    pub(crate) fn open_frames(&mut self) -> Option<&mut RawConnection> {
        match self {
            Self::Frames(connection, _) if connection.is_open() => Some(connection),
            _ => None,
        }
    }

    /// Puts messages on top of frames; `unread` are the frames that have not been received.
    pub(crate) fn raise_to_messages(
        &mut self,
        unread: impl Iterator<Item = Item>,
        inbound: &mut BytesMut,
        now: Instant,
    ) {
        let Self::Frames(raw, negotiated) = self else { return };
        let frames = unread.filter_map(|item| match item {
            Item::Frame(frame) => Some(frame),
            Item::Event(_) => None,
        });
        raw.put_back(frames, inbound);
        let config = Arc::clone(raw.config());
        let raw = std::mem::replace(raw, RawConnection::server(config));
        *self = Self::Messages(Connection::from_raw(raw, std::mem::take(negotiated), now));
    }

    #[inline]
    pub(crate) fn poll(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Item> {
        match self {
            Self::Messages(connection) => connection.poll_event(inbound, now).map(Item::Event),
            Self::Frames(connection, _) => Some(match connection.poll_frame(inbound, now)? {
                Ok(frame) => Item::Frame(frame),
                Err(closed) => Item::Event(Event::Closed(closed)),
            }),
        }
    }

    /// Starts to close. A connection of frames sends no reason.
    pub(crate) fn close(&mut self, reason: CloseReason, now: Instant) {
        match self {
            Self::Messages(connection) => connection.close(reason, now),
            Self::Frames(connection, _) => connection.close(now),
        }
    }

    /// Sends a Close frame ahead of what is queued. A connection of frames closes.
    pub(crate) fn fail(&mut self, reason: CloseReason, now: Instant) {
        match self {
            Self::Messages(connection) => connection.fail(reason, now),
            Self::Frames(connection, _) => connection.close(now),
        }
    }

    pub(crate) fn set_config(&mut self, config: Arc<Config>, now: Instant) {
        match self {
            Self::Messages(connection) => connection.set_config(config, now),
            Self::Frames(connection, _) => connection.set_config(config),
        }
    }

    /// Returns true if a chunk of a message, or a frame, may be sent.
    pub(crate) fn can_send_chunk(&self) -> bool {
        match self {
            Self::Messages(connection) => connection.can_send_chunk(),
            Self::Frames(connection, _) => connection.is_open(),
        }
    }

    /// The connection of messages, if its extensions may decode much out of few bytes.
    #[inline]
    pub(crate) fn decoding(&mut self) -> Option<&mut Connection> {
        self.messages().filter(|connection| connection.has_extensions())
    }

    pub(crate) fn role(&self) -> Role {
        of_either!(self, connection => connection.role())
    }

    pub(crate) fn start_counting(&mut self) {
        of_either!(self, connection => connection.start_counting());
    }

    pub(crate) fn stats(&self) -> Stats {
        of_either!(self, connection => connection.stats())
    }

    pub(crate) fn set_observer(
        &mut self,
        observer: Option<Box<dyn Observer>>,
    ) -> Option<Box<dyn Observer>> {
        of_either!(self, connection => connection.set_observer(observer))
    }

    pub(crate) fn abort(&mut self, now: Instant) {
        of_either!(self, connection => connection.abort(now));
    }

    pub(crate) fn handle_eof(&mut self, now: Instant) {
        of_either!(self, connection => connection.handle_eof(now));
    }

    pub(crate) fn handle_transport_error(&mut self, error: &std::io::Error, now: Instant) {
        of_either!(self, connection => connection.handle_transport_error(error.to_string(), now));
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        of_either!(self, connection => connection.handle_timeout(now));
    }

    pub(crate) fn handle_blocked(&mut self, now: Instant) {
        of_either!(self, connection => connection.handle_blocked(now));
    }

    pub(crate) fn handle_flushed(&mut self, is_flushed: bool, now: Instant) {
        of_either!(self, connection => connection.handle_flushed(is_flushed, now));
    }

    pub(crate) fn handle_stall(&mut self, now: Instant) {
        of_either!(self, connection => connection.handle_stall(now));
    }

    pub(crate) fn handle_overload(&mut self, now: Instant) {
        of_either!(self, connection => connection.handle_overload(now));
    }

    #[inline]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        of_either!(self, connection => connection.poll_timeout())
    }

    #[inline]
    pub(crate) fn transport_action(&self) -> TransportAction {
        of_either!(self, connection => connection.transport_action())
    }

    #[inline]
    pub(crate) fn outbound(&mut self) -> Outbound<'_> {
        of_either!(self, connection => connection.outbound())
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        of_either!(self, connection => connection.is_open())
    }

    #[inline]
    pub(crate) fn is_writable(&self) -> bool {
        of_either!(self, connection => connection.is_writable())
    }

    #[inline]
    pub(crate) fn held_bytes(&self) -> usize {
        of_either!(self, connection => connection.held_bytes())
    }

    pub(crate) fn bytes_needed(&self, inbound: &BytesMut) -> u64 {
        of_either!(self, connection => connection.bytes_needed(inbound))
    }

    #[inline]
    pub(crate) fn config(&self) -> &Arc<Config> {
        of_either!(self, connection => connection.config())
    }
}
