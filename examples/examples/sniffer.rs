//! A sniffing proxy: ends both connections, prints each frame in clear, and passes it on. One thread, and one call drives each
//! end.
//!
//! It masks anew and checks the rules of frames, unlike the example `proxy`, which passes bytes unchanged. What one side does
//! not read is not read from the other side either, so that a connection takes bounded memory.
//!
//! `cargo run -p sockless-examples --example sniffer -- 127.0.0.1:9000`, then open `ws://127.0.0.1:8080/`.

#![expect(clippy::disallowed_methods, reason = "a loop of its own has a clock of its own")]

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpListener, ToSocketAddrs};
use std::time::Duration;

use bytes::BytesMut;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use sockless_core::handshake::{ClientHandshake, ServerHandshake, UpgradeRequest};
use sockless_core::{Config, Escaped, Frame, Instant, Output, RawConnection, Seed};

fn main() -> Result<()> {
    let upstream = std::env::args().nth(1).unwrap_or("127.0.0.1:9000".into());
    for client in TcpListener::bind("127.0.0.1:8080")?.incoming() {
        let (client, upstream) = (client?, upstream.clone());
        std::thread::spawn(move || {
            sniff(client, upstream, &Config::default(), |from, frame| {
                let payload = String::from_utf8_lossy(&frame.payload);
                println!("{from}: {:?}, last: {}, {}", frame.opcode, frame.fin, Escaped(payload));
            })
        });
    }
    Ok(())
}

/// Connects `client` to `upstream`, and shows each frame to `observe`.
fn sniff(
    client: std::net::TcpStream,
    upstream: impl ToSocketAddrs,
    config: &Config,
    mut observe: impl FnMut(&str, &Frame),
) -> Result<()> {
    let start = std::time::Instant::now();
    let now = || Instant::from_epoch(start.elapsed());
    let (mut client, mut server) = open(client, upstream, config, now())?;
    let mut poll = Poll::new()?;
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut client.stream, Token(0), both)?;
    poll.registry().register(&mut server.stream, Token(1), both)?;
    let mut events = Events::with_capacity(2);
    while !(client.is_over && server.is_over) {
        // A turn of one end may make room for the other, so both are asked until neither moves. By then both sockets have been
        // read and written until they would block, and report when that changes.
        let has_moved = client
            .turn(&mut server.connection, now(), |frame| observe("client", frame))
            | server.turn(&mut client.connection, now(), |frame| observe("server", frame));
        let until = [client.until, server.until].into_iter().flatten().min();
        let timeout = until.map(|until| round_up(until.saturating_since(now())));
        match poll.poll(&mut events, if has_moved { Some(Duration::ZERO) } else { timeout }) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// In whole milliseconds: a wait that is a little too short would be repeated at once.
fn round_up(timeout: Duration) -> Duration {
    Duration::from_millis(timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX))
}

/// One of the two connections.
struct End {
    stream: TcpStream,
    connection: RawConnection,
    inbound: BytesMut,
    /// When it has to go on in any case.
    until: Option<Instant>,
    is_over: bool,
}

impl End {
    fn new(
        stream: std::net::TcpStream,
        connection: RawConnection,
        inbound: BytesMut,
    ) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream);
        Ok(Self { stream, connection, inbound, until: None, is_over: false })
    }

    /// Runs a turn, and reads: frames that arrive leave by `other`. Returns true if anything moved.
    fn turn(
        &mut self,
        other: &mut RawConnection,
        now: Instant,
        mut observe: impl FnMut(&Frame),
    ) -> bool {
        let mut has_moved = false;
        while !self.is_over {
            // What the other peer has not read is not read here either.
            self.connection.set_paused(!other.is_writable());
            match self.connection.poll_output(&mut self.inbound, now) {
                Output::Event(Ok(frame)) => {
                    observe(&frame);
                    let _ = other.send(frame, now); // Refused only while that end is closing.
                }
                // A Close frame was a frame as any other, and has passed.
                Output::Event(Err(_)) => other.close(now),
                Output::Write(mut outbound) => match self.stream.write(outbound.chunk()) {
                    Ok(len) => outbound.advance(len),
                    Err(error) if is_temporary(&error) => continue,
                    Err(error) => self.connection.handle_transport_error(error.to_string(), now),
                },
                Output::ShutdownWrite => drop(self.stream.shutdown(Shutdown::Write)),
                Output::Wait(wait) => {
                    self.until = wait.until;
                    return has_moved | (wait.read && self.read(now));
                }
                Output::Close => {
                    (self.is_over, self.until) = (true, None);
                    let _ = self.stream.shutdown(Shutdown::Both);
                }
            }
            has_moved = true;
        }
        has_moved
    }

    /// Reads once. Returns false if there is nothing to read.
    fn read(&mut self, now: Instant) -> bool {
        let mut block = [0; 16 << 10];
        match self.stream.read(&mut block) {
            Ok(0) => self.connection.handle_eof(now),
            Ok(len) => self.inbound.extend_from_slice(&block[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.connection.handle_transport_error(error.to_string(), now),
        }
        true
    }
}

fn is_temporary(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

/// Runs both opening handshakes, while the sockets still block: the server decides on the subprotocol. No extension is agreed on,
/// so that payloads are in clear.
fn open(
    mut client: std::net::TcpStream,
    upstream: impl ToSocketAddrs,
    config: &Config,
    now: Instant,
) -> Result<(End, End)> {
    let config = std::sync::Arc::new(config.clone());
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut from_client, mut from_server) = (BytesMut::new(), BytesMut::new());
    let mut accepting = ServerHandshake::new(config.clone(), now);
    let request = read_head(&client, &mut from_client, |inbound| accepting.poll_request(inbound))?;
    let request = request.map_err(Error::other)?;
    let mut upgrade = UpgradeRequest::from_request(&request).map_err(Error::other)?;

    let mut server = std::net::TcpStream::connect(upstream)?;
    server.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request_on =
        http::Request::get(format!("ws://{}{}", server.peer_addr()?, request.uri()));
    for protocols in request.headers().get_all("sec-websocket-protocol") {
        request_on = request_on.header("sec-websocket-protocol", protocols);
    }
    let request_on = request_on.body(()).map_err(Error::other)?;
    let mut connecting =
        ClientHandshake::new(request_on, seed()?, config.clone(), now).map_err(Error::other)?;
    while let Some(head) = connecting.outbound().pop() {
        server.write_all(&head)?;
    }
    let opened =
        read_head(&server, &mut from_server, |inbound| connecting.poll_raw_response(inbound))?;
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")?;
            return Err(Error::other(error));
        }
    };
    upgrade.select(opened.negotiated.subprotocol.as_deref().as_slice());
    let (response, _) = upgrade.accept();
    let connection = accepting.accept_raw(&response, config);
    Ok((
        End::new(client, connection, from_client)?,
        End::new(server, opened.connection, from_server)?,
    ))
}

/// Reads until `poll` returns a head. What follows it stays in `inbound`.
fn read_head<T>(
    mut from: &std::net::TcpStream,
    inbound: &mut BytesMut,
    mut poll: impl FnMut(&mut BytesMut) -> Option<T>,
) -> Result<T> {
    let mut block = [0; 4096];
    loop {
        if let Some(head) = poll(inbound) {
            return Ok(head);
        }
        match from.read(&mut block)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            len => inbound.extend_from_slice(&block[..len]),
        }
    }
}

fn seed() -> Result<Seed> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Seed::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::thread::{JoinHandle, spawn};

    use sockless::{BoxError, CloseCode, Message, Router, Session, websocket};

    use super::*;

    /// Long enough for a busy machine; a longer wait is a hang.
    const LIMIT: Duration = Duration::from_secs(60);

    /// The frames that a proxy for one connection has seen, and how it ended.
    type Seen = (Vec<(String, Frame)>, Result<()>);

    fn in_front_of(upstream: SocketAddr, config: Config) -> (SocketAddr, JoinHandle<Seen>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let proxy = spawn(move || {
            let mut seen = Vec::new();
            let (client, _) = listener.accept().unwrap();
            let ended = sniff(client, upstream, &config, |from, frame| {
                seen.push((from.to_owned(), frame.clone()));
            });
            (seen, ended)
        });
        (addr, proxy)
    }

    async fn echo(mut session: Session) -> std::result::Result<(), BoxError> {
        loop {
            let message = session.recv().await?;
            session.send(message).await?;
        }
    }

    async fn server() -> SocketAddr {
        let server = sockless::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr().unwrap();
        let router = Router::new().route("/chat", websocket(echo).protocol("chat.v2"));
        tokio::spawn(server.serve(router));
        addr
    }

    async fn connect(addr: SocketAddr) -> Session {
        let url = format!("ws://{addr}/chat");
        sockless::connect(&url).subprotocol("chat.v3").subprotocol("chat.v2").await.unwrap()
    }

    #[tokio::test]
    async fn a_session_passes_with_its_subprotocol_and_close_code_and_is_seen_in_clear() {
        let (addr, proxy) = in_front_of(server().await, Config::default());
        let mut session = connect(addr).await;
        assert_eq!(session.request().subprotocol(), Some("chat.v2"));
        session.send("hello").await.unwrap();
        assert_eq!(session.recv().await.unwrap(), Message::from("hello"));
        session.close((CloseCode::new(4000).unwrap(), "that was all"));
        let closed = tokio::time::timeout(LIMIT, session.closed()).await.unwrap();
        assert!(closed.is_clean(), "{closed}");
        assert_eq!(closed.received().and_then(|reason| reason.code()), CloseCode::new(4000));
        drop(session);
        let (seen, ended) = tokio::task::spawn_blocking(|| proxy.join().unwrap()).await.unwrap();
        ended.unwrap();
        let seen: Vec<_> = seen
            .iter()
            .map(|(from, frame)| (&from[..], frame.opcode, &frame.payload[..]))
            .collect();
        let close = b"\x0F\xA0that was all";
        assert_eq!(
            seen,
            [
                ("client", sockless::Opcode::Text, &b"hello"[..]),
                ("server", sockless::Opcode::Text, b"hello"),
                ("client", sockless::Opcode::Close, close),
                ("server", sockless::Opcode::Close, close),
            ]
        );
    }

    /// The client floods and does not read: the echoes fill the way back, the proxy stops reading the server, the server stops
    /// reading the proxy, and the proxy the client. Then all of them come.
    #[tokio::test]
    async fn a_flood_that_is_not_read_comes_to_a_halt_and_loses_nothing() {
        let (addr, proxy) = in_front_of(server().await, Config::default());
        let (sender, mut receiver) = connect(addr).await.split();
        let message = vec![7; 64 << 10];
        let mut sent = 0;
        // Sending is refused once all the buffers on the way are full.
        let wait = Duration::from_secs(1);
        while let Ok(result) = tokio::time::timeout(wait, sender.send(message.clone())).await {
            result.unwrap();
            sent += 1;
            assert!(sent < 4096, "it is read on and on");
        }
        for _ in 0..sent {
            let received = tokio::time::timeout(LIMIT, receiver.recv()).await.unwrap();
            assert!(received.unwrap().len() == message.len());
        }
        sender.close(CloseCode::NORMAL);
        assert!(tokio::time::timeout(LIMIT, sender.closed()).await.unwrap().is_clean());
        drop((sender, receiver));
        let (seen, ended) = tokio::task::spawn_blocking(|| proxy.join().unwrap()).await.unwrap();
        ended.unwrap();
        assert_eq!(seen.len(), 2 * sent + 2);
    }

    /// The client takes nothing, and sends without pause.
    #[tokio::test]
    async fn a_client_that_never_reads_times_out_and_ends_the_other_connection() {
        let config = Config::default().write_timeout(Duration::from_millis(500));
        let config = config.closing_timeout(Duration::from_millis(500));
        let (addr, proxy) = in_front_of(server().await, config);
        let client = spawn(move || {
            let mut client = std::net::TcpStream::connect(addr).unwrap();
            client
                .write_all(
                    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                      Sec-WebSocket-Protocol: chat.v2\r\n\r\n",
                )
                .unwrap();
            let message = [&[0x82, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0][..], &[7; 0xFFFF]].concat();
            client.set_write_timeout(Some(LIMIT)).unwrap();
            // Until the proxy has ended the connection.
            while client.write_all(&message).is_ok() {}
        });
        tokio::task::spawn_blocking(|| {
            client.join().unwrap();
            proxy.join().unwrap().1.unwrap();
        })
        .await
        .unwrap();
    }
}
