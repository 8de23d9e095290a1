//! A server of the program, for the tests of its other commands.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sockless");

/// A server that ends with the test.
pub(crate) struct Server {
    child: Child,
    address: String,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a server on a port of its own.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::listening(&["--listen", "127.0.0.1:0"], arguments)
    }

    /// Starts a server that listens as `place` has it, and waits until it accepts.
    pub(crate) fn listening(place: &[&str], arguments: &[&str]) -> Self {
        Self::running(&[&["serve"], place, arguments].concat())
    }

    /// Starts a command that prints where it listens, and waits until it accepts.
    pub(crate) fn running(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("the first line").to_owned();
        Self { child, address, _stdout: stdout }
    }

    /// Stops it as a service manager does. Returns its status.
    #[cfg(unix)]
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal();
        self.wait()
    }

    /// Sends it the signal to stop.
    #[cfg(unix)]
    pub(crate) fn signal(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Waits until it ends. Returns its status.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The response to a plain request.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.addr()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// The host and the port.
    pub(crate) fn addr(&self) -> &str {
        self.address.split_once("://").expect("a port").1
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.addr())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
