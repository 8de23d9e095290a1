//! The protocol a driver runs: messages or frames, behind one set of verbs.

use std::sync::Arc;

use bytes::BytesMut;
use sockless_core::{
    Cause, CloseReason, Config, Connection, Event, Frame, Instant, Outbound, Party, Timeout,
    TransportAction,
};

pub(crate) use crate::session::engine::raw_machine::RawMachine;

/// What a connection comes up with: an event of its messages, or a frame.
#[derive(Debug)]
pub(crate) enum Item {
    Event(Event),
    Frame(Frame),
}

impl Item {
    /// What holding it costs in bytes.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Self>() + self.len()
    }

    /// How long its payload is.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.payload.len(),
            Self::Event(Event::Message(message)) => message.len(),
            Self::Event(Event::Chunk(piece)) => piece.data.len(),
            // Nothing else is held.
            Self::Event(_) => 0,
        }
    }
}

pub(crate) enum Machine {
    Messages(Connection),
    Raw(RawMachine),
}

impl Machine {
    #[inline]
    pub(crate) fn poll(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Item> {
        match self {
            Self::Messages(connection) => connection.poll_event(inbound, now).map(Item::Event),
            Self::Raw(raw) => raw.poll(inbound, now),
        }
    }

    /// What has arrived of a message, although it is neither whole nor a piece.
    pub(crate) fn poll_partial(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Item> {
        match self {
            Self::Messages(connection) => connection.poll_partial(inbound, now).map(Item::Event),
            Self::Raw(_) => None,
        }
    }

    pub(crate) fn handle_eof(&mut self, now: Instant) {
        match self {
            Self::Messages(connection) => connection.handle_eof(now),
            Self::Raw(raw) => raw.eof = true,
        }
    }

    pub(crate) fn handle_transport_error(&mut self, error: &std::io::Error, now: Instant) {
        match self {
            Self::Messages(connection) => {
                connection.handle_transport_error(error.to_string(), now);
            }
            Self::Raw(raw) => {
                raw.end(Party::Peer, Cause::Transport(error.to_string().into()));
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Messages(connection) => connection.handle_timeout(now),
            Self::Raw(raw) => raw.handle_timeout(now),
        }
    }

    #[inline]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Messages(connection) => connection.poll_timeout(),
            Self::Raw(raw) => raw.poll_timeout(),
        }
    }

    /// The transport has taken what it takes for now.
    pub(crate) fn handle_blocked(&mut self, now: Instant) {
        match self {
            Self::Messages(connection) => connection.handle_blocked(now),
            Self::Raw(raw) => raw.note_progress(now),
        }
    }

    /// Nothing could be read for too long, since nothing is received.
    pub(crate) fn handle_stall(&mut self, now: Instant) {
        match self {
            Self::Messages(connection) => connection.handle_stall(now),
            Self::Raw(raw) => raw.fail(Cause::Timeout(Timeout::Stall), now),
        }
    }

    /// Too much is held for all sessions of the host, and for this one.
    pub(crate) fn handle_overload(&mut self, now: Instant) {
        match self {
            Self::Messages(connection) => connection.handle_overload(now),
            Self::Raw(raw) => raw.end(Party::Local, Cause::Overloaded),
        }
    }

    /// How many bytes it holds.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Messages(connection) => connection.held(),
            Self::Raw(raw) => raw.connection.held(),
        }
    }

    /// Something that was held has been handed on.
    #[inline]
    pub(crate) fn note_delivery(&mut self) {
        if let Self::Messages(connection) = self {
            connection.note_delivery();
        }
    }

    /// Whether messages or frames may be sent.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Messages(connection) => connection.is_open(),
            Self::Raw(raw) => raw.is_open(),
        }
    }

    /// Whether a part of a message, or a frame, may be sent.
    pub(crate) fn can_send_part(&self) -> bool {
        match self {
            Self::Messages(connection) => connection.can_send_chunk(),
            Self::Raw(raw) => raw.is_open(),
        }
    }

    #[inline]
    pub(crate) fn outbound(&mut self) -> &mut Outbound {
        match self {
            Self::Messages(connection) => connection.outbound(),
            Self::Raw(raw) => raw.connection.outbound(),
        }
    }

    #[inline]
    pub(crate) fn is_writable(&self) -> bool {
        match self {
            Self::Messages(connection) => connection.is_writable(),
            Self::Raw(raw) => raw.connection.is_writable(),
        }
    }

    #[inline]
    pub(crate) fn transport_action(&self) -> TransportAction {
        match self {
            Self::Messages(connection) => connection.transport_action(),
            Self::Raw(raw) => raw.transport_action(),
        }
    }

    pub(crate) fn bytes_needed(&self, inbound: &BytesMut) -> u64 {
        match self {
            Self::Messages(connection) => connection.bytes_needed(inbound),
            Self::Raw(raw) => raw.connection.bytes_needed(inbound),
        }
    }

    #[inline]
    pub(crate) fn config(&self) -> &Arc<Config> {
        match self {
            Self::Messages(connection) => connection.config(),
            Self::Raw(raw) => raw.connection.config(),
        }
    }

    pub(crate) fn set_config(&mut self, config: Arc<Config>, now: Instant) {
        match self {
            Self::Messages(connection) => connection.set_config(config, now),
            Self::Raw(raw) => raw.connection.set_config(config),
        }
    }

    pub(crate) fn set_reading(&mut self, reading: bool, now: Instant) {
        if let Self::Messages(connection) = self {
            connection.set_reading(reading, now);
        }
    }

    /// Says nothing more after `reason`; a connection of frames has none to give.
    pub(crate) fn close(&mut self, reason: CloseReason, now: Instant) {
        match self {
            Self::Messages(connection) => connection.close(reason, now),
            Self::Raw(raw) => raw.finish(now),
        }
    }

    pub(crate) fn abort(&mut self, now: Instant) {
        match self {
            Self::Messages(connection) => connection.abort(now),
            Self::Raw(raw) => raw.end(Party::Local, Cause::Aborted),
        }
    }
}
