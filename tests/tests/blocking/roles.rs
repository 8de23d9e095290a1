//! Both roles against the same library, with blocking calls and on tokio, in each way to connect.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use sockless_blocking::{
    Reconnect, Session, accept, accept_with, connect, connect_over, handler, listen_on,
};
use sockless_core::handshake::text_response;
use sockless_core::{CloseCode, Closed, Config, Deflate};
use sockless_driver::tls::{TlsAcceptor, TlsConnector};
use sockless_driver::{AcceptError, AttemptError, ConnectError, ProxyProtocol, ReconnectState};
use sockless_routing::{Router, websocket};
use sockless_tests::certificates::Authority;
use sockless_tests::handlers;

use crate::support::{
    SHORT, SOON, Serving, any_port, converse, echo, serve_on_tokio, tokio_runtime,
};

fn deflating() -> Config {
    Config::default().extension(Deflate::default())
}

/// An acceptor and a connector that trusts it.
fn tls() -> (TlsAcceptor, TlsConnector) {
    let authority = Authority::new();
    let identity = authority.issue("localhost");
    let acceptor = TlsAcceptor::from_pem(identity.chain.as_bytes(), identity.key.as_bytes());
    (acceptor.unwrap(), TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap())
}

#[test]
fn a_blocking_client_talks_with_a_blocking_server() {
    let serving = Serving::start(echo);
    converse(serving.open());
}

#[test]
fn a_blocking_client_talks_with_a_server_on_tokio() {
    let (_runtime, addr) = serve_on_tokio(handlers::at_root(websocket(handlers::echo)), |it| it);
    converse(connect(&format!("ws://{addr}/")).open().unwrap());
}

#[test]
fn a_client_on_tokio_talks_with_a_blocking_server() {
    let serving = Serving::start(echo);
    let runtime = tokio_runtime();
    // A session of tokio's, used from this thread.
    let connecting = async { sockless_tokio::connect(&serving.url()).await };
    converse(runtime.block_on(connecting).unwrap().into());
}

#[test]
fn messages_are_compressed_in_both_roles() {
    let serving = Serving::start_with(|server| server.config(deflating()), echo);
    let session = connect(&serving.url()).config(deflating()).open().unwrap();
    assert_eq!(session.request().extensions().len(), 1);
    session.start_counting();
    let sender = session.sender();
    converse(session);
    let sent = sender.stats().sent.bytes;
    assert!(sent < 10_000, "270,000 bytes took {sent}");
}

#[test]
fn messages_are_encrypted_in_both_roles() {
    let (acceptor, connector) = tls();
    let url = |port| format!("wss://localhost:{port}/");

    let serving = Serving::start_with(|server| server.tls(acceptor.clone()), echo);
    let secure = connect(&url(serving.addr.port())).tls(connector.clone()).open().unwrap();
    assert!(secure.request().tls().is_some());
    converse(secure);

    let router = handlers::at_root(websocket(handlers::echo));
    let (_runtime, addr) = serve_on_tokio(router, |server| server.tls(acceptor));
    converse(connect(&url(addr.port())).tls(connector.clone()).open().unwrap());

    let secure = sockless_tokio::connect(&url(serving.addr.port())).tls(connector);
    let connecting = async { secure.await };
    let runtime = tokio_runtime();
    converse(runtime.block_on(connecting).unwrap().into());
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused() {
    let ((acceptor, _), (_, connector)) = (tls(), tls());
    let serving = Serving::start_with(|server| server.tls(acceptor), echo);
    let url = format!("wss://localhost:{}/", serving.addr.port());
    let error = connect(&url).tls(connector).open().unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn both_roles_use_unix_sockets() {
    let path = std::env::temp_dir().join(format!("sockless-blocking-{}.sock", std::process::id()));
    let server = sockless_blocking::bind_unix(&path).unwrap();
    assert_eq!(server.local_addr(), None);
    let serving = Serving::run(server, |server| server.serve(echo));
    converse(connect("ws://localhost/").unix_socket(&path).open().unwrap());
    let stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    converse(connect_over(stream, "ws://localhost/").open().unwrap());
    std::fs::remove_file(&path).unwrap();
    drop(serving);
}

#[test]
fn the_request_and_the_response_are_seen() {
    let settings = |server: sockless_blocking::Server| server.subprotocol("v2").subprotocol("v1");
    let serving = Serving::start_with(settings, |mut session: Session| {
        let request = session.request();
        let seen = [request.path(), request.header("x-user").unwrap_or("?")].join(" ");
        let protocol = request.subprotocol().unwrap_or("?").to_owned();
        session.send(format!("{seen} {protocol}"))?;
        session.recv().map(drop)
    });
    let url = format!("{}room", serving.url());
    let connecting = connect(&url).header("X-User", "ada").subprotocol("v3").subprotocol("v1");
    let mut session = connecting.open().unwrap();
    assert_eq!(session.recv_timeout(SOON).unwrap(), "/room ada v1");
    assert_eq!(session.response().unwrap().status(), 101);
    assert_eq!(session.request().subprotocol(), Some("v1"));
}

#[test]
fn a_router_serves_handlers_that_block() {
    fn welcome(session: Session) -> Result<(), Closed> {
        session.send(session.request().param_str("room").unwrap_or("?"))
    }
    let router = Router::new().route("/chat/{room}", websocket(handler(welcome)));
    let serving = Serving::run(any_port(), |server| server.serve_with(router));
    let mut session = connect(&format!("{}chat/lobby", serving.url())).open().unwrap();
    assert_eq!(session.recv_timeout(SOON).unwrap(), "lobby");
    let error = connect(&serving.url()).open().unwrap_err();
    let ConnectError::Rejected { response, .. } = error else { panic!("{error}") };
    assert_eq!(response.status(), 404);
}

#[test]
fn web_pages_are_rejected_unless_any_origin_is_allowed() {
    let page =
        |serving: &Serving| connect(&serving.url()).header("Origin", "https://example.com").open();
    let error = page(&Serving::start(echo)).unwrap_err();
    let ConnectError::Rejected { response, .. } = error else { panic!("{error}") };
    assert_eq!(response.status(), 403);
    converse(page(&Serving::start_with(|server| server.any_origin(), echo)).unwrap());
}

#[test]
fn a_load_balancer_announces_the_client() {
    let proxies = ProxyProtocol::new(["127.0.0.1"]).unwrap();
    let settings = |server: sockless_blocking::Server| server.proxy_protocol(proxies);
    let serving = Serving::start_with(settings, |session: Session| {
        session.send(format!("{:?}", session.request().peer_addr()))
    });
    let mut stream = TcpStream::connect(serving.addr).unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n").unwrap();
    let mut session = connect_over(stream, &serving.url()).open().unwrap();
    assert_eq!(session.recv_timeout(SOON).unwrap(), "Some(192.0.2.1:5000)");
}

#[test]
fn a_handler_that_blocks_runs_on_tokio() {
    let (_runtime, addr) = serve_on_tokio(handlers::at_root(websocket(handler(echo))), |it| it);
    converse(connect(&format!("ws://{addr}/")).open().unwrap());
}

#[test]
fn a_client_connects_again_after_a_restart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let mut feed = Reconnect::new(move || connect(&url)).max_delay(SHORT);
    let watch = feed.watch();
    assert_eq!(watch.state(), ReconnectState::Idle);
    for _ in 0..2 {
        let server = listen_on(listener.try_clone().unwrap()).unwrap();
        let serving = Serving::run(server, |server| server.serve(echo));
        let mut session = feed.next().unwrap();
        assert_eq!(watch.state(), ReconnectState::Open);
        session.send("hello").unwrap();
        assert_eq!(session.recv_timeout(SOON).unwrap(), "hello");
        serving.shutdown.shut_down();
        assert_eq!(handlers::codes(&session.recv().unwrap_err()).1, Some(1001));
        assert_eq!(serving.join().terminated, 0);
    }
    drop(listener);
    let mut feed = feed.retry_if(|error, _| matches!(error, AttemptError::Closed(_)));
    let error = feed.next().unwrap_err();
    assert!(matches!(error.last_error(), AttemptError::Connect(_)), "{error}");
}

#[test]
fn a_hook_runs_on_each_new_session() {
    let serving = Serving::start(echo);
    let url = serving.url();
    let mut calls = 0;
    let mut feed = Reconnect::new(move || connect(&url))
        .max_delay(SHORT)
        .retry_if(|error, _| matches!(error, AttemptError::Hook(_) | AttemptError::Closed(_)))
        .on_open(move |session| {
            calls += 1;
            session.send(format!("subscribe {calls}"))?;
            let answer = session.recv_timeout(SOON)?;
            assert_eq!(answer, format!("subscribe {calls}"));
            if calls == 1 { Err("not yet".into()) } else { Ok(()) }
        });
    for round in 1..=2 {
        let mut session = feed.next().unwrap();
        session.send("hello").unwrap();
        assert_eq!(session.recv_timeout(SOON).unwrap(), "hello", "round {round}");
        session.close(CloseCode::NORMAL);
    }
}

/// A hook that waits for a silent server has an end.
#[test]
fn a_hook_has_a_deadline() {
    let serving = Serving::start(|mut session: Session| while session.recv().is_ok() {});
    let url = serving.url();
    let mut feed = Reconnect::new(move || connect(&url))
        .hook_timeout(SHORT)
        .retry_if(|error, _| {
            assert!(error.is_transient(), "{error}");
            false
        })
        .on_open(|session| Ok(session.recv().map(drop)?));
    let error = feed.next().unwrap_err();
    assert!(matches!(error.last_error(), AttemptError::Hook(_)), "{error}");
}

#[test]
fn another_thread_ends_the_delay_of_an_attempt() {
    let serving = Serving::start(echo);
    let url = serving.url();
    let mut feed = Reconnect::new(move || connect(&url))
        .retry_if(|_, _| sockless_driver::Retry::After(Duration::from_secs(3600)));
    feed.next().unwrap().close(CloseCode::NORMAL);
    let watch = feed.watch();
    let hurrying = thread::spawn(move || {
        while !matches!(watch.state(), ReconnectState::Waiting { .. }) {
            thread::yield_now();
        }
        watch.retry_now();
    });
    assert!(feed.next().unwrap().close(CloseCode::NORMAL).is_clean());
    hurrying.join().unwrap();
}

#[test]
fn one_stream_is_accepted_without_a_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let client = thread::spawn(move || {
        let stream = TcpStream::connect(url.trim_start_matches("ws://").trim_end_matches('/'));
        converse(connect_over(stream.unwrap(), &url).open().unwrap());
    });
    let (stream, peer) = listener.accept().unwrap();
    let session = accept(stream).unwrap();
    assert_eq!(session.request().peer_addr(), Some(peer));
    assert_eq!(session.request().local_addr(), listener.local_addr().ok());
    let closed = echo(session).unwrap_err();
    assert!(closed.is_clean());
    client.join().unwrap();
}

#[test]
fn a_stream_is_rejected() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let client = thread::spawn(move || connect(&url).open().unwrap_err());
    let stream = listener.accept().unwrap().0;
    let rejected = accept_with(stream, Config::default(), |_| {
        Err(text_response(http::StatusCode::UNAUTHORIZED, "a token is required\n"))
    });
    assert!(matches!(rejected, Err(AcceptError::Rejected(_))));
    let error = client.join().unwrap();
    assert!(error.to_string().contains("a token is required"), "{error}");
}

#[test]
fn messages_of_any_length_pass_in_chunks() {
    const LEN: usize = 8 << 20;
    let config = Config::default().max_streamed_len(LEN as u64);
    let settings = |server: sockless_blocking::Server| server.config(config);
    let serving = Serving::start_with(settings, |mut session: Session| {
        let mut reader = session.reader()?;
        let len = std::io::copy(&mut reader, &mut std::io::sink())?;
        drop(reader);
        session.send(len.to_string())?;
        Ok::<_, sockless_driver::Error>(())
    });
    let mut session = serving.open();
    let mut writer = session.writer().unwrap();
    for _ in 0..LEN / 1000 {
        writer.write_all(&[7; 1000]).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(session.recv_timeout(SOON).unwrap(), *(LEN / 1000 * 1000).to_string());
}

#[test]
fn a_reader_returns_a_message_and_no_other() {
    let serving = Serving::start(echo);
    let mut session = serving.open();
    session.feed("one").unwrap();
    session.feed("two").unwrap();
    session.flush().unwrap();
    let mut text = String::new();
    let mut reader = session.reader().unwrap();
    assert!(reader.is_text());
    reader.read_to_string(&mut text).unwrap();
    drop(reader);
    assert_eq!(
        (text.as_str(), session.recv_timeout(SOON).unwrap().as_text()),
        ("one", Some("two"))
    );
}

#[test]
fn values_pass_as_json() {
    let serving = Serving::start(|mut session: Session| {
        let numbers: Vec<u32> = session.recv_json()?;
        session.send_json(&numbers.iter().sum::<u32>())?;
        Ok::<_, sockless_driver::Error>(())
    });
    let mut session = serving.open();
    session.send_json(&[1, 2, 3]).unwrap();
    assert_eq!(session.recv_json::<u32>().unwrap(), 6);
}

#[test]
fn a_session_is_an_iterator_of_its_messages() {
    let serving = Serving::start(|session: Session| {
        for number in 0..100 {
            session.feed(number.to_string())?;
        }
        Ok::<_, Closed>(())
    });
    let mut session = serving.open();
    let numbers: Vec<_> = session.by_ref().map(|message| message.to_string()).collect();
    assert_eq!(numbers.len(), 100);
    assert_eq!(numbers[99], "99");
    assert_eq!(handlers::codes(&session.closed()).1, Some(1000));
}
