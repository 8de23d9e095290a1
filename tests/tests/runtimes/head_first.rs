//! The head of a 101 goes ahead of the first frames: a proxy that takes both in one read may hold the
//! frames back, as Apache's for HTTP/2 does, until the server sends more.

use std::io::{self, IoSlice};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use sockless_driver::{ConnectionServer, Io, Session};
use sockless_routing::{Router, websocket};
use sockless_tests::wire;

use crate::on::{Runtime, spawn};
use crate::raw::{RawClient, upgrade_request};

pub(crate) async fn the_head_of_a_101_leaves_in_a_write_of_its_own<R: Runtime>() {
    let greeting = websocket(async |session: Session| session.send("at once").await);
    let host = ConnectionServer::new(Router::new().route("/", greeting), R::driver());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = RawClient::connect(listener.local_addr().unwrap());
    let (tap, sent) = Tap::new::<R>(listener.accept().unwrap().0);
    drop(spawn::<R, _>(async move { host.serve_connection(Box::new(tap), None, None).await }));
    // On a thread of its own, since the runtime may have no other thread than this one.
    let talking = smol::unblock(move || {
        client.send(upgrade_request("/"));
        assert!(client.read_head().starts_with("HTTP/1.1 101 "));
        wire::read_all(&client.read(2 + "at once".len())).remove(0)
    });
    assert_eq!(talking.await.payload, b"at once");

    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    let [Sent::Written(head), Sent::Flushed, Sent::Written(frames), ..] = &sent[..] else {
        panic!("the head is not flushed ahead of the rest: {sent:?}");
    };
    assert!(head.ends_with(b"\r\n\r\n"), "a head and nothing more: {sent:?}");
    assert_eq!(frames[0], 0x81, "a frame of text: {sent:?}");
}

/// A transport that remembers what went through it, and in which writes.
struct Tap {
    io: Box<dyn Io>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

#[derive(Debug)]
enum Sent {
    Written(Bytes),
    Flushed,
}

impl Tap {
    fn new<R: Runtime>(stream: TcpStream) -> (Self, Arc<Mutex<Vec<Sent>>>) {
        let sent = Arc::default();
        (Self { io: R::transport(stream), sent: Arc::clone(&sent) }, sent)
    }

    fn note(&self, sent: Sent) {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
    }
}

impl Io for Tap {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_read(cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Under the lock, so that what the client has read has been noted.
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let polled = self.io.poll_write(cx, slices);
        if let Poll::Ready(Ok(len)) = polled {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            sent.push(Sent::Written(Bytes::from(all).slice(..len)));
        }
        polled
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.io.poll_flush(cx);
        if let Poll::Ready(Ok(())) = polled {
            self.note(Sent::Flushed);
        }
        polled
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }
}
