//! Any stream of smol's as a transport: [`Stream`].

use std::any::Any;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;
use socket2::SockRef;
use sockless_driver::Io;

/// A stream of smol's as a transport for the driver.
#[derive(Debug)]
pub struct Stream<S>(S);

impl<S> Stream<S> {
    /// The transport over `stream`.
    pub fn new(stream: S) -> Self {
        Self(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for Stream<S> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut scratch = SCRATCH.take();
        scratch.resize(SCRATCH_LEN, 0);
        let room = SCRATCH_LEN.min(buffer.capacity() - buffer.len());
        let polled = Pin::new(&mut self.0).poll_read(cx, &mut scratch[..room]);
        if let Poll::Ready(Ok(len)) = polled {
            buffer.extend_from_slice(&scratch[..len]);
        }
        SCRATCH.set(scratch);
        polled
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            // `send` is a little cheaper than `writev` of one slice.
            [slice] => Pin::new(&mut self.0).poll_write(cx, slice),
            slices => Pin::new(&mut self.0).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match socket(&self.0) {
            // It holds nothing back; and smol's, when flushed, forget who waits to write.
            Some(_) => Poll::Ready(Ok(())),
            None => Pin::new(&mut self.0).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match socket(&self.0) {
            // To close an `Async` does nothing.
            Some(socket) => Poll::Ready(shutdown(&socket)),
            None => Pin::new(&mut self.0).poll_close(cx),
        }
    }
}

/// The socket that `stream` is, if it is one: `AsyncWrite` is not the whole of what it can do.
fn socket<S: Any>(stream: &S) -> Option<SockRef<'_>> {
    let stream: &dyn Any = stream;
    let tcp = stream.downcast_ref::<Async<std::net::TcpStream>>().map(SockRef::from);
    let socket = tcp.or_else(|| stream.downcast_ref::<TcpStream>().map(SockRef::from));
    #[cfg(unix)]
    let socket = {
        use std::os::unix::net::UnixStream;
        let unix = || stream.downcast_ref::<Async<UnixStream>>().map(SockRef::from);
        let smols = || stream.downcast_ref::<smol::net::unix::UnixStream>().map(SockRef::from);
        socket.or_else(unix).or_else(smols)
    };
    socket
}

fn shutdown(socket: &SockRef<'_>) -> io::Result<()> {
    match socket.shutdown(Shutdown::Write) {
        // The peer was faster.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// How much one read brings at most.
const SCRATCH_LEN: usize = 64 << 10;

thread_local! {
    /// What this thread reads into, since `AsyncRead` wants bytes that are initialised and the driver's
    /// buffer has room that is not. To copy what arrived costs nothing that can be measured up to
    /// 4 KiB, a fifth of the read at 16 KiB and as much as the read at 64 KiB; to zero the room in
    /// place, 2 µs each time, more than a whole read of 1 KiB. To zero less, by a guess at what will
    /// arrive, was slower than the copy from 16 KiB on.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
