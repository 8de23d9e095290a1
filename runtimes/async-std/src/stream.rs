//! Transports of streams that implement async-std's traits: [`AsyncStdTransport`].

use std::any::Any;

use async_std::net::TcpStream;
use socket2::SockRef;
use sockless_driver::async_io::AsyncIoSockets;
use sockless_driver::futures_io::{self, Sockets};

/// A stream that implements async-std's `Read` and `Write`, as a transport.
///
/// If it is a socket, a session notices the end of its peer without reading; over any other stream,
/// only by reading.
pub type AsyncStdTransport<S> = futures_io::FuturesTransport<S, AsyncStdSockets>;

/// Finds the sockets among async-std's streams.
#[derive(Debug)]
pub struct AsyncStdSockets;

impl Sockets for AsyncStdSockets {
    fn socket(stream: &dyn Any) -> Option<SockRef<'_>> {
        let socket = AsyncIoSockets::socket(stream);
        let socket = socket.or_else(|| stream.downcast_ref::<TcpStream>().map(SockRef::from));
        #[cfg(unix)]
        let socket = {
            use async_std::os::unix::net::UnixStream;
            socket.or_else(|| stream.downcast_ref::<UnixStream>().map(SockRef::from))
        };
        socket
    }
}
