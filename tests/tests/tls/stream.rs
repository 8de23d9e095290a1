//! The transport itself: bytes in, the same bytes out, bounded in between.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::limits::READ_LEN;
use sockless_driver::{Ending, Io};
use sockless_sim::{Link, Sim, WireDirection};

use crate::support::*;

/// However the network cuts it: byte by byte, a few at a time, at once, late.
fn links() -> [Link; 5] {
    let base = Link::default;
    [
        base(),
        base().short_reads(1).short_writes(1),
        base().short_reads(7).short_writes(3000).capacity(100),
        base().latency(Duration::from_millis(50)).jitter(Duration::from_millis(20)),
        base().held_until_flush(true),
    ]
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 3) as u8).collect()
}

#[test]
fn bytes_pass_unchanged_both_ways_over_any_network() {
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        for link in links() {
            let (mut client, mut server) = pair(&sim, &link).await;
            let (there, back) = (bytes(20_000), bytes(35_001));
            let (sent, answer) = (there.clone(), back.clone());
            let room = sim.draw(1..70_000) as usize;
            let answering = sim.spawn(async move {
                let got = read_to_end(&mut *server, room).await.unwrap();
                write_all(&mut *server, &answer).await.unwrap();
                shutdown(&mut *server).await.unwrap();
                (got, server)
            });
            write_all(&mut *client, &sent).await.unwrap();
            // Each direction ends independently (RFC 8446 §6.1).
            shutdown(&mut *client).await.unwrap();
            assert!(read_to_end(&mut *client, room).await.unwrap() == back);
            assert!(answering.await.0 == there);
        }
    });
}

#[test]
fn a_read_fills_spare_capacity_only() {
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        let (mut client, mut server) = pair(&sim, &Link::default()).await;
        let sent = bytes(100_000);
        let data = sent.clone();
        let writing = sim.spawn(async move {
            write_all(&mut *server, &data).await.unwrap();
            shutdown(&mut *server).await.unwrap();
            server
        });
        let mut received = Vec::new();
        loop {
            let mut buffer = BytesMut::with_capacity(1000);
            buffer.extend_from_slice(b"kept");
            let (room, start) = (buffer.capacity(), buffer.as_ptr());
            let len = poll_fn(|cx| client.poll_read(cx, &mut buffer)).await.unwrap();
            assert_eq!((buffer.capacity(), buffer.as_ptr()), (room, start), "it was not grown");
            assert_eq!((buffer.len(), &buffer[..4]), (4 + len, &b"kept"[..]));
            received.extend_from_slice(&buffer[4..]);
            if len == 0 {
                break;
            }
        }
        assert!(received == sent);
        writing.await;
    });
}

#[test]
fn many_slices_are_written_at_once_and_as_few_records() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut client, mut server) = pair(&sim, &Link::default()).await;
        let slices = ["one", "", "two", "three"].map(|slice| IoSlice::new(slice.as_bytes()));
        assert_eq!(poll_fn(|cx| client.poll_write(cx, &slices)).await.unwrap(), 11);
        flush(&mut *client).await.unwrap();
        assert_eq!(read(&mut *server, 100).await.unwrap(), "onetwothree");
    });
}

#[test]
fn a_message_of_64_kib_is_written_at_once() {
    let sim = Sim::new(1);
    sim.run(async {
        let link = Link::default().buffers(1 << 20, 1 << 20);
        let (mut client, _server) = pair(&sim, &link).await;
        // The longest header of a frame, and its payload.
        let (header, payload) = (bytes(14), bytes(64 << 10));
        let slices = [IoSlice::new(&header), IoSlice::new(&payload)];
        let len = poll_fn(|cx| client.poll_write(cx, &slices)).await.unwrap();
        assert_eq!(len, header.len() + payload.len());
    });
}

/// A transport that counts its writes.
struct Counted<T> {
    transport: T,
    writes: Arc<AtomicUsize>,
}

impl<T: Io> Io for Counted<T> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.transport.poll_read(cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.transport.poll_write(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(cx)
    }
}

#[test]
fn the_tickets_are_written_with_the_first_data() {
    let sim = Sim::new(1);
    sim.run(async {
        let (acceptor, connector) = trusting();
        let (client, transport) = sim.pipe();
        let writes = Arc::<AtomicUsize>::default();
        let counted = Counted { transport, writes: Arc::clone(&writes) };
        let accepting = sim.spawn(async move { acceptor.accept(Box::new(counted)).await });
        let mut client = connector.connect(NAME, Box::new(client)).await.unwrap();
        let mut server = accepting.await.unwrap();
        let in_handshake = writes.load(Ordering::Relaxed);
        write_all(&mut *client, b"request").await.unwrap();
        assert_eq!(read(&mut *server, 100).await.unwrap(), "request");
        assert_eq!(writes.load(Ordering::Relaxed), in_handshake);
        write_all(&mut *server, b"response").await.unwrap();
        assert_eq!(writes.load(Ordering::Relaxed), in_handshake + 1);
        assert_eq!(read(&mut *client, 100).await.unwrap(), "response");
    });
}

#[test]
fn what_the_network_does_not_take_is_not_held_without_bound() {
    let sim = Sim::new(1);
    sim.run(async {
        let (acceptor, connector) = trusting();
        let (client, server) = sim.pipe_over(&Link::default());
        let wire = client.wire();
        let accepting = sim.spawn(async move { acceptor.accept(Box::new(server)).await });
        let mut client = connector.connect(NAME, Box::new(client)).await.unwrap();
        let mut server = accepting.await.unwrap();
        wire.stall(WireDirection::Outbound);
        let block = bytes(1 << 20);
        let mut taken = 0;
        // Never twice in a row: the first is held, the second has to wait.
        let refused = poll_fn(|cx| {
            for _ in 0..100 {
                match client.poll_write(cx, &[IoSlice::new(&block[taken..])]) {
                    Poll::Ready(len) => taken += len.unwrap(),
                    Poll::Pending => return Poll::Ready(true),
                }
            }
            Poll::Ready(false)
        });
        assert!(refused.await, "it took all there was");
        // The bytes on the wire, and those held beside it.
        assert!(taken <= (64 << 10) + READ_LEN, "{taken} bytes were taken");
        wire.resume(WireDirection::Outbound);
        let reading = sim.spawn(async move { read_to_end(&mut *server, 5000).await.unwrap() });
        write_all(&mut *client, &block[taken..]).await.unwrap();
        shutdown(&mut *client).await.unwrap();
        assert!(reading.await == block);
    });
}

#[test]
fn an_orderly_end_is_distinguished_from_a_cut() {
    Sim::check(0..10, |sim| async move {
        sim.allow_nondeterminism();
        let (mut client, mut server) = pair(&sim, &Link::default()).await;
        write_all(&mut *server, b"all of it").await.unwrap();
        shutdown(&mut *server).await.unwrap();
        assert_eq!(read_to_end(&mut *client, 100).await.unwrap(), b"all of it");
        assert_eq!(read(&mut *client, 100).await.unwrap(), "", "the end stays the end");

        // The network's end is not the peer's word.
        let (mut client, mut server) = pair(&sim, &Link::default()).await;
        write_all(&mut *server, b"some of it").await.unwrap();
        drop(server);
        assert_eq!(read(&mut *client, 100).await.unwrap(), "some of it");
        let error = read(&mut *client, 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("close_notify"), "{error}");
    });
}

#[test]
fn a_close_notify_that_was_decrypted_is_an_end_to_who_does_not_read() {
    Sim::check(0..10, |sim| async move {
        sim.allow_nondeterminism();
        let (mut client, mut server) = pair(&sim, &Link::default()).await;
        let is_ended = |io: &mut dyn Io| {
            let ending = io.poll_ending(&mut Context::from_waker(Waker::noop()));
            ending == Ending::Ended
        };
        write_all(&mut *client, b"first").await.unwrap();
        assert_eq!(read(&mut *server, 100).await.unwrap(), "first");
        assert!(!is_ended(&mut *server));
        let len = poll_fn(|cx| client.poll_write(cx, &[IoSlice::new(b"last words")])).await;
        assert_eq!(len.unwrap(), 10);
        shutdown(&mut *client).await.unwrap();
        let mut words = BytesMut::new();
        while words.len() < 10 {
            words.extend_from_slice(&read(&mut *server, 100).await.unwrap());
        }
        assert_eq!(read(&mut *server, 100).await.unwrap(), "");
        assert!(is_ended(&mut *server));
        assert_eq!(words, "last words");
    });
}

#[test]
fn a_record_that_was_tampered_with_ends_it_after_those_before() {
    Sim::check(0..10, |sim| async move {
        sim.allow_nondeterminism();
        let (acceptor, connector) = trusting();
        let (client, relay_in) = sim.pipe();
        let (relay_out, server) = sim.pipe();
        let accepting = sim.spawn(async move { acceptor.accept(Box::new(server)).await });
        // A relay that forwards, until it flips a bit on request.
        let (relay_in, relay_out) = (Arc::new(relay_in), Arc::new(relay_out));
        let (back_in, back_out) = (relay_in.clone(), relay_out.clone());
        sim.spawn(async move {
            while let Ok(bytes) = back_out.read_some().await {
                if bytes.is_empty() || back_in.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        });
        sim.spawn(async move {
            let mut is_open = false;
            while let Ok(bytes) = relay_in.read_some().await {
                let mut bytes = bytes.to_vec();
                if bytes.is_empty() {
                    break;
                }
                // Application data of this length is only what the test sends below.
                if is_open && bytes.len() > 1000 {
                    *bytes.last_mut().unwrap() ^= 1;
                }
                is_open = true;
                if relay_out.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        });
        let mut client = connector.connect(NAME, Box::new(client)).await.unwrap();
        let mut server = accepting.await.unwrap();
        write_all(&mut *client, b"untouched").await.unwrap();
        assert_eq!(read(&mut *server, 100).await.unwrap(), "untouched");
        write_all(&mut *client, &[7; 2000]).await.unwrap();
        let error = read(&mut *server, 5000).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        // The other end receives it.
        let error = read(&mut *client, 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
    });
}
