//! An echo server for many connections on one thread: `mio` reports which sockets are ready, the
//! core does the rest.
//!
//! Run it, and point any client at ws://127.0.0.1:9002, or name another address.

mod lent;
#[path = "../limits.rs"]
mod limits;
mod peer;
mod server;

use std::io::Result;
use std::time::Duration;

use clap::Parser;
use sockless_core::{Config, Connection, Event, Instant};

use crate::limits::Options;
use crate::server::Server;

fn main() -> Result<()> {
    let options = Options::parse();
    let addr = options.addr("127.0.0.1:9002");
    let config = Config::default()
        // Finds peers that vanished, and closes connections that stay silent.
        .ping_interval(Duration::from_secs(30))
        .idle_timeout(Duration::from_secs(3600));
    let mut server =
        Server::bind(addr.parse().map_err(std::io::Error::other)?, options.config(config), echo)?;
    println!("listening on ws://{}", server.local_addr()?);
    server.run()
}

fn echo(connection: &mut Connection, event: Event, now: Instant) {
    if let Event::Message(message) = event {
        // Refused only while the connection is closing, which needs no answer.
        let _ = connection.send(message, now);
    }
}
