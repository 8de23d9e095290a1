//! The loops of our own, each as a program, and clients of ours that talk to it; the one over a serial line
//! has its client in it.

#![expect(clippy::disallowed_methods, reason = "the loops are other processes, in real time")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use sockless::{CloseCode, Message, Session};
use sockless_core::handshake::{ServerHandshake, UpgradeRequest};
use sockless_core::{Frame, Instant, Opcode, RawConnection};

const BLOCKING: &str = env!("CARGO_BIN_EXE_blocking-echo");
const EPOLL: &str = env!("CARGO_BIN_EXE_epoll-echo");
const GAME: &str = env!("CARGO_BIN_EXE_game-loop");
const STDIN: &str = env!("CARGO_BIN_EXE_stdin-chat");
const UART: &str = env!("CARGO_BIN_EXE_uart-chat");

/// Long enough for a busy machine; a longer wait is a hang.
const LIMIT: Duration = Duration::from_secs(60);

/// A program that echoes, on a port of its own, and is gone with this value.
struct Server {
    process: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(program: &str) -> Self {
        Self::start_with(program, &[])
    }

    fn start_with(program: &str, options: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").args(options).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it was built");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it prints its address");
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

    /// Stops the process, has `meanwhile` done, and lets it go on after `length`.
    #[cfg(unix)]
    fn stand_still(&self, length: Duration, meanwhile: impl FnOnce()) {
        self.signal("-STOP");
        meanwhile();
        // Not for anything to happen: this is what is tested.
        std::thread::sleep(length);
        self.signal("-CONT");
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.expect("there is such a program").success());
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
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(LIMIT, future).await.expect("the test does not hang")
    })
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

/// Takes a short frame of the server: its first byte, and its payload.
fn take_frame(stream: &mut impl Read) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    assert!(head[1] < 126, "it is short");
    let mut payload = vec![0; head[1].into()];
    stream.read_exact(&mut payload)?;
    Ok((head[0], payload))
}

/// A client's short frame whose mask is zero.
fn short_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = 0x80 | u8::try_from(payload.len()).expect("it is short");
    [&[first, len, 0, 0, 0, 0], payload].concat()
}

const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const CLOSE: u8 = 0x88;
const BINARY: u8 = 0x82;

#[test]
fn messages_come_back_and_so_does_the_code() {
    for program in [BLOCKING, EPOLL] {
        let server = Server::start(program);
        let closed = block_on(async {
            let mut session = sockless::connect(&server.url()).await.expect("it answers");
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
                let session = sockless::connect(&server.url()).await.expect("it answers");
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
fn a_request_that_is_not_an_upgrade_is_answered() {
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
    assert!(is_timeout(&halted), "{halted}");
    block_on(async {
        let mut other = sockless::connect(&server.url()).await.expect("it answers");
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
    // Both have opened every file that they keep open.
    block_on(async {
        sockless::connect(&server.url())
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
         closed by us: the closing handshake is complete; received 1000 thank you; \
         sent 1000 thank you\n"
    );
}

/// The line holds 64 bytes, and the device's queue 256.
#[test]
fn a_device_that_is_flooded_answers_all_of_it() {
    let ran = Command::new(UART).arg("flood").output().expect("it was built");
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "2000 answers\n");
}

#[test]
fn a_device_whose_host_never_reads_times_out() {
    let ran = Command::new(UART).arg("stall").output().expect("it was built");
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert!(
        printed.starts_with("device: closed by us: ") && printed.contains("write"),
        "{printed}"
    );
}

/// The limit of the tests of deadlines, and how late it may be kept on a busy machine.
const SHORT: Duration = Duration::from_millis(500);
const LATE: Duration = Duration::from_secs(10);

#[test]
fn a_client_that_sends_without_pause_is_ended_when_it_is_too_old() {
    for program in [BLOCKING, EPOLL] {
        let server = Server::start_with(program, &["--max-age-ms", "500"]);
        let start = std::time::Instant::now();
        let mut stream = server.upgraded().expect("it answers");
        let mut writer = stream.try_clone().expect("it is a socket");
        let writing = std::thread::spawn(move || {
            let messages = short_frame(BINARY, &[7; 100]).repeat(100);
            while writer.write_all(&messages).is_ok() {}
        });
        let reason = loop {
            match take_frame(&mut stream).expect("a Close frame comes before the end") {
                (CLOSE, reason) => break reason,
                echo => assert_eq!(echo, (BINARY, vec![7; 100])),
            }
            assert!(start.elapsed() < LATE, "{program}: its clock stands still");
        };
        assert!(start.elapsed() >= SHORT);
        assert_eq!(reason[..2], 1001_u16.to_be_bytes(), "{program}");
        stream.shutdown(Shutdown::Both).expect("it is connected");
        writing.join().expect("it does not panic");
    }
}

/// Its message is never whole, and each read of the server's brings some of it.
#[test]
fn a_message_that_arrives_without_pause_and_without_end_times_out() {
    for program in [BLOCKING, EPOLL] {
        let options = ["--message-ms", "200", "--closing-ms", "500"];
        let server = Server::start_with(program, &options);
        let mut stream = server.upgraded().expect("it answers");
        stream.set_nodelay(true).expect("it is a socket");
        let start = std::time::Instant::now();
        let header = &frame(&vec![7; 1 << 20])[..14];
        stream.write_all(header).expect("it reads");
        let mut reader = stream.try_clone().expect("it is a socket");
        let reading = std::thread::spawn(move || take_frame(&mut reader));
        // Byte by byte, or the message would be whole before.
        while stream.write_all(&[7]).is_ok() {
            assert!(start.elapsed() < LATE, "{program}: its clock stands still");
        }
        assert!(start.elapsed() >= Duration::from_millis(200));
        let (first, reason) = reading.join().expect("it does not panic").expect("a frame comes");
        assert_eq!((first, &reason[..2]), (CLOSE, &1008_u16.to_be_bytes()[..]), "{program}");
    }
}

/// While a server stands still its deadlines pass, and what was sent to it in time lies unread.
#[test]
#[cfg(unix)]
fn clients_that_answered_in_time_outlive_a_standstill() {
    for program in [BLOCKING, EPOLL] {
        let options = ["--ping-ms", "300", "--ping-timeout-ms", "900"];
        let server = Server::start_with(program, &options);
        let mut streams: Vec<_> = (0..20).map(|_| server.upgraded().expect("it answers")).collect();
        for round in 0..3 {
            let pings: Vec<_> = streams.iter_mut().map(take_ping).collect();
            server.stand_still(Duration::from_secs(1), || {
                for (stream, payload) in streams.iter_mut().zip(&pings) {
                    stream.write_all(&short_frame(PONG, payload)).expect("it is connected");
                }
            });
            for (number, stream) in streams.iter_mut().enumerate() {
                let lives = echoes(stream, &[round, number as u8]);
                assert!(lives, "{program}: client {number} was given up, standstill {round}");
            }
        }
    }
}

/// Takes frames until a ping comes, and leaves that one without an answer.
fn take_ping(stream: &mut TcpStream) -> Vec<u8> {
    let (first, payload) = take_frame(stream).expect("it is connected");
    assert_eq!(first, PING);
    payload
}

/// True if a message comes back; pings that arrive before it are answered.
fn echoes(stream: &mut TcpStream, message: &[u8]) -> bool {
    let sent = stream.write_all(&short_frame(BINARY, message));
    sent.is_ok()
        && loop {
            match take_frame(stream) {
                Ok((PING, payload)) => {
                    if stream.write_all(&short_frame(PONG, &payload)).is_err() {
                        break false;
                    }
                }
                Ok(received) => break received == (BINARY, message.to_vec()),
                Err(_) => break false,
            }
        }
}

#[test]
fn a_client_that_never_reads_times_out() {
    for program in [BLOCKING, EPOLL] {
        let server = Server::start_with(program, &["--write-ms", "500"]);
        let mut stream = server.upgraded().expect("it answers");
        stream.set_write_timeout(Some(Duration::from_millis(100))).expect("it is a socket");
        let blocks = frame(&[7; 1 << 16]);
        let (mut sent, start) = (0, std::time::Instant::now());
        let error = loop {
            match stream.write(&blocks[sent % blocks.len()..]) {
                Ok(len) => sent += len,
                Err(error) if is_timeout(&error) => {}
                Err(error) => break error,
            }
            assert!(start.elapsed() < LATE, "{program}: it waits on and on");
        };
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(kinds.contains(&error.kind()), "{program}: {error}");
        assert!(start.elapsed() >= SHORT);
    }
}

/// All of them arrive in one read, and each answer takes all the room that there is.
#[test]
fn what_was_left_for_want_of_room_is_answered_once_there_is_some() {
    for program in [BLOCKING, EPOLL] {
        let server = Server::start_with(program, &["--high-water", "1"]);
        let mut stream = server.upgraded().expect("it answers");
        let messages: Vec<_> =
            (0..200).flat_map(|number| short_frame(BINARY, &[number; 10])).collect();
        stream.write_all(&messages).expect("it reads");
        for number in 0..200 {
            let echo = take_frame(&mut stream).expect("it comes");
            assert_eq!(echo, (BINARY, vec![number; 10]), "{program}");
        }
    }
}

/// A game's loop never waits for the network, and what it sent last arrives.
#[test]
fn a_game_that_runs_on_sends_its_latest_state() {
    for program in [BLOCKING, EPOLL] {
        let server = Server::start(program);
        let output =
            Command::new(GAME).arg(server.addr.to_string()).output().expect("it was built");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.contains("the last one Some(\"at 59\")"), "{text}");
        assert!(text.contains("the closing handshake is complete"), "{text}");
    }
}

/// The server stands still for longer than the game runs: its frames go on, and one position waits.
#[test]
#[cfg(unix)]
fn a_game_whose_server_stands_still_goes_on_and_ends() {
    let server = Server::start(EPOLL);
    let mut process = Command::new(GAME)
        .arg(server.addr.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was built");
    server.stand_still(Duration::from_secs(2), || {});
    let mut text = String::new();
    process.stdout.take().expect("it is piped").read_to_string(&mut text).expect("text");
    process.wait().expect("it ends");
    assert!(text.contains("the closing handshake is complete"), "{text}");
}

/// Lines of all lengths, more than the transport holds, and the end of the input while echoes are on their way.
#[test]
fn lines_of_the_standard_input_come_back_in_their_order() {
    for program in [BLOCKING, EPOLL] {
        let server = Server::start(program);
        let mut process = Command::new(STDIN)
            .arg(server.addr.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        let lines: Vec<_> =
            (0..200).map(|number| format!("{number} {}", "x".repeat(number * 300))).collect();
        let mut stdin = process.stdin.take().expect("it is piped");
        let input = lines.join("\n");
        let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let mut output = String::new();
        process.stdout.take().expect("it is piped").read_to_string(&mut output).expect("text");
        writing.join().expect("no panic").expect("it reads");
        assert!(process.wait().expect("it ends").success());
        let (end, echoes) = output
            .lines()
            .collect::<Vec<_>>()
            .split_last()
            .map(|(end, echoes)| (end.to_string(), echoes.to_vec()))
            .expect("lines");
        assert_eq!(echoes, lines, "{program}");
        assert!(end.contains("the closing handshake is complete"), "{end}");
    }
}

/// A server that ends without a word ends the program too, while it waits for a line.
#[test]
fn a_server_that_vanishes_ends_the_program_that_waits_for_a_line() {
    let server = Server::start(EPOLL);
    let mut process = Command::new(STDIN)
        .arg(server.addr.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was built");
    let mut stdin = process.stdin.take().expect("it is piped");
    stdin.write_all(b"hello\n").expect("it reads");
    let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("text");
    assert_eq!(line, "hello\n");
    drop(server);
    line.clear();
    stdout.read_line(&mut line).expect("text");
    assert!(line.contains("closed by the peer"), "{line}");
    assert!(process.wait().expect("it ends").success());
}

/// A program that is a client, and the socket of its one connection, which the test serves itself.
struct Client {
    process: Child,
    stream: TcpStream,
}

impl Client {
    fn start(program: &str) -> Self {
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
    fn until_close(&self) -> Vec<Frame> {
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
    fn end(mut self, mut printed: String) -> String {
        self.stream.write_all(&[CLOSE, 0]).expect("it reads");
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
fn text_of_server(text: &str) -> Vec<u8> {
    [&[0x81, u8::try_from(text.len()).expect("it is short")], text.as_bytes()].concat()
}

/// The frames of the game go on while messages arrive without pause, and it closes when it wanted to.
#[test]
fn a_game_that_is_flooded_goes_on_and_ends() {
    let client = Client::start(GAME);
    let (has_closed, start) = (AtomicBool::new(false), std::time::Instant::now());
    let frames = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let messages = text_of_server("a message of the flood").repeat(1000);
            let (mut stream, mut sent) = (&client.stream, 0);
            while !has_closed.load(Ordering::Relaxed) {
                stream.write_all(&messages).expect("it reads");
                sent += 1000;
            }
            sent
        });
        let frames = client.until_close();
        has_closed.store(true, Ordering::Relaxed);
        assert!(flooding.join().expect("no panic") > 1000);
        frames
    });
    assert!(start.elapsed() < LIMIT);
    assert!(frames.iter().any(|frame| &frame.payload[..] == b"at 59"), "{frames:?}");
    let text = client.end(String::new());
    assert!(text.contains("the closing handshake is complete"), "{text}");
}

/// A program whose output is not read prints no further, and stops reading from the server that floods it. Nothing is lost.
#[test]
fn a_program_whose_output_is_not_read_stops_a_server_that_floods_it() {
    let mut client = Client::start(STDIN);
    client.stream.set_write_timeout(Some(Duration::from_millis(500))).expect("it is a socket");
    let message = text_of_server(&"x".repeat(100));
    let block = message.repeat(1000);
    let mut sent = 0;
    loop {
        match client.stream.write(&block[sent % block.len()..]) {
            Ok(len) => sent += len,
            Err(error) if is_timeout(&error) => break,
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 256 << 20, "it reads on and on");
    }
    // The rest of the message that was cut.
    client.stream.set_write_timeout(Some(LIMIT)).expect("it is a socket");
    let rest = sent.next_multiple_of(message.len()) - sent;
    let messages = (sent + rest) / message.len();
    let mut stdout = BufReader::new(client.process.stdout.take().expect("it is piped"));
    let reading = std::thread::spawn(move || {
        let mut line = String::new();
        for _ in 0..messages {
            line.clear();
            stdout.read_line(&mut line).expect("text");
            assert_eq!(line.len(), 101);
        }
        stdout.into_inner()
    });
    client.stream.write_all(&message[message.len() - rest..]).expect("it reads again");
    client.process.stdout = Some(reading.join().expect("every message is printed"));
    drop(client.process.stdin.take());
    assert_eq!(client.until_close().len(), 0);
    let text = client.end(String::new());
    assert!(text.contains("the closing handshake is complete"), "{text}");
}

/// A server that does not read stops the program from reading lines. Nothing is lost.
#[test]
fn lines_that_a_server_does_not_read_are_not_read_either() {
    let mut client = Client::start(STDIN);
    let mut stdin = client.process.stdin.take().expect("it is piped");
    let line = "y".repeat(1023);
    let written = Arc::new(AtomicUsize::new(0));
    let writing = std::thread::spawn({
        let (line, written) = (line.clone(), written.clone());
        move || {
            for _ in 0..32 << 10 {
                writeln!(stdin, "{line}").expect("it reads");
                written.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    // Until it has come to a halt.
    let mut before = usize::MAX;
    while before != written.load(Ordering::Relaxed) {
        before = written.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(!writing.is_finished(), "it reads 32 MiB of lines");
    let frames = client.until_close();
    writing.join().expect("no panic");
    assert_eq!(frames.len(), 32 << 10);
    assert!(frames.iter().all(|frame| frame.payload[..] == *line.as_bytes()));
    let text = client.end(String::new());
    assert!(text.contains("the closing handshake is complete"), "{text}");
}

/// The page `sockless::guide::porting` shows the driver of the blocking program, so the tests above hold for it.
#[test]
fn the_loop_of_the_guide_is_the_one_that_is_tested() {
    let read = |path: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::read_to_string(path).expect("it is there")
    };
    let driver = read("src/blocking/driver.rs").replace("pub(crate) ", "");
    let body = driver.find("/// The longest time that a write waits").expect("the loop begins so");
    assert!(
        read("../sockless/src/guide/porting.md").contains(driver[body..].trim()),
        "they differ"
    );
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
