//! The demo as a program: how it starts, what it prints when it cannot, and how it ends when it is asked to.

#![expect(clippy::disallowed_methods, reason = "the demo is another process, in real time")]
#![cfg(unix)]

#[cfg(target_os = "linux")]
mod scale;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use sockless::CloseCode;

const DEMO: &str = env!("CARGO_BIN_EXE_sockless-demo");

/// Long enough for a busy machine; a program that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Each way to serve.
const WAYS: &[&[&str]] = &[
    &["--runtime", "tokio"],
    &["--runtime", "smol"],
    &["--runtime", "async-std"],
    #[cfg(target_os = "linux")]
    &["--shards", "2"],
];

/// A demo that listens, killed with this value.
struct Demo {
    process: Child,
    stdout: BufReader<ChildStdout>,
    first_line: String,
}

impl Demo {
    fn start(options: &[&str]) -> Self {
        let mut command = Command::new(DEMO);
        command.args(["--listen", "127.0.0.1:0"]).args(options).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it was built");
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut first_line = String::new();
        stdout.read_line(&mut first_line).expect("it prints where it listens");
        Self { process, stdout, first_line }
    }

    /// The address that it listens on.
    fn addr(&self) -> &str {
        let addr = self.first_line.trim().strip_prefix("listening on http://");
        addr.unwrap_or_else(|| panic!("{:?}", self.first_line))
    }

    /// The URL of its echo.
    fn echo(&self) -> String {
        format!("ws://{}/echo", self.addr())
    }

    /// The response to a GET of `path`.
    fn get(&self, path: &str) -> String {
        let addr = self.first_line.trim().rsplit('/').next().expect("an address");
        let mut stream = std::net::TcpStream::connect(addr).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket has timeouts");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").expect("it reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("it answers, and ends the connection");
        response
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(kill.expect("there is a kill").success());
    }

    /// Waits for the end: the status, and all lines after the first.
    fn end(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            match self.process.try_wait().expect("it is a child") {
                Some(status) => break status,
                None => assert!(start.elapsed() < LIMIT, "it does not end"),
            }
            std::thread::yield_now();
        };
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("it prints text");
        (status, rest)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(LIMIT, future).await.expect("nothing hangs") })
}

/// Runs it to its end, which comes before it listens.
fn refused(options: &[&str]) -> Output {
    let output = Command::new(DEMO).args(["--listen", "127.0.0.1:0"]).args(options).output();
    let output = output.expect("it was built");
    assert!(output.stdout.is_empty(), "it says that it listens, and does not: {output:?}");
    output
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

#[test]
fn a_signal_closes_sessions_with_1001_and_ends_it_with_status_0() {
    for options in WAYS {
        for signal in ["-TERM", "-INT"] {
            let demo = Demo::start(options);
            let closed = block_on(async {
                let mut session = sockless::connect(&demo.echo()).await.expect("it answers");
                session.send("hello").await.expect("it is open");
                assert_eq!(session.recv().await.expect("an echo").as_text(), Some("hello"));
                demo.signal(signal);
                session.closed().await
            });
            let code = closed.received().and_then(sockless::CloseReason::code);
            assert_eq!(code, Some(CloseCode::GOING_AWAY), "{options:?} {signal}: {closed}");
            let (status, printed) = demo.end();
            assert_eq!(status.code(), Some(0), "{options:?} {signal}: {status}");
            let report = "shut down: 1 connections ended, 0 were terminated\n";
            assert_eq!(printed, report, "{options:?} {signal}");
        }
    }
}

/// A supervisor may stop it as soon as it has started.
#[test]
fn a_signal_right_after_the_first_line_is_not_missed() {
    for options in WAYS {
        let demo = Demo::start(options);
        demo.signal("-TERM");
        let (status, _) = demo.end();
        assert_eq!(status.code(), Some(0), "{options:?}: {status}");
    }
}

#[test]
fn it_shows_its_metrics_if_it_is_asked_to() {
    for (options, status) in [(&["--metrics"][..], "200 OK"), (&[], "404 Not Found")] {
        let demo = Demo::start(options);
        block_on(async {
            let mut session = sockless::connect(&demo.echo()).await.expect("it answers");
            session.send("hello").await.expect("it is open");
            session.recv().await.expect("an echo")
        });
        let page = demo.get("/metrics");
        assert!(page.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{options:?}: {page}");
        for expected in [
            "Content-Type: text/plain; version=0.0.4",
            "# HELP sockless_sessions ",
            "sockless_sessions_opened_total{role=\"server\",route=\"/echo\"} 1\n",
            "sockless_handshake_seconds_bucket{role=\"server\",route=\"/echo\",le=\"+Inf\"} 1\n",
        ] {
            assert_eq!(page.contains(expected), status == "200 OK", "{expected}: {page}");
        }
    }
}

#[test]
fn wrong_usage_is_status_2_and_names_the_option() {
    for (options, expected) in [
        (&["--deflate", "gzip"][..], "--deflate"),
        (&["--deflate", "permessage-deflate; level=9"], "permessage-deflate; level=9"),
        (&["--runtime", "smol", "--shards", "2"], "--shards"),
        (&["--runtime", "async-std", "--shards", "2"], "--shards"),
        (&["--shards", "0"], "--shards"),
        (&["--runtime", "monoio"], "--runtime"),
        (&["--tls-cert", "chain.pem"], "--tls-key"),
        (&["--nonsense"], "--nonsense"),
    ] {
        let output = refused(options);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {output:?}");
        assert!(stderr(&output).contains(expected), "{options:?}: {}", stderr(&output));
    }
}

#[test]
fn an_error_is_status_1_and_names_the_option_and_its_value() {
    let files = Files::new();
    let (chain, key) = (files.path("chain.pem"), files.path("key.pem"));
    let (text, other) = (files.path("text.txt"), files.path("other-key.pem"));
    let nowhere = "/nowhere/at-all.pem";
    for (options, expected) in [
        (
            ["--tls-cert", nowhere, "--tls-key", &key],
            format!("--tls-cert: {nowhere}: No such file"),
        ),
        (
            ["--tls-cert", &chain, "--tls-key", nowhere],
            format!("--tls-key: {nowhere}: No such file"),
        ),
        (["--tls-cert", &text, "--tls-key", &key], format!("--tls-cert: {text}: ")),
        (["--tls-cert", &chain, "--tls-key", &text], format!("--tls-key: {text}: ")),
        (
            ["--tls-cert", &chain, "--tls-key", &other],
            format!("--tls-cert: {chain}, --tls-key: {other}: "),
        ),
        (["--listen", "127.0.0.1:no", "--runtime", "tokio"], "--listen: 127.0.0.1:no: ".to_owned()),
        (["--listen", "127.0.0.1:no", "--runtime", "smol"], "--listen: 127.0.0.1:no: ".to_owned()),
        (
            ["--listen", "127.0.0.1:no", "--runtime", "async-std"],
            "--listen: 127.0.0.1:no: ".to_owned(),
        ),
        (["--listen", "127.0.0.1:no", "--shards", "2"], "--listen: 127.0.0.1:no: ".to_owned()),
    ] {
        let output = match options[0] {
            "--listen" => Command::new(DEMO).args(options).output().expect("it was built"),
            _ => refused(&options),
        };
        assert_eq!(output.status.code(), Some(1), "{options:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        let printed = stderr(&output);
        assert!(printed.starts_with(&expected), "{options:?}: {printed}");
        assert_eq!(printed.lines().count(), 1, "{options:?}: {printed}");
    }
}

#[test]
fn with_a_certificate_it_listens_on_https_and_stops_the_same_way() {
    let files = Files::new();
    for options in WAYS {
        let (chain, key) = (files.path("chain.pem"), files.path("key.pem"));
        let demo = Demo::start(&[*options, &["--tls-cert", &chain, "--tls-key", &key]].concat());
        assert!(demo.first_line.starts_with("listening on https://127.0.0.1:"), "{options:?}");
        demo.signal("-TERM");
        assert_eq!(demo.end().0.code(), Some(0), "{options:?}");
    }
}

/// A certificate, its key, another key and a text, in a directory that is gone with this value.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let unique = format!("demo-{}-{:?}", std::process::id(), std::thread::current().id());
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(unique);
        std::fs::create_dir_all(&dir).expect("a directory");
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let other = rcgen::KeyPair::generate().expect("a key");
        for (name, text) in [
            ("chain.pem", made.cert.pem()),
            ("key.pem", made.signing_key.serialize_pem()),
            ("other-key.pem", other.serialize_pem()),
            ("text.txt", "not PEM\n".to_owned()),
        ] {
            std::fs::write(dir.join(name), text).expect("a file");
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path of text").to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
