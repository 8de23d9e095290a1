//! Servers of each kind, and visitors that speak in bytes.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::Empty;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use smol::channel::{self, Receiver};
use socket2::SockRef;
use sockless_driver::tls::{TlsAcceptor, TlsConnector};
use sockless_driver::{Io, Server};
use sockless_hyper::Mount;
use sockless_routing::Router;

use crate::on::{Runtime, World, spawn};
use crate::serving::Serving;
use sockless_tests::certificates::Authority;

const NAME: &str = "localhost";

/// Longer than any deadline that a scenario sets, with some slack for a busy machine.
const SOON: Duration = Duration::from_secs(8);

/// The way in which a visitor reaches a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Tcp,
    Unix,
    Tls,
    /// Both of them by `axum::serve`.
    Http1,
    Http2,
}

/// A server that is reached in one way.
pub(crate) struct Place<R> {
    way: Way,
    addr: SocketAddr,
    path: PathBuf,
    authority: Authority,
    /// Ended with the place.
    _serving: Option<Serving<R>>,
    _stop: Option<channel::Sender<()>>,
}

impl<R: Runtime> Place<R> {
    pub(crate) async fn open(way: Way, router: Router) -> Self {
        Self::open_with(way, router, |server| server).await
    }

    pub(crate) async fn open_with(
        way: Way,
        router: Router,
        settings: impl FnOnce(Server) -> Server,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sockless-liveness-{}-{count}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let authority = Authority::new();
        let (mut addr, mut stop, mut serving) = (SocketAddr::from(([0; 4], 0)), None, None);
        match way {
            Way::Tcp => serving = Some(Serving::start_with(router, settings).await),
            Way::Tls => {
                let identity = authority.issue(NAME);
                let (chain, key) = (identity.chain.as_bytes(), identity.key.as_bytes());
                let acceptor = TlsAcceptor::from_pem(chain, key).unwrap();
                let tls = |server: Server| settings(server).tls(acceptor);
                serving = Some(Serving::start_with(router, tls).await);
            }
            Way::Unix => {
                let server = settings(R::bind_unix(&path).unwrap());
                serving = Some(Serving::run_at(addr, server, router));
            }
            Way::Http1 | Way::Http2 => {
                let (at, stopper) = serve_by_axum(router).await;
                (addr, stop) = (at, Some(stopper));
            }
        }
        if let Some(serving) = &serving {
            addr = serving.addr;
        }
        Self { way, addr, path, authority, _serving: serving, _stop: stop }
    }

    /// A visitor whose WebSocket is open.
    pub(crate) async fn visit(&self) -> Visitor {
        let visitor = match self.way {
            Way::Unix => {
                let io = R::unix_transport(UnixStream::connect(&self.path).unwrap());
                Visitor { io, socket: None }
            }
            Way::Tcp | Way::Http1 => {
                let (stream, socket) = self.dial();
                Visitor { io: R::transport(stream), socket: Some(socket) }
            }
            Way::Tls => {
                let (stream, socket) = self.dial();
                let connector = TlsConnector::trusting_pem(self.authority.pem().as_bytes());
                let connecting = connector.unwrap().connect(NAME, R::transport(stream)).await;
                Visitor { io: connecting.unwrap(), socket: Some(socket) }
            }
            Way::Http2 => return self.visit_by_http2().await,
        };
        visitor.upgrade().await
    }

    fn dial(&self) -> (TcpStream, TcpStream) {
        let stream = TcpStream::connect(self.addr).unwrap();
        let socket = stream.try_clone().unwrap();
        (stream, socket)
    }

    async fn visit_by_http2(&self) -> Visitor {
        let (stream, socket) = self.dial();
        stream.set_nonblocking(true).unwrap();
        let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream).unwrap());
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = builder.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::connect("http://localhost/")
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"))
            .body(Empty::<Bytes>::new());
        let response = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        let io = Box::new(sockless_tokio::TokioTransport::new(TokioIo::new(upgraded)));
        Visitor { io, socket: Some(socket) }
    }
}

impl<R> Drop for Place<R> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve_by_axum(router: Router) -> (SocketAddr, channel::Sender<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mount = Mount::new(router, crate::on::Tokio::driver());
    let serving = axum::serve(listener, axum::Router::new().fallback_service(mount));
    let (stop, stopped) = channel::bounded::<()>(1);
    let shutdown = async move {
        let _ = stopped.recv().await;
    };
    tokio::spawn(serving.with_graceful_shutdown(shutdown).into_future());
    (addr, stop)
}

/// A client that only reads and writes as the scenario requires.
pub(crate) struct Visitor {
    io: Box<dyn Io>,
    /// The same socket once more, where it is one of TCP.
    socket: Option<TcpStream>,
}

impl Visitor {
    async fn upgrade(mut self) -> Self {
        let request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\n\r\n";
        self.write(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read(1).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        self
    }

    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let slices = [IoSlice::new(bytes)];
            let len = poll_fn(|cx| self.io.poll_write(cx, &slices)).await?;
            bytes = &bytes[len..];
        }
        poll_fn(|cx| self.io.poll_flush(cx)).await
    }

    pub(crate) async fn read(&mut self, room: usize) -> io::Result<BytesMut> {
        let mut buffer = BytesMut::with_capacity(room);
        poll_fn(|cx| self.io.poll_read(cx, &mut buffer)).await?;
        Ok(buffer)
    }

    /// Reads up to the end or a failure.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Ok(bytes) = self.read(16 << 10).await
            && !bytes.is_empty()
        {
            all.extend_from_slice(&bytes);
        }
        all
    }

    /// Sends nothing more, in good order.
    pub(crate) async fn shut_down(&mut self) {
        let _ = poll_fn(|cx| self.io.poll_shutdown(cx)).await;
    }

    /// Is gone, without a farewell where the transport has a way for that.
    pub(crate) fn reset(self) {
        if let Some(socket) = &self.socket {
            SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    /// Cuts the connection of HTTP/2 that its stream is on.
    pub(crate) fn cut(&self) {
        let socket = self.socket.as_ref().expect("HTTP/2 is over TCP");
        socket.shutdown(std::net::Shutdown::Both).unwrap();
    }
}

/// Returns the output of `future`, which must be ready within a few seconds.
pub(crate) async fn soon<R: World, T>(what: &str, future: impl Future<Output = T>) -> T {
    match within::<R, _>(SOON, future).await {
        Some(output) => output,
        None => panic!("not within {SOON:?}: {what}"),
    }
}

pub(crate) async fn within<R: World, T>(
    limit: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let runtime = R::driver();
    let mut timer = runtime.timer(runtime.now() + limit);
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => timer.poll_expired(cx).map(|()| None),
    })
    .await
}

/// Waits until the process has no more than `count` descriptors again; fewer, where a server that was there
/// before has ended meanwhile.
pub(crate) async fn until_descriptors_are<R: World>(count: usize) {
    let runtime = R::driver();
    let returned = async {
        while descriptors() > count {
            let mut timer = runtime.timer(runtime.now() + Duration::from_millis(10));
            poll_fn(|cx| timer.poll_expired(cx)).await;
        }
    };
    if within::<R, _>(SOON, returned).await.is_none() {
        panic!("there were {count} descriptors before, and now there are {}", descriptors());
    }
}

pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs `future` in a task of its own, dropped when it ends.
pub(crate) fn run_aside<R: World>(future: impl Future<Output = ()> + Send + 'static) {
    drop(spawn::<R, _>(future));
}

/// Returns the bytes that arrive within a few seconds.
pub(crate) async fn received<R: World, T>(what: &str, receiver: &Receiver<T>) -> T {
    soon::<R, _>(what, receiver.recv()).await.expect("the route is there")
}
