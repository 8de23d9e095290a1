//! The table of exit statuses in the README, clause by clause. Those of loads, replays and recordings are in the tests of these commands.
#![cfg(unix)]

mod common;

use std::future::pending;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use common::{PROGRAM, Server};
use sockless::{CloseCode, CloseReason, Router, Session, websocket};
use tokio::runtime::Runtime;

#[test]
fn the_readme_has_the_list_of_the_help() {
    let readme = include_str!("../README.md");
    let (_, table) = readme.split_once("| status | meaning |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = rows.map(|row| row.trim_matches(['|', ' ']).replace(" | ", "  ")).collect();
    let help = Command::new(PROGRAM).arg("--help").output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let (_, list) = help.split_once("Exit status:").unwrap();
    // The help is wrapped to the width of the terminal.
    let list = list.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(rows.len(), 5);
    assert_eq!(list, rows.join(" ").split_whitespace().collect::<Vec<_>>().join(" "));
}

#[test]
fn a_session_that_is_closed_in_order_and_a_server_that_is_stopped_are_0() {
    let runtime = Runtime::new().unwrap();
    let normal = closing(&runtime, CloseCode::NORMAL.into());
    assert_eq!(connect(&[&normal]).status.code(), Some(0));
    let empty = closing(&runtime, CloseReason::EMPTY);
    assert_eq!(connect(&[&empty]).status.code(), Some(0));

    // A server that goes closes with 1001.
    let mut server = Server::start(&["echo"]);
    let mut client = connected(&server);
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(client.wait().unwrap().code(), Some(0));
}

#[test]
fn a_session_that_fails_or_is_closed_with_another_code_is_1() {
    let command = Server::start(&["exec", "--", "sh", "-c", "exit 3"]);
    let ended = connect(&[&command.url("/")]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(stderr.contains("1011") && stderr.contains("exit status: 3"), "{stderr}");

    let runtime = Runtime::new().unwrap();
    let own = closing(&runtime, CloseCode::new(4000).unwrap().into());
    assert_eq!(connect(&[&own]).status.code(), Some(1));

    let server = Server::start(&["echo"]);
    let mut client = connected(&server);
    // It is killed.
    drop(server);
    assert_eq!(client.wait().unwrap().code(), Some(1));
}

#[test]
fn a_wrong_command_line_and_an_unusable_file_are_2() {
    let server = Server::start(&["echo"]);
    let url = server.url("/");
    for arguments in
        [&["no url"][..], &[], &["--no-such-option", &url], &["--ca", "/does/not/exist", &url]]
    {
        let output = connect(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {output:?}");
    }
    // What is sent is hexadecimal then.
    let mut client = command();
    client.args(["--binary", &url]).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut client = client.spawn().unwrap();
    client.stdin.take().unwrap().write_all(b"xyz\n").unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(2));
}

#[test]
fn no_connection_is_3() {
    let server = Server::start(&["echo"]);
    let url = server.url("/");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (nowhere, proxy) = (format!("ws://{free}/"), format!("http://{free}"));
    let tls = format!("wss://{}/", server.addr());
    let not_http = answering(b"220 mail ready\r\n\r\n");
    let not_accepted =
        answering(b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    for arguments in [
        &["ws://name.invalid/"][..],
        &[&nowhere],
        &["--proxy", &proxy, &url],
        &[&tls],
        &[&not_http],
        &[&not_accepted],
    ] {
        let output = connect(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?} {output:?}");
    }
}

#[test]
fn a_response_instead_of_a_session_is_4() {
    let server = Server::start(&["echo"]);
    let rejected = connect(&["--origin", "https://evil.example", &server.url("/")]);
    assert_eq!(rejected.status.code(), Some(4), "{rejected:?}");
}

/// Connects, with nothing to send, and waits until the session ends.
fn connect(arguments: &[&str]) -> Output {
    command().arg("--no-input").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A client whose session is open.
fn connected(server: &Server) -> Child {
    let mut client = command();
    client.arg(server.url("/")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = client.spawn().unwrap();
    client.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    let mut line = String::new();
    BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    client
}

fn command() -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("connect").env_remove("http_proxy").env_remove("all_proxy");
    command
}

/// Starts a server that closes each session for this reason: its URL.
fn closing(runtime: &Runtime, reason: CloseReason) -> String {
    let server = runtime.block_on(sockless::bind("127.0.0.1:0")).unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let handler = move |session: Session| {
        let reason = reason.clone();
        async move {
            session.close(reason);
            session.closed().await;
        }
    };
    let router = Router::new().route("/", websocket(handler));
    runtime.spawn(server.serve_until(router, pending()));
    url
}

/// Starts a server that answers a request with `response`: its URL.
fn answering(response: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(&stream).lines().map(Result::unwrap);
        for _ in lines.take_while(|line| !line.is_empty()) {}
        stream.write_all(response).unwrap();
    });
    url
}
