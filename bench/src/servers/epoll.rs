//! The core without a runtime: the event loop of `examples/src/epoll`.

// Included by path: the example remains a program without a library of its own.
#[path = "../../../examples/src/epoll/lent.rs"]
mod lent;
#[path = "../../../examples/src/epoll/peer.rs"]
mod peer;
#[path = "../../../examples/src/epoll/server.rs"]
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use sockless_core::{Config, Connection, Deflate, Event, Instant};

use super::Job;
use crate::Result;

/// Echoes on every path. Each connection has a deadline, as it would in production.
pub fn serve(listen: SocketAddr, job: Job, announce: impl FnOnce(SocketAddr)) -> Result<()> {
    let mut config = Config::default().idle_timeout(Duration::from_secs(3600));
    if job.deflate {
        config = config.extension(Deflate::default());
    }
    let mut server = server::Server::bind(listen, config, echo)?;
    announce(server.local_addr()?);
    Ok(server.run()?)
}

fn echo(connection: &mut Connection, event: Event, now: Instant) {
    if let Event::Message(message) = event {
        // Fails only while the connection is closing, when no echo is needed.
        let _ = connection.send(message, now);
    }
}
