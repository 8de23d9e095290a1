//! An upgraded connection reports its end without reading, under hyper's own servers.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::IoSlice;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Version};
use http_body_util::Empty;
use hyper::client::conn;
use hyper::ext::Protocol;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use sockless_driver::{Ending, Io};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::mpsc;

use crate::io::Transport;

/// The server of hyper that releases the connection.
#[derive(Clone, Copy)]
enum Server {
    Http1,
    /// Both versions on one port, as in `axum::serve`.
    Auto,
}

const SERVERS: [Server; 2] = [Server::Http1, Server::Auto];

/// Serves `stream`, and returns the transport of each upgrade.
fn serve<S>(server: Server, stream: S) -> mpsc::UnboundedReceiver<Transport>
where
    S: Read + Write + Send + Unpin + 'static,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    let service = service_fn(move |mut request| {
        let (sender, version) = (sender.clone(), request.version());
        let upgrading = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let _ = sender.send(Transport::new(upgrading.await.unwrap(), version));
        });
        let status = if version == Version::HTTP_2 { 200 } else { 101 };
        let response = Response::builder().status(status).body(Empty::<Bytes>::new()).unwrap();
        std::future::ready(Ok::<_, Infallible>(response))
    });
    match server {
        Server::Http1 => {
            let serving = hyper::server::conn::http1::Builder::new();
            tokio::spawn(serving.serve_connection(stream, service).with_upgrades());
        }
        Server::Auto => {
            tokio::spawn(async move {
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http2().enable_connect_protocol();
                let _ = builder.serve_connection_with_upgrades(stream, service).await;
            });
        }
    }
    receiver
}

/// Upgrades from HTTP/1.1; the same write has the request and the first bytes after it.
async fn upgrade(peer: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nearly";
    peer.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(peer.read_u8().await.unwrap());
    }
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (peer, listener.accept().await.unwrap().0)
}

fn ending(transport: &mut Transport) -> Ending {
    transport.poll_ending(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

/// Asks until the end is seen, as the driver does, and more often.
async fn until_ended(transport: &mut Transport) {
    let ended = async {
        while ending(transport) != Ending::Ended {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the end is seen");
}

async fn read_to_end(transport: &mut Transport) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut buffer = BytesMut::with_capacity(3);
        match poll_fn(|cx| transport.poll_read(cx, &mut buffer)).await? {
            0 => return Ok(all),
            _ => all.extend_from_slice(&buffer),
        }
    }
}

#[tokio::test]
async fn the_end_of_tcp_is_seen_behind_unread_data() {
    for server in SERVERS {
        let (mut peer, stream) = tcp_pair().await;
        let mut upgrades = serve(server, TokioIo::new(stream));
        upgrade(&mut peer).await;
        let mut transport = upgrades.recv().await.unwrap();
        peer.write_all(b" and late").await.unwrap();
        assert_eq!(ending(&mut transport), Ending::Open);
        poll_fn(|cx| transport.poll_write(cx, &[IoSlice::new(b"answer")])).await.unwrap();
        let mut answer = [0; 6];
        peer.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        peer.shutdown().await.unwrap();
        until_ended(&mut transport).await;
        assert_eq!(read_to_end(&mut transport).await.unwrap(), b"early and late");
    }
}

#[tokio::test]
async fn a_reset_of_tcp_is_seen_behind_unread_data() {
    for server in SERVERS {
        let (mut peer, stream) = tcp_pair().await;
        let mut upgrades = serve(server, TokioIo::new(stream));
        upgrade(&mut peer).await;
        let mut transport = upgrades.recv().await.unwrap();
        assert_eq!(ending(&mut transport), Ending::Open);
        peer.set_zero_linger().unwrap();
        drop(peer);
        until_ended(&mut transport).await;
        read_to_end(&mut transport).await.expect_err("it was reset");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_end_of_a_unix_socket_is_seen_behind_unread_data() {
    for server in SERVERS {
        let (mut peer, stream) = UnixStream::pair().unwrap();
        let mut upgrades = serve(server, TokioIo::new(stream));
        upgrade(&mut peer).await;
        let mut transport = upgrades.recv().await.unwrap();
        assert_eq!(ending(&mut transport), Ending::Open);
        drop(peer);
        until_ended(&mut transport).await;
        assert_eq!(read_to_end(&mut transport).await.unwrap(), b"early");
    }
}

#[tokio::test]
async fn the_end_of_a_stream_other_than_a_socket_is_unknown() {
    for server in SERVERS {
        let (mut peer, stream) = duplex(1000);
        let mut upgrades = serve(server, TokioIo::new(stream));
        upgrade(&mut peer).await;
        let mut transport = upgrades.recv().await.unwrap();
        drop(peer);
        assert_eq!(ending(&mut transport), Ending::Unknown);
        assert_eq!(read_to_end(&mut transport).await.unwrap(), b"early");
    }
}

/// A stream of an HTTP/2 connection: the client's side, the server's, and the client's socket.
async fn http2() -> (Upgraded, Transport, std::net::TcpStream) {
    let (near, far) = tcp_pair().await;
    let near = near.into_std().unwrap();
    let socket = near.try_clone().unwrap();
    let mut upgrades = serve(Server::Auto, TokioIo::new(far));
    let near = TokioIo::new(TcpStream::from_std(near).unwrap());
    let builder = conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(near).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::connect("http://a/").body(Empty::<Bytes>::new()).unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let response = sender.send_request(request).await.unwrap();
    let mut stream = hyper::upgrade::on(response).await.unwrap();
    let transport = upgrades.recv().await.unwrap();
    let written = poll_fn(|cx| std::pin::Pin::new(&mut stream).poll_write(cx, b"unread")).await;
    assert_eq!(written.unwrap(), 6);
    (stream, transport, socket)
}

#[tokio::test]
async fn a_reset_of_an_http2_stream_is_seen() {
    let (stream, mut transport, _socket) = http2().await;
    assert_eq!(ending(&mut transport), Ending::Unknown);
    // hyper resets a stream that is dropped before it was shut down.
    drop(stream);
    until_ended(&mut transport).await;
    assert_eq!(ending(&mut transport), Ending::Ended, "it stays ended");
}

#[tokio::test]
async fn the_end_of_an_http2_connection_is_seen() {
    let (stream, mut transport, socket) = http2().await;
    socket.shutdown(std::net::Shutdown::Both).unwrap();
    until_ended(&mut transport).await;
    drop(stream);
}

#[tokio::test]
async fn shutting_down_an_http2_stream_does_not_end_it() {
    let (stream, mut transport, _socket) = http2().await;
    let _ = poll_fn(|cx| std::task::Poll::Ready(transport.poll_shutdown(cx))).await;
    for _ in 0..100 {
        assert_eq!(ending(&mut transport), Ending::Unknown);
        tokio::task::yield_now().await;
    }
    drop(stream);
}
