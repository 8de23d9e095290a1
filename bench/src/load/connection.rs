//! Connecting: the opening handshake, and a first exchange of which every byte is compared.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{mem, thread};

use flate2::{Decompress, FlushDecompress};
use tokio_rustls::rustls::ClientConfig;

use super::Shape;
use super::frames::{Messages, masked_frame};
use super::replies::Header;
use super::stream::{self, Stream};
use crate::Result;
use crate::servers::Job;

/// The timeout of a handshake and of the first exchange.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server to put load on.
#[derive(Clone, Debug)]
pub struct Target {
    addr: SocketAddr,
    host: String,
    path: String,
    tls: Option<Arc<ClientConfig>>,
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, host: addr.to_string(), path: "/".into(), tls: None }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let uri: http::Uri = url.parse().map_err(|error| format!("{error}"))?;
        let tls = match uri.scheme_str() {
            Some("ws") => None,
            Some("wss") => Some(stream::config(false).map_err(|error| error.to_string())?),
            _ => return Err("expected a URL with the scheme ws or wss".into()),
        };
        let authority = uri.authority().ok_or("the URL has no host")?;
        let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let host = authority.host().trim_matches(['[', ']']);
        let mut addrs = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
        let addr = addrs.next().ok_or("the host has no address")?;
        let path = uri.path_and_query().map_or("/".into(), ToString::to_string);
        Ok(Self { addr, host: authority.to_string(), path, tls })
    }
}

impl Target {
    /// Encrypts the connections; with `resumes`, each but the first resumes the session of an earlier one.
    pub fn encrypted(self, resumes: bool) -> Result<Self> {
        Ok(Self { tls: Some(stream::config(resumes)?), ..self })
    }

    /// True if the connections are encrypted.
    pub fn encrypts(&self) -> bool {
        self.tls.is_some()
    }

    /// Opens a connection. With fan-out, returns once the server delivers messages to it.
    pub fn connect(&self, job: Job) -> Result<Stream> {
        let mut stream = self.dial()?;
        stream.write_all(&self.request(job.deflate))?;
        let head = read_head(&mut stream)?;
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(format!(
                "the server rejected the handshake: {}",
                head.lines().next().unwrap_or_default()
            )
            .into());
        }
        if job.deflate && !head.contains("permessage-deflate") {
            return Err("the server did not agree to permessage-deflate".into());
        }
        if job.fan_out {
            await_service(&mut stream)?;
        }
        Ok(stream)
    }

    /// Opens a connection, without the handshake of the WebSocket.
    pub(super) fn dial(&self) -> Result<Stream> {
        let socket = TcpStream::connect(self.addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        match &self.tls {
            Some(config) => Stream::encrypted(socket, Arc::clone(config)),
            None => Ok(Stream::Plain(socket)),
        }
    }

    /// The head of the request, perhaps with an offer of permessage-deflate.
    pub(super) fn request(&self, deflate: bool) -> Vec<u8> {
        let Self { host, path, .. } = self;
        let offer = if deflate { OFFER } else { "" };
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        head.into_bytes()
    }

    /// Sends two messages on a separate connection, and compares each byte of the replies. Returns the length of a
    /// reply on the wire, which depends on the server if it compresses.
    pub fn probe(&self, shape: Shape) -> Result<u64> {
        let messages = Messages::new(Shape { depth: 2, ..shape });
        let mut stream = self.connect(shape.job)?;
        stream.set_nonblocking()?;
        let mut unsent = messages.next(0, 2 * messages.len as u64);
        let mut echoes = Echoes::new(&messages.payload, shape.text);
        let mut buffer = vec![0; 64 * 1024];
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            // Neither may wait for the other: the server may not read while its echo is not read.
            match stream.write(unsent) {
                Ok(len) => unsent = &unsent[len..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            match stream.read(&mut buffer) {
                Ok(0) => {
                    return Err(
                        "the server closed the connection before the echo was complete".into()
                    );
                }
                Ok(len) => echoes.take(&buffer[..len])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
            match echoes.lens.as_slice() {
                &[first, second] if first == second => return Ok(first),
                [_, _] => return Err("two equal messages have echoes of different lengths".into()),
                _ => {}
            }
        }
        Err("the server did not echo two messages in time".into())
    }
}

/// No context takeover in either direction.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                     client_no_context_takeover\r\n";

fn read_head(stream: &mut Stream) -> Result<String> {
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Err("the server closed the connection during the handshake".into()),
            len => head.extend(&buffer[..len]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Sends a ping and waits for the answer, after which the server serves the connection. `limit` echoes the ping.
fn await_service(stream: &mut Stream) -> Result<()> {
    stream.write_all(&masked_frame(0x89, &[], [1, 2, 3, 4]))?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer)?;
    match answer {
        [0x89 | 0x8A, 0] => Ok(()),
        _ => Err("expected a pong, received another frame".into()),
    }
}

/// The echoes of equal messages, of which each byte is compared.
struct Echoes<'a> {
    expected: &'a [u8],
    opcode: u8,
    inbound: Vec<u8>,
    message: Vec<u8>,
    /// The first bytes of the message's frames.
    first: u8,
    /// The lengths of the echoes on the wire.
    lens: Vec<u64>,
}

impl<'a> Echoes<'a> {
    fn new(expected: &'a [u8], text: bool) -> Self {
        let opcode = if text { 1 } else { 2 };
        Self {
            expected,
            opcode,
            inbound: Vec::new(),
            message: Vec::new(),
            first: 0,
            lens: Vec::new(),
        }
    }

    fn take(&mut self, received: &[u8]) -> Result<()> {
        self.inbound.extend_from_slice(received);
        while let Some(header) = Header::parse(&self.inbound) {
            let end = header.len + usize::try_from(header.payload)?;
            if self.inbound.len() < end {
                break;
            }
            let key = header.key.unwrap_or_default();
            let payload = self.inbound[header.len..end].iter().zip(key.iter().cycle());
            if header.first & 0x08 == 0 {
                self.message.extend(payload.map(|(byte, key)| byte ^ key));
                self.first |= header.first;
            }
            self.inbound.drain(..end);
            if header.first & 0x88 == 0x80 {
                self.end_message()?;
            }
        }
        Ok(())
    }

    fn end_message(&mut self) -> Result<()> {
        let (mut message, first) = (mem::take(&mut self.message), mem::take(&mut self.first));
        self.lens.push(message.len() as u64);
        if first & 0x40 != 0 {
            message = inflate(message, self.expected.len())?;
        }
        if message != self.expected || first & 0x0F != self.opcode {
            return Err("an echo differs from the message".into());
        }
        Ok(())
    }
}

fn inflate(mut compressed: Vec<u8>, len: usize) -> Result<Vec<u8>> {
    compressed.extend([0, 0, 0xFF, 0xFF]);
    let mut inflated = Vec::with_capacity(len + 64);
    Decompress::new(false).decompress_vec(&compressed, &mut inflated, FlushDecompress::Sync)?;
    Ok(inflated)
}
