//! The test kit: conversations with a service, and failures of expectations.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode};
use sockless_core::handshake::UpgradeRequest;
use sockless_core::{Cause, Chunk, CloseCode, Closed, Config, Frame, Message, Opcode, Party};
use sockless_driver::{Answer, BoxFuture, RawSession, Request, Service, Session, Upgrade};
use sockless_sim::{App, Link, Sim, WireDirection};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_conversation_is_opened_at_a_path_and_ends_with_a_close_frame() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app(Paths(sim.clone()));
        let mut chat = app.open("/echo?name=Ada").await;
        assert_eq!(chat.response().status(), 101);
        assert_eq!(chat.subprotocol(), None);
        chat.send("hi").await;
        chat.expect("hi").await;
        chat.send(vec![1, 2, 3]).await;
        assert_eq!(chat.recv().await, Message::from(vec![1, 2, 3]));
        chat.send("bye").await;
        let closed = chat.expect_closed(1000).await;
        assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::ClosingHandshake));
    });
}

#[test]
fn headers_and_subprotocols_reach_the_service() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(Paths(sim.clone()));
        let mut session =
            app.open("/header").header("x-name", "Ada").subprotocol("a").subprotocol("b").await;
        assert_eq!(session.subprotocol().as_deref(), Some("b"));
        assert_eq!(session.response().headers()["sec-websocket-protocol"], "b");
        session.expect("Ada at localhost").await;

        let mut elsewhere = app.open("ws://example.com/header").header("x-name", "Bob").await;
        elsewhere.expect("Bob at example.com").await;
    });
}

#[test]
fn the_service_sees_the_addresses_that_the_test_sets() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(Paths(sim.clone()));
        app.open("/address").await.expect("None").await;
        let app = app.with_addrs(Some(([10, 0, 0, 1], 5000).into()), None);
        app.open("/address").await.expect("Some(10.0.0.1:5000)").await;
    });
}

#[test]
fn a_rejection_has_a_status_headers_and_a_body() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app_over(Paths(sim.clone()), &Link::default().short_reads(5).latency(SECOND));
        let refused = app.open("/nowhere").refused().await;
        assert_eq!(refused.status(), 404);
        assert_eq!(refused.headers()["x-why"], "no such path");
        assert_eq!(refused.body(), "no such path\n");
    });
}

#[test]
fn plain_requests_get_the_whole_response() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app_over(Paths(sim.clone()), &Link::default().short_reads(5));
        let response = app.get("/nowhere?a=b").await;
        assert_eq!((response.status(), &response.body()[..]), (StatusCode::NOT_FOUND, WHY));
        let response = app.get("/echo").await;
        assert_eq!(response.status(), 426);

        // An invalid handshake.
        let upgrade = http::Request::get("/echo")
            .header("host", "example.com")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "8")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let response = app.request(upgrade.body(()).unwrap()).await;
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()["sec-websocket-version"], "13");
        assert_eq!(app.request(http::Request::head("/echo").body(()).unwrap()).await.body(), "");
    });
}

#[test]
fn of_a_101_to_a_plain_request_the_head_is_returned() {
    Sim::check(0..5, |sim| async move {
        let upgrade = http::Request::get("/echo")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let response = sim.app(Paths(sim.clone())).request(upgrade.body(()).unwrap()).await;
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    });
}

#[test]
fn pings_and_pongs_are_received_separately_from_messages() {
    Sim::check(0..20, |sim| async move {
        let mut session = sim.app(Paths(sim.clone())).open("/echo").await;
        session.ping("are you there?");
        session.send("one").await;
        session.send("ping me").await;
        assert_eq!(session.recv_ping().await, "as you wish");
        session.expect("one").await;
        assert_eq!(session.recv_pong().await, "are you there?");
    });
}

#[test]
fn a_client_is_driven_while_the_test_does_something_else() {
    Sim::check(0..5, |sim| async move {
        let mut session = sim.app(Paths(sim.clone())).open("/pinging").await;
        // The service pings every second and waits two seconds for a pong.
        sim.sleep(100 * SECOND).await;
        session.close(CloseCode::NORMAL);
        session.expect_closed(1000).await;
    });
}

#[test]
fn a_stalled_client_times_out() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(Paths(sim.clone()));
        let session = app.open("/pinging").await;
        session.wire().stall(WireDirection::Inbound);
        sim.sleep(100 * SECOND).await;
        assert_eq!(app.connections(), 0);
    });
}

#[test]
fn a_client_may_send_a_message_in_chunks() {
    Sim::check(0..20, |sim| async move {
        let mut session = sim.app(Paths(sim.clone())).open("/echo").await;
        session.send_chunk(Chunk { data: "ABC".into(), last: false }).await;
        session.ping("");
        session.send_chunk(Chunk { data: "12".into(), last: false }).await;
        session.send_chunk(Chunk { data: "3".into(), last: true }).await;
        session.expect("ABC123").await;
        session.send("whole").await;
        session.expect("whole").await;
    });
}

#[test]
fn a_client_that_crashes_sends_no_close_frame() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app(Paths(sim.clone()));
        let mut session = app.open("/echo").await;
        session.terminate();
        assert_eq!(session.closed().await.cause(), &Cause::Aborted);
        sim.settle().await;
        assert_eq!(app.connections(), 0);
    });
}

#[test]
fn a_dropped_conversation_closes_the_connection() {
    Sim::check(0..20, |sim| async move {
        let app = sim.app(Paths(sim.clone()));
        drop(app.open("/echo").await);
        sim.settle().await;
        assert_eq!(app.connections(), 0);
    });
}

#[test]
fn a_raw_conversation_does_nothing_automatically() {
    Sim::check(0..20, |sim| async move {
        // The handler returns fragments in the order in which the client sends them, which is wrong.
        sim.tolerate_violations();
        let app = sim.app_over(Paths(sim.clone()), &Link::default().short_reads(3));
        let mut raw = app.open("/raw").raw().await;
        assert_eq!(raw.response().status(), 101);
        raw.expect(Frame::new(Opcode::Ping, "first".into())).await;
        let fragment = Frame { fin: false, ..Frame::new(Opcode::Text, "half".into()) };
        raw.send(fragment.clone()).await;
        raw.expect(fragment.clone()).await;
        // The same frame in bytes, masked with zeros.
        raw.write(b"\x01\x84\0\0\0\0half").await;
        assert_eq!(raw.recv().await, fragment);
        // Raw sessions end without a Close frame.
        raw.send(Frame::new(Opcode::Pong, "first".into())).await;
        raw.expect_end().await;
    });
}

#[test]
fn shutting_down_closes_conversations() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(Paths(sim.clone()));
        let mut session = app.open("/echo").await;
        session.wire().stall(WireDirection::Inbound);
        let shutdown = sim.spawn({
            let app = app.clone();
            async move { app.shutdown(10 * SECOND).await }
        });
        sim.sleep(SECOND).await;
        assert_eq!(app.open("/echo").refused().await.status(), 503);
        session.wire().resume(WireDirection::Inbound);
        session.expect_closed(1001).await;
        let report = shutdown.await;
        assert_eq!((report.drained, report.terminated), (1, 0));
    });
}

#[test]
fn patience_is_virtual_time() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(Paths(sim.clone())).patience(25 * 3600 * SECOND);
        let mut session = app.open("/tomorrow").await;
        session.expect_silence(3600 * SECOND).await;
        session.expect("good morning").await;
    });
}

#[test]
fn a_wrong_message_fails_with_the_seed_the_line_and_the_transcript() {
    let failure = failure(|app| async move {
        let mut chat = app.open("/echo?name=Ada").await;
        chat.ping("x");
        chat.send("hi").await;
        chat.expect("hello").await;
    });
    for part in [
        "seed 7: ",
        "runtimes/sim/tests/kit.rs:",
        ": /echo?name=Ada: expected \"hello\", got \"hi\"\n",
        "transcript (> from the test, < from the service):\n",
        "  +0ns > Ping: 1 bytes: 78\n  +0ns > \"hi\"\n",
        " < \"hi\"",
        " < Pong: 1 bytes: 78",
    ] {
        assert!(failure.contains(part), "{part:?} is not in:\n{failure}");
    }
}

#[test]
fn every_expectation_fails_with_the_reason() {
    let cases: [(&str, BoxFuture<'static, String>); 12] = [
        (
            "the upgrade was rejected with 404 Not Found: no such path",
            fails(|app| async move {
                app.open("/nowhere").await;
            }),
        ),
        (
            "expected a rejection, the upgrade was granted",
            fails(|app| async move {
                app.open("/echo").refused().await;
            }),
        ),
        (
            "expected a message within 60s, got nothing\nnothing was sent or received",
            fails(|app| async move {
                app.open("/echo").await.recv().await;
            }),
        ),
        (
            "expected a message, the connection ended: closed by the peer",
            fails(|app| async move {
                app.open("/closing").await.recv().await;
            }),
        ),
        (
            "expected a ping within 60s, got nothing",
            fails(|app| async move {
                app.open("/echo").await.recv_ping().await;
            }),
        ),
        (
            "expected the service to close with 1000, got \"hi\"",
            fails(|app| async move {
                let mut session = app.open("/echo").await;
                session.send("hi").await;
                session.expect_closed(1000).await;
            }),
        ),
        (
            "expected the service to close with 1000, the connection ended: closed by the peer: the closing \
             handshake is complete; received 4001 enough; sent 4001",
            fails(|app| async move {
                app.open("/closing").await.expect_closed(1000).await;
            }),
        ),
        (
            "expected silence, got \"hi\"",
            fails(|app| async move {
                let mut session = app.open("/echo").await;
                session.send("hi").await;
                session.expect_silence(SECOND).await;
            }),
        ),
        (
            "expected silence, the connection ended: closed by the peer",
            fails(|app| async move {
                app.open("/closing").await.expect_silence(SECOND).await;
            }),
        ),
        (
            "cannot send: the connection is closing",
            fails(|app| async move {
                let mut session = app.open("/closing").await;
                session.expect_closed(4001).await;
                session.send("hi").await;
            }),
        ),
        (
            "expected Text: \"no\", got Ping: \"first\"",
            fails(|app| async move {
                let mut raw = app.open("/raw").raw().await;
                raw.expect(Frame::new(Opcode::Text, "no".into())).await;
            }),
        ),
        (
            "expected the end, got Ping: \"first\"",
            fails(|app| async move {
                app.open("/raw").raw().await.expect_end().await;
            }),
        ),
    ];
    for (expected, failure) in cases {
        let sim = Sim::new(0);
        sim.tolerate_panics();
        let failure = sim.run(failure);
        assert!(failure.contains(expected), "{expected:?} is not in:\n{failure}");
        assert!(failure.contains("tests/kit.rs:"), "{failure}");
    }
}

#[test]
fn a_long_transcript_is_shortened() {
    let failure = failure(|app| async move {
        let mut session = app.open("/echo").await;
        for number in 0..30 {
            session.send(format!("{number}: {}", "x".repeat(1000))).await;
        }
        session.send(vec![255; 1000]).await;
        session.expect_closed(1000).await;
    });
    assert!(failure.contains(" earlier lines)\n"), "{failure}");
    assert!(failure.contains("xxx\"… (1004 bytes of text)"), "{failure}");
    assert!(failure.contains("1000 bytes: ff ff"), "{failure}");
    let transcript = failure.split("\ntasks:").next().unwrap();
    assert!(transcript.len() < 4000, "{failure}");
}

/// Returns the failure of `scenario` with seed 7.
fn failure<Fut: Future<Output = ()>>(scenario: impl Fn(App) -> Fut) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| {
        Sim::check(7..8, |sim| scenario(sim.app(Paths(sim.clone()))));
    }));
    *failed.expect_err("the scenario does not fail").downcast().expect("its failure has a text")
}

fn fails<Fut: Future<Output = ()>>(
    scenario: impl Fn(App) -> Fut + Send + 'static,
) -> BoxFuture<'static, String> {
    Box::pin(async move { failure(scenario) })
}

const WHY: &[u8] = b"no such path\n";

/// A service with a handler for each path.
struct Paths(Sim);

impl Service for Paths {
    fn call(&self, request: Request) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let path = request.path().to_owned();
            if path == "/nowhere" {
                let mut response = Response::new(WHY.into());
                *response.status_mut() = StatusCode::NOT_FOUND;
                response.headers_mut().insert("x-why", HeaderValue::from_static("no such path"));
                return Answer::Respond(response);
            }
            let mut upgrade = match UpgradeRequest::from_request(request.as_http()) {
                Ok(upgrade) => upgrade,
                Err(error) if request.method() == "HEAD" => {
                    return Answer::Respond(error.response().map(|_| "".into()));
                }
                Err(error) => return Answer::Respond(error.response()),
            };
            upgrade.select(&["b"]);
            let config = Arc::new(match &*path {
                "/pinging" => Config::default().ping_interval(SECOND).ping_timeout(2 * SECOND),
                _ => Config::default(),
            });
            Answer::Upgrade(match &*path {
                "/raw" => Upgrade::raw(request, upgrade, config, raw),
                "/header" => Upgrade::websocket(request, upgrade, config, header),
                "/address" => Upgrade::websocket(request, upgrade, config, address),
                "/closing" => Upgrade::websocket(request, upgrade, config, closing),
                "/tomorrow" => {
                    let sim = self.0.clone();
                    Upgrade::websocket(request, upgrade, config, |session| tomorrow(sim, session))
                }
                _ => Upgrade::websocket(request, upgrade, config, echo),
            })
        })
    }

    fn config(&self) -> Arc<Config> {
        Arc::default()
    }
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        match message.as_text() {
            Some("bye") => return Ok(()),
            Some("ping me") => drop(session.ping("as you wish")),
            _ => session.send(message).await?,
        }
    }
}

async fn header(session: Session) -> Result<(), Closed> {
    let request = session.request();
    let name = request.header("x-name").unwrap_or_default();
    let host = request.header("host").unwrap_or_default();
    session.send(format!("{name} at {host}")).await
}

async fn address(session: Session) -> Result<(), Closed> {
    session.send(format!("{:?}", session.request().peer_addr())).await
}

async fn closing(session: Session) {
    session.close((CloseCode::new(4001).unwrap(), "enough"));
}

async fn tomorrow(sim: Sim, session: Session) -> Result<(), Closed> {
    sim.sleep(24 * 3600 * SECOND).await;
    session.send("good morning").await
}

async fn raw(mut session: RawSession) -> Result<(), Closed> {
    let _ = session.send(Frame::new(Opcode::Ping, "first".into())).await;
    loop {
        let frame = session.recv().await?;
        if frame.opcode == Opcode::Pong {
            return Ok(());
        }
        let _ = session.send(frame).await;
    }
}
