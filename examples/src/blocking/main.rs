//! An echo server over blocking sockets, a thread for each.
//!
//! Run it, and point any client at ws://127.0.0.1:9001, or name another address.

mod driver;
#[path = "../limits.rs"]
mod limits;

use std::io::Result;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use bytes::BytesMut;
use clap::Parser;
use sockless_core::handshake::{ServerHandshake, UpgradeRequest, encode_response};
use sockless_core::{Config, Event};

use crate::driver::EventLoop;
use crate::limits::Options;

fn main() -> Result<()> {
    let options = Options::parse();
    let listener = TcpListener::bind(options.addr("127.0.0.1:9001"))?;
    let config = Arc::new(options.config(Config::default()));
    println!("listening on ws://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let (stream, config) = (stream?, config.clone());
        std::thread::spawn(|| serve(stream, config));
    }
    Ok(())
}

/// Runs the opening handshake, then echoes until the connection ends.
fn serve(stream: TcpStream, config: Arc<Config>) -> Result<()> {
    let mut event_loop = EventLoop::new(stream)?;
    let mut inbound = BytesMut::new();
    let mut handshake = ServerHandshake::new(config.clone(), event_loop.now());
    let request = loop {
        if let Some(request) = handshake.poll_request(&mut inbound) {
            break request;
        }
        match event_loop.read(&mut inbound, handshake.poll_timeout())? {
            Some(0) => handshake.handle_eof(),
            // Also after bytes have arrived: a request that arrives slowly has to end as well.
            _ => handshake.handle_timeout(event_loop.now()),
        }
    };
    let upgrade = request.map_err(|error| error.response()).and_then(|request| {
        UpgradeRequest::from_request(&request).map_err(|error| Some(error.response()))
    });
    match upgrade {
        Ok(upgrade) => {
            let (response, negotiated) = upgrade.accept();
            let connection = handshake.accept(&response, negotiated, config, event_loop.now());
            // Bytes behind the request are the first frames: `inbound` is passed on.
            event_loop.drive(connection, inbound, |connection, event, now| {
                if let Some(Event::Message(message)) = event {
                    // Refused only while the connection is closing, which needs no answer.
                    let _ = connection.send(message, now);
                }
            });
            Ok(())
        }
        // Short enough for any transport's buffer.
        Err(Some(refusal)) => event_loop.write_all(&encode_response(&refusal)),
        Err(None) => Ok(()),
    }
}
