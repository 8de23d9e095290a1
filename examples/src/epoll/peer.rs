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

/// What is done with each event.
pub(crate) type React = fn(&mut Connection, Event, Instant);

/// How often one peer is read from before it is the others' turn.
const READS: usize = 16;

/// How long a client that was refused may take to read the answer.
const LINGER: Duration = Duration::from_secs(5);

/// A client and all that is kept for it. An idle one owns nothing besides.
pub(crate) struct Peer {
    stream: TcpStream,
    state: State,
    /// What has arrived and is no whole frame yet, if there is such.
    leftover: Option<Box<BytesMut>>,
    /// Nothing more can be made of what has arrived.
    is_starved: bool,
    /// It sends nothing more.
    eof: bool,
    /// It was told that nothing more comes.
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

/// What a peer waits for after its turn.
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

    /// Does all that can be done now. It does no harm to call this for no reason.
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
            // First what has come: after a standstill of ours it may have come in time.
            let is_dry =
                self.is_reading(now) && self.is_starved && self.read(inbound, lent, now)?;
            self.is_starved = self.advance(inbound, react, now);
            // What the events of one read gave rise to leaves in one write.
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

    /// Reads once, and says whether that was to the last byte, since the loop is told only of what is new.
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
            // Who does not take the answer by then does without.
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

    /// Makes of what has arrived what can be made of it, and says whether that was all.
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
            // Nobody is there to read an answer.
            Err(None) => State::Refused { answer: Bytes::new(), until: now },
        };
    }

    /// Writes what the socket takes; whether nothing waits any more.
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

    /// What to do with the socket when all is written.
    fn transport_action(&self, now: Instant) -> TransportAction {
        match &self.state {
            State::Opening(..) => TransportAction::KeepOpen,
            State::Open(connection) => connection.transport_action(),
            State::Refused { until, .. } if self.eof || now >= *until => TransportAction::Close,
            State::Refused { .. } => TransportAction::ShutdownWrite,
        }
    }

    /// Whether to read on. A connection takes note of it, for it does not blame a peer for silence that the
    /// loop does not listen to.
    fn is_reading(&mut self, now: Instant) -> bool {
        let has_room = self.has_room();
        if let State::Open(connection) = &mut self.state {
            connection.set_reading(has_room, now);
        }
        has_room && !self.eof
    }

    /// Whether there is room for the answers to what is read.
    fn has_room(&self) -> bool {
        match &self.state {
            State::Open(connection) => has_room(connection),
            State::Opening(..) | State::Refused { .. } => true,
        }
    }

    /// What its socket has to be ready for to be worth a turn.
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

/// Writes what the socket takes, and says whether that was all.
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

/// Whether there is room for the answers to what is read. One that closes gives no more answers, and has
/// to hear of its end.
fn has_room(connection: &Connection) -> bool {
    connection.is_writable() || !connection.is_open()
}
