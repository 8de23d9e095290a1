//! The programs, started by a test and ended with it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::handshake::{ServerHandshake, UpgradeRequest};
use sockless_core::{Frame, Instant, Opcode, RawConnection};

pub(crate) const BLOCKING: &str = env!("CARGO_BIN_EXE_blocking-echo");
pub(crate) const EPOLL: &str = env!("CARGO_BIN_EXE_epoll-echo");
pub(crate) const GAME: &str = env!("CARGO_BIN_EXE_game-loop");
pub(crate) const STDIN: &str = env!("CARGO_BIN_EXE_stdin-chat");
pub(crate) const UART: &str = env!("CARGO_BIN_EXE_uart-chat");

/// Long enough for a busy machine; a longer wait is a hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A program that echoes, on a port of its own, and is gone with this value.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) addr: SocketAddr,
}

impl Server {
    pub(crate) fn start(program: &str) -> Self {
        Self::start_with(program, &[])
    }

    pub(crate) fn start_with(program: &str, options: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").args(options).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it was built");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it prints its address");
        let addr = line.trim().strip_prefix("listening on ws://").expect("an address");
        Self { process, addr: addr.parse().expect("an address") }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.addr)
    }

    /// A socket that has asked for an upgrade, and been granted it.
    pub(crate) fn upgraded(&self) -> Result<TcpStream> {
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

    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.addr)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(stream)
    }

    /// Stops the process, has `meanwhile` done, and lets it go on after `length`.
    #[cfg(unix)]
    pub(crate) fn stand_still(&self, length: Duration, meanwhile: impl FnOnce()) {
        self.signal("-STOP");
        meanwhile();
        // Not for anything to happen: this is what is tested.
        std::thread::sleep(length);
        self.signal("-CONT");
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.expect("there is such a program").success());
    }

    /// Waits until the server has as many descriptors open as that.
    #[cfg(target_os = "linux")]
    pub(crate) fn until_descriptors(&self, count: usize) {
        let start = std::time::Instant::now();
        while self.descriptors() != count {
            assert!(start.elapsed() < LIMIT, "{} instead of {count}", self.descriptors());
            std::thread::yield_now();
        }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("it runs").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A program that is a client, and the socket of its one connection, which the test serves itself.
pub(crate) struct Client {
    pub(crate) process: Child,
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn start(program: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let addr = listener.local_addr().expect("an address").to_string();
        let process = Command::new(program)
            .arg(addr)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        let (mut stream, _) = listener.accept().expect("it connects");
        stream.set_read_timeout(Some(LIMIT)).expect("it is a socket");
        let mut handshake = ServerHandshake::new(Arc::default(), Instant::EPOCH);
        let mut inbound = BytesMut::new();
        let request = loop {
            if let Some(request) = handshake.poll_request(&mut inbound) {
                break request.expect("a request");
            }
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("it sends a request");
            inbound.extend_from_slice(&byte);
        };
        let (response, _) = UpgradeRequest::from_request(&request).expect("an upgrade").accept();
        let mut raw = handshake.accept_raw(&response, Arc::default());
        while let Some(head) = raw.outbound().pop() {
            stream.write_all(&head).expect("it reads");
        }
        Self { process, stream }
    }

    /// Reads frames of the client until its Close frame, and returns the others.
    pub(crate) fn until_close(&self) -> Vec<Frame> {
        let (mut raw, mut inbound) = (RawConnection::server(Arc::default()), BytesMut::new());
        let (mut stream, mut frames, mut block) = (&self.stream, Vec::new(), [0; 16 << 10]);
        loop {
            while let Some(frame) = raw.poll_frame(&mut inbound, Instant::EPOCH) {
                let frame = frame.expect("sound frames");
                if frame.opcode == Opcode::Close {
                    return frames;
                }
                frames.push(frame);
            }
            let len = stream.read(&mut block).expect("it is connected");
            assert!(len > 0, "a Close frame comes before the end");
            inbound.extend_from_slice(&block[..len]);
        }
    }

    /// Answers the Close frame, and returns what the program has printed besides `printed`.
    pub(crate) fn end(mut self, mut printed: String) -> String {
        self.stream.write_all(&[0x88, 0]).expect("it reads");
        self.stream.shutdown(Shutdown::Write).expect("it is connected");
        let mut stdout = self.process.stdout.take().expect("it is piped");
        stdout.read_to_string(&mut printed).expect("text");
        assert!(self.process.wait().expect("it ends").success());
        printed
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A server's short text frame.
pub(crate) fn text_of_server(text: &str) -> Vec<u8> {
    [&[0x81, u8::try_from(text.len()).expect("it is short")], text.as_bytes()].concat()
}

pub(crate) fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
