//! A driver over blocking sockets, whole: everything that a port of sockless to a loop of your own has
//! to do. `sockless::guide::porting` shows the same code.

#![expect(clippy::disallowed_methods, reason = "a loop of its own has a clock of its own")]

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockless_core::{Connection, Event, Instant, TransportAction};

/// The longest time that a write waits for room before the next read.
const TURN: Duration = Duration::from_millis(20);

/// A transport and a clock: the two things that the core does not have.
pub(crate) struct Host {
    stream: TcpStream,
    start: std::time::Instant,
}

impl Host {
    pub(crate) fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?; // Each write is sent without delay.
        stream.set_write_timeout(Some(TURN))?;
        Ok(Self { stream, start: std::time::Instant::now() })
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_epoch(self.start.elapsed())
    }

    /// Runs a connection to its end, and passes each event to `react`.
    pub(crate) fn drive(
        &mut self,
        mut connection: Connection,
        mut inbound: BytesMut,
        mut react: impl FnMut(&mut Connection, Event, Instant),
    ) {
        let (mut at_eof, mut is_shut_down) = (false, false);
        loop {
            let mut is_starved = false;
            while !is_starved && has_room(&connection) {
                match connection.poll_event(&mut inbound, self.now()) {
                    Some(event) => react(&mut connection, event, self.now()),
                    None => is_starved = true,
                }
            }
            if let Err(error) = self.write(connection.outbound()) {
                connection.handle_transport_error(error.to_string(), self.now());
                continue; // The next poll reports the end.
            }
            connection.handle_blocked(self.now());
            let has_unsent = connection.outbound().has_remaining();
            match connection.transport_action() {
                TransportAction::Close if !has_unsent => return,
                TransportAction::ShutdownWrite if !has_unsent && !is_shut_down => {
                    is_shut_down = true;
                    let _ = self.stream.shutdown(Shutdown::Write); // A failure shows when reading.
                }
                _ => {}
            }
            let has_room = has_room(&connection);
            connection.set_reading(has_room, self.now());
            // While bytes wait to be written, reading does not wait.
            let until = if has_unsent { Some(self.now()) } else { connection.poll_timeout() };
            let is_reading = has_room && is_starved && !at_eof;
            match if is_reading { self.read(&mut inbound, until) } else { Ok(None) } {
                Ok(Some(0)) => {
                    at_eof = true;
                    connection.handle_eof(self.now());
                }
                Ok(Some(_)) => {}
                Ok(None) => connection.handle_timeout(self.now()),
                Err(error) => connection.handle_transport_error(error.to_string(), self.now()),
            }
        }
    }

    /// Waits for bytes until `until`. `Some(0)` is the end of the stream, `None` a timeout.
    pub(crate) fn read(
        &mut self,
        inbound: &mut BytesMut,
        until: Option<Instant>,
    ) -> Result<Option<usize>> {
        let mut bytes = [0; 4096];
        loop {
            let wait = until.map(|until| until.saturating_since(self.now()));
            self.stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
            match self.stream.read(&mut bytes) {
                Ok(len) => {
                    inbound.extend_from_slice(&bytes[..len]);
                    return Ok(Some(len));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the bytes that the transport accepts within a turn.
    pub(crate) fn write(&mut self, outbound: &mut impl Buf) -> Result<()> {
        let until = self.now() + TURN;
        while outbound.has_remaining() && self.now() < until {
            match self.stream.write(outbound.chunk()) {
                Ok(len) => outbound.advance(len),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// True if there is room for replies to further input. A closing connection queues no reply, and has to read
/// until its end.
fn has_room(connection: &Connection) -> bool {
    connection.is_writable() || !connection.is_open()
}

/// True for the error of a read or write that timed out; systems differ.
fn is_timeout(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
