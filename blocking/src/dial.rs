//! Dialling with the sockets of the standard library.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::path::Path;
use std::task::Poll;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use sockless_driver::{BoxFuture, Dial, Io};

use crate::runtime::ThreadRuntime;
use crate::socket::SocketTransport;
use crate::thread::in_thread;
use crate::wait::Source;

impl Dial for ThreadRuntime {
    /// The system's resolver blocks, so that it runs in a thread, which a deadline leaves behind.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            in_thread(DIAL_THREAD, move || (host, port).to_socket_addrs().map(Iterator::collect))
                .await?
        })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(connect(addr))
    }

    /// Connecting to a Unix socket waits while the listener's queue is full.
    #[cfg(unix)]
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let path = path.to_owned();
        Box::pin(async move {
            in_thread(DIAL_THREAD, move || {
                let stream = std::os::unix::net::UnixStream::connect(&path)
                    .map_err(|error| sockless_driver::sockets::at_path(&path, &error))?;
                Ok(Box::new(SocketTransport::new(stream.into())) as Box<dyn Io>)
            })
            .await?
        })
    }
}

/// The name of threads in which the system blocks while a connection is opened.
const DIAL_THREAD: &str = "sockless-dial";

async fn connect(addr: SocketAddr) -> io::Result<Box<dyn Io>> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&addr.into()) {
        Err(error) if !is_in_progress(&error) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let source = Source::new(socket);
    poll_fn(|cx| {
        if is_connected(source.socket())? {
            return Poll::Ready(Ok::<_, io::Error>(()));
        }
        // Ready to write once it is connected or has failed.
        source.wait_to_write(cx);
        Poll::Pending
    })
    .await?;
    Ok(Box::new(SocketTransport::connected(source)))
}

fn is_connected(socket: &Socket) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// True for the error of an attempt that goes on.
fn is_in_progress(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        || error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error())
}
