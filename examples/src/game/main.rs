//! A game's loop: a frame every 16 ms on one thread, and one turn of the connection in each. The network is
//! never waited for.
//!
//! Run an echo server, such as `blocking-echo`, and then this with its address.

#![expect(clippy::disallowed_methods, reason = "a loop of its own has a clock of its own")]

#[path = "../opening.rs"]
mod opening;

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::{CloseCode, Connection, Event, Instant, Message, Output, Priority};

/// The time between two frames.
const FRAME: Duration = Duration::from_millis(16);

/// The number of frames that this demonstration takes.
const FRAMES: u32 = 60;

/// Of what is sent, only the latest position matters.
const POSITION: u64 = 1;

fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let start = std::time::Instant::now();
    let now = || Instant::from_epoch(start.elapsed());
    let stream = TcpStream::connect(address)?;
    let (connection, inbound) = opening::open(&stream, now)?;
    stream.set_nonblocking(true)?;
    let mut network = Network { stream, connection, inbound };
    let (mut seen, mut end) = (Vec::new(), None);
    for frame in 0.. {
        let is_open = network.turn(now(), |_, event| match event {
            Event::Message(message) => seen.push(message.as_text().unwrap_or_default().to_owned()),
            Event::Closed(closed) => end = Some(closed),
            _ => {}
        });
        if !is_open {
            break;
        }
        match frame {
            // A slow network gets fewer positions, and each as new as can be.
            0..FRAMES => network.send(Message::from(format!("at {frame}")).latest(POSITION), now()),
            FRAMES => network.connection.close(CloseCode::NORMAL, now()),
            _ => {}
        }
        if frame == FRAMES / 2 {
            network.send(Message::from("jump").priority(Priority::Urgent), now());
        }
        std::thread::sleep(FRAME); // A game draws meanwhile.
    }
    println!("{} of {} came back, the last one {:?}", seen.len(), FRAMES + 1, seen.last());
    println!("{}", end.expect("a connection reports its end"));
    Ok(())
}

struct Network {
    stream: TcpStream,
    connection: Connection,
    /// The beginning of a frame whose rest is to come.
    inbound: BytesMut,
}

impl Network {
    /// Reads once, and runs a turn. Returns false once the connection is over.
    fn turn(&mut self, now: Instant, mut react: impl FnMut(&mut Connection, Event)) -> bool {
        let (mut block, mut received) = ([0; 16 << 10], 0);
        if self.connection.wants_read() {
            match self.stream.read(&mut block) {
                Ok(0) => self.connection.handle_eof(now),
                Ok(len) => received = len,
                Err(error) if is_temporary(&error) => {}
                Err(error) => self.connection.handle_transport_error(error.to_string(), now),
            }
        }
        let mut input = &block[..received];
        loop {
            match self.connection.poll_output_from(&mut input, &mut self.inbound, now) {
                Output::Event(event) => react(&mut self.connection, event),
                Output::Write(mut outbound) => match self.stream.write(outbound.chunk()) {
                    Ok(len) => outbound.advance(len),
                    Err(error) if is_temporary(&error) => {}
                    Err(error) => self.connection.handle_transport_error(error.to_string(), now),
                },
                Output::ShutdownWrite => drop(self.stream.shutdown(Shutdown::Write)),
                Output::Wait(_) => {
                    // What this turn had no room for is for the next one.
                    self.inbound.extend_from_slice(input);
                    return true;
                }
                Output::Close => return false,
            }
        }
    }

    fn send(&mut self, message: sockless_core::OutgoingMessage, now: Instant) {
        // Refused only while the connection is closing.
        let _ = self.connection.send(message, now);
    }
}

fn is_temporary(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}
