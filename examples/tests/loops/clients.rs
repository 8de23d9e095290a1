//! The clients, in front of servers that work, stand still or vanish.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::programs::{BLOCKING, EPOLL, GAME, STDIN, Server};

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
