//! The protocol a driver runs: messages or frames, behind one set of verbs.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use sockless::{
    Cause, CloseReason, Closed, Config, Connection, Event, Frame, Instant, Negotiated, Outbound,
    Party, ProtocolError, RawConnection, Transport,
};

/// What a connection comes up with: an event of its messages, or a frame.
#[derive(Debug)]
pub(crate) enum Item {
    Event(Event),
    Frame(Frame),
}

impl Item {
    /// What holding it costs in bytes.
    pub(crate) fn cost(&self) -> usize {
        let payload = match self {
            Self::Frame(frame) => frame.payload.len(),
            Self::Event(Event::Message(message)) => message.len(),
            Self::Event(Event::Piece(piece)) => piece.data.len(),
            // Nothing else is held.
            Self::Event(_) => 0,
        };
        size_of::<Self>() + payload
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
                raw.end(Party::Peer, Cause::Transport(error.to_string().into()), Transport::Close);
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
            Self::Raw(raw) => raw.deadline,
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
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Messages(connection) => connection.transport(),
            Self::Raw(raw) => raw.exit,
        }
    }

    /// Whether neither side has begun to close.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Messages(connection) => connection.is_open(),
            Self::Raw(raw) => raw.is_open(),
        }
    }

    pub(crate) fn missing(&self, inbound: &BytesMut) -> u64 {
        match self {
            Self::Messages(connection) => connection.missing(inbound),
            Self::Raw(raw) => raw.connection.missing(inbound),
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
            Self::Raw(raw) => raw.end(Party::Local, Cause::Aborted, Transport::Close),
        }
    }
}

/// A connection of frames, and the end of its transport.
pub(crate) struct RawMachine {
    pub(crate) connection: RawConnection,
    eof: bool,
    exit: Transport,
    /// When the peer's end of the transport is no longer waited for.
    deadline: Option<Instant>,
    ended: bool,
    report: Option<Closed>,
    /// What the handshake settled, for messages on top.
    negotiated: Negotiated,
}

impl RawMachine {
    pub(crate) fn new(mut connection: RawConnection, negotiated: Negotiated) -> Self {
        for agreed in &negotiated.extensions {
            connection.accept_rsv(connection.rsv().union(agreed.rsv()));
        }
        Self {
            connection,
            eof: false,
            exit: Transport::KeepOpen,
            deadline: None,
            ended: false,
            report: None,
            negotiated,
        }
    }

    /// The same connection with messages on top; an end that has come to it comes to that too.
    pub(crate) fn raise_to_messages(&mut self, now: Instant) -> Connection {
        let config = self.connection.config().clone();
        let raw = std::mem::replace(&mut self.connection, RawConnection::server(config));
        let negotiated = std::mem::take(&mut self.negotiated);
        let mut connection = Connection::over(raw, negotiated, now);
        if self.eof {
            connection.handle_eof(now);
        }
        if self.ended {
            connection.abort(now);
        }
        connection
    }

    /// Whether frames may be sent.
    pub(crate) fn is_open(&self) -> bool {
        !self.ended
    }

    /// Says nothing more: what is queued goes out, then the writing half is shut down.
    pub(crate) fn finish(&mut self, now: Instant) {
        if !self.ended {
            self.deadline = Some(now + self.connection.config().get_closing_timeout());
            self.end(Party::Local, Cause::Aborted, Transport::ShutdownWrite);
        }
    }

    fn poll(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Item> {
        if self.ended {
            inbound.clear();
            if self.eof {
                self.exit = Transport::Close;
            }
            return self.take_report();
        }
        match self.connection.poll_frame(inbound) {
            Some(Ok(frame)) => Some(Item::Frame(frame)),
            Some(Err(error)) => {
                self.fail(error, now);
                self.take_report()
            }
            None if self.eof => {
                self.end(Party::Peer, Cause::Eof, Transport::Close);
                self.take_report()
            }
            None => None,
        }
    }

    /// What a peer breaks on a raw connection is for the application to answer; the transport ends.
    fn fail(&mut self, error: ProtocolError, now: Instant) {
        self.deadline = Some(now + self.connection.config().get_closing_timeout());
        self.end(Party::Local, Cause::Protocol(error), Transport::ShutdownWrite);
    }

    fn take_report(&mut self) -> Option<Item> {
        self.report.take().map(|closed| Item::Event(Event::Closed(closed)))
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.exit = Transport::Close;
            let outbound = self.connection.outbound();
            outbound.advance(outbound.remaining());
        }
    }

    fn end(&mut self, by: Party, cause: Cause, exit: Transport) {
        self.exit = exit;
        if exit == Transport::Close {
            self.deadline = None;
            let outbound = self.connection.outbound();
            outbound.advance(outbound.remaining());
        }
        if !self.ended {
            self.ended = true;
            self.report = Some(Closed::new(by, cause, None, None));
        }
    }
}
