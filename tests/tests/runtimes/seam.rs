//! The parts that the driver takes from a runtime: timers, and streams as transports.

use std::future::poll_fn;
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::BytesMut;
use smol::channel;
use sockless_core::Instant;
use sockless_driver::Io;

use crate::on::{Runtime, spawn};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

pub(crate) async fn a_timer_can_be_set_again<R: Runtime>() {
    let runtime = R::driver();
    let mut timer = runtime.timer(Instant::from_epoch(Duration::MAX));
    let idle = &mut Context::from_waker(Waker::noop());
    assert!(timer.poll_expired(idle).is_pending());

    let soon = runtime.now() + SOON;
    timer.reset(soon);
    poll_fn(|cx| timer.poll_expired(cx)).await;
    assert!(runtime.now() >= soon);
    assert!(timer.poll_expired(idle).is_ready(), "it stays expired");

    timer.reset(runtime.now() + HOUR);
    assert!(timer.poll_expired(idle).is_pending());
    let soon = runtime.now() + SOON;
    timer.reset(soon);
    poll_fn(|cx| timer.poll_expired(cx)).await;
    assert!(runtime.now() >= soon);

    timer.reset(Instant::EPOCH);
    poll_fn(|cx| timer.poll_expired(cx)).await;
}

pub(crate) async fn a_timer_wakes_who_polled_last<R: Runtime>() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let runtime = R::driver();
    let mut timer = runtime.timer(runtime.now() + SOON);
    let first = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(first.clone());
    assert!(timer.poll_expired(&mut Context::from_waker(&waker)).is_pending());
    // This would wait without end if the first were woken instead.
    poll_fn(|cx| timer.poll_expired(cx)).await;
    assert_eq!(first.0.load(Ordering::Relaxed), 0);
}

pub(crate) async fn a_stream_reads_into_spare_capacity_only<R: Runtime>() {
    let (mut peer, mut stream) = pair::<R>();
    let data: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
    let sent = data.clone();
    let writing = std::thread::spawn(move || peer.write_all(&sent).unwrap());
    let mut received = Vec::new();
    loop {
        let mut buffer = BytesMut::with_capacity(1000);
        buffer.extend_from_slice(b"kept");
        let (room, start) = (buffer.capacity(), buffer.as_ptr());
        let len = poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await.unwrap();
        assert_eq!((buffer.capacity(), buffer.as_ptr()), (room, start), "it was not grown");
        assert_eq!(buffer.len(), 4 + len);
        assert_eq!(buffer[..4], *b"kept");
        received.extend_from_slice(&buffer[4..]);
        if len == 0 {
            break;
        }
    }
    writing.join().unwrap();
    assert!(received == data);
}

pub(crate) async fn a_shut_down_stream_still_reads<R: Runtime>() {
    let (peer, stream) = pair::<R>();
    shut_down_and_read(peer, stream).await;
    #[cfg(unix)]
    {
        let (peer, stream) = UnixStream::pair().unwrap();
        shut_down_and_read(peer, R::unix_transport(stream)).await;
    }
}

async fn shut_down_and_read(mut peer: impl Read + Write, mut stream: Box<dyn Io>) {
    let len = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(b"goodbye")])).await.unwrap();
    poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
    poll_fn(|cx| stream.poll_shutdown(cx)).await.unwrap();
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), len), ("goodbye", 7));

    peer.write_all(b"bye").unwrap();
    let mut buffer = BytesMut::with_capacity(100);
    poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await.unwrap();
    assert_eq!(buffer, "bye");
}

pub(crate) async fn a_stream_writes_many_slices_at_once<R: Runtime>() {
    let (mut peer, mut stream) = pair::<R>();
    let slices = ["one", "", "two", "three"].map(|slice| IoSlice::new(slice.as_bytes()));
    assert_eq!(poll_fn(|cx| stream.poll_write(cx, &slices)).await.unwrap(), 11);
    poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
    let mut bytes = [0; 11];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, *b"onetwothree");
}

/// As the driver does, which flushes what was written while more waits to be.
pub(crate) async fn a_stream_that_is_flushed_still_waits_to_write<R: Runtime>() {
    let (peer, stream) = pair::<R>();
    fill_and_flush::<R>(peer, stream).await;
    #[cfg(unix)]
    {
        let (peer, stream) = UnixStream::pair().unwrap();
        fill_and_flush::<R>(peer, R::unix_transport(stream)).await;
    }
}

async fn fill_and_flush<R: Runtime>(mut peer: impl Read + Send + 'static, mut stream: Box<dyn Io>) {
    let block = vec![0; 64 << 10];
    let (parking, parked) = channel::bounded(1);
    let mut waits = false;
    let waiting = spawn::<R, _>(poll_fn(move |cx| {
        // The system may find room for more than it said at first: it is full when it says so here.
        while let Poll::Ready(written) = stream.poll_write(cx, &[IoSlice::new(&block)]) {
            if waits || written.is_err() {
                return Poll::Ready(written.map(drop));
            }
        }
        waits = true;
        let _ = stream.poll_flush(cx);
        let _ = parking.try_send(());
        Poll::Pending
    }));
    parked.recv().await.unwrap();
    let reading = std::thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()));
    waiting.await.unwrap();
    reading.join().unwrap().unwrap();
}

/// A blocking socket, and the runtime's stream at its other end.
fn pair<R: Runtime>() -> (TcpStream, Box<dyn Io>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    (peer, R::transport(stream))
}
