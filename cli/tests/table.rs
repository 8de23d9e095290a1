//! The table of the README: what other programs do, done by this one, row by row.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{PROGRAM, Server};

#[test]
fn each_row_of_the_table_runs() {
    let readme = include_str!("../README.md");
    let (_, table) = readme.split_once("| to | wscat |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = rows.map(|row| row.split('|').nth(1).expect("a name").trim()).collect();
    assert!(rows.len() > 20, "{rows:?}");
    let place = Place::new();
    for row in rows {
        println!("{row}");
        place.run(row);
    }
}

/// Servers for the rows, and a directory for files.
struct Place {
    echo: Server,
    /// Prints the variables of each request whose names are in its query.
    request: Server,
    secure: Server,
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let write = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let cert = write("cert.pem", own.cert.pem());
        let key = write("key.pem", own.signing_key.serialize_pem());
        write("index.html", "<h1>files</h1>".to_owned());
        let secure = Server::start(&["--tls-cert", &cert, "--tls-key", &key, "echo"]);
        let script = r#"eval echo "\$HTTP_$QUERY_STRING""#;
        let request = Server::start(&["--origin", "any", "exec", "--", "sh", "-c", script]);
        let echo = Server::start(&["--deflate", "echo"]);
        Self { echo, request, secure, directory }
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn echo(&self) -> String {
        self.echo.url("/")
    }

    fn secure(&self) -> String {
        format!("wss://{}/", self.secure.addr())
    }

    /// Connects with `arguments`, and expects the server to see `value` in the header.
    #[track_caller]
    fn expect_header(&self, arguments: &[&str], header: &str, value: &str) {
        let url = self.request.url(&format!("/?{header}"));
        expect(&[arguments, &["-n", "1", &url]].concat(), "", &format!("{value}\n"));
    }

    fn run(&self, row: &str) {
        let echo = &*self.echo();
        match row {
            "connect" | "listen" => expect(&["-n", "1", echo], "hi\n", "hi\n"),
            "add a header" => self.expect_header(&["-H", "a: b"], "A", "b"),
            "offer a subprotocol" => {
                self.expect_header(&["-s", "chat"], "SEC_WEBSOCKET_PROTOCOL", "chat");
            }
            "set the origin" => self.expect_header(&["-o", "http://a"], "ORIGIN", "http://a"),
            "send credentials" => {
                self.expect_header(&["--auth", "U:P"], "AUTHORIZATION", "Basic VTpQ");
                let url = self.request.url("/?AUTHORIZATION").replace("://", "://U:P@");
                expect(&["-n", "1", &url], "", "Basic VTpQ\n");
            }
            "send one message and stop" => expect(&["-x", "one", "-n", "1", echo], "", "one\n"),
            "wait before closing" => expect(&["-w", "0.5", echo], "hi\n", "hi\n"),
            // At a terminal: the tests of `connect/command.rs` read what is typed there.
            "commands at the prompt" | "show pings and pongs" => {}
            "trust another authority" => {
                let (ca, url) = (self.file("cert.pem"), self.secure());
                expect(&["--ca", &ca, "-n", "1", &url], "hi\n", "hi\n");
                assert_eq!(connect(&["-n", "1", &url], "hi\n").status.code(), Some(3));
            }
            "trust every certificate" => expect(&["-k", "-n", "1", &self.secure()], "hi\n", "hi\n"),
            "present a client certificate" => {
                let (cert, key) = (self.file("cert.pem"), self.file("key.pem"));
                let own = ["-k", "--cert", &cert, "--key", &key, "-n", "1", &self.secure()];
                expect(&own, "hi\n", "hi\n");
            }
            "use a proxy" => {
                let proxy = format!("http://{}", tunnel());
                expect(&["--proxy", &proxy, "-n", "1", echo], "hi\n", "hi\n");
            }
            "follow redirects" => {
                let url = format!("ws://{}/", redirect(echo));
                expect(&["--redirects", "1", "-n", "1", &url], "hi\n", "hi\n");
                assert_eq!(connect(&["-n", "1", &url], "hi\n").status.code(), Some(4));
            }
            "send pings" => {
                expect(&["--ping-interval", "0.05", "-w", "0.3", echo], "hi\n", "hi\n");
            }
            "binary messages" => {
                expect(&["--binary", "-n", "1", echo], "00FF\n", "00ff\n");
                let framed = "\0\0\0\x02\x01\n";
                let length = ["--framing", "length", "--binary", "-n", "1", echo];
                expect(&length, framed, framed);
            }
            "messages with newlines" => {
                expect(&["--framing", "null", "-n", "1", echo], "a\nb\0", "a\nb\0");
            }
            "connect again" => {
                let once = Server::start(&["exec", "--", "echo", "tick"]);
                let url = once.url("/");
                expect(&["--reconnect", "--no-input", "-n", "2", &url], "", "tick\ntick\n");
            }
            "compress" => {
                let output = connect(&["-v", "--deflate", "-n", "1", echo], "hi\n");
                let notes = String::from_utf8_lossy(&output.stderr);
                assert!(notes.contains("permessage-deflate"), "{notes}");
            }
            "indent JSON" => {
                expect(&["--json", "-n", "1", echo], "{\"a\":1}\n", "{\n  \"a\": 1\n}\n");
            }
            "run a program for each session" => {
                let server = Server::start(&["exec", "--", "sh", "-c", "echo $$"]);
                let [first, second] = [0, 1].map(|_| {
                    let output = connect(&["-n", "1", "--no-input", &server.url("/")], "");
                    let id = String::from_utf8(output.stdout).unwrap();
                    id.trim().parse::<u32>().expect("the id of a process")
                });
                assert_ne!(first, second);
            }
            "serve files" => {
                let files =
                    Server::start(&["--dir", self.directory.path().to_str().unwrap(), "chat"]);
                let mut stream = TcpStream::connect(files.addr()).unwrap();
                write!(stream, "GET / HTTP/1.1\r\nHost: {}\r\n\r\n", files.addr()).unwrap();
                let mut response = String::new();
                stream.read_to_string(&mut response).unwrap();
                assert!(response.ends_with("<h1>files</h1>"), "{response}");
            }
            "measure a server" => {
                let output = run(&["bench", "--no-proxy", "--duration", "0.2", echo], "");
                assert!(String::from_utf8_lossy(&output.stdout).contains("replies"), "{output:?}");
            }
            "record what passes, and repeat it" => self.record(echo),
            _ => panic!("the row {row:?} has no test"),
        }
    }

    fn record(&self, echo: &str) {
        let file = self.file("recording.jsonl");
        let place = ["record", "--no-proxy", "--listen", "127.0.0.1:0", "--out", &file, echo];
        let mut proxy = Server::running(&place);
        expect(&["-n", "1", &proxy.url("/")], "hi\n", "hi\n");
        assert_eq!(proxy.terminate(), Some(0));
        assert!(Path::new(&file).exists());
        let replayed = run(&["replay", "--no-proxy", &file, echo], "");
        assert_eq!(replayed.status.code(), Some(0), "{replayed:?}");
    }
}

/// Runs the program with this input.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_remove("http_proxy").env_remove("all_proxy");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It fits into the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn connect(arguments: &[&str], input: &str) -> Output {
    run(&[&["connect"], arguments].concat(), input)
}

#[track_caller]
fn expect(arguments: &[&str], input: &str, stdout: &str) {
    let output = connect(arguments, input);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), &*printed), (Some(0), stdout), "{arguments:?} {output:?}");
}

/// The head of the request on a connection.
fn head(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Starts a proxy for one connection: its address.
fn tunnel() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let request = head(&near);
        let target = request.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
        let far = TcpStream::connect(target).unwrap();
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let (mut from, mut to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        std::io::copy(&mut near, &mut &far).ok();
    });
    addr
}

/// Starts a server that redirects to `url`: its address.
fn redirect(url: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let response = format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            head(&stream);
            stream.write_all(response.as_bytes()).unwrap();
        }
    });
    addr
}
