//! The port, whole: a [`Connection`] driven over the two halves of a serial line.

use core::future::pending;
use core::time::Duration;

use bytes::BytesMut;
use embassy_futures::select::{Either3, select3};
use embassy_time::Timer;
use embedded_io_async::{Read, Write};
use sockless_core::{Connection, Event, Instant, Output};

/// The time since the board started.
pub(crate) fn now() -> Instant {
    Instant::from_epoch(Duration::from_micros(embassy_time::Instant::now().as_micros()))
}

/// Runs a connection to its end, and gives each event to `react`, [`Event::Closed`] last.
///
/// Reading and writing go on side by side, or two ends that both write more than the line holds would
/// wait for each other. The one that is still pending when the other completes is dropped and started
/// again; the halves of embassy's buffered UARTs lose nothing by that.
///
/// # Errors
///
/// The error of the line.
pub(crate) async fn drive<R, W>(
    mut connection: Connection,
    mut from: R,
    mut to: W,
    mut react: impl FnMut(&mut Connection, Event),
) -> Result<(), R::Error>
where
    R: Read,
    W: Write<Error = R::Error>,
{
    let mut inbound = BytesMut::new();
    let mut is_over = false;
    loop {
        let wait = match connection.poll_output(&mut inbound, now()) {
            Output::Event(event) => {
                is_over |= matches!(event, Event::Closed(_));
                react(&mut connection, event);
                continue;
            }
            // They are written below, beside reading.
            Output::Write(_) => continue,
            // A line is neither shut down nor closed: the end is when the last byte has left.
            Output::ShutdownWrite | Output::Close => return Ok(()),
            Output::Wait(wait) if is_over && !wait.write => return Ok(()),
            Output::Wait(wait) => wait,
        };
        let mut bytes = [0; 64];
        let reading =
            async { if wait.read { from.read(&mut bytes).await } else { pending().await } };
        let outbound = connection.outbound();
        let writing =
            async { if wait.write { to.write(outbound.chunk()).await } else { pending().await } };
        // Bytes first: they may have arrived before the deadline.
        match select3(reading, writing, expire(wait.until)).await {
            Either3::First(Ok(0)) => connection.handle_eof(now()),
            Either3::First(read) => inbound.extend_from_slice(&bytes[..read?]),
            Either3::Second(written) => connection.outbound().advance(written?),
            Either3::Third(()) => {}
        }
    }
}

async fn expire(deadline: Option<Instant>) {
    let micros = deadline.map(|deadline| deadline.since_epoch().as_micros().try_into());
    match micros {
        Some(Ok(micros)) => Timer::at(embassy_time::Instant::from_micros(micros)).await,
        // Never, or in half a million years.
        _ => pending().await,
    }
}
