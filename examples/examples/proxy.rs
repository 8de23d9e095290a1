//! A transparent proxy: frames pass unchanged between a client and a server, whatever they are.
//!
//! Fragments, pings, Close frames, masks, and the opcodes and bits of extensions that were agreed on stay as they are. A
//! frame is passed on as it arrives, so that one of 2^63 − 1 bytes takes as much memory as one of ten. Only a length that
//! is written with more bytes than it needs is shortened. It has no deadlines: those of both ends pass through it. It ends
//! when it cannot accept a connection, as for want of descriptors.
//!
//! `cargo run -p sockless-examples --example proxy -- 127.0.0.1:9000`, then open `ws://127.0.0.1:8080/`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use bytes::BytesMut;
use sockless_core::frames::{FramePart, FrameReader, FrameRules, FrameWriter, WireHead};
use sockless_core::handshake::{HeadError, ResponseReader, ServerHandshake};
use sockless_core::{Config, Instant};

fn main() -> std::io::Result<()> {
    let upstream = std::env::args().nth(1).unwrap_or("127.0.0.1:9000".into());
    for client in TcpListener::bind("127.0.0.1:8080")?.incoming() {
        let (client, upstream) = (client?, upstream.clone());
        thread::spawn(move || {
            let print = |name: &str, head: &WireHead| println!("{name} {head:?}");
            TcpStream::connect(upstream).map(|server| proxy(&client, &server, print))
        });
    }
    Ok(())
}

/// Passes on both directions until they end. `observe` sees the header of each frame.
fn proxy(client: &TcpStream, server: &TcpStream, observe: impl Fn(&str, &WireHead) + Sync) {
    let mut request = ServerHandshake::new(Config::default().into(), Instant::EPOCH);
    let mut response = ResponseReader::new(&Config::default(), Instant::EPOCH);
    let request = |bytes: &mut _| Some(request.poll_request(bytes)?.map(|_| true));
    let response = |bytes: &mut _| Some(response.poll_response(bytes)?.map(|r| r.status() == 101));
    thread::scope(|scope| {
        scope.spawn(|| pass((client, server), request, |head| observe("client", head)));
        pass((server, client), response, |head| observe("server", head));
    });
}

/// Passes on a head and what follows, which is frames if `poll_head` returns true.
fn pass<P: FnMut(&mut BytesMut) -> Option<Result<bool, HeadError>>>(
    (mut from, mut to): (&TcpStream, &TcpStream),
    mut poll_head: P,
    observe: impl Fn(&WireHead),
) {
    let (mut reader, mut writer) = (FrameReader::new(FrameRules::ANY), FrameWriter::verbatim());
    let (mut inbound, mut out, mut is_websocket) = (BytesMut::new(), BytesMut::new(), None);
    let mut forward = |bytes: &[u8]| -> Result<(), Box<dyn std::error::Error>> {
        inbound.extend_from_slice(bytes);
        if is_websocket.is_none() {
            out.extend_from_slice(&inbound);
            is_websocket = poll_head(&mut inbound).transpose()?;
            out.truncate(out.len() - inbound.len());
        }
        if is_websocket == Some(true) {
            let mut bytes = &inbound.split()[..];
            while let Some(part) = reader.read(&mut bytes)? {
                if let FramePart::Head(head) = &part {
                    observe(head);
                }
                writer.part(&part, &mut out)?;
            }
        } else if is_websocket == Some(false) {
            out.unsplit(inbound.split());
        }
        Ok(to.write_all(&out.split())?)
    };
    let mut block = [0; 16 << 10];
    while from.read(&mut block).is_ok_and(|len| len > 0 && forward(&block[..len]).is_ok()) {}
    // Each direction of frames ends for itself: the other may still have a Close frame on its way.
    let how = if is_websocket == Some(true) { Shutdown::Write } else { Shutdown::Both };
    let _ = (to.shutdown(how), from.shutdown(Shutdown::Read));
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;

    use sockless::{BoxError, CloseCode, Deflate, Router, Session, websocket};

    use super::*;

    type Seen = Vec<(String, WireHead)>;

    /// A proxy in front of `upstream` for one connection, and the headers that it has seen.
    fn in_front_of(upstream: SocketAddr) -> (SocketAddr, thread::JoinHandle<Seen>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let proxy = thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let seen = Mutex::default();
            let observe = |name: &str, head: &WireHead| {
                Seen::push(&mut seen.lock().unwrap(), (name.to_owned(), *head));
            };
            proxy(&client, &TcpStream::connect(upstream).unwrap(), observe);
            seen.into_inner().unwrap()
        });
        (addr, proxy)
    }

    fn expect(mut stream: &TcpStream, expected: &[u8]) {
        let mut read = vec![0; expected.len()];
        stream.read_exact(&mut read).unwrap();
        assert!(read == expected, "{} bytes differ", read.len());
    }

    const REQUEST: &[u8] =
        b"GET /a HTTP/1.1\r\nhost: a\r\nUPGRADE: websocket\r\nX-Odd:  kept \r\n\r\n";
    const RESPONSE: &[u8] = b"HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\n\r\n";

    #[test]
    fn every_byte_passes_unchanged_in_both_directions() {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, proxy) = in_front_of(upstream.local_addr().unwrap());
        let client = &TcpStream::connect(addr).unwrap();
        // A masked fragment, a ping, an unknown opcode with all bits, and a Close frame that may not be sent.
        let frames = b"\x01\x82\x01\x02\x03\x04ab\x89\x00\xF3\x03abc\x88\x02\x03\xEE";
        let endless = [&b"\x82\x7F\x7F"[..], &[0xFF; 7]].concat();
        let part_of_it = vec![b'x'; 4 << 20];
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut client = client;
                for bytes in [REQUEST, frames, &endless, &part_of_it] {
                    client.write_all(bytes).unwrap();
                }
                client.shutdown(Shutdown::Write).unwrap();
            });
            let server = &upstream.accept().unwrap().0;
            expect(server, REQUEST);
            let interim = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n";
            for bytes in [interim, RESPONSE, frames] {
                (&mut &*server).write_all(bytes).unwrap();
            }
            for bytes in [interim, RESPONSE, frames] {
                expect(client, bytes);
            }
            for bytes in [frames, &endless[..], &part_of_it] {
                expect(server, bytes);
            }
            assert_eq!((&mut &*server).read(&mut [0]).unwrap(), 0, "the end passes too");
        });
        let seen = proxy.join().unwrap();
        let of = |name| seen.iter().filter(move |(by, _)| by == name).map(|(_, head)| head.len);
        assert_eq!(of("client").collect::<Vec<_>>(), [2, 0, 3, 2, u64::MAX >> 1]);
        assert_eq!(of("server").collect::<Vec<_>>(), [2, 0, 3, 2]);
    }

    #[test]
    fn a_refusal_passes_with_its_body() {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, proxy) = in_front_of(upstream.local_addr().unwrap());
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(REQUEST).unwrap();
        let mut server = upstream.accept().unwrap().0;
        expect(&server, REQUEST);
        let refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
        server.write_all(refusal).unwrap();
        drop(server);
        let mut read = Vec::new();
        client.read_to_end(&mut read).unwrap();
        assert_eq!(read, refusal);
        assert_eq!(proxy.join().unwrap(), []);
    }

    #[tokio::test]
    async fn a_compressed_session_passes_with_its_close_codes() {
        async fn echo(mut session: Session) -> Result<(), BoxError> {
            loop {
                let message = session.recv().await?;
                session.send(message).await?;
            }
        }
        let config = Config::default().extension(Deflate::default()).max_send_frame_len(100);
        let server = sockless::bind("127.0.0.1:0").await.unwrap();
        let (addr, proxy) = in_front_of(server.local_addr().unwrap());
        let router = Router::new().websockets(config.clone()).route("/", websocket(echo));
        tokio::spawn(server.serve(router));

        let mut session = sockless::connect(&format!("ws://{addr}/")).config(config).await.unwrap();
        let text = (0..2000).map(|number| number.to_string()).collect::<String>();
        session.send(text.clone()).await.unwrap();
        assert_eq!(session.recv().await.unwrap().as_text(), Some(&*text));
        session.close((CloseCode::new(4000).unwrap(), "that was all"));
        let closed = session.closed().await;
        assert!(closed.is_clean());
        assert_eq!(closed.received().and_then(|reason| reason.code()), CloseCode::new(4000));
        drop(session);

        let seen = tokio::task::spawn_blocking(|| proxy.join().unwrap()).await.unwrap();
        let fragments = seen.iter().filter(|(_, head)| !head.fin).count();
        assert!(fragments > 10, "both ends send fragments: {fragments}");
        assert!(seen.iter().all(|(by, head)| (by == "client") == head.mask.is_some()));
    }
}
