//! The end of a transport that is not read, on real sockets: `Io::poll_ending`.

use std::future::poll_fn;
use std::io::{IoSlice, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use sockless_driver::tls::{TlsAcceptor, TlsConnector};
use sockless_driver::{Ending, Io};

use crate::on::{Runtime, Tokio, World, spawn};
use sockless_tests::certificates::Authority;

/// The bytes that are sent and not read.
const UNREAD: &[u8] = &[7; 1000];

pub(crate) async fn an_end_behind_unread_bytes_is_seen<R: Runtime>() {
    let (mut peer, mut stream) = tcp_pair::<R>();
    assert_eq!(ending(&mut *stream).await, Ending::Open);
    peer.write_all(UNREAD).unwrap();
    assert_eq!(ending(&mut *stream).await, Ending::Open);
    peer.shutdown(Shutdown::Write).unwrap();
    until_ended::<R>(&mut *stream).await;
    assert_eq!(read_to_end(&mut *stream).await.unwrap(), UNREAD);
    assert_eq!(ending(&mut *stream).await, Ending::Ended);

    let (mut peer, stream) = UnixStream::pair().unwrap();
    let mut stream = R::unix_transport(stream);
    peer.write_all(UNREAD).unwrap();
    assert_eq!(ending(&mut *stream).await, Ending::Open);
    peer.shutdown(Shutdown::Write).unwrap();
    until_ended::<R>(&mut *stream).await;
    assert_eq!(read_to_end(&mut *stream).await.unwrap(), UNREAD);
}

pub(crate) async fn a_reset_behind_unread_bytes_is_seen<R: Runtime>() {
    let (mut peer, mut stream) = tcp_pair::<R>();
    peer.write_all(UNREAD).unwrap();
    reset(peer);
    until_ended::<R>(&mut *stream).await;
    read_to_end(&mut *stream).await.expect_err("it was reset");

    // A Unix socket is reset when its peer leaves with something unread.
    let (mut peer, stream) = UnixStream::pair().unwrap();
    let mut stream = R::unix_transport(stream);
    poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(UNREAD)])).await.unwrap();
    peer.write_all(UNREAD).unwrap();
    drop(peer);
    until_ended::<R>(&mut *stream).await;
    read_to_end(&mut *stream).await.expect_err("it was reset");
}

/// A reset overtakes what does not fit the receive buffer; an orderly end would wait behind it.
pub(crate) async fn a_reset_behind_a_full_buffer_is_seen<R: Runtime>() {
    let (mut peer, mut stream) = tcp_pair::<R>();
    peer.set_nonblocking(true).unwrap();
    while peer.write(&[7; 64 << 10]).is_ok() {}
    assert_eq!(ending(&mut *stream).await, Ending::Open);
    reset(peer);
    until_ended::<R>(&mut *stream).await;
}

pub(crate) async fn an_end_after_ones_own_is_seen<R: Runtime>() {
    let (peer, stream) = tcp_pair::<R>();
    shut_down_and_watch::<R, _>(peer, |peer| peer.shutdown(Shutdown::Write).unwrap(), stream).await;
    let (peer, stream) = UnixStream::pair().unwrap();
    let stream = R::unix_transport(stream);
    shut_down_and_watch::<R, _>(peer, |peer| peer.shutdown(Shutdown::Write).unwrap(), stream).await;
}

async fn shut_down_and_watch<R: Runtime, P: Write>(
    mut peer: P,
    shut_down: fn(&P),
    mut stream: Box<dyn Io>,
) {
    poll_fn(|cx| stream.poll_shutdown(cx)).await.unwrap();
    assert_eq!(ending(&mut *stream).await, Ending::Open);
    peer.write_all(UNREAD).unwrap();
    assert_eq!(ending(&mut *stream).await, Ending::Open);
    shut_down(&peer);
    until_ended::<R>(&mut *stream).await;
    assert_eq!(read_to_end(&mut *stream).await.unwrap(), UNREAD);
}

pub(crate) async fn an_end_under_tls_is_seen<R: Runtime>() {
    let (cutter, mut peer, mut stream) = tls_pair::<R>().await;
    write_all(&mut *peer, UNREAD).await;
    assert_eq!(ending(&mut *stream).await, Ending::Open);
    cutter.shutdown(Shutdown::Write).unwrap();
    until_ended::<R>(&mut *stream).await;
    // Without a close_notify, which comes after what was sent.
    read_to_end(&mut *stream).await.expect_err("it was cut");

    let (cutter, mut peer, mut stream) = tls_pair::<R>().await;
    write_all(&mut *peer, UNREAD).await;
    poll_fn(|cx| peer.poll_shutdown(cx)).await.unwrap();
    until_ended::<R>(&mut *stream).await;
    assert_eq!(read_to_end(&mut *stream).await.unwrap(), UNREAD);
    drop(cutter);

    let (cutter, mut peer, mut stream) = tls_pair::<R>().await;
    write_all(&mut *peer, UNREAD).await;
    SockRef::from(&cutter).set_linger(Some(Duration::ZERO)).unwrap();
    drop((cutter, peer));
    until_ended::<R>(&mut *stream).await;
}

#[test]
fn the_end_of_a_stream_that_is_no_socket_is_unknown() {
    Tokio::block_on(async {
        let (peer, stream) = tokio::io::duplex(100);
        let mut stream = sockless_tokio::TokioTransport::new(stream);
        assert_eq!(ending(&mut stream).await, Ending::Unknown);
        drop(peer);
        assert_eq!(ending(&mut stream).await, Ending::Unknown);
    });
}

async fn ending(stream: &mut dyn Io) -> Ending {
    poll_fn(|cx| std::task::Poll::Ready(stream.poll_ending(cx))).await
}

/// Asks until the end is seen, as the driver does, and more often: it may take the system a moment.
async fn until_ended<R: World>(stream: &mut dyn Io) {
    let runtime = R::driver();
    while ending(stream).await != Ending::Ended {
        let mut timer = runtime.timer(runtime.now() + Duration::from_millis(5));
        poll_fn(|cx| timer.poll_expired(cx)).await;
    }
}

async fn read_to_end(stream: &mut dyn Io) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut buffer = BytesMut::with_capacity(300);
        match poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await? {
            0 => return Ok(all),
            _ => all.extend_from_slice(&buffer),
        }
    }
}

async fn write_all(stream: &mut dyn Io, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let len = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(bytes)])).await.unwrap();
        bytes = &bytes[len..];
    }
    poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
}

/// Ends a connection without a farewell, and drops what it has not sent.
fn reset(peer: TcpStream) {
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
}

fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (peer, listener.accept().unwrap().0)
}

/// A blocking socket, and the runtime's stream at its other end.
fn tcp_pair<R: Runtime>() -> (TcpStream, Box<dyn Io>) {
    let (peer, stream) = sockets();
    (peer, R::transport(stream))
}

/// The client's socket, its stream of TLS, and the server's.
async fn tls_pair<R: Runtime>() -> (TcpStream, Box<dyn Io>, Box<dyn Io>) {
    let authority = Authority::new();
    let identity = authority.issue("localhost");
    let acceptor = TlsAcceptor::from_pem(identity.chain.as_bytes(), identity.key.as_bytes());
    let connector = TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap();
    let (client, server) = sockets();
    let cutter = client.try_clone().unwrap();
    let server = R::transport(server);
    let accepting = spawn::<R, _>(async move { acceptor.unwrap().accept(server).await.unwrap() });
    let client = connector.connect("localhost", R::transport(client)).await.unwrap();
    (cutter, client, accepting.await)
}
