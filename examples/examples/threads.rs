//! An echo server and its client with blocking calls, without an async runtime.
//!
//! `cargo run -p sockless-examples --example threads` serves on ws://127.0.0.1:9001, and
//! `cargo run -p sockless-examples --example threads -- ws://127.0.0.1:9001/` sends it the lines of the
//! input.

use std::io::{BufRead, Write};

use sockless::blocking::{self, Session};
use sockless::{CloseCode, Closed, Error};

fn main() -> Result<(), Error> {
    match std::env::args().nth(1) {
        None => Ok(blocking::serve("127.0.0.1:9001", echo)?),
        Some(url) => send_lines(&url, std::io::stdin().lock(), std::io::stdout()),
    }
}

/// Sends back each message, in a thread for each session.
fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv()?;
        session.send(message)?;
    }
}

/// Sends each line, and prints the reply.
fn send_lines(url: &str, input: impl BufRead, mut output: impl Write) -> Result<(), Error> {
    let mut session = blocking::connect(url).open()?;
    for line in input.lines() {
        session.send(line?)?;
        writeln!(output, "{}", session.recv()?)?;
    }
    writeln!(output, "{}", session.close(CloseCode::NORMAL))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_echoed() {
        let server = blocking::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", server.local_addr().unwrap());
        let shutdown = server.shutdown_handle();
        let serving = std::thread::spawn(|| server.serve(echo));

        let mut output = Vec::new();
        send_lines(&url, &b"hello\nworld\n"[..], &mut output).unwrap();
        let output = String::from_utf8(output).unwrap();
        assert!(output.starts_with("hello\nworld\n"), "{output}");
        assert_eq!(output.lines().count(), 3);

        shutdown.shut_down();
        assert_eq!(serving.join().unwrap().terminated, 0);
    }
}
