//! The loops of our own, each as a program, and clients of ours that talk to it; the one over a serial line
//! has its client in it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sockless::{CloseCode, Message};
use sockless_driver::Session;

const BLOCKING: &str = env!("CARGO_BIN_EXE_blocking-echo");
const EPOLL: &str = env!("CARGO_BIN_EXE_epoll-echo");
const UART: &str = env!("CARGO_BIN_EXE_uart-chat");

/// Long enough for a busy machine; who waits longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A program that echoes, on a port of its own, and is gone with this value.
struct Server {
    process: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(program: &str) -> Self {
        let mut command = Command::new(program);
        let mut process =
            command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("it was built");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let addr = line.trim().strip_prefix("listening on ws://").expect("an address");
        Self { process, addr: addr.parse().expect("an address") }
    }

    fn url(&self) -> String {
        format!("ws://{}/", self.addr)
    }

    /// A socket that has asked for an upgrade, and been granted it.
    fn upgraded(&self) -> Result<TcpStream> {
        let mut stream = self.connect()?;
        stream.write_all(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        Ok(stream)
    }

    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.addr)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(stream)
    }

    /// Waits until the server has as many descriptors open as that.
    #[cfg(target_os = "linux")]
    fn until_descriptors(&self, count: usize) {
        let start = std::time::Instant::now();
        while self.descriptors() != count {
            assert!(start.elapsed() < LIMIT, "{} instead of {count}", self.descriptors());
            std::thread::yield_now();
        }
    }

    #[cfg(target_os = "linux")]
    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("it runs").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(LIMIT, future).await.expect("nobody hangs") })
}

async fn exchange(session: &mut Session, message: impl Into<Message>) {
    let message = message.into();
    session.send(message.clone()).await.expect("the session is open");
    assert_eq!(session.recv().await.expect("the session is open"), message);
}

/// A client's binary frame whose mask is zero.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82, 0xff];
    frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn messages_come_back_and_so_does_the_code() {
    for program in [BLOCKING, EPOLL] {
        let server = Server::start(program);
        let closed = block_on(async {
            let mut session = sockless_tokio::connect(&server.url()).await.expect("it answers");
            for len in [0, 1, 125, 126, 4095, 4097, 0xFFFF, 0x1_0000, 0x1_0001, 1 << 20] {
                exchange(&mut session, vec![len as u8; len]).await;
                exchange(&mut session, "\u{1F600}".repeat(len / 4)).await;
            }
            session.close((CloseCode::new(4321).expect("it may be sent"), "so long"));
            session.closed().await
        });
        let received = closed.received().expect("a Close frame came back");
        assert_eq!(received.code().map(CloseCode::get), Some(4321));
    }
}

#[test]
fn many_clients_are_served_at_once() {
    for program in [BLOCKING, EPOLL] {
        let server = Server::start(program);
        block_on(async {
            let mut sessions = Vec::new();
            for _ in 0..200 {
                let session = sockless_tokio::connect(&server.url()).await.expect("it answers");
                sessions.push(session);
            }
            // All of them send before any of them receives.
            for round in 0..5 {
                for (number, session) in sessions.iter().enumerate() {
                    let message = format!("client {number}, round {round}");
                    session.send(message).await.expect("the session is open");
                }
                for (number, session) in sessions.iter_mut().enumerate() {
                    let message = session.recv().await.expect("the session is open");
                    let expected = format!("client {number}, round {round}");
                    assert_eq!(message.as_text(), Some(&*expected));
                }
            }
        });
    }
}

#[test]
fn what_is_no_upgrade_is_answered() {
    for program in [BLOCKING, EPOLL] {
        let server = Server::start(program);
        let mut stream = server.connect().expect("it listens");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.shutdown(Shutdown::Write).expect("it is connected");
        stream.read_to_string(&mut answer).expect("it closes");
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    }
}

/// What it has not sent it does not read: the client's own writing comes to a halt, and goes on when the
/// client reads. Meanwhile others are served.
#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let server = Server::start(EPOLL);
    let mut stream = server.upgraded().expect("it answers");
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("it is a socket");
    let blocks = frame(&[7; 1 << 16]);
    let mut sent = 0;
    let halted = loop {
        match stream.write(&blocks[sent % blocks.len()..]) {
            Ok(len) => sent += len,
            Err(error) => break error,
        }
        assert!(sent < 256 << 20, "it reads on and on");
    };
    assert!(matches!(halted.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{halted}");
    block_on(async {
        let mut other = sockless_tokio::connect(&server.url()).await.expect("it answers");
        exchange(&mut other, "meanwhile").await;
    });

    // A frame of the server has no mask, and is four bytes shorter.
    let echoes = sent / blocks.len() * (blocks.len() - 4);
    let mut reader = stream.try_clone().expect("it is a socket");
    let reading = std::thread::spawn(move || reader.read_exact(&mut vec![0; echoes]));
    reading.join().expect("it does not panic").expect("every echo comes");
}

#[test]
#[cfg(target_os = "linux")]
fn who_vanishes_leaves_nothing_behind() {
    let server = Server::start(EPOLL);
    // What is opened once is open by then.
    block_on(async {
        sockless_tokio::connect(&server.url())
            .run(async |mut session| exchange(&mut session, "first").await)
            .await
            .expect("it answers");
    });
    let count = server.descriptors();
    let mut streams: Vec<_> = (0..50).map(|_| server.upgraded().expect("it answers")).collect();
    // Half of a frame, half of a request, and nothing at all.
    streams[0].write_all(&frame(&[1; 100])[..50]).expect("it reads");
    streams.push(server.connect().expect("it listens"));
    streams[50].write_all(b"GET / HT").expect("it reads");
    streams.push(server.connect().expect("it listens"));
    drop(streams);
    server.until_descriptors(count);
}

#[test]
fn a_device_and_its_host_talk_over_a_serial_line() {
    let ran = Command::new(UART).output().expect("it was built");
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout),
        "device: how warm is it?\n\
         1008 bytes\n\
         device: that was no text\n\
         closed by us: the closing handshake is complete; the peer said 1000 thank you; \
         we said 1000 thank you\n"
    );
}
