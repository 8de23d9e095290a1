//! Dialling: the opening handshake, and a first conversation that compares every byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use super::Shape;
use super::frames::Messages;
use super::replies::Header;
use crate::Result;

/// How long a handshake and the first conversation may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server to load.
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
            return Err("only ws: can be loaded".into());
        }
        let authority = uri.authority().ok_or("no host")?;
        let port = authority.port_u16().unwrap_or(80);
        let host = authority.host().trim_matches(['[', ']']);
        let mut addrs = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
        let addr = addrs.next().ok_or("the host has no address")?;
        let path = uri.path_and_query().map_or("/".into(), ToString::to_string);
        Ok(Self { addr, host: authority.to_string(), path })
    }
}

impl Target {
    /// A connection that is open.
    pub fn connect(&self) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let Self { host, path, .. } = self;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )?;
        let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer)? {
                0 => return Err("the server hung up during the handshake".into()),
                len => head.extend(&buffer[..len]),
            }
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let head = String::from_utf8_lossy(&head);
            return Err(format!("refused: {}", head.lines().next().unwrap_or_default()).into());
        }
        Ok(stream)
    }

    /// Sends two messages on a connection of their own, and compares each byte that comes back.
    pub fn probe(&self, shape: Shape) -> Result<()> {
        let messages = Messages::new(Shape { depth: 2, ..shape });
        let stream = self.connect()?;
        let mut writing = stream.try_clone()?;
        std::thread::scope(|scope| {
            let all = messages.next(0, 2 * messages.len as u64);
            let writer = scope.spawn(move || writing.write_all(all));
            let read = read_messages(stream, &messages.payload, shape.text, 2);
            read.and(writer.join().map_err(|_| "the writer panicked")?.map_err(Into::into))
        })
    }
}

fn read_messages(mut stream: TcpStream, expected: &[u8], text: bool, count: usize) -> Result<()> {
    let (mut inbound, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let (mut message, mut opcode, mut ended) = (Vec::new(), 0, 0);
    while ended < count {
        match stream.read(&mut buffer)? {
            0 => return Err("the server hung up".into()),
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
            opcode |= header.first & 0x0F;
            if header.first & 0x80 != 0 {
                if message != expected || opcode != if text { 1 } else { 2 } {
                    return Err("an echo that differs from what was sent".into());
                }
                message.clear();
                (opcode, ended) = (0, ended + 1);
            }
        }
    }
    Ok(())
}
