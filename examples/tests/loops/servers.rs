//! The servers: echoes, floods, clients that stall, and standstills.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

use sockless::{CloseCode, Message, Session};

use crate::programs::{BLOCKING, EPOLL, LIMIT, Server, UART, is_timeout};

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
pub(crate) fn short_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = 0x80 | u8::try_from(payload.len()).expect("it is short");
    [&[first, len, 0, 0, 0, 0], payload].concat()
}

const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const BINARY: u8 = 0x82;

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
fn a_device_and_its_computer_talk_over_a_serial_line() {
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
fn a_device_whose_computer_never_reads_times_out() {
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
pub(crate) fn take_ping(stream: &mut TcpStream) -> Vec<u8> {
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
