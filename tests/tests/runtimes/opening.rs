//! The way to a session, and what stands in it.

use std::net::TcpListener;
use std::time::Duration;

use http::StatusCode;
use smol::channel;
use sockless_core::handshake::text_response;
use sockless_core::{CloseCode, Config};
use sockless_driver::{ConnectError, ConnectStep, Server, Session};
use sockless_routing::{Router, websocket};
use sockless_tests::wire::{self, Writer};

use crate::messages::saturate;
use crate::on::{Decide, Runtime, spawn};
use crate::raw::{RawClient, upgrade_request};
use crate::serving::{Serving, exchange};
use sockless_tests::handlers::{echo, until_closed};

const CLIENT: Writer = Writer { masks: true };
const SERVER: Writer = Writer { masks: false };

pub(crate) async fn a_client_past_the_cap_waits_until_another_leaves<R: Runtime>() {
    let (tell, reported) = channel::unbounded();
    let route = websocket(move |session: Session| {
        let tell = tell.clone();
        async move {
            let name = session.request().query().unwrap().to_owned();
            tell.send(format!("{name} came")).await.unwrap();
            let _ = echo(session).await;
            tell.send(format!("{name} left")).await.unwrap();
        }
    });
    let cap = |server: Server| server.max_connections(2);
    let server = Serving::<R>::start_with(Router::new().route("/", route), cap).await;
    let connect = |name| R::connect(&format!("{}?{name}", server.url()));
    let first = connect("first").await.expect("there is room");
    assert_eq!(reported.recv().await.unwrap(), "first came");
    let mut second = connect("second").await.expect("there is room");
    assert_eq!(reported.recv().await.unwrap(), "second came");

    // The system takes connections for the server to accept later.
    let mut third = RawClient::connect(server.addr);
    third.send(upgrade_request("/?third"));
    for _ in 0..10 {
        exchange(&mut second, "time passes").await;
    }
    assert!(third.hears_nothing());
    first.close(CloseCode::NORMAL);
    // On a thread of its own, since the runtime may have no other thread than this one.
    let head = smol::unblock(move || (third.read_head(), third));
    let (head, _third) = head.await;
    assert!(head.starts_with("HTTP/1.1 101 "));
    assert_eq!(reported.recv().await.unwrap(), "first left");
    assert_eq!(reported.recv().await.unwrap(), "third came");
}

/// A session over a stream that the program has accepted, without a server or a router.
pub(crate) async fn a_stream_that_was_accepted_is_decided_on<R: Runtime>() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        ["/chat", "/other"].map(|path| {
            let mut client = RawClient::connect(addr);
            client.send(upgrade_request(path));
            let head = client.read_head();
            if head.starts_with("HTTP/1.1 101 ") {
                client.send(CLIENT.text("longer than 10 bytes"));
            }
            head
        })
    });
    let decide: Decide = |upgrade| match upgrade.request().path() {
        "/chat" => {
            upgrade.add_header("set-cookie", "id=1").unwrap();
            Ok(())
        }
        _ => Err(text_response(StatusCode::NOT_FOUND, "only /chat is served\n")),
    };
    let listener = std::sync::Arc::new(listener);
    let accept = async || {
        let listener = std::sync::Arc::clone(&listener);
        let (stream, _) = smol::unblock(move || listener.accept()).await.unwrap();
        R::accept_with(stream, Config::default().max_message_len(10), decide).await
    };
    let mut session = accept().await.expect("it is accepted");
    let closed = session.recv().await.expect_err("the message is too long");
    let code = closed.sent().and_then(|reason| reason.code());
    assert_eq!(code, Some(CloseCode::MESSAGE_TOO_BIG), "{closed}");
    let error = accept().await.expect_err("it is rejected");
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
    let [chat, other] = smol::unblock(move || client.join().unwrap()).await;
    assert!(chat.starts_with("HTTP/1.1 101 ") && chat.contains("Set-Cookie: id=1"), "{chat}");
    assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
}

pub(crate) async fn a_stream_that_was_accepted_becomes_a_session<R: Runtime>() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let mut client = RawClient::connect(addr);
        client.send(upgrade_request("/here"));
        let head = client.read_head();
        client.send(CLIENT.text("hello"));
        client.send(CLIENT.close(1000, ""));
        head
    });
    let (stream, _) = smol::unblock(move || listener.accept()).await.unwrap();
    let mut session = R::accept(stream).await.expect("it is an upgrade");
    assert_eq!(session.request().path(), "/here");
    assert_eq!(session.recv().await.expect("a message"), "hello");
    let closed = session.recv().await.expect_err("the client closes");
    assert!(closed.received().is_some(), "{closed}");
    let head = smol::unblock(move || client.join().unwrap()).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

pub(crate) async fn a_closed_port_is_an_error<R: Runtime>() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    match R::connect(&format!("ws://{addr}/")).await {
        Err(ConnectError::Dial { destination, attempts }) => {
            assert_eq!((destination.host(), destination.port()), ("127.0.0.1", addr.port()));
            assert_eq!((attempts.len(), attempts[0].addr), (1, addr));
            assert_eq!(attempts[0].error.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        other => panic!("no server listens, but: {other:?}"),
    }
}

pub(crate) async fn a_silent_server_times_out<R: Runtime>() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let config = Config::default().opening_timeout(Duration::from_millis(50));
    let result = R::connect(&url).config(config).await;
    let Err(ConnectError::Timeout { step, .. }) = result else {
        panic!("no server answers, but: {result:?}");
    };
    assert_eq!(step, ConnectStep::Response);
}

pub(crate) async fn a_name_is_resolved<R: Runtime>() {
    let server = Serving::<R>::one(websocket(echo)).await;
    let url = format!("ws://localhost:{}/", server.addr.port());
    exchange(&mut R::connect(&url).await.expect("the server answers"), "hello").await;
    let nowhere = R::connect("ws://nowhere.invalid/").await;
    assert!(matches!(nowhere, Err(ConnectError::Resolve { .. })), "{nowhere:?}");
}

pub(crate) async fn an_address_in_use_is_an_error<R: Runtime>() {
    let server = Serving::<R>::one(websocket(echo)).await;
    let error = R::serve(server.addr, Router::new()).await.expect_err("the port is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

pub(crate) async fn what_is_no_upgrade_gets_404_or_426<R: Runtime>() {
    let server = Serving::<R>::one(websocket(echo)).await;
    let mut lost = RawClient::connect(server.addr);
    lost.send("GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = lost.read_response();
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");

    let mut plain = RawClient::connect(server.addr);
    plain.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = plain.read_response().to_lowercase();
    assert!(response.starts_with("http/1.1 426 "), "{response}");
    assert!(response.contains("\r\nupgrade: websocket\r\n"), "{response}");
    assert!(response.contains("\r\nsec-websocket-version: 13\r\n"), "{response}");
}

pub(crate) async fn a_request_during_a_shutdown_gets_503<R: Runtime>() {
    let server = Serving::<R>::one(websocket(echo)).await;
    let mut slow = RawClient::connect(server.addr);
    // Accepted in the order of their coming: once this session is there, the slow client is too.
    let session = server.connect().await;
    let report = server.stop();
    until_closed(session).await;
    slow.send(upgrade_request("/"));
    let response = slow.read_response();
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    drop(slow);
    let report = report.recv().await.expect("the server ends");
    assert_eq!((report.drained, report.terminated, report.stuck), (2, 0, 0));
}

pub(crate) async fn a_frame_behind_the_request_is_answered<R: Runtime>() {
    let server = Serving::<R>::one(websocket(echo)).await;
    let mut client = RawClient::connect(server.addr);
    client.send([upgrade_request("/").as_bytes(), &CLIENT.text("at once")].concat());
    assert!(client.read_head().starts_with("HTTP/1.1 101 "));
    let echoed = SERVER.text("at once");
    assert_eq!(client.read(echoed.len()), echoed);
    client.send(CLIENT.frame(wire::CLOSE, ""));
    assert_eq!(client.read_to_end(), SERVER.frame(wire::CLOSE, ""));
}

pub(crate) async fn a_ping_is_answered_while_the_handler_waits<R: Runtime>() {
    let route = websocket(async |session: Session| {
        session.closed().await;
    });
    let server = Serving::<R>::one(route).await;
    let mut client = RawClient::upgrade(server.addr);
    client.send(CLIENT.ping("are you there?"));
    let pong = SERVER.pong("are you there?");
    assert_eq!(client.read(pong.len()), pong);
}

pub(crate) async fn a_listener_bound_elsewhere_is_served<R: Runtime>() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = R::listen_on(listener).unwrap();
    assert_eq!(server.local_addr(), Some(addr));
    let route = websocket(async |session: Session| {
        let addrs = (session.request().peer_addr(), session.request().local_addr());
        session.send(format!("{addrs:?}")).await
    });
    let server = Serving::<R>::run(server, Router::new().route("/", route));
    let mut client = RawClient::upgrade(server.addr);
    let addrs = SERVER.text(&format!("{:?}", (Some(client.local_addr()), Some(addr))));
    assert_eq!(client.read(addrs.len()), addrs);
}

/// With more to write than the system takes at once.
pub(crate) async fn a_stream_accepted_elsewhere_is_served<R: Runtime>() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let client = spawn::<R, _>(async move {
        let session = R::connect(&url).await.expect("the server answers");
        saturate::<R>(session).await;
    });
    let (stream, _) = smol::unblock(move || listener.accept().unwrap()).await;
    let router = Router::new().route("/", websocket(saturate::<R>));
    R::serve_connection(stream, router).await;
    client.await;
}
