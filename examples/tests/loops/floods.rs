//! The clients, in front of servers that flood them or do not read.

use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::programs::{Client, GAME, LIMIT, STDIN, is_timeout, text_of_server};

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
