//! One client, from its request to its end: [`Peer`].

use std::io::{ErrorKind, IoSlice, Result, Write};
use std::mem;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mio::Interest;
use mio::net::TcpStream;
use sockless_core::handshake::{ServerHandshake, UpgradeRequest, encode_response};
use sockless_core::{Config, Connection, Event, Instant, TransportAction};

use super::lent::Lent;

/// The reaction to each event.
pub(crate) type React = fn(&mut Connection, Event, Instant);

/// The number of reads from one peer before the others have their turn.
const READS: usize = 16;

/// The time that a rejected client has to read the response.
const LINGER: Duration = Duration::from_secs(5);

/// A client and all that is kept for it. An idle one owns nothing besides.
pub(crate) struct Peer {
    stream: TcpStream,
    state: State,
    /// The bytes of an incomplete frame, if there are any.
    leftover: Option<Box<BytesMut>>,
    /// Nothing more can be made of what has arrived.
    is_starved: bool,
    /// It sends nothing more.
    eof: bool,
    /// The end of the input was reported to it.
    shut_down: bool,
}

enum State {
    /// With the settings, which say what extensions there may be.
    Opening(ServerHandshake, Arc<Config>),
    Open(Connection),
    /// The answer is on its way, and what else comes in is dropped: a socket that is closed with bytes
    /// unread takes the answer back.
    Refused {
        answer: Bytes,
        until: Instant,
    },
}

/// The event that a peer waits for after its turn.
pub(crate) enum Wait {
    /// For its socket, or for its deadline.
    For(Interest),
    /// For the others to have had their turn: it has more to do.
    Others(Interest),
    /// For nothing: it is over.
    Over,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream, config: Arc<Config>, now: Instant) -> Self {
        let state = State::Opening(ServerHandshake::new(config.clone(), now), config);
        Self { stream, state, leftover: None, is_starved: true, eof: false, shut_down: false }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// When the peer wants a turn, whether or not its socket is ready.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Opening(handshake, _) => handshake.poll_timeout(),
            State::Open(connection) => connection.poll_timeout(),
            State::Refused { until, .. } => Some(*until),
        }
    }

    /// Does everything that can be done now. A spurious call does no harm.
    pub(crate) fn turn(&mut self, lent: &mut Lent, react: React, now: Instant) -> Wait {
        let mut inbound = lent.lend_inbound(self.leftover.take());
        if let State::Open(connection) = &mut self.state {
            lent.lend_staging(connection);
        }
        let wait = self.go_on(&mut inbound, lent, react, now).unwrap_or_else(|error| {
            if let State::Open(connection) = &mut self.state {
                connection.handle_transport_error(error.to_string(), now);
                self.advance(&mut inbound, react, now);
            }
            Wait::Over
        });
        if let State::Open(connection) = &mut self.state {
            lent.take_staging(connection);
        }
        self.leftover = lent.take_inbound(inbound);
        wait
    }

    fn go_on(
        &mut self,
        inbound: &mut BytesMut,
        lent: &mut Lent,
        react: React,
        now: Instant,
    ) -> Result<Wait> {
        for _ in 0..READS {
            // Input first: if this process stood still, it may have arrived before the deadline.
            let is_dry =
                self.is_reading(now) && self.is_starved && self.read(inbound, lent, now)?;
            self.is_starved = self.advance(inbound, react, now);
            // All replies to one read leave in one write.
            if self.write(now)? {
                match self.transport_action(now) {
                    TransportAction::ShutdownWrite if !mem::replace(&mut self.shut_down, true) => {
                        self.stream.shutdown(Shutdown::Write)?;
                    }
                    TransportAction::KeepOpen | TransportAction::ShutdownWrite => {}
                    TransportAction::Close => return Ok(Wait::Over),
                }
            }
            // What was left for want of room may have found some by now. While something comes, advancing
            // fires what is due.
            if self.has_room() && !self.is_starved || self.is_reading(now) && !is_dry {
                continue;
            }
            if self.deadline().is_none_or(|deadline| deadline > now) {
                return Ok(Wait::For(self.interest()));
            }
            self.handle_timeout(now);
        }
        Ok(Wait::Others(self.interest()))
    }

    /// Reads once, and returns whether the socket is drained: readiness is reported only for new bytes.
    fn read(&mut self, inbound: &mut BytesMut, lent: &mut Lent, now: Instant) -> Result<bool> {
        match lent.read(&mut self.stream, inbound) {
            Ok(0) => self.handle_eof(now),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        Ok(false)
    }

    fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Opening(handshake, _) => handshake.handle_timeout(now),
            State::Open(connection) => connection.handle_timeout(now),
            // A client that does not read the response by then is dropped.
            State::Refused { answer, until } if now >= *until => answer.clear(),
            State::Refused { .. } => {}
        }
    }

    fn handle_eof(&mut self, now: Instant) {
        self.eof = true;
        match &mut self.state {
            State::Opening(handshake, _) => handshake.handle_eof(),
            State::Open(connection) => connection.handle_eof(now),
            State::Refused { .. } => {}
        }
    }

    /// Handles the input that has arrived. True if nothing is left of it.
    fn advance(&mut self, inbound: &mut BytesMut, react: React, now: Instant) -> bool {
        if let State::Opening(..) = self.state {
            self.answer(inbound, now);
        }
        match &mut self.state {
            State::Opening(..) => {}
            State::Open(connection) => {
                // While a peer does not read its answers, its questions stay where they are.
                while has_room(connection) {
                    match connection.poll_event(inbound, now) {
                        Some(event) => react(connection, event, now),
                        None => return true,
                    }
                }
                return false;
            }
            State::Refused { .. } => inbound.clear(),
        }
        true
    }

    /// Answers the request, if it has arrived.
    fn answer(&mut self, inbound: &mut BytesMut, now: Instant) {
        let refused = |answer| State::Refused { answer, until: now + LINGER };
        // The handshake is used up by its end.
        let state = mem::replace(&mut self.state, refused(Bytes::new()));
        let State::Opening(mut handshake, config) = state else { return };
        let request = match handshake.poll_request(inbound) {
            None => return self.state = State::Opening(handshake, config),
            Some(request) => request.map_err(|error| error.response()),
        };
        let upgrade = request.and_then(|request| {
            UpgradeRequest::from_request(&request).map_err(|error| Some(error.response()))
        });
        self.state = match upgrade {
            Ok(mut upgrade) => {
                upgrade.select_extensions(config.get_extensions());
                let (response, negotiated) = upgrade.accept();
                State::Open(handshake.accept(&response, negotiated, config, now))
            }
            Err(Some(response)) => refused(encode_response(&response)),
            // The client has gone and reads no response.
            Err(None) => State::Refused { answer: Bytes::new(), until: now },
        };
    }

    /// Writes the bytes that the socket accepts. True if none is left.
    fn write(&mut self, now: Instant) -> Result<bool> {
        let outbound: &mut dyn Buf = match &mut self.state {
            State::Opening(..) => return Ok(true),
            State::Open(connection) => connection.outbound(),
            State::Refused { answer, .. } => answer,
        };
        let is_drained = write(&mut self.stream, outbound)?;
        if let State::Open(connection) = &mut self.state {
            connection.handle_blocked(now);
        }
        Ok(is_drained)
    }

    /// The action for the socket once everything is written.
    fn transport_action(&self, now: Instant) -> TransportAction {
        match &self.state {
            State::Opening(..) => TransportAction::KeepOpen,
            State::Open(connection) => connection.transport_action(),
            State::Refused { until, .. } if self.eof || now >= *until => TransportAction::Close,
            State::Refused { .. } => TransportAction::ShutdownWrite,
        }
    }

    /// True if the loop should read. The connection is notified, so that it does not expect a peer's
    /// reply while the loop does not read.
    fn is_reading(&mut self, now: Instant) -> bool {
        let has_room = self.has_room();
        if let State::Open(connection) = &mut self.state {
            connection.set_reading(has_room, now);
        }
        has_room && !self.eof
    }

    /// True if there is room for replies to further input.
    fn has_room(&self) -> bool {
        match &self.state {
            State::Open(connection) => has_room(connection),
            State::Opening(..) | State::Refused { .. } => true,
        }
    }

    /// The readiness of its socket that makes a turn useful.
    fn interest(&mut self) -> Interest {
        let reads = self.has_room() && !self.eof;
        let writes = match &mut self.state {
            State::Opening(..) => false,
            State::Open(connection) => connection.outbound().has_remaining(),
            State::Refused { answer, .. } => answer.has_remaining(),
        };
        match (reads, writes) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (false, true) => Interest::WRITABLE,
            // A socket must be watched for something, even if only its deadline is awaited.
            _ => Interest::READABLE,
        }
    }
}

/// Writes the bytes that the socket accepts. True if that was all.
fn write(stream: &mut TcpStream, outbound: &mut dyn Buf) -> Result<bool> {
    while outbound.has_remaining() {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = outbound.chunks_vectored(&mut slices);
        match stream.write_vectored(&slices[..count]) {
            Ok(len) => outbound.advance(len),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// True if there is room for replies to further input. A closing connection queues no reply, and has
/// to read until its end.
fn has_room(connection: &Connection) -> bool {
    connection.is_writable() || !connection.is_open()
}
