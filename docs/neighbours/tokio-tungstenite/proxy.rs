//! A transparent proxy by tungstenite's blocking `FrameSocket`. Each frame is held whole, and one with a reserved opcode ends
//! the connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use tungstenite::protocol::frame::{FrameHeader, FrameSocket};

fn main() -> io::Result<()> {
    let upstream = std::env::args().nth(1).unwrap_or("127.0.0.1:9000".into());
    for client in TcpListener::bind("127.0.0.1:8080")?.incoming() {
        let (client, upstream) = (client?, upstream.clone());
        thread::spawn(move || {
            let print = |name: &str, head: &FrameHeader| println!("{name} {head:?}");
            TcpStream::connect(upstream).map(|server| proxy(&client, &server, print))
        });
    }
    Ok(())
}

fn proxy(client: &TcpStream, server: &TcpStream, observe: impl Fn(&str, &FrameHeader) + Sync) {
    thread::scope(|scope| {
        scope.spawn(|| pass(client, server, |_| true, |head| observe("client", head)));
        let is_open = |head: &[u8]| head.starts_with(b"HTTP/1.1 101 ");
        pass(server, client, is_open, |head| observe("server", head));
    });
}

/// Passes on a head and what follows, which is frames if `is_websocket` returns true.
fn pass(
    from: &TcpStream,
    to: &TcpStream,
    is_websocket: impl Fn(&[u8]) -> bool,
    observe: impl Fn(&FrameHeader),
) {
    let forward = || -> Result<Shutdown, tungstenite::Error> {
        let (mut from, mut to, mut head) = (from, to, Vec::new());
        let end = loop {
            let mut block = [0; 4096];
            let len = from.read(&mut block)?;
            head.extend_from_slice(&block[..len]);
            if let Some(at) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            if len == 0 || head.len() > 16 << 10 {
                return Ok(Shutdown::Both);
            }
        };
        if !is_websocket(&head) {
            to.write_all(&head)?;
            io::copy(&mut from, &mut to)?;
            return Ok(Shutdown::Both);
        }
        to.write_all(&head[..end])?;
        let mut frames = FrameSocket::from_partially_read(from, head[end..].to_vec());
        while let Some(frame) = frames.read(None)? {
            observe(frame.header());
            let mut out = Vec::new();
            frame.header().format(frame.payload().len() as u64, &mut out)?;
            out.extend_from_slice(frame.payload());
            to.write_all(&out)?;
        }
        Ok(Shutdown::Write)
    };
    let how = forward().unwrap_or(Shutdown::Write);
    let _ = (to.shutdown(how), from.shutdown(Shutdown::Read));
}
