//! An echo server over blocking sockets, a thread for each.
//!
//! Run it, and point any client at ws://127.0.0.1:9001, or name another address.

mod driver;

use std::io::{Result, Write};
use std::net::{TcpListener, TcpStream};

use bytes::BytesMut;
use sockless::handshake::{ServerHandshake, UpgradeRequest, encode_response};
use sockless::{Event, Instant};

fn main() -> Result<()> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:9001".into());
    let listener = TcpListener::bind(addr)?;
    println!("listening on ws://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(|| serve(stream));
    }
    Ok(())
}

/// Shakes hands, then echoes until the connection ends.
fn serve(mut stream: TcpStream) -> Result<()> {
    let start = std::time::Instant::now();
    let now = || Instant::from_epoch(start.elapsed());
    let mut inbound = BytesMut::new();
    let mut handshake = ServerHandshake::new(Default::default(), now());
    let request = loop {
        if let Some(request) = handshake.poll_request(&mut inbound) {
            break request;
        }
        let wait = handshake.poll_timeout().map(|deadline| deadline.saturating_since(now()));
        match driver::read(&mut stream, &mut inbound, wait)? {
            Some(0) => handshake.handle_eof(),
            _ => handshake.handle_timeout(now()),
        }
    };
    let upgrade = request.map_err(|error| error.response()).and_then(|request| {
        UpgradeRequest::from_request(&request).map_err(|error| Some(error.response()))
    });
    match upgrade {
        Ok(upgrade) => {
            let (response, negotiated) = upgrade.accept();
            let connection = handshake.accept(&response, negotiated, Default::default(), now());
            driver::drive(connection, stream, inbound, now, |connection, event| {
                if let Event::Message(message) = event {
                    // Refused only while the connection is closing, which needs no answer.
                    let _ = connection.send(message);
                }
            })
        }
        Err(Some(refusal)) => stream.write_all(&encode_response(&refusal)),
        Err(None) => Ok(()),
    }
}
