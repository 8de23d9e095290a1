//! `sockless record` and `sockless replay` as a user runs them, with servers and clients of the same program.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::{PROGRAM, Server};
use sockless::sim::{Sim, Trace};
use sockless::{CloseCode, Closed, Role, Router, Session, websocket};

/// A proxy that records, and its file.
struct Recorder {
    server: Server,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Recorder {
    /// Records what passes to a server.
    fn start(arguments: &[&str], url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("recording.jsonl");
        let out = file.to_str().unwrap();
        let place = ["record", "--no-proxy", "--listen", "127.0.0.1:0", "--out", out, url];
        let server = Server::running(&[&place, arguments].concat());
        Self { server, file, _directory: directory }
    }

    fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }

    fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// Returns what has been recorded once all sessions have ended, and the status of the program.
    fn stop(&mut self) -> (String, Option<i32>) {
        let status = self.server.terminate();
        (std::fs::read_to_string(&self.file).unwrap(), status)
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

/// Sends a line for each reply.
fn connect(arguments: &[&str], url: &str, lines: &[&str]) {
    let mut child = Command::new(PROGRAM)
        .args(["connect", "--no-proxy", "-n", &lines.len().to_string()])
        .args(arguments)
        .arg(url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for line in lines {
        writeln!(stdin, "{line}").unwrap();
        stdout.read_line(&mut String::new()).unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Replays a file, and returns the status and the last line but for the differences.
fn replay(file: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(&[&["replay", "--no-proxy", file], arguments].concat());
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), format!("{stdout}{stderr}"))
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

#[test]
fn a_recording_has_heads_and_frames_without_credentials() {
    let echo = Server::start(&["echo"]);
    let mut recorder = Recorder::start(&[], &echo.url("/base/"));
    let headers =
        ["-H", "Authorization: Basic c2VjcmV0", "-H", "Cookie: id=secret", "-H", "X-A: b"];
    connect(&headers, &recorder.url("/chat?room=1"), &["hello", "Grüße\u{1b}"]);
    connect(&["--binary"], &recorder.url("/"), &["00ff"]);
    let (text, status) = recorder.stop();
    assert_eq!(status, Some(0));
    assert!(!text.contains("secret") && !text.contains("c2VjcmV0"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");

    let trace: Trace = text.parse().unwrap();
    let heads: Vec<_> = trace.heads().map(|head| (head.connection(), head.line())).collect();
    for expected in [
        (1, "GET /chat?room=1 HTTP/1.1"),
        (1, "authorization: (not recorded)"),
        (1, "cookie: (not recorded)"),
        (1, "x-a: b"),
        (1, "HTTP/1.1 101 Switching Protocols"),
        (2, "GET / HTTP/1.1"),
    ] {
        assert!(heads.contains(&expected), "{expected:?}: {heads:?}");
    }
    let frames: Vec<_> = trace
        .frames()
        .filter(|frame| frame.opcode() < 8)
        .map(|frame| (frame.connection(), frame.from(), frame.payload().to_vec()))
        .collect();
    let both = |connection, payload: &[u8]| {
        [Role::Client, Role::Server].map(|from| (connection, from, payload.to_vec()))
    };
    let expected =
        [both(1, b"hello"), both(1, "Grüße\u{1b}".as_bytes()), both(2, b"\x00\xff")].concat();
    assert_eq!(frames, expected);

    let mut asked = Recorder::start(&["--keep-credentials"], &echo.url(""));
    connect(&headers, &asked.url("/"), &["hello"]);
    assert!(asked.stop().0.contains("cookie: id=secret"));
}

#[test]
fn a_recorded_client_of_a_real_socket_is_replayed_in_the_simulator() {
    let server = Server::start(&["echo"]);
    let mut recorder = Recorder::start(&[], &server.url(""));
    connect(&[], &recorder.url("/"), &["hello", "Grüße", "the last"]);
    let trace: Trace = recorder.stop().0.parse().unwrap();
    let client = trace.client(1).unwrap();
    assert!(trace.client(2).unwrap_err().to_string().contains("no connection 2"));
    Sim::check(0..10, |sim| {
        let client = client.clone();
        async move {
            let app = sim.app(Router::new().route("/", websocket(echo)));
            let client = app.open("/").replay(client).await;
            assert_eq!(client.messages(), ["hello", "Grüße", "the last"]);
            assert!(client.has_ended());
        }
    });
}

#[test]
fn a_run_of_the_simulator_is_replayed_over_a_real_socket() {
    let sim = Sim::new(7);
    sim.record_trace();
    sim.run(async {
        let app = sim.app(Router::new().route("/echo", websocket(echo)));
        let mut clients = [app.open("/echo").await, app.open("/echo").await];
        for (message, client) in [("one", 0), ("two", 1), ("three", 0)] {
            clients[client].send(message).await;
            clients[client].expect(message).await;
        }
        clients[0].close(CloseCode::NORMAL);
        clients[0].expect_closed(1000).await;
    });
    let directory = tempfile::tempdir().unwrap();
    sim.trace().save(directory.path(), "run").unwrap();
    let file = directory.path().join("run.jsonl");
    let server = Server::start(&["echo"]);
    let (status, text) = replay(file.to_str().unwrap(), &[&server.url("")]);
    assert_eq!(text, "2 connections, 3 messages sent, 3 of 3 replies as recorded\n");
    assert_eq!(status, Some(0));
}

#[test]
fn replies_are_compared() {
    let server = Server::start(&["echo"]);
    let mut recorder = Recorder::start(&[], &server.url(""));
    connect(&[], &recorder.url("/"), &["one", "two\u{1b}"]);
    recorder.stop();
    let file = recorder.path();
    let (status, text) = replay(file, &["--pace", "0.01", &server.url("")]);
    assert_eq!(text, "1 connections, 2 messages sent, 2 of 2 replies as recorded\n");
    assert_eq!(status, Some(0));

    let script = r#"read -r x; echo one; read -r x; echo "not $x"; read -r x"#;
    let other = Server::start(&["exec", "--", "sh", "-c", script]);
    let (status, text) = replay(file, &[&other.url("")]);
    assert_eq!(
        text,
        "connection 1: reply 2: expected \"two\\u{1b}\", got \"not two\\u{1b}\"\n\
         1 connections, 2 messages sent, 1 of 2 replies as recorded\nsockless: 1 differences\n"
    );
    assert_eq!(status, Some(1));
    assert_eq!(replay(file, &["--any-replies", &other.url("")]).0, Some(0));

    let silent = Server::start(&["exec", "--", "sh", "-c", "while read -r x; do :; done"]);
    let (status, text) = replay(file, &["--wait", "0.05", &silent.url("")]);
    assert!(text.contains("reply 1: expected \"one\", got nothing within 50ms\n"), "{text}");
    assert_eq!(status, Some(1));
}

#[test]
fn clients_of_a_recording_act_in_its_order() {
    let chat = Server::start(&["chat"]);
    let mut recorder = Recorder::start(&[], &chat.url(""));
    let mut listener = Command::new(PROGRAM)
        .args(["connect", "--no-proxy", "-n", "2", &recorder.url("/")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = listener.stdin.take().unwrap();
    let mut stdout = BufReader::new(listener.stdout.take().unwrap());
    stdin.write_all(b"I am here\n").unwrap();
    // Its own message shows that it has joined.
    stdout.read_line(&mut String::new()).unwrap();
    connect(&[], &recorder.url("/"), &["hello"]);
    assert_eq!(listener.wait().unwrap().code(), Some(0));
    recorder.stop();
    let (status, text) = replay(recorder.path(), &[&chat.url("")]);
    assert_eq!(text, "2 connections, 2 messages sent, 3 of 3 replies as recorded\n");
    assert_eq!(status, Some(0));
}

#[test]
fn rejections_and_closes_are_passed_on_recorded_and_compared() {
    let origin = ["--origin", "https://evil.example"];
    let server = Server::start(&["exec", "--", "sh", "-c", "exit 3"]);
    let mut recorder = Recorder::start(&[], &server.url(""));
    let url = recorder.url("/");
    let rejected = run(&[&["connect", "--no-proxy", "--no-input", &url], &origin[..]].concat());
    assert_eq!(rejected.status.code(), Some(4), "{rejected:?}");
    let ended = run(&["connect", "--no-proxy", "--no-input", &url]);
    assert!(String::from_utf8_lossy(&ended.stderr).contains("1011"), "{ended:?}");
    recorder.stop();

    let (status, text) = replay(recorder.path(), &[&server.url("")]);
    assert_eq!(
        text,
        "connection 1: expected status 403, got 101\n\
         2 connections, 0 messages sent, 0 of 0 replies as recorded\nsockless: 1 differences\n"
    );
    assert_eq!(status, Some(1));
    let echo = Server::start(&["echo"]);
    let options = ["--wait", "0.05", &echo.url("")];
    let (_, text) = replay(recorder.path(), &[&options, &origin[..]].concat());
    assert!(text.contains("connection 2: expected status 101, got 403\n"), "{text}");
    let (_, text) = replay(recorder.path(), &options);
    let expected = "connection 2: expected to be closed with code 1011, got nothing within 50ms\n";
    assert!(text.contains(expected), "{text}");

    // Nothing listens on port 1.
    let mut unreachable = Recorder::start(&[], "ws://127.0.0.1:1");
    let refused = run(&["connect", "--no-proxy", "--no-input", &unreachable.url("/")]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("502"), "{refused:?}");
    assert!(unreachable.stop().0.contains("HTTP/1.1 502 Bad Gateway"));
}

#[test]
fn the_timeline_needs_no_server() {
    let server = Server::start(&["echo"]);
    let mut recorder = Recorder::start(&[], &server.url(""));
    connect(&[], &recorder.url("/room"), &["<b>hello</b>"]);
    recorder.stop();
    let page = recorder.file.with_extension("html");
    let (status, text) = replay(recorder.path(), &["--html", page.to_str().unwrap()]);
    assert_eq!((status, &*text), (Some(0), ""));
    let page = std::fs::read_to_string(page).unwrap();
    for part in ["#1 client", "#1 server", "GET /room HTTP/1.1", "&lt;b&gt;hello", "class=\"arrow"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<b>"), "{page}");
}

#[test]
fn failures_name_the_option_or_the_file() {
    let server = Server::start(&["echo"]);
    let mut recorder = Recorder::start(&["--limit", "600"], &server.url(""));
    connect(&[], &recorder.url("/"), &["x".repeat(1000).as_str(), "passes"]);
    let (text, status) = recorder.stop();
    assert!(text.len() <= 600 && text.ends_with("}\n"), "{text}");
    assert_eq!(status, Some(1));

    let file = recorder.path();
    let exists = run(&["record", "--listen", "127.0.0.1:0", "--out", file, "ws://127.0.0.1:1"]);
    let stderr = String::from_utf8_lossy(&exists.stderr).into_owned();
    assert!(exists.status.code() == Some(2) && stderr.contains("--out"), "{stderr}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), text, "it is not overwritten");
    let listen = run(&["record", "--listen", "nowhere", "--out", "/does/not/exist", "ws://x"]);
    assert!(String::from_utf8_lossy(&listen.stderr).contains("--listen nowhere"), "{listen:?}");

    let (status, text) = replay("/does/not/exist", &["ws://x"]);
    assert!(status == Some(2) && text.contains("/does/not/exist"), "{text}");
    std::fs::write(file, "{}\n").unwrap();
    let (status, text) = replay(file, &["ws://x"]);
    assert!(status == Some(2) && text.contains("line 1 is not of a sockless-trace"), "{text}");
    let (status, text) = replay(file, &["--pace=-1", "ws://x"]);
    assert!(status == Some(2) && text.contains("--pace"), "{text}");
    assert_eq!(replay(file, &[]).0, Some(2), "without a URL");
}
