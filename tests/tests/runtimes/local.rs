//! Handlers, services and transports that are not `Send`.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::{join, join3};
use smol::channel;
use sockless_core::handshake::UpgradeRequest;
use sockless_core::{Cause, Config, Timeout};
use sockless_driver::local::{
    LocalAnswer, LocalBoxFuture, LocalConnectionServer, LocalIo, LocalService, LocalUpgrade,
};
use sockless_driver::{Accepted, Io, Listen, Request, Sender, Server, Session, ShutdownReport};
use sockless_routing::local::{LocalRouter, websocket_local};

use crate::one_thread::OneThread;
use crate::serving::exchange;
use sockless_tests::handlers::{codes, echo, until_closed};

/// A server of local handlers, on the thread of the scenario.
struct LocalServing {
    url: String,
    stop: channel::Sender<()>,
    report: channel::Receiver<ShutdownReport>,
}

impl LocalServing {
    async fn start<R: OneThread>(
        service: impl LocalService,
        settings: impl FnOnce(Server) -> Server,
    ) -> Self {
        let server = settings(R::bind("127.0.0.1:0").await.expect("a port is free"));
        let url = format!("ws://{}/", R::addr_of(&server));
        let (stop, stopped) = channel::bounded::<()>(1);
        let (reporting, report) = channel::bounded(1);
        R::spawn_local(Box::pin(async move {
            let shutdown = async {
                let _ = stopped.recv().await;
            };
            let report = server.serve_local_until(service, shutdown, R::spawn_local).await;
            let _ = reporting.send(report).await;
        }));
        Self { url, stop, report }
    }

    async fn connect<R: OneThread>(&self) -> Session {
        R::connect(&self.url).await.expect("the server answers")
    }

    async fn stop(self) -> ShutdownReport {
        drop(self.stop);
        self.report.recv().await.expect("the server ends")
    }
}

/// A chat without a lock: each message goes to all members of the room.
pub(crate) async fn handlers_on_one_thread_share_an_rc<R: OneThread>() {
    let room: Rc<RefCell<Vec<Sender>>> = Rc::default();
    let members = room.clone();
    let chat = websocket_local(move |mut session: Session| {
        let room = members.clone();
        async move {
            room.borrow_mut().push(session.sender());
            while let Ok(message) = session.recv().await {
                for member in room.borrow().iter() {
                    member.try_send(message.clone()).expect("there is room");
                }
            }
        }
    });
    let router = LocalRouter::new().route("/", chat.protocol("chat"));
    let server = LocalServing::start::<R>(router, |server| server).await;
    let connect = async || R::connect(&server.url).subprotocol("chat").await.unwrap();
    let (mut ada, mut bob) = (connect().await, connect().await);
    exchange(&mut ada, "hello").await;
    if bob.recv().await.unwrap().as_text() != Some("hello") {
        panic!("the message of the other member is received");
    }
    exchange(&mut bob, "hi").await;
    assert_eq!(ada.recv().await.unwrap().as_text(), Some("hi"));
    assert_eq!(room.borrow().len(), 2);

    let stopping = server.stop();
    let (ada, bob, report) = join3(until_closed(ada), until_closed(bob), stopping).await;
    assert_eq!([codes(&ada), codes(&bob)], [(Some(1001), Some(1001)); 2]);
    assert_eq!((report.drained, report.terminated, report.stuck), (2, 0, 0));
    assert_eq!(Rc::strong_count(&room), 1, "the handlers and the service are gone");
}

pub(crate) async fn a_local_handler_fails_and_panics_with_1011<R: OneThread>() {
    let handler = websocket_local(async |session: Session| {
        let state = Rc::new(Cell::new(0));
        assert_ne!(session.request().query(), Some("panic"), "this panic belongs to the test");
        if session.request().query() == Some("fail") {
            return Err(io::Error::other("our secret"));
        }
        let _ = echo(session).await;
        state.set(1);
        Ok(())
    });
    let server = LocalServing::start::<R>(LocalRouter::new().route("/", handler), |it| it).await;
    for query in ["fail", "panic"] {
        let session = R::connect(&format!("{}?{query}", server.url)).await.unwrap();
        let closed = until_closed(session).await;
        assert_eq!(codes(&closed), (Some(1011), Some(1011)));
        assert_eq!(closed.received().unwrap().text(), "");
    }
    exchange(&mut server.connect::<R>().await, "the server goes on").await;
}

pub(crate) async fn a_local_handler_is_terminated_when_the_drain_timeout_passes<R: OneThread>() {
    let dropped = Rc::new(Cell::new(false));
    struct Flag(Rc<Cell<bool>>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let flag = dropped.clone();
    let handler = websocket_local(move |_session: Session| {
        let flag = Flag(flag.clone());
        async move {
            std::future::pending::<()>().await;
            drop(flag);
        }
    });
    let drain = |server: Server| server.drain_timeout(Duration::from_millis(50));
    let server = LocalServing::start::<R>(LocalRouter::new().route("/", handler), drain).await;
    let session = server.connect::<R>().await;
    let report = server.stop().await;
    assert_eq!((report.drained, report.terminated, report.stuck), (0, 1, 0));
    assert!(dropped.get());
    let _ = until_closed(session).await;
}

pub(crate) async fn a_peer_of_a_local_handler_is_pinged_and_times_out<R: OneThread>() {
    let (telling, reported) = channel::unbounded();
    let handler = websocket_local(move |session: Session| {
        let (telling, waits) = (telling.clone(), Rc::new(()));
        async move {
            // It does not receive: the driver notices the peer's silence nevertheless.
            let _ = telling.send(session.closed().await).await;
            drop(waits);
        }
    });
    let config = Config::default()
        .ping_interval(Duration::from_millis(20))
        .ping_timeout(Duration::from_millis(50));
    let router = LocalRouter::new().route("/", handler.config(config));
    let server = LocalServing::start::<R>(router, |server| server).await;

    // A client that answers pings stays, and one that reads nothing is given up.
    let mut alive = server.connect::<R>().await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}==\r\n\r\n",
        "A".repeat(22)
    );
    let addr = server.url.trim_start_matches("ws://").trim_end_matches('/');
    let mut silent = std::net::TcpStream::connect(addr).unwrap();
    io::Write::write_all(&mut silent, request.as_bytes()).unwrap();
    let closed = reported.recv().await.expect("the handler learns of it");
    assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Ping), "{closed}");
    assert!(reported.is_empty());
    alive.close(sockless_core::CloseCode::NORMAL);
    assert!(alive.recv().await.unwrap_err().is_clean());
    assert!(reported.recv().await.unwrap().is_clean());
}

pub(crate) async fn a_sender_on_another_thread_reaches_the_peer_of_a_local_handler<R: OneThread>() {
    let handler = websocket_local(async |session: Session| {
        let state = Rc::new("of this thread");
        let sender = session.sender();
        std::thread::spawn(move || sender.try_send("from a thread").expect("there is room"));
        session.closed().await;
        drop(state);
    });
    let server = LocalServing::start::<R>(LocalRouter::new().route("/", handler), |it| it).await;
    let mut session = server.connect::<R>().await;
    assert_eq!(session.recv().await.unwrap().as_text(), Some("from a thread"));
}

/// Sends each visitor the number of the visit, and answers other requests with an error.
struct Visits(Rc<Cell<u64>>);

impl LocalService for Visits {
    fn call(&self, request: Request) -> LocalBoxFuture<'_, LocalAnswer> {
        Box::pin(async {
            self.0.set(self.0.get() + 1);
            let visits = self.0.clone();
            let greet = async move |session: Session| session.send(visits.get().to_string()).await;
            match UpgradeRequest::from_request(request.as_http()) {
                Ok(upgrade) => {
                    let upgrade = LocalUpgrade::websocket(request, upgrade, self.config(), greet);
                    LocalAnswer::Upgrade(upgrade)
                }
                Err(error) => LocalAnswer::Respond(error.response()),
            }
        })
    }

    fn config(&self) -> Arc<Config> {
        Arc::default()
    }
}

pub(crate) async fn a_local_service_decides_without_a_router<R: OneThread>() {
    let visits = Rc::new(Cell::new(0));
    let server = LocalServing::start::<R>(Visits(visits.clone()), |server| server).await;
    for number in ["1", "2"] {
        let mut session = server.connect::<R>().await;
        assert_eq!(session.recv().await.unwrap().as_text(), Some(number));
    }
    assert_eq!(visits.get(), 2);
}

/// A transport that cannot leave its thread.
struct Here {
    io: Box<dyn Io>,
    reads: Rc<Cell<usize>>,
}

impl LocalIo for Here {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.reads.set(self.reads.get() + 1);
        self.io.poll_read(cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }
}

pub(crate) async fn a_local_transport_is_served<R: OneThread>() {
    let reads = Rc::new(Cell::new(0));
    let visits = Visits(Rc::default());
    let server = LocalConnectionServer::new(visits, R::driver()).max_connections_per_peer(1);
    let (mut listener, addr) = bound();
    let connecting = R::connect(&format!("ws://{addr}/"));
    let serving = async {
        let accepted = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        let Accepted { transport: io, peer_addr, local_addr, .. } = accepted;
        let transport = Here { io, reads: reads.clone() };
        R::spawn_local(server.serve_connection(transport, peer_addr, local_addr));
    };
    let (session, ()) = join(connecting.into_future(), serving).await;
    let mut session = session.expect("the server answers");
    assert_eq!(session.recv().await.unwrap().as_text(), Some("1"));
    assert!(until_closed(session).await.is_clean());
    let report = server.shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.terminated, server.connections()), (0, 0));
    assert!(reads.get() > 0);
    assert_eq!(Rc::strong_count(&reads), 1, "the transport is gone");
}

/// A listener of async-io, whose sockets work on every runtime.
fn bound() -> (impl Listen, std::net::SocketAddr) {
    let listener = smol::Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
    let addr = listener.get_ref().local_addr().unwrap();
    (sockless_driver::async_io::listen_on(Arc::new(listener)).unwrap(), addr)
}
