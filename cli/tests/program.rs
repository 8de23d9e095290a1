//! The program as a user runs it: each test starts a server on a port of its own and a client.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use common::{PROGRAM, Server};

fn connect(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("connect").args(arguments).env_remove("http_proxy").env_remove("all_proxy");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A client that has ended does not read the rest.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().unwrap()
    })
}

#[track_caller]
fn assert_prints(output: &Output, status: i32, stdout: &[u8]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.stdout.escape_ascii().to_string(),
        stdout.escape_ascii().to_string(),
        "{stderr}"
    );
    assert_eq!(output.status.code(), Some(status), "{stderr}");
}

#[test]
fn connect_sends_lines_and_prints_replies() {
    let server = Server::start(&["echo"]);
    let url = server.url("/");
    assert_prints(
        &connect(&["-n", "2", &url], b"hello\nGr\xC3\xBC\xC3\x9Fe\n"),
        0,
        "hello\nGrüße\n".as_bytes(),
    );
    assert_prints(&connect(&["-w", "0.2", &url], b"no end of line"), 0, b"no end of line\n");
    assert_prints(&connect(&["--binary", "-n", "1", &url], b"00FF\n"), 0, b"00ff\n");
    assert_prints(
        &connect(&["--framing", "null", "-n", "1", &url], b"two\nlines\0"),
        0,
        b"two\nlines\0",
    );
    let framed = b"\0\0\0\x03a\n\0";
    assert_prints(
        &connect(&["--framing", "length", "--binary", "-n", "1", &url], framed),
        0,
        framed,
    );
}

#[test]
fn connect_sends_more_than_fits_in_any_buffer() {
    let server = Server::start(&["echo"]);
    // The server blocks until its replies are read: sending must not keep the client from reading.
    let line = format!("{}\n", "x".repeat(65_535));
    let input = line.repeat(512);
    let output = connect(&["-n", "512", &server.url("/")], input.as_bytes());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout.len(), input.len());
}

#[test]
fn connect_executes_and_indents() {
    let server = Server::start(&["echo"]);
    let output = connect(&["-x", r#"{"b":1,"a":[]}"#, "-n", "1", "--json", &server.url("/")], b"");
    assert_prints(&output, 0, b"{\n  \"b\": 1,\n  \"a\": []\n}\n");
}

#[test]
fn connect_shows_the_handshake_on_request() {
    let server = Server::start(&["--deflate=permessage-deflate", "echo"]);
    let output = connect(&["-v", "--deflate", "-x", "hello", "-n", "1", &server.url("/")], b"");
    assert_prints(&output, 0, b"hello\n");
    let notes = String::from_utf8(output.stderr).unwrap();
    for expected in [
        "> GET / HTTP/1.1",
        "101 Switching Protocols",
        "permessage-deflate",
        "> text, 5 bytes",
        "< text, 5 bytes",
    ] {
        assert!(notes.contains(expected), "{expected}: {notes}");
    }
}

#[test]
fn connect_ends_when_its_output_is_closed() {
    let server = Server::start(&["exec", "--", "sh", "-c", "while echo tick; do :; done"]);
    let mut child = Command::new(PROGRAM)
        .args(["connect", "--no-input", &server.url("/")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 5];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"tick\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn exec_passes_lines_both_ways_and_the_request() {
    let server = Server::start(&[
        "exec",
        "--",
        "sh",
        "-c",
        r#"echo "$QUERY_STRING"; while read -r x; do echo "got $x"; done"#,
    ]);
    let output = connect(&["-n", "3", &server.url("/run?room=1")], b"one\ntwo\n");
    assert_prints(&output, 0, b"room=1\ngot one\ngot two\n");
}

#[test]
fn exec_ends_a_command_that_outlives_its_session() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let script = format!("exec 3> {}; echo started; exec sleep 1000", fifo.display());
    let server = Server::start(&["exec", "--grace", "0.1", "--", "sh", "-c", &script]);
    let output = std::thread::scope(|scope| {
        let url = server.url("/");
        let output = scope.spawn(move || connect(&["-n", "1", &url], b""));
        // Reading ends when the command, the only writer, has ended.
        let read = std::fs::read(&fifo).unwrap();
        assert_eq!(read, b"");
        output.join().unwrap()
    });
    assert_prints(&output, 0, b"started\n");
}

#[test]
fn chat_sends_to_all() {
    let server = Server::start(&["chat"]);
    let url = server.url("/");
    let mut other = Command::new(PROGRAM)
        .args(["connect", "-n", "2", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = other.stdin.take().unwrap();
    stdin.write_all(b"I am here\n").unwrap();
    let mut stdout = BufReader::new(other.stdout.take().unwrap());
    let mut line = String::new();
    // Its own message shows that it has joined.
    stdout.read_line(&mut line).unwrap();
    assert_prints(&connect(&["-n", "1", &url], b"hello\n"), 0, b"hello\n");
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "I am here\nhello\n");
    assert_eq!(other.wait().unwrap().code(), Some(0));
}

#[test]
fn files_are_served_from_their_directory_only() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("public");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(root.join("index.html"), "<h1>hi</h1>").unwrap();
    std::fs::write(root.join("sub/a.js"), "1").unwrap();
    std::fs::write(directory.path().join("secret"), "secret").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(outside.path().join("secret"), root.join("link")).unwrap();
    let server = Server::start(&["--dir", root.to_str().unwrap(), "echo"]);

    let page = server.get("/");
    assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("<h1>hi</h1>"), "{page}");
    assert!(page.contains("text/html; charset=utf-8"), "{page}");
    assert!(server.get("/sub/a.js").starts_with("HTTP/1.1 200"));
    for path in
        ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "/link", "/none", "//etc/passwd", "/sub"]
    {
        let response = server.get(path);
        assert!(
            response.starts_with("HTTP/1.1 4") && !response.ends_with("secret"),
            "{path}: {response}"
        );
    }
    assert_prints(&connect(&["-n", "1", &server.url("/any/path")], b"hi\n"), 0, b"hi\n");
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_served_connected_to_and_measured() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let path = path.to_str().unwrap();
    let _server = Server::listening(&["--unix", path], &["echo"]);

    assert_prints(&connect(&["--unix", path, "-n", "1", "ws://localhost/"], b"hi\n"), 0, b"hi\n");
    let bench = ["bench", "--unix", path, "--churn", "1", "--duration", "0.1", "ws://localhost/"];
    let bench = Command::new(PROGRAM).args(bench).output().unwrap();
    assert_eq!(bench.status.code(), Some(0), "{bench:?}");
    let missing = connect(&["--unix", "/does/not/exist", "ws://localhost/"], b"");
    assert_eq!(missing.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/does/not/exist"));
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = Command::new(PROGRAM).args(["completions", shell]).output().unwrap();
        assert!(output.status.success() && output.stdout.len() > 500, "{shell}");
    }
}

#[cfg(unix)]
#[test]
fn bash_completes_commands_and_options() {
    let script = Command::new(PROGRAM).args(["completions", "bash"]).output().unwrap().stdout;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sockless.bash");
    std::fs::write(&file, script).unwrap();
    assert!(Command::new("bash").arg("-n").arg(&file).status().unwrap().success());
    for (words, expected) in [("con", "connect\n"), ("serve --shutdown-", "--shutdown-delay\n")] {
        // As bash calls it: the words, and the index of the one at the cursor.
        let test = r#"source "$0"; COMP_WORDS=(sockless "$@"); COMP_CWORD=$#
            _sockless sockless "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"; printf '%s\n' "${COMPREPLY[@]}""#;
        let mut bash = Command::new("bash");
        let output = bash.arg("-c").arg(test).arg(&file).args(words.split(' ')).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{words}: {output:?}");
    }
}
