//! A driver over blocking sockets, whole: everything that a port of sockless to a loop of your own has
//! to do. `sockless::guide::porting` shows the same code.

#![expect(clippy::disallowed_methods, reason = "a loop of its own has a clock of its own")]

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::{Connection, Event, Instant, Output};

/// The longest time that a write waits for room before the next read.
const TURN: Duration = Duration::from_millis(20);

/// A loop for one connection: a transport and a clock, which the core does not have.
pub(crate) struct EventLoop {
    stream: TcpStream,
    start: std::time::Instant,
}

impl EventLoop {
    pub(crate) fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?; // Each write is sent without delay.
        stream.set_write_timeout(Some(TURN))?;
        Ok(Self { stream, start: std::time::Instant::now() })
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_epoch(self.start.elapsed())
    }

    /// Runs a connection to its end, and passes each event to `react`. While nothing is read, `react`
    /// gets `None` whenever a deadline has passed or another thread has called `unpark` on this one:
    /// an application that has called `set_paused(true)` resumes there.
    pub(crate) fn drive(
        &mut self,
        mut connection: Connection,
        mut inbound: BytesMut,
        mut react: impl FnMut(&mut Connection, Option<Event>, Instant),
    ) {
        loop {
            let now = self.now();
            match connection.poll_output(&mut inbound, now) {
                Output::Event(event) => react(&mut connection, Some(event), now),
                Output::Write(mut outbound) => match self.stream.write(outbound.chunk()) {
                    Ok(len) => outbound.advance(len),
                    Err(error) if is_temporary(&error) => {}
                    Err(error) => connection.handle_transport_error(error.to_string(), now),
                },
                // A failure shows when reading.
                Output::ShutdownWrite => drop(self.stream.shutdown(Shutdown::Write)),
                Output::Wait(wait) if wait.read => {
                    // While bytes are left to write, the next write waits, and reading does not.
                    let until = if wait.write { Some(now) } else { wait.until };
                    match self.read(&mut inbound, until) {
                        Ok(Some(0)) => connection.handle_eof(self.now()),
                        Ok(_) => {}
                        Err(error) => {
                            connection.handle_transport_error(error.to_string(), self.now());
                        }
                    }
                }
                // Nothing is read while the connection is paused, or full: then the next write waits.
                Output::Wait(wait) => {
                    if !wait.write {
                        park(wait.timeout(now));
                    }
                    react(&mut connection, None, self.now());
                }
                Output::Close => return,
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
                Err(error) if is_temporary(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes a short answer.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }
}

/// Waits until another thread calls `unpark` on this one, at most for `timeout`.
fn park(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => std::thread::park_timeout(timeout),
        None => std::thread::park(),
    }
}

/// True for the error of a read or write that timed out or was interrupted; systems differ.
fn is_temporary(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::WouldBlock)
}
