//! From addresses, listeners and streams to servers and sessions.

use std::io;
use std::net::{TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use socket2::{SockAddr, Socket};
use sockless_core::Config;
use sockless_driver::sockets::{self, ListenOptions};
use sockless_driver::{AcceptError, IncomingUpgrade, Outcome};

use crate::runtime::ThreadRuntime;
use crate::server::Server;
use crate::session::Session;
use crate::socket::{SocketListener, SocketTransport};
use crate::wait::block_on;

/// Listens on `addr`, and serves each WebSocket with `handler`, in a thread of its own, as
/// [`Server::serve`] does. It returns only if `addr` cannot be listened on.
///
/// For settings, TLS, routes and shutdown, and to learn the port that the system chose for port 0, use
/// [`bind`].
///
/// # Errors
///
/// The error of resolving `addr`, or of listening on the last of its addresses, such as
/// [`AddrInUse`](io::ErrorKind::AddrInUse).
pub fn serve<F, O>(addr: impl ToSocketAddrs, handler: F) -> io::Result<()>
where
    F: Fn(Session) -> O + Send + Sync + 'static,
    O: Outcome + 'static,
{
    bind(addr)?.serve(handler);
    Ok(())
}

/// Listens on `addr` and returns the server, to which settings can be added before it serves.
///
/// Of several addresses, the first that can be listened on is taken. With port 0 the system chooses a
/// free port, which [`Server::local_addr`] returns.
///
/// # Errors
///
/// As [`serve`].
pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Server> {
    listen_on(sockets::listen(addr.to_socket_addrs()?, &ListenOptions::default())?)
}

/// Makes a server of a TCP listener that is bound already. It is put into non-blocking mode.
///
/// # Errors
///
/// The system's error if that fails, or the listener cannot report its address.
pub fn listen_on(listener: TcpListener) -> io::Result<Server> {
    Ok(Server::new(SocketListener::new(listener.into())?))
}

/// Listens on a Unix socket at `path` and returns the server. No file may exist at `path`; the program
/// removes the socket's file when the server has ended.
///
/// # Errors
///
/// The system's error if `path` cannot be listened on, such as
/// [`AddrInUse`](io::ErrorKind::AddrInUse) if there is a file.
#[cfg(unix)]
pub fn bind_unix(path: impl AsRef<Path>) -> io::Result<Server> {
    listen_on_unix(UnixListener::bind(path)?)
}

/// Makes a server of a Unix socket that is bound already. It is put into non-blocking mode.
///
/// # Errors
///
/// The system's error if that fails.
#[cfg(unix)]
pub fn listen_on_unix(listener: UnixListener) -> io::Result<Server> {
    Ok(Server::new(SocketListener::new(listener.into())?))
}

/// Opens a session on a stream that the program accepted itself, a `TcpStream` or a `UnixStream`, as the
/// server's end, with the default settings.
///
/// The stream is put into non-blocking mode. Every path is accepted, and no `Origin` is checked. When the
/// last handle of the session is dropped, it is closed with 1000.
///
/// ```no_run
/// # fn example() -> std::io::Result<()> {
/// use std::net::TcpListener;
///
/// use sockless::blocking;
///
/// let (stream, _) = TcpListener::bind("127.0.0.1:9001")?.accept()?;
/// let mut session = blocking::accept(stream)?;
/// while let Ok(message) = session.recv() {
///     println!("{message}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// An [`AcceptError`], after the response has been sent.
pub fn accept(stream: impl Into<Socket>) -> Result<Session, AcceptError> {
    accept_with(stream, Config::default(), |_| Ok(()))
}

/// As [`accept`], with settings, and with `decide`, which looks at the request, selects a subprotocol,
/// adds headers to the response, or returns a response that rejects it.
///
/// # Errors
///
/// An [`AcceptError`], after the response has been sent.
pub fn accept_with<F>(
    stream: impl Into<Socket>,
    config: Config,
    decide: F,
) -> Result<Session, AcceptError>
where
    F: FnOnce(&mut IncomingUpgrade) -> Result<(), Response<Bytes>>,
{
    let socket: Socket = stream.into();
    let address = |found: io::Result<SockAddr>| found.ok().and_then(|it| it.as_socket());
    let (peer, local) = (address(socket.peer_addr()), address(socket.local_addr()));
    let transport = Box::new(SocketTransport::new(socket));
    block_on(async {
        let incoming = IncomingUpgrade::read(transport, Arc::new(config), Arc::new(ThreadRuntime));
        let mut incoming = incoming.await?;
        incoming.set_addrs(peer, local);
        match decide(&mut incoming) {
            Ok(()) => Ok(incoming.accept().into()),
            Err(response) => Err(incoming.reject(response).await),
        }
    })
}
