//! Both ends of a TLS connection, and sessions over it.

use std::future::poll_fn;
use std::io::{self, IoSlice};

use bytes::BytesMut;
use sockless_driver::Io;
use sockless_driver::tls::{TlsAcceptor, TlsConnector, TlsError};
use sockless_sim::{Link, Sim};

use sockless_tests::certificates::{Authority, Identity};

pub(crate) const NAME: &str = "example.com";

/// A server's side and a client's that trusts it.
pub(crate) fn trusting() -> (TlsAcceptor, TlsConnector) {
    let authority = Authority::new();
    (acceptor(&authority.issue(NAME)), connector(&authority))
}

pub(crate) fn acceptor(identity: &Identity) -> TlsAcceptor {
    TlsAcceptor::from_pem(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap()
}

pub(crate) fn connector(authority: &Authority) -> TlsConnector {
    TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap()
}

pub(crate) type Outcome = Result<Box<dyn Io>, TlsError>;

/// The results of the client's and the server's handshake over `link`.
pub(crate) async fn shake_hands(
    sim: &Sim,
    (acceptor, connector): &(TlsAcceptor, TlsConnector),
    link: &Link,
) -> (Outcome, Outcome) {
    let (client, server) = sim.pipe_over(link);
    let acceptor = acceptor.clone();
    let accepting = sim.spawn(async move { acceptor.accept(Box::new(server)).await });
    let connected = connector.connect(NAME, Box::new(client)).await;
    (connected, accepting.await)
}

/// A client's and a server's transport over `link`.
pub(crate) async fn pair(sim: &Sim, link: &Link) -> (Box<dyn Io>, Box<dyn Io>) {
    let (client, server) = shake_hands(sim, &trusting(), link).await;
    (client.unwrap(), server.unwrap())
}

pub(crate) async fn write_all(io: &mut dyn Io, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let len = poll_fn(|cx| io.poll_write(cx, &[IoSlice::new(bytes)])).await?;
        bytes = &bytes[len..];
    }
    flush(io).await
}

pub(crate) async fn flush(io: &mut dyn Io) -> io::Result<()> {
    poll_fn(|cx| io.poll_flush(cx)).await
}

pub(crate) async fn shutdown(io: &mut dyn Io) -> io::Result<()> {
    poll_fn(|cx| io.poll_shutdown(cx)).await
}

/// Reads once, into room for `room` bytes.
pub(crate) async fn read(io: &mut dyn Io, room: usize) -> io::Result<BytesMut> {
    let mut buffer = BytesMut::with_capacity(room);
    poll_fn(|cx| io.poll_read(cx, &mut buffer)).await?;
    Ok(buffer)
}

/// Reads to the end.
pub(crate) async fn read_to_end(io: &mut dyn Io, room: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        match read(io, room).await? {
            bytes if bytes.is_empty() => return Ok(all),
            bytes => all.extend_from_slice(&bytes),
        }
    }
}
