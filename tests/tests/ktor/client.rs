//! The client's `WebSocketTest` and `WebSocketBackpressureTest`: our client, and what it asks of a server.

use std::time::Duration;

use http::StatusCode;
use sockless_core::{Cause, CloseCode, Closed, Config, Instant, Overflow, ProtocolError};
use sockless_driver::{ConnectError, Session};
use sockless_routing::{Router, guards, respond, websocket};
use sockless_sim::Sim;

use crate::support::{SECOND, Told, at_root, close, echo, expect_close, numbered};

#[test]
fn websocket_requiring_sub_protocol_with_sub_protocol() {
    Sim::check(0..10, |sim| async move {
        let app = sim.app(at_root(websocket(echo).protocol("test-protocol")));
        let mut client = app.open("/").subprotocol("test-protocol").await;
        client.send("hello").await;
        client.expect("hello").await;
    });
}

#[test]
fn websocket_requiring_sub_protocol_without_sub_protocol() {
    Sim::check(0..10, |sim| async move {
        let app = sim.app(at_root(websocket(echo).protocol("test-protocol")));
        assert_eq!(app.open("/").refused().await.status(), 400);
        assert_eq!(app.open("/").subprotocol("Test-Protocol").refused().await.status(), 400);
    });
}

#[test]
fn response_contains_sec_websocket_protocol_header() {
    Sim::check(0..10, |sim| async move {
        let router = at_root(websocket(echo).protocol("a").protocol("b"));
        sim.spawn(sim.serve("server", router));
        let connecting = sim.connect("ws://server/").subprotocol("b").subprotocol("a");
        let connected = connecting.open().await.unwrap();
        assert_eq!(connected.response().headers()["sec-websocket-protocol"], "b");
        assert_eq!(connected.spawn().request().subprotocol(), Some("b"));
    });
}

#[test]
fn web_socket_headers() {
    Sim::check(0..10, |sim| async move {
        let handler = async |session: Session| -> Result<(), Closed> {
            for name in ["connection", "upgrade", "sec-websocket-version", "sec-websocket-key"] {
                let value = session.request().header(name).unwrap_or("missing").to_owned();
                session.send(value).await?;
            }
            Ok(())
        };
        sim.spawn(sim.serve("server", at_root(websocket(handler))));
        let mut session = sim.connect("ws://server/").await.unwrap();
        for expected in ["Upgrade", "websocket", "13"] {
            assert_eq!(session.recv().await.unwrap().as_text(), Some(expected));
        }
        // 16 bytes in base64.
        assert_eq!(session.recv().await.unwrap().len(), 24);
    });
}

#[test]
fn empty_frame() {
    echoes(String::new());
}

#[test]
fn receive_large_frame() {
    echoes("x".repeat(24_000));
}

fn echoes(text: String) {
    Sim::check(0..10, |sim| {
        let text = text.clone();
        async move {
            sim.spawn(sim.serve("server", at_root(websocket(echo))));
            let mut session = sim.connect("ws://server/").await.unwrap();
            session.send(text.clone()).await.unwrap();
            assert_eq!(session.recv().await.unwrap().as_text(), Some(&*text));
        }
    });
}

#[test]
fn max_frame_size_supported() {
    Sim::check(0..10, |sim| async move {
        sim.spawn(sim.serve("server", at_root(websocket(echo))));
        let connecting = sim.connect("ws://server/").config(Config::default().max_frame_len(10));
        let mut session = connecting.await.unwrap();
        session.send("x".repeat(1500)).await.unwrap();
        let end = session.recv().await.unwrap_err();
        let too_long = ProtocolError::FrameTooLong { len: 1500, max: 10 };
        assert_eq!(end.cause(), &Cause::Protocol(too_long));
    });
}

#[test]
fn count_pong() {
    Sim::check(0..10, |sim| async move {
        let mut listener = sim.listen("server");
        let session = sim.spawn(async move { listener.accept().await });
        let client = sim.clone();
        sim.spawn(async move {
            let session = client.connect("ws://server/").await.unwrap();
            client.sleep(SECOND).await;
            session.close(CloseCode::NORMAL);
            session.closed().await;
        });
        let server = session.await;
        let head = server.read_until(b"\r\n\r\n").await.unwrap();
        let mut handshake =
            sockless_core::handshake::ServerHandshake::new(Default::default(), sim.now());
        let request = handshake.poll_request(&mut head[..].into()).unwrap().unwrap();
        let upgrade = sockless_core::handshake::UpgradeRequest::from_request(&request).unwrap();
        let response = upgrade.accept().0.map(|()| bytes::Bytes::new());
        server.write_all(&sockless_core::handshake::encode_response(&response)).await.unwrap();
        server.write_all(b"\x89\x02hi").await.unwrap();
        // A masked pong of two bytes, and the next is the Close frame.
        assert_eq!(server.read_exact(8).await.unwrap()[..2], [0x8A, 0x82]);
        assert_eq!(server.read_exact(8).await.unwrap()[..2], [0x88, 0x82]);
        server.write_all(b"\x88\x02\x03\xe8").await.unwrap();
    });
}

/// The end is told whoever brings it about.
#[test]
fn cancelling_scope() {
    Sim::check(0..10, |sim| async move {
        sim.spawn(sim.serve("server", at_root(websocket(echo))));
        let session = sim.connect("ws://server/").await.unwrap();
        let (sender, receiver) = session.split();
        drop(receiver);
        sender.terminate();
        assert_eq!(sender.closed().await.cause(), &Cause::Aborted);
    });
}

/// What the block says is what the caller gets, and the session is closed before that.
#[test]
fn exception_of_the_block() {
    Sim::check(0..10, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |session: Session| {
            let teller = teller.clone();
            async move { teller.tell(session.closed().await) }
        };
        sim.spawn(sim.serve("server", at_root(websocket(handler))));
        let said = sim.connect("ws://server/").run(async |_session| Err::<(), _>("no")).await;
        assert_eq!(said.unwrap(), Err("no"));
        assert_eq!(told.told().await.received(), Some(&CloseCode::NORMAL.into()));
    });
}

#[test]
fn authentication() {
    Sim::check(0..10, |sim| async move {
        let router = at_root(websocket(echo)).guard(guards::bearer(["open sesame"]));
        sim.spawn(sim.serve("server", router));
        let valid = sim.connect("ws://server/").header("authorization", "Bearer open sesame");
        let mut session = valid.await.unwrap();
        session.send("hello").await.unwrap();
        session.recv().await.unwrap();

        let invalid = sim.connect("ws://server/").header("authorization", "Bearer guessed");
        match invalid.await {
            Err(ConnectError::Rejected { response, .. }) => {
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
                assert!(response.headers().contains_key("www-authenticate"));
            }
            other => panic!("{other:?}"),
        }
    });
}

/// The time that a request may take is the opening handshake's, and not the session's.
#[test]
fn timeout_of_the_request_ends_with_the_handshake() {
    Sim::check(0..10, |sim| async move {
        let config = Config::default().opening_timeout(SECOND);
        sim.spawn(sim.serve("server", at_root(websocket(echo).config(config.clone()))));
        let mut session = sim.connect("ws://server/").config(config.clone()).await.unwrap();
        sim.sleep(3600 * SECOND).await;
        session.send("still here").await.unwrap();
        session.recv().await.unwrap();

        // A server that never answers.
        let _listener = sim.listen("silent");
        let asked = sim.now();
        let error = sim.connect("ws://silent/").config(config).await.unwrap_err();
        assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");
        assert_eq!(sim.now(), asked + SECOND);
    });
}

#[test]
fn client_backpressure_suspends() {
    Sim::check(0..10, |sim| async move {
        sim.spawn(sim.serve("server", at_root(websocket(echo))));
        let smallest = Config::default().read_ahead(0).high_water(1);
        let mut session = sim.connect("ws://server/").config(smallest).await.unwrap();
        for number in 0..100 {
            session.send(numbered(number)).await.unwrap();
        }
        for number in 0..100 {
            assert_eq!(session.recv().await.unwrap(), numbered(number));
        }
    });
}

#[test]
fn client_overflow_closes() {
    Sim::check(0..10, |sim| async move {
        let handler = async |session: Session| {
            while session.send("more").await.is_ok() {}
        };
        sim.spawn(sim.serve("server", at_root(websocket(handler))));
        let config = Config::default().read_ahead(1000).recv_overflow(Overflow::Close);
        let session = sim.connect("ws://server/").config(config).await.unwrap();
        let closed = session.closed().await;
        let code = closed.sent().and_then(|sent| sent.code());
        assert_eq!(code, Some(CloseCode::TRY_AGAIN_LATER));
    });
}

/// 1005 cannot be said, and one that a peer says is a breach.
#[test]
fn bad_close_reason() {
    assert_eq!(CloseCode::new(1005), None);
    Sim::check(0..10, |sim| async move {
        let mut client = sim.app(at_root(websocket(echo))).open("/").raw().await;
        client.send(close(1005, "")).await;
        expect_close(&mut client, 1002).await;
        client.expect_end().await;
    });
}

/// L1: without a port, `ws` is port 80, and other ports are named.
#[test]
fn urls_lead_to_their_ports() {
    Sim::check(0..5, |sim| async move {
        sim.spawn(sim.serve("server", at_root(websocket(echo))));
        sim.spawn(sim.serve("server:8080", at_root(websocket(echo).protocol("other"))));
        for (url, protocol) in [
            ("ws://server/", None),
            ("ws://server:80/", None),
            ("ws://server:8080/", Some("other")),
        ] {
            let mut connecting = sim.connect(url);
            if let Some(protocol) = protocol {
                connecting = connecting.subprotocol(protocol);
            }
            assert_eq!(connecting.await.unwrap().request().subprotocol(), protocol);
        }
        for url in ["http://server/", "server", "ws:///", "ws://nobody/"] {
            assert!(sim.connect(url).await.is_err(), "{url}");
        }
    });
}

/// L4: an answer that is no 101 is told with its status.
#[test]
fn a_refusal_is_told_with_its_status() {
    Sim::check(0..5, |sim| async move {
        let page = respond(|_request| http::Response::new("a page".into()));
        sim.spawn(sim.serve("server", Router::new().route("/", page)));
        for (path, status) in [("/", StatusCode::OK), ("/nowhere", StatusCode::NOT_FOUND)] {
            match sim.connect(&format!("ws://server{path}")).await {
                Err(ConnectError::Rejected { response, .. }) => {
                    assert_eq!(response.status(), status);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sim.now(), Instant::from_epoch(Duration::ZERO));
    });
}
