//! Connecting: the opening handshake, and a first exchange of which every byte is compared.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use flate2::{Decompress, FlushDecompress};

use super::Shape;
use super::frames::{Messages, masked_frame};
use super::replies::Header;
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
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, host: addr.to_string(), path: "/".into() }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let uri: http::Uri = url.parse().map_err(|error| format!("{error}"))?;
        if uri.scheme_str() != Some("ws") {
            return Err("expected a URL with the scheme ws".into());
        }
        let authority = uri.authority().ok_or("the URL has no host")?;
        let port = authority.port_u16().unwrap_or(80);
        let host = authority.host().trim_matches(['[', ']']);
        let mut addrs = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
        let addr = addrs.next().ok_or("the host has no address")?;
        let path = uri.path_and_query().map_or("/".into(), ToString::to_string);
        Ok(Self { addr, host: authority.to_string(), path })
    }
}

impl Target {
    /// Opens a connection. With fan-out, returns once the server delivers messages to it.
    pub fn connect(&self, job: Job) -> Result<TcpStream> {
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

    /// Opens a TCP connection.
    pub(super) fn dial(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
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
        let stream = self.connect(shape.job)?;
        let mut writing = stream.try_clone()?;
        std::thread::scope(|scope| {
            let all = messages.next(0, 2 * messages.len as u64);
            let writer = scope.spawn(move || writing.write_all(all));
            let read = read_messages(stream, &messages.payload, shape.text);
            writer.join().map_err(|_| "the writer panicked")??;
            let [first, second] = read?;
            if first == second {
                Ok(first)
            } else {
                Err("two equal messages have echoes of different lengths".into())
            }
        })
    }
}

/// No context takeover in either direction.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                     client_no_context_takeover\r\n";

fn read_head(stream: &mut TcpStream) -> Result<String> {
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
fn await_service(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&masked_frame(0x89, &[], [1, 2, 3, 4]))?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer)?;
    match answer {
        [0x89 | 0x8A, 0] => Ok(()),
        _ => Err("expected a pong, received another frame".into()),
    }
}

/// Reads two messages, compares their payload, and returns their lengths on the wire.
fn read_messages(mut stream: TcpStream, expected: &[u8], text: bool) -> Result<[u64; 2]> {
    let (mut inbound, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let (mut message, mut first, mut lens) = (Vec::new(), 0, Vec::new());
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err("the server closed the connection before the echo was complete".into()),
            len => inbound.extend_from_slice(&buffer[..len]),
        }
        while let Some(header) = Header::parse(&inbound) {
            let end = header.len + usize::try_from(header.payload)?;
            if inbound.len() < end {
                break;
            }
            let key = header.key.unwrap_or_default();
            let frame = inbound.drain(..end).skip(header.len);
            if header.first & 0x08 != 0 {
                drop(frame);
                continue;
            }
            message.extend(frame.zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            first |= header.first & 0x4F;
            if header.first & 0x80 == 0 {
                continue;
            }
            lens.push(message.len() as u64);
            if first & 0x40 != 0 {
                message = inflate(message, expected.len())?;
            }
            if message != expected || first & 0x0F != if text { 1 } else { 2 } {
                return Err("an echo differs from the message".into());
            }
            if let &[first, second] = lens.as_slice() {
                return Ok([first, second]);
            }
            message.clear();
            first = 0;
        }
    }
}

fn inflate(mut compressed: Vec<u8>, len: usize) -> Result<Vec<u8>> {
    compressed.extend([0, 0, 0xFF, 0xFF]);
    let mut inflated = Vec::with_capacity(len + 64);
    Decompress::new(false).decompress_vec(&compressed, &mut inflated, FlushDecompress::Sync)?;
    Ok(inflated)
}
