//! A client on the standard input and output, made of threads and channels: one thread reads the socket, one
//! writes to it and owns what it writes, one reads lines. Each line is sent, and each message printed.
//!
//! Run an echo server, such as `blocking-echo`, and then this with its address.

#![expect(clippy::disallowed_methods, reason = "a loop of its own has a clock of its own")]

#[path = "../opening.rs"]
mod opening;

use std::io::{BufRead, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use sockless_core::{CloseCode, Connection, Escaped, Event, Instant, Output};

/// A report of another thread.
enum Input {
    /// The socket has given these bytes; none at its end.
    Received(Result<Vec<u8>>),
    /// The socket has taken so many bytes.
    Sent(Result<usize>),
    /// A line to send; `None` at the end.
    Line(Option<String>),
}

fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let start = std::time::Instant::now();
    let now = || Instant::from_epoch(start.elapsed());
    let stream = TcpStream::connect(address)?;
    let (mut connection, mut inbound) = opening::open(&stream, now)?;
    stream.set_read_timeout(None)?;

    let (to_main, inputs) = channel();
    let (to_reader, requests) = channel();
    let (to_writer, chunks) = channel();
    let (to_lines, line_requests) = channel();
    let threads = (stream.try_clone()?, to_main.clone());
    thread::spawn(move || read(threads.0, &requests, &threads.1));
    let threads = (stream.try_clone()?, to_main.clone());
    thread::spawn(move || write(threads.0, &chunks, &threads.1));
    thread::spawn(move || read_lines(&line_requests, &to_main));

    let (mut is_reading, mut is_asking) = (false, false);
    loop {
        match connection.poll_output(&mut inbound, now()) {
            Output::Event(Event::Message(message)) => {
                println!("{}", Escaped(message.as_text().unwrap_or("(binary)")));
            }
            Output::Event(Event::Closed(closed)) => println!("{closed}"),
            Output::Event(_) => {}
            Output::Write(mut outbound) => {
                while let Some(bytes) = outbound.pop() {
                    let _ = to_writer.send(bytes); // A writer that has ended has reported why.
                }
            }
            Output::ShutdownWrite => drop(stream.shutdown(Shutdown::Write)),
            Output::Wait(wait) => {
                // The reader reads once for each request, so a full queue stops it.
                if wait.read && !std::mem::replace(&mut is_reading, true) {
                    let _ = to_reader.send(());
                }
                // And a line is read once there is room for it.
                if connection.is_writable() && !std::mem::replace(&mut is_asking, true) {
                    let _ = to_lines.send(());
                }
                let limit = wait.timeout(now()).unwrap_or(Duration::from_secs(3600));
                match inputs.recv_timeout(limit) {
                    Ok(Input::Received(received)) => {
                        is_reading = false;
                        match received {
                            Ok(bytes) if bytes.is_empty() => connection.handle_eof(now()),
                            Ok(bytes) => Connection::append(&mut inbound, bytes),
                            Err(error) => fail(&mut connection, &error, now()),
                        }
                    }
                    Ok(Input::Sent(Ok(len))) => connection.outbound().sent(len),
                    Ok(Input::Sent(Err(error))) => fail(&mut connection, &error, now()),
                    Ok(Input::Line(Some(line))) => {
                        is_asking = false;
                        // Refused only while the connection is closing.
                        let _ = connection.send(line, now());
                    }
                    Ok(Input::Line(None)) => connection.close(CloseCode::NORMAL, now()),
                    Err(_) => {} // The time has come.
                }
            }
            Output::Close => return Ok(()),
        }
    }
}

fn fail(connection: &mut Connection, error: &std::io::Error, now: Instant) {
    connection.handle_transport_error(error.to_string(), now);
}

fn read(mut stream: TcpStream, requests: &Receiver<()>, to_main: &Sender<Input>) {
    for () in requests {
        let mut block = vec![0; 16 << 10];
        let received = stream.read(&mut block).map(|len| {
            block.truncate(len);
            block
        });
        let _ = to_main.send(Input::Received(received));
    }
}

fn write(mut stream: TcpStream, chunks: &Receiver<Bytes>, to_main: &Sender<Input>) {
    for chunk in chunks {
        let sent = stream.write_all(&chunk).map(|()| chunk.len());
        let _ = to_main.send(Input::Sent(sent));
    }
}

fn read_lines(requests: &Receiver<()>, to_main: &Sender<Input>) {
    let mut lines = std::io::stdin().lock().lines();
    for () in requests {
        let line = lines.next().and_then(Result::ok);
        let is_end = line.is_none();
        let _ = to_main.send(Input::Line(line));
        if is_end {
            return;
        }
    }
}
