//! A client of bytes, on a blocking socket: the server has threads of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) struct RawClient(TcpStream);

impl RawClient {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("the stream is sound");
        Self(stream)
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.0.local_addr().expect("the stream is sound")
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("the server reads");
    }

    /// The response's head, and nothing behind it.
    pub(crate) fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read(1));
        }
        String::from_utf8(head).expect("a head is ASCII")
    }

    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).expect("the server answers");
        bytes
    }

    /// All that comes until the server ends the connection.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).expect("the server ends the connection");
        bytes
    }

    /// All that comes until the server ends the connection, be it by a reset, as when it has not read
    /// all that was sent.
    pub(crate) fn read_to_reset(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            result => {
                result.expect("the server ends the connection");
            }
        }
        bytes
    }

    /// Says that nothing more comes.
    pub(crate) fn shutdown_write(&mut self) {
        self.0.shutdown(Shutdown::Write).expect("the stream is sound");
    }

    /// A whole response, whose connection ends with it.
    pub(crate) fn read_response(&mut self) -> String {
        String::from_utf8(self.read_to_end()).expect("a response is text")
    }

    /// True if nothing has arrived so far.
    pub(crate) fn hears_nothing(&self) -> bool {
        self.0.set_nonblocking(true).expect("the stream is sound");
        let peeked = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false).expect("the stream is sound");
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    pub(crate) fn upgrade(addr: SocketAddr) -> Self {
        let mut client = Self::connect(addr);
        client.send(upgrade_request("/"));
        assert!(client.read_head().starts_with("HTTP/1.1 101 "));
        client
    }
}

/// The request of RFC 6455 §1.2.
pub(crate) fn upgrade_request(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}
