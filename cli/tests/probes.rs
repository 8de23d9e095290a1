//! `sockless serve --probes --shutdown-delay`: what a supervisor and a load balancer see while a server leaves.

#![cfg(unix)]
#![expect(clippy::disallowed_methods, reason = "the server is another process, in real time")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{PROGRAM, Server};

const READY: &str = "HTTP/1.1 200";
const LEAVING: &str = "HTTP/1.1 503";

#[test]
fn a_server_that_leaves_is_not_ready_and_goes_on_until_the_delay_is_over() {
    let delay = Duration::from_secs(5);
    let mut server = Server::start(&["--probes", "--shutdown-delay", "5", "echo"]);
    assert!(server.get("/livez").starts_with(READY));
    assert!(server.get("/readyz").starts_with(READY));
    let mut client = Command::new(PROGRAM);
    client.args(["connect", "--no-proxy", &server.url("/")]);
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut replies = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut echo = |text: &str| {
        writeln!(client.stdin.as_mut().unwrap(), "{text}").unwrap();
        assert_eq!(replies.next().unwrap().unwrap(), text);
    };
    echo("before");

    let asked = Instant::now();
    server.signal();
    while server.get("/readyz").starts_with(READY) {
        assert!(asked.elapsed() < delay, "it is ready for as long as it serves");
        std::thread::yield_now();
    }
    let readiness = asked.elapsed();
    assert!(server.get("/readyz").starts_with(LEAVING));
    assert!(server.get("/livez").starts_with(READY));
    echo("meanwhile");
    let connect = ["connect", "--no-proxy", "--no-input", "-x", "new", "-n", "1", &server.url("/")];
    let new = Command::new(PROGRAM).args(connect).output().unwrap();
    assert_eq!((new.status.code(), &*new.stdout), (Some(0), &b"new\n"[..]), "{new:?}");
    println!("503 after {readiness:?}; a new session {:?} after the signal", asked.elapsed());

    assert_eq!(server.wait(), Some(0));
    assert!(asked.elapsed() >= delay, "it went after {:?}", asked.elapsed());
    TcpStream::connect(server.addr()).expect_err("nothing listens");
    // It was closed with 1001.
    assert_eq!(client.wait().unwrap().code(), Some(0));
}
