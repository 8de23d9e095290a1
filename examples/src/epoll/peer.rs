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
use sockless_core::{Config, Connection, Event, Instant, Output, Wait};

use super::lent::Lent;

/// The reaction to each event.
pub(crate) type React = fn(&mut Connection, Event, Instant);

/// The number of turns of one peer before the others have theirs.
const TURNS: usize = 16;

/// The time that a rejected client has to read the response.
const LINGER: Duration = Duration::from_secs(5);

/// A client and all that is kept for it. An idle one owns nothing besides.
pub(crate) struct Peer {
    stream: TcpStream,
    state: State,
    /// The bytes of an incomplete frame, if there are any.
    leftover: Option<Box<BytesMut>>,
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

/// The next thing that a peer waits for after a turn.
pub(crate) enum Next {
    /// For its socket, or for this time.
    Wait(Interest, Option<Instant>),
    /// For nothing: it has more to do, when the others have had their turn.
    Again,
    /// It is over.
    Over,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream, config: Arc<Config>, now: Instant) -> Self {
        let state = State::Opening(ServerHandshake::new(config.clone(), now), config);
        Self { stream, state, leftover: None }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Does everything that can be done now. A spurious call does no harm.
    pub(crate) fn turn(&mut self, lent: &mut Lent, react: React, now: Instant) -> Next {
        let mut inbound = lent.lend_inbound(self.leftover.take());
        let mut next = Next::Again;
        for _ in 0..TURNS {
            next = match &mut self.state {
                State::Opening(..) => self.open(&mut inbound, lent, now),
                State::Open(connection) => {
                    lent.lend_staging(connection);
                    let next = run(connection, &mut self.stream, &mut inbound, lent, react, now);
                    lent.take_staging(connection);
                    next
                }
                State::Refused { answer, until } => {
                    refuse(&mut self.stream, answer, *until, lent, now)
                }
            };
            if !matches!(next, Next::Again) {
                break;
            }
        }
        self.leftover = lent.take_inbound(inbound);
        next
    }

    /// Reads the request, and answers it once it has arrived.
    fn open(&mut self, inbound: &mut BytesMut, lent: &mut Lent, now: Instant) -> Next {
        let read = lent.read(&mut self.stream, inbound);
        let State::Opening(handshake, _) = &mut self.state else { return Next::Again };
        let is_dry = match read {
            Ok(0) => {
                handshake.handle_eof();
                false
            }
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(_) => return Next::Over,
        };
        // Also after bytes have arrived: a request that arrives slowly has to end as well.
        handshake.handle_timeout(now);
        let until = handshake.poll_timeout();
        self.answer(inbound, now);
        match &self.state {
            State::Opening(..) if is_dry => Next::Wait(Interest::READABLE, until),
            _ => Next::Again,
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
            // The client has gone and reads no response.
            Err(None) => State::Refused { answer: Bytes::new(), until: now },
        };
    }
}

/// Runs a turn of a connection, and then reads.
fn run(
    connection: &mut Connection,
    stream: &mut TcpStream,
    inbound: &mut BytesMut,
    lent: &mut Lent,
    react: React,
    now: Instant,
) -> Next {
    let wait = loop {
        match connection.poll_output(inbound, now) {
            Output::Event(event) => react(connection, event, now),
            Output::Write(mut outbound) => {
                let mut slices = [IoSlice::new(&[]); 16];
                let count = outbound.chunks_vectored(&mut slices);
                match write(stream, &slices[..count]) {
                    Ok(len) => outbound.advance(len),
                    Err(error) => connection.handle_transport_error(error.to_string(), now),
                }
            }
            // A failure shows when reading.
            Output::ShutdownWrite => drop(stream.shutdown(Shutdown::Write)),
            Output::Wait(wait) => break wait,
            Output::Close => return Next::Over,
        }
    };
    if wait.read {
        match lent.read(stream, inbound) {
            Ok(0) => connection.handle_eof(now),
            Ok(_) => {}
            // Readiness is reported only for bytes that come after this.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return next(wait, now),
            Err(error) => connection.handle_transport_error(error.to_string(), now),
        }
        return Next::Again;
    }
    next(wait, now)
}

/// The event to wait for, or `Again` if its time has passed.
fn next(wait: Wait, now: Instant) -> Next {
    let interest = match (wait.read, wait.write) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (false, true) => Interest::WRITABLE,
        // A socket must be watched for something, even if only its deadline is awaited.
        _ => Interest::READABLE,
    };
    match wait.until {
        Some(until) if until <= now => Next::Again,
        until => Next::Wait(interest, until),
    }
}

/// Writes the answer to a client that was rejected, and reads until it has gone.
fn refuse(
    stream: &mut TcpStream,
    answer: &mut Bytes,
    until: Instant,
    lent: &mut Lent,
    now: Instant,
) -> Next {
    if !answer.is_empty() {
        let Ok(written) = write(stream, &[IoSlice::new(answer)]) else { return Next::Over };
        answer.advance(written);
        if answer.is_empty() {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
    let read = lent.read(stream, &mut BytesMut::new());
    match read.map_err(|error| error.kind()) {
        // A client that does not read the answer by then is dropped.
        _ if now >= until => Next::Over,
        Ok(0) if answer.is_empty() => Next::Over,
        Ok(0) => Next::Wait(Interest::WRITABLE, Some(until)),
        Ok(_) => Next::Again,
        Err(ErrorKind::WouldBlock) => {
            Next::Wait(Interest::READABLE | Interest::WRITABLE, Some(until))
        }
        Err(_) => Next::Over,
    }
}

/// Writes the bytes that the socket accepts: none if it is full.
fn write(stream: &mut TcpStream, slices: &[IoSlice<'_>]) -> Result<usize> {
    loop {
        match stream.write_vectored(slices) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            written => return written,
        }
    }
}
