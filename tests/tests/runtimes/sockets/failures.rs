//! A connection that fails, at whatever step, leaves no socket open and no task behind.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use sockless_core::Config;
use sockless_driver::tls::{TlsAcceptor, TlsConnector};
use sockless_driver::{Connect, Io, Proxy, Runtime, Server};
use sockless_routing::Router;

use sockless_tests::certificates::{Authority, Identity};

#[test]
fn a_connection_that_fails_leaves_no_descriptor() {
    crate::in_turn(every_failure);
}

fn every_failure() {
    let identity = Authority::new().issue("localhost");
    smol::block_on(async {
        let server = sockless_smol::bind("127.0.0.1:0").await.unwrap();
        let connect = |stream: TcpStream| {
            let stream = smol::net::TcpStream::try_from(stream).unwrap();
            Box::new(sockless_smol::SmolTransport::new(stream)) as Box<dyn Io>
        };
        fail(&identity, server, connect, Arc::new(sockless_smol::SmolRuntime)).await;
        fail_to_connect(sockless_smol::connect).await;
    });
    async_std::task::block_on(async {
        let server = sockless_async_std::bind("127.0.0.1:0").await.unwrap();
        let connect = |stream: TcpStream| {
            let stream = async_std::net::TcpStream::from(stream);
            Box::new(sockless_async_std::AsyncStdTransport::new(stream)) as Box<dyn Io>
        };
        fail(&identity, server, connect, Arc::new(sockless_async_std::AsyncStdRuntime)).await;
        fail_to_connect(sockless_async_std::connect).await;
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = sockless_tokio::bind("127.0.0.1:0").await.unwrap();
        let connect = |stream: TcpStream| {
            stream.set_nonblocking(true).unwrap();
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            Box::new(sockless_tokio::TokioTransport::new(stream)) as Box<dyn Io>
        };
        fail(&identity, server, connect, Arc::new(sockless_tokio::TokioRuntime)).await;
        fail_to_connect(sockless_tokio::connect).await;
    });
    // Nothing else runs here, so that every task that is left is one of the connector's.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        fail_to_connect(sockless_tokio::connect).await;
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    });
}

async fn fail(
    identity: &Identity,
    server: Server,
    connect: impl Fn(TcpStream) -> Box<dyn Io>,
    runtime: Arc<dyn Runtime>,
) {
    let Identity { chain, key } = identity;
    let acceptor = TlsAcceptor::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    let stranger = TlsConnector::trusting_pem(Authority::new().pem().as_bytes()).unwrap();
    let addr = server.local_addr().unwrap();
    runtime.spawn(Box::pin(server.tls(acceptor).serve(Router::new())));
    let all = async |count| {
        for _ in 0..count {
            let stream = TcpStream::connect(addr).unwrap();
            let watched = stream.try_clone().unwrap();
            assert!(stranger.connect("localhost", connect(stream)).await.is_err());
            ended(watched);
            speak(addr, b"GET / HTTP/1.1\r\n\r\n");
            speak(addr, b"");
        }
    };
    // Descriptors that are opened once, such as the runtime's own, exist by then.
    all(5).await;
    let before = descriptors();
    all(30).await;
    assert_eq!(descriptors(), before);
}

/// Each way in which connecting fails, over and over.
async fn fail_to_connect(connect: impl Fn(&str) -> Connect) {
    let hasty = || Config::default().opening_timeout(Duration::from_millis(20));
    let redirect = "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n";
    let rejected = "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nhalf of it";
    let all = async |count| {
        for _ in 0..count {
            let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            connect(&format!("ws://{closed}/")).await.expect_err("the port is closed");
            for text in ["", "HTTP/1.1 101 X", redirect, rejected, "no HTTP"] {
                let (addr, served) = answer(text);
                let connecting = connect(&format!("ws://{addr}/")).config(hasty()).redirects(3);
                connecting.await.expect_err("that is no handshake");
                served.join().unwrap();
            }
            let (addr, served) = answer("HTTP/1.1 403 Forbidden\r\n\r\n");
            let proxy = Proxy::new(&format!("http://{addr}")).unwrap();
            connect("ws://nowhere.invalid/").proxy(proxy).await.expect_err("it refuses");
            served.join().unwrap();
            let (addr, served) = answer("");
            connect(&format!("wss://{addr}/")).config(hasty()).await.expect_err("it says nothing");
            served.join().unwrap();
        }
    };
    all(3).await;
    let before = descriptors();
    all(10).await;
    assert_eq!(descriptors(), before);
}

/// Answers the first bytes of one client with `text`, and waits until the client has gone.
fn answer(text: &'static str) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1000]).unwrap();
        let _ = stream.write_all(text.as_bytes());
        // An end is an end, orderly or not.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (addr, served)
}

fn speak(addr: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    ended(stream);
}

/// Waits until the server has closed its end: only that ends what it sends.
fn ended(mut stream: TcpStream) {
    stream.set_nonblocking(false).unwrap();
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        result => drop(result.unwrap()),
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
