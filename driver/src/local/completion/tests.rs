use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Waker;

use super::*;

/// A stream whose operations complete when the test says so.
#[derive(Clone, Default)]
struct Scripted(Rc<Script>);

#[derive(Default)]
struct Script {
    /// The results of reads.
    reads: RefCell<VecDeque<io::Result<Vec<u8>>>>,
    /// The capacities of the buffers of reads.
    read_lens: RefCell<Vec<usize>>,
    /// The most bytes that each write takes.
    room: RefCell<VecDeque<usize>>,
    written: RefCell<Vec<u8>>,
    is_shut_down: Cell<bool>,
    is_disconnected: Cell<bool>,
}

impl CompletionStream for Scripted {
    fn read(&self, mut buffer: BytesMut) -> impl Future<Output = io::Result<BytesMut>> + 'static {
        assert!(buffer.is_empty());
        let script = self.0.clone();
        script.read_lens.borrow_mut().push(buffer.capacity());
        poll_fn(move |_| match script.reads.borrow_mut().pop_front() {
            None => Poll::Pending,
            Some(read) => Poll::Ready(read.map(|bytes| {
                assert!(bytes.len() <= buffer.capacity());
                buffer.extend_from_slice(&bytes);
                std::mem::take(&mut buffer)
            })),
        })
    }

    fn write(&self, bytes: Bytes) -> impl Future<Output = io::Result<usize>> + 'static {
        let script = self.0.clone();
        poll_fn(move |_| match script.room.borrow_mut().pop_front() {
            None => Poll::Pending,
            Some(room) => {
                let len = room.min(bytes.len());
                script.written.borrow_mut().extend_from_slice(&bytes[..len]);
                Poll::Ready(Ok(len))
            }
        })
    }

    fn shutdown(&self) -> impl Future<Output = io::Result<()>> + 'static {
        let script = self.0.clone();
        poll_fn(move |_| {
            script.is_shut_down.set(true);
            Poll::Ready(Ok(()))
        })
    }

    fn disconnect(&self) {
        self.0.is_disconnected.set(true);
    }
}

fn transport() -> (Rc<Script>, CompletionTransport<Scripted>) {
    let stream = Scripted::default();
    (stream.0.clone(), CompletionTransport::new(stream))
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn read(transport: &mut CompletionTransport<Scripted>, room: usize) -> Poll<io::Result<Vec<u8>>> {
    let mut buffer = BytesMut::with_capacity(room);
    let polled = transport.poll_read(&mut cx(), &mut buffer);
    polled.map_ok(|len| {
        assert_eq!(len, buffer.len());
        buffer.to_vec()
    })
}

#[test]
fn a_read_longer_than_the_room_is_returned_in_parts() {
    let (script, mut transport) = transport();
    assert!(read(&mut transport, 4).is_pending());
    script.reads.borrow_mut().push_back(Ok(b"hello world".to_vec()));
    for part in ["hell", "o wo", "rld"] {
        assert!(
            matches!(read(&mut transport, 4), Poll::Ready(Ok(bytes)) if bytes == part.as_bytes())
        );
    }
    assert!(read(&mut transport, 4).is_pending());
    assert_eq!(script.read_lens.borrow().len(), 2, "one operation for all parts");
    script.reads.borrow_mut().push_back(Ok(Vec::new()));
    assert!(matches!(read(&mut transport, 4), Poll::Ready(Ok(bytes)) if bytes.is_empty()));
}

#[test]
fn reads_grow_while_they_are_full_and_shrink_afterwards() {
    let (script, mut transport) = transport();
    let lens = [IDLE_READ_LEN, READ_LEN, READ_LEN, 1];
    script.reads.borrow_mut().extend(lens.map(|len| Ok(vec![7; len])));
    let mut received = 0;
    while let Poll::Ready(Ok(bytes)) = read(&mut transport, 1 << 20) {
        received += bytes.len();
    }
    assert_eq!(received, lens.iter().sum::<usize>());
    let asked = script.read_lens.borrow();
    assert_eq!(asked[0], IDLE_READ_LEN);
    assert!(asked[1..4].iter().all(|len| *len >= READ_LEN), "{asked:?}");
    assert!(asked[4] < 2 * IDLE_READ_LEN, "an idle connection owns little: {asked:?}");
}

#[test]
fn a_write_is_accepted_when_the_one_before_is_complete() {
    let (script, mut transport) = transport();
    let slices = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")];
    assert!(matches!(transport.poll_write(&mut cx(), &slices), Poll::Ready(Ok(6))));
    assert!(transport.poll_write(&mut cx(), &slices).is_pending());
    assert!(transport.poll_flush(&mut cx()).is_pending());
    assert!(transport.poll_shutdown(&mut cx()).is_pending());

    // The rest of a write that was accepted in part is written by further ones.
    script.room.borrow_mut().extend([2, 1]);
    assert!(transport.poll_flush(&mut cx()).is_pending());
    assert_eq!(*script.written.borrow(), b"one");
    script.room.borrow_mut().push_back(100);
    assert!(transport.poll_flush(&mut cx()).is_ready());
    assert_eq!(*script.written.borrow(), b"onetwo");

    let block = vec![0; 2 * WRITE_LEN];
    script.room.borrow_mut().push_back(usize::MAX);
    let written = transport.poll_write(&mut cx(), &[IoSlice::new(&block)]);
    assert!(matches!(written, Poll::Ready(Ok(WRITE_LEN))));
    assert!(!script.is_shut_down.get());
    assert!(transport.poll_shutdown(&mut cx()).is_ready());
    assert!(script.is_shut_down.get());
}

#[test]
fn a_write_of_nothing_is_an_error_and_so_are_those_of_the_stream() {
    let (script, mut transport) = transport();
    script.room.borrow_mut().push_back(0);
    let written = transport.poll_write(&mut cx(), &[IoSlice::new(b"hello")]);
    let Poll::Ready(Err(error)) = written else { panic!("{written:?}") };
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);

    script.reads.borrow_mut().push_back(Err(io::ErrorKind::ConnectionReset.into()));
    let Poll::Ready(Err(error)) = read(&mut transport, 10) else { panic!("it was reset") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_transport_that_is_dropped_with_an_operation_in_flight_disconnects() {
    let (script, mut idle) = transport();
    script.reads.borrow_mut().push_back(Ok(b"hello".to_vec()));
    assert!(read(&mut idle, 10).is_ready());
    drop(idle);
    assert!(!script.is_disconnected.get(), "dropping the stream is enough");

    let (script, mut reading) = transport();
    assert!(read(&mut reading, 10).is_pending());
    drop(reading);
    assert!(script.is_disconnected.get());

    let (script, mut writing) = transport();
    assert!(writing.poll_write(&mut cx(), &[IoSlice::new(b"hello")]).is_ready());
    drop(writing);
    assert!(script.is_disconnected.get());
}
