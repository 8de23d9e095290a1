//! Servers of both kinds, and peers that speak in bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sockless_blocking::{Server, Session, ShutdownHandle, bind, connect};
use sockless_core::handshake::{ServerHandshake, UpgradeRequest};
use sockless_core::{CloseCode, Closed, Instant, Message};
use sockless_driver::{Outcome, ShutdownReport};
use sockless_routing::Router;
use sockless_tests::wire::Writer;

/// The server's frames and the client's.
pub(crate) const SERVER: Writer = Writer { masks: false };
pub(crate) const CLIENT: Writer = Writer { masks: true };

/// Longer than anything that is to happen takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A deadline that is to pass.
pub(crate) const SHORT: Duration = Duration::from_millis(100);

/// A blocking server in a thread.
pub(crate) struct Serving {
    pub(crate) addr: SocketAddr,
    pub(crate) shutdown: ShutdownHandle,
    thread: Option<JoinHandle<ShutdownReport>>,
}

impl Serving {
    pub(crate) fn start<F, O>(handler: F) -> Self
    where
        F: Fn(Session) -> O + Send + Sync + 'static,
        O: Outcome + 'static,
    {
        Self::start_with(|server| server, handler)
    }

    pub(crate) fn start_with<F, O>(settings: impl FnOnce(Server) -> Server, handler: F) -> Self
    where
        F: Fn(Session) -> O + Send + Sync + 'static,
        O: Outcome + 'static,
    {
        Self::run(settings(any_port()), |server| server.serve(handler))
    }

    pub(crate) fn run(
        server: Server,
        serve: impl FnOnce(Server) -> ShutdownReport + Send + 'static,
    ) -> Self {
        let addr = server.local_addr().unwrap_or(SocketAddr::from(([0; 4], 0)));
        let shutdown = server.shutdown_handle();
        Self { addr, shutdown, thread: Some(thread::spawn(|| serve(server))) }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.addr)
    }

    /// A client's session with it.
    pub(crate) fn open(&self) -> Session {
        connect(&self.url()).open().unwrap()
    }

    /// Waits until the server has ended, which another call asked for.
    pub(crate) fn join(mut self) -> ShutdownReport {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shutdown.shut_down();
    }
}

pub(crate) fn any_port() -> Server {
    bind("127.0.0.1:0").unwrap()
}

pub(crate) fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv()?;
        session.send(message)?;
    }
}

/// Serves on tokio, until the runtime is dropped.
pub(crate) fn serve_on_tokio(
    router: Router,
    settings: impl FnOnce(sockless_driver::Server) -> sockless_driver::Server,
) -> (tokio::runtime::Runtime, SocketAddr) {
    let runtime = tokio_runtime();
    let server = runtime.block_on(sockless_tokio::bind("127.0.0.1:0")).unwrap();
    let addr = server.local_addr().unwrap();
    runtime.spawn(settings(server).serve(router));
    (runtime, addr)
}

pub(crate) fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Sends a message of each kind and expects it back, then closes.
pub(crate) fn converse(mut session: Session) {
    let messages = [
        Message::from("hello"),
        Message::from(vec![7; 200_000]),
        Message::from("x".repeat(70_000)),
    ];
    for message in messages {
        session.send(message.clone()).unwrap();
        let reply = session.recv_timeout(SOON).unwrap();
        assert!(reply == message, "{} bytes instead of {}", reply.len(), message.len());
    }
    let closed = session.close((CloseCode::NORMAL, "that was all"));
    assert!(closed.is_clean(), "{closed}");
}

/// A peer that speaks in bytes.
pub(crate) struct Bare(pub(crate) TcpStream);

impl Bare {
    /// A client of `serving`, whose WebSocket is open.
    pub(crate) fn visit(serving: &Serving) -> Self {
        let mut bare = Self(TcpStream::connect(serving.addr).unwrap());
        bare.0.set_read_timeout(Some(SOON)).unwrap();
        let request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\n\r\n";
        bare.write(request.as_bytes());
        let head = bare.head();
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        bare
    }

    /// The server's end of a connection that `settings` opens.
    pub(crate) fn host(
        settings: impl FnOnce(sockless_blocking::Connect) -> sockless_blocking::Connect + Send + 'static,
    ) -> (Self, Session) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let opening = thread::spawn(move || settings(connect(&url)).open().unwrap());
        let mut bare = Self(listener.accept().unwrap().0);
        bare.0.set_read_timeout(Some(SOON)).unwrap();
        let mut handshake = ServerHandshake::new(Default::default(), Instant::EPOCH);
        let request = handshake.poll_request(&mut bytes::BytesMut::from(&bare.head()[..]));
        let request = request.unwrap().unwrap();
        let (response, negotiated) = UpgradeRequest::from_request(&request).unwrap().accept();
        let mut open = handshake.accept(&response, negotiated, Default::default(), Instant::EPOCH);
        while let Some(bytes) = open.outbound().pop() {
            bare.write(&bytes);
        }
        (bare, opening.join().unwrap())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Reads as much as was expected.
    pub(crate) fn expect(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        self.0.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, expected);
    }

    fn head(&mut self) -> Vec<u8> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.extend_from_slice(&byte);
        }
        head
    }
}
