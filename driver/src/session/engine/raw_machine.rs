//! A connection of frames with what a driver needs besides: [`RawMachine`], its end and its deadlines.

use bytes::{Buf, BytesMut};
use sockless_core::{
    Cause, Closed, Connection, Event, Instant, Negotiated, Party, RawConnection, Timeout,
    TransportAction,
};

use crate::session::engine::machine::Item;

/// A connection of frames, and the end of its transport.
pub(crate) struct RawMachine {
    pub(crate) connection: RawConnection,
    pub(crate) eof: bool,
    phase: Phase,
    /// How many bytes had been taken out when that last changed.
    taken: u64,
    /// When the transport last made progress, while bytes wait to be sent or the end is waited for.
    since: Option<Instant>,
    report: Option<Closed>,
    /// What the handshake settled, for messages on top.
    negotiated: Negotiated,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// What is queued leaves, then the writing half ends; what arrives is dropped until the peer ends, is
    /// silent for too long, or `cap` has come.
    Lingering {
        cap: Instant,
    },
    /// The transport is to be dropped.
    Over,
}

/// How slowly the peer may take what was sent before the end, in bytes a second.
const SLOWEST: u64 = 1024;

impl RawMachine {
    pub(crate) fn new(mut connection: RawConnection, negotiated: Negotiated) -> Self {
        for agreed in &negotiated.extensions {
            connection.accept_rsv(connection.rsv().union(agreed.rsv()));
        }
        Self {
            connection,
            eof: false,
            phase: Phase::Open,
            taken: 0,
            since: None,
            report: None,
            negotiated,
        }
    }

    /// The same connection with messages on top; an end that has come to it comes to that too.
    pub(crate) fn raise_to_messages(&mut self, now: Instant) -> Connection {
        let config = self.connection.config().clone();
        let raw = std::mem::replace(&mut self.connection, RawConnection::server(config));
        let negotiated = std::mem::take(&mut self.negotiated);
        let mut connection = Connection::from_raw(raw, negotiated, now);
        if self.eof {
            connection.handle_eof(now);
        }
        if !self.is_open() {
            connection.abort(now);
        }
        connection
    }

    /// Whether frames may be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(crate) fn transport_action(&self) -> TransportAction {
        match self.phase {
            Phase::Open => TransportAction::KeepOpen,
            Phase::Lingering { .. } => TransportAction::ShutdownWrite,
            Phase::Over => TransportAction::Close,
        }
    }

    /// Sends nothing more: what is queued leaves, then the writing half is shut down.
    pub(crate) fn finish(&mut self, now: Instant) {
        self.linger(Party::Local, Cause::Aborted, now);
    }

    /// What a peer breaks on a raw connection is for the application to answer; the transport ends.
    pub(crate) fn fail(&mut self, cause: Cause, now: Instant) {
        self.linger(Party::Local, cause, now);
    }

    pub(crate) fn poll(&mut self, inbound: &mut BytesMut, now: Instant) -> Option<Item> {
        if !self.is_open() {
            if !inbound.is_empty() {
                inbound.clear();
                self.since = Some(now);
            }
            if self.eof {
                self.phase = Phase::Over;
            }
            return self.take_report();
        }
        match self.connection.poll_frame(inbound) {
            Some(Ok(frame)) => Some(Item::Frame(frame)),
            Some(Err(error)) => {
                self.fail(Cause::Protocol(error), now);
                self.take_report()
            }
            None if self.eof => {
                self.end(Party::Peer, Cause::Eof);
                self.take_report()
            }
            None => None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let config = self.connection.config();
        let since = self.since?;
        let has_unsent = self.connection.has_unsent();
        match self.phase {
            Phase::Open => {
                let limit = config.get_write_timeout().filter(|_| has_unsent);
                limit.map(|limit| since + limit)
            }
            Phase::Lingering { cap } => {
                let closing = config.get_closing_timeout();
                let writing = config.get_write_timeout().unwrap_or(closing * CAP).max(closing);
                Some((since + if has_unsent { writing } else { closing }).min(cap))
            }
            Phase::Over => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            Phase::Open => self.end(Party::Local, Cause::Timeout(Timeout::Write)),
            _ => {
                self.phase = Phase::Over;
                self.drop_unsent();
            }
        }
    }

    /// Takes note of what the transport has taken.
    pub(crate) fn note_progress(&mut self, now: Instant) {
        if self.is_open() && !self.connection.has_unsent() {
            self.since = None;
            return;
        }
        let taken = self.connection.outbound().taken();
        if self.taken != taken || self.since.is_none() {
            self.taken = taken;
            self.since = Some(now);
        }
    }

    /// Ends the connection, and drops what waits to be sent.
    pub(crate) fn end(&mut self, by: Party, cause: Cause) {
        self.drop_unsent();
        self.report(by, cause);
        self.phase = Phase::Over;
    }

    fn linger(&mut self, by: Party, cause: Cause, now: Instant) {
        if !self.is_open() {
            return;
        }
        self.report(by, cause);
        let unsent = self.connection.outbound().remaining() as u64;
        let longest = self.connection.config().get_closing_timeout() * CAP;
        let cap = now + longest + std::time::Duration::from_secs(unsent / SLOWEST);
        self.phase = Phase::Lingering { cap };
        self.since = Some(now);
    }

    fn report(&mut self, by: Party, cause: Cause) {
        if self.is_open() {
            self.report = Some(Closed::new(by, cause, None, None));
        }
    }

    fn take_report(&mut self) -> Option<Item> {
        self.report.take().map(|closed| Item::Event(Event::Closed(closed)))
    }

    fn drop_unsent(&mut self) {
        let outbound = self.connection.outbound();
        outbound.advance(outbound.remaining());
    }
}

/// How many closing timeouts an end may take, besides the time that the slowest peer takes.
const CAP: u32 = 12;
