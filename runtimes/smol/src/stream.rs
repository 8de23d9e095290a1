//! Transports of streams that implement smol's traits: [`SmolTransport`].

use std::any::Any;

use smol::net::TcpStream;
use socket2::SockRef;
use sockless_driver::async_io::AsyncIoSockets;
use sockless_driver::futures_io::{self, Sockets};

/// A stream that implements smol's `AsyncRead` and `AsyncWrite`, as a transport.
///
/// If it is a socket, a session notices the end of its peer without reading; over any other stream,
/// only by reading.
pub type SmolTransport<S> = futures_io::FuturesTransport<S, SmolSockets>;

/// Finds the sockets among smol's streams.
#[derive(Debug)]
pub struct SmolSockets;

impl Sockets for SmolSockets {
    fn socket(stream: &dyn Any) -> Option<SockRef<'_>> {
        let socket = AsyncIoSockets::socket(stream);
        let socket = socket.or_else(|| stream.downcast_ref::<TcpStream>().map(SockRef::from));
        #[cfg(unix)]
        let socket = {
            use smol::net::unix::UnixStream;
            socket.or_else(|| stream.downcast_ref::<UnixStream>().map(SockRef::from))
        };
        socket
    }
}
