//! One client, from its request to its end: [`Peer`].

use std::io::{ErrorKind, IoSlice, Result, Write};
use std::mem;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mio::Interest;
use mio::net::TcpStream;
use sockless::handshake::{ServerHandshake, UpgradeRequest, encode_response};
use sockless::{Config, Connection, Event, Instant, Transport};

use super::lent::Lent;

/// What is done with each event.
pub(crate) type React = fn(&mut Connection, Event);

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
    /// For the others to have had their turn: it has more to read.
    Others(Interest),
    /// For nothing: it is over.
    Over,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream, config: Arc<Config>, now: Instant) -> Self {
        let state = State::Opening(ServerHandshake::new(config.clone(), now), config);
        Self { stream, state, leftover: None, eof: false, shut_down: false }
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
        self.handle_timeout(now);
        for _ in 0..READS {
            self.advance(inbound, react, now);
            // What the events of one read gave rise to leaves in one write.
            if self.write()? {
                match self.transport(now) {
                    Transport::KeepOpen => {}
                    Transport::ShutdownWrite if self.shut_down => {}
                    Transport::ShutdownWrite => {
                        self.stream.shutdown(Shutdown::Write)?;
                        self.shut_down = true;
                    }
                    Transport::Close => return Ok(Wait::Over),
                }
            }
            if !self.is_reading(now) {
                return Ok(Wait::For(self.interest()));
            }
            // To the last byte, since the loop is told only of what is new.
            match lent.read(&mut self.stream, inbound) {
                Ok(0) => self.handle_eof(now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Wait::For(self.interest()));
                }
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(Wait::Others(self.interest()))
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

    /// Makes of what has arrived what can be made of it.
    fn advance(&mut self, inbound: &mut BytesMut, react: React, now: Instant) {
        if let State::Opening(..) = self.state {
            self.answer(inbound, now);
        }
        match &mut self.state {
            State::Opening(..) => {}
            State::Open(connection) => {
                // While a peer does not read its answers, its questions stay where they are.
                while has_room(connection)
                    && let Some(event) = connection.poll_event(inbound, now)
                {
                    react(connection, event);
                }
            }
            State::Refused { .. } => inbound.clear(),
        }
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

    /// Writes what waits to be written; whether nothing does any more.
    fn write(&mut self) -> Result<bool> {
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let outbound: &mut dyn Buf = match &mut self.state {
                State::Opening(..) => return Ok(true),
                State::Open(connection) => connection.outbound(),
                State::Refused { answer, .. } => answer,
            };
            if !outbound.has_remaining() {
                return Ok(true);
            }
            let count = outbound.chunks_vectored(&mut slices);
            match self.stream.write_vectored(&slices[..count]) {
                Ok(len) => outbound.advance(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What to do with the socket when all is written.
    fn transport(&self, now: Instant) -> Transport {
        match &self.state {
            State::Opening(..) => Transport::KeepOpen,
            State::Open(connection) => connection.transport(),
            State::Refused { until, .. } if self.eof || now >= *until => Transport::Close,
            State::Refused { .. } => Transport::ShutdownWrite,
        }
    }

    /// Whether to read on. A connection is told, for it does not blame a peer for silence that nobody
    /// listens to.
    fn is_reading(&mut self, now: Instant) -> bool {
        let reading = match &mut self.state {
            State::Open(connection) => {
                let reading = has_room(connection);
                connection.set_reading(reading, now);
                reading
            }
            State::Opening(..) | State::Refused { .. } => true,
        };
        reading && !self.eof
    }

    /// What its socket has to be ready for to be worth a turn.
    fn interest(&mut self) -> Interest {
        let (reads, writes) = match &mut self.state {
            State::Opening(..) => (true, false),
            State::Open(connection) => {
                (has_room(connection), connection.outbound().has_remaining())
            }
            State::Refused { answer, .. } => (true, answer.has_remaining()),
        };
        match (reads && !self.eof, writes) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (false, true) => Interest::WRITABLE,
            // A socket must be watched for something, even if only its deadline is awaited.
            _ => Interest::READABLE,
        }
    }
}

/// Whether there is room for the answers to what is read. One that closes gives no more answers, and has
/// to hear of its end.
fn has_room(connection: &Connection) -> bool {
    connection.is_writable() || !connection.is_open()
}
