//! The opening handshake of a client over a socket that still blocks.

use std::fs::File;
use std::io::{Error, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::handshake::ClientHandshake;
use sockless_core::{Connection, Instant, Seed};

/// Opens a connection. What has arrived behind the response is returned with it.
pub(crate) fn open(
    mut stream: &TcpStream,
    now: impl Fn() -> Instant,
) -> Result<(Connection, BytesMut)> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let url = format!("ws://{}/", stream.peer_addr()?);
    let request = http::Request::get(url).body(()).map_err(Error::other)?;
    let handshake = ClientHandshake::new(request, Seed::new(seed), Default::default(), now());
    let mut handshake = handshake.map_err(Error::other)?;
    while let Some(head) = handshake.outbound().pop() {
        stream.write_all(&head)?;
    }
    let mut inbound = BytesMut::new();
    loop {
        if let Some(response) = handshake.poll_response(&mut inbound, now()) {
            let (connection, _) = response.map_err(Error::other)?;
            return Ok((connection, inbound));
        }
        let mut block = [0; 4096];
        match stream.read(&mut block)? {
            0 => handshake.handle_eof(),
            len => inbound.extend_from_slice(&block[..len]),
        }
        handshake.handle_timeout(now());
    }
}
