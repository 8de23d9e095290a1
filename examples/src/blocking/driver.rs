//! A driver over blocking sockets, whole: everything that a port of sockless to a loop of your own has
//! to do.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockless::{Connection, Event, Instant, Transport};

/// Runs a connection to its end, and gives each event to `react`.
pub(crate) fn drive(
    mut connection: Connection,
    mut stream: TcpStream,
    mut inbound: BytesMut,
    now: impl Fn() -> Instant,
    mut react: impl FnMut(&mut Connection, Event),
) -> Result<()> {
    loop {
        while let Some(event) = connection.poll_event(&mut inbound, now()) {
            react(&mut connection, event);
        }
        while connection.outbound().has_remaining() {
            let written = stream.write(connection.outbound().chunk())?;
            connection.outbound().advance(written);
        }
        match connection.transport() {
            Transport::KeepOpen => {}
            Transport::ShutdownWrite => stream.shutdown(Shutdown::Write)?,
            Transport::Close => return Ok(()),
        }
        let wait = connection.poll_timeout().map(|deadline| deadline.saturating_since(now()));
        match read(&mut stream, &mut inbound, wait)? {
            Some(0) => connection.handle_eof(now()),
            _ => connection.handle_timeout(now()),
        }
    }
}

/// Reads what there is and says how much that was; `None` when the time was up first.
pub(crate) fn read(
    stream: &mut TcpStream,
    inbound: &mut BytesMut,
    wait: Option<Duration>,
) -> Result<Option<usize>> {
    stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
    let mut bytes = [0; 16 * 1024];
    let count = match stream.read(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
        read => read?,
    };
    inbound.extend_from_slice(&bytes[..count]);
    Ok(Some(count))
}
