//! The spans that connections, sessions and clients leave, and what falls into them.

mod recorder;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sockless_core::CloseCode;
use sockless_driver::{BoxError, Connect, ConnectionServer, Server, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::{Link, Sim};
use sockless_tests::handlers::echo;
use sockless_tests::opened::{Peer, SECOND};
use tracing::{Instrument, Level};

use recorder::Recorder;

#[test]
fn a_session_has_a_span_with_the_names_of_opentelemetry() {
    Recorder::check(Level::DEBUG, |sim, recorder| async move {
        let link = Link::default().latency(SECOND);
        let route = websocket(echo).protocol("chat.v1");
        let app = sim.app_over(Router::new().route("/chat/{room}", route), &link);
        let mut chat = app.open("/chat/a%20room?token=secret").subprotocol("chat.v1").await;
        chat.send("hi").await;
        chat.expect("hi").await;
        chat.send("hello").await;
        chat.expect("hello").await;
        chat.close((CloseCode::NORMAL, "bye"));
        chat.expect_closed(1000).await;
        sim.sleep(SECOND * 5).await;

        let session = recorder.span("session", &[]);
        for (field, value) in [
            ("otel.name", "websocket /chat/{room}"),
            ("network.protocol.name", "websocket"),
            ("network.protocol.version", "13"),
            ("url.path", "/chat/a%20room"),
            ("http.route", "/chat/{room}"),
            ("websocket.subprotocol", "chat.v1"),
            ("websocket.received.messages", "2"),
            ("websocket.received.bytes", "30"),
            ("websocket.sent.messages", "2"),
            ("websocket.close.code", "1000"),
            ("websocket.close.by", "peer"),
            ("websocket.close.cause", "closing_handshake"),
        ] {
            assert_eq!(session.field(field), Some(value), "{field}: {session:?}");
        }
        let seconds: f64 = session.field("websocket.duration").unwrap().parse().unwrap();
        assert!((5.0..9.0).contains(&seconds), "{seconds} s");
        assert!(session.is_closed && session.level == Level::INFO, "{session:?}");
        assert!(!recorder.text().contains("secret"), "a query may have a token");
    });
}

#[test]
fn the_span_of_a_session_is_within_that_of_its_connection() {
    Recorder::check(Level::DEBUG, |sim, recorder| async move {
        let host = ConnectionServer::new(Router::new().route("/", websocket(echo)), sim.runtime());
        let peer: SocketAddr = "192.0.2.1:1234".parse().unwrap();
        let (near, far) = sim.pipe();
        let outer = tracing::info_span!("the program");
        let serving = outer.in_scope(|| host.serve_connection(Box::new(near), Some(peer), None));
        let served = sim.spawn(serving);
        let client = Peer::of_a_server(far).await;
        client.close(1000).await;
        served.await;

        let connection = recorder.span("connection", &[]);
        for (field, value) in [
            ("network.peer.address", "192.0.2.1"),
            ("network.peer.port", "1234"),
            ("network.protocol.name", "http"),
            ("http.request.method", "GET"),
            ("http.response.status_code", "101"),
            ("url.path", "/"),
        ] {
            assert_eq!(connection.field(field), Some(value), "{field}: {connection:?}");
        }
        assert!(connection.is_closed && connection.level == Level::DEBUG, "{connection:?}");
        assert_eq!(connection.parent, None, "it is the root of a trace");
        let session = recorder.span("session", &[]);
        assert_eq!(session.parent.as_deref(), Some("connection"));
        assert_eq!(session.field("client.address"), Some("192.0.2.1"));
        assert!(session.is_closed, "{session:?}");
    });
}

#[test]
fn a_rejected_request_is_in_the_span_of_its_connection() {
    Recorder::check(Level::DEBUG, |sim, recorder| async move {
        let app = sim.app(Router::new().route("/", websocket(echo)));
        let path = "/nothing";
        app.open(path).refused().await;
        sim.settle().await;
        let connection = recorder.span("connection", &[]);
        assert_eq!(connection.field("http.response.status_code"), Some("404"));
        assert_eq!(connection.field("url.path"), Some(path));
        let event = recorder.event("a request was rejected");
        assert_eq!((event.level, &*event.spans.join(" ")), (Level::INFO, "connection"));
        assert!(recorder.spans("session").is_empty(), "there is no session");
    });
}

/// Writes an event at each place from which a handler may.
async fn talkative(mut session: Session) -> Result<(), BoxError> {
    struct Dropped;
    impl Drop for Dropped {
        fn drop(&mut self) {
            tracing::info!("dropped");
        }
    }
    let _dropped = Dropped;
    tracing::info!("opened");
    session.spawn(async { tracing::info!("spawned") });
    let message = session.recv().await?;
    async { tracing::info!("inner") }.instrument(tracing::info_span!("work")).await;
    session.send(message).await?;
    Err("it fails".into())
}

#[test]
fn events_of_a_handler_and_of_the_driver_are_in_the_span_of_the_session() {
    Recorder::check(Level::DEBUG, |sim, recorder| async move {
        let handler = |session| {
            tracing::info!("called");
            talkative(session)
        };
        let app = sim.app(Router::new().route("/", websocket(handler)));
        let mut client = app.open("/").await;
        client.send("go").await;
        client.expect("go").await;
        client.expect_closed(1011).await;
        sim.sleep(SECOND).await;
        let within = "connection session";
        for (message, level, spans) in [
            ("called", Level::INFO, within),
            ("opened", Level::INFO, within),
            ("spawned", Level::INFO, "session"),
            ("inner", Level::INFO, "connection session work"),
            ("dropped", Level::INFO, within),
            ("the handler failed; its session is closed with 1011", Level::ERROR, within),
        ] {
            let event = recorder.event(message);
            let own = event.spans.join(" ");
            assert!(own.ends_with(spans.trim_start_matches("connection ")), "{message}: {own}");
            assert_eq!(event.level, level, "{message}");
        }
        let end = recorder.event("the session ended");
        assert_eq!((end.level, end.spans.last().map(|s| &**s)), (Level::DEBUG, Some("session")));
    });
}

#[test]
fn a_handler_that_goes_on_keeps_the_span_and_one_that_is_killed_ends_it() {
    Recorder::check(Level::INFO, |sim, recorder| async move {
        let clock = sim.clone();
        let late = move |mut session: Session| {
            let clock = clock.clone();
            async move {
                while session.recv().await.is_ok() {}
                clock.sleep(SECOND * 10).await;
                tracing::info!("after the end");
            }
        };
        let app = sim.app(Router::new().route("/", websocket(late)));
        let client = app.open("/").await;
        client.terminate();
        sim.sleep(SECOND).await;
        let server = [("otel.kind", "server")];
        assert!(!recorder.span("session", &server).is_closed);
        assert_ne!(recorder.span("session", &server).field("websocket.close.cause"), None);
        sim.sleep(SECOND * 20).await;
        assert_eq!(recorder.event("after the end").spans.join(" "), "session");
        assert!(recorder.span("session", &server).is_closed);
    });
    Recorder::check(Level::INFO, |sim, recorder| async move {
        let forever = |_session: Session| std::future::pending::<()>();
        let app = sim.app(Router::new().route("/", websocket(forever)));
        let _client = app.open("/").await;
        sim.sleep(SECOND * 3).await;
        app.shutdown(Duration::ZERO).await;
        let session = recorder.span("session", &[("otel.kind", "server")]);
        assert_eq!(session.field("websocket.close.cause"), Some("aborted"), "{session:?}");
        let seconds: f64 = session.field("websocket.duration").unwrap().parse().unwrap();
        assert!((3.0..4.0).contains(&seconds), "{seconds} s");
        assert!(session.is_closed, "{session:?}");
    });
}

#[test]
fn what_a_peer_wrote_is_escaped() {
    Recorder::check(Level::DEBUG, |sim, recorder| async move {
        let app = sim.app(Router::new().route("/{*path}", websocket(echo)));
        let raw = app.dial();
        let request = sockless_tests::opened::REQUEST.replacen("GET /", "GET /\u{202e}txt", 1);
        raw.write_all(request.as_bytes()).await.unwrap();
        sim.settle().await;
        let mut client = app.open("/").await;
        client.close((CloseCode::NORMAL, "bye\u{1b}[31m\nERROR forged"));
        let _ = client.closed().await;
        sim.sleep(SECOND * 20).await;
        let text = recorder.text();
        assert!(text.contains("ERROR forged"), "{text}");
        for char in ['\u{202e}', '\u{1b}', '\n'] {
            assert!(!text.contains(char), "{char:?} in {text:?}");
        }
    });
}

/// Serves at `host:80`.
fn serve(sim: &Sim) {
    let server = Server::new(sim.listen("host:80"), sim.runtime());
    sim.spawn(server.serve(Router::new().route("/", websocket(echo))));
}

fn connect(sim: &Sim, url: &str) -> Connect {
    Connect::new(url, Arc::new(sim.clone()), sim.runtime())
}

#[test]
fn a_client_is_traced_within_the_span_of_its_caller() {
    Recorder::check(Level::INFO, |sim, recorder| async move {
        serve(&sim);
        let block = |mut session: Session| async move {
            tracing::info!("connected");
            session.send("hi").await?;
            session.recv().await.map(drop)
        };
        let calling = connect(&sim, "ws://host/?token=secret").run(block);
        let received = calling.instrument(tracing::info_span!("the program")).await;
        received.expect("it is served").expect("an echo");
        let session = recorder.span("session", &[("otel.kind", "client")]);
        assert_eq!(session.parent.as_deref(), Some("the program"));
        assert_eq!(recorder.event("connected").spans.join(" "), "the program session");
        assert_eq!(session.field("server.address"), Some("host"));
        assert_eq!(session.field("websocket.close.by"), Some("local"));
        assert_eq!(session.field("otel.name"), Some("websocket"));
        assert!(session.is_closed, "{session:?}");
        assert!(!recorder.text().contains("secret"), "a query may have a token");
    });
}

#[test]
fn an_attempt_to_connect_has_a_span_with_its_outcome() {
    Recorder::check(Level::DEBUG, |sim, recorder| async move {
        serve(&sim);
        drop(connect(&sim, "ws://host/").await.expect("it is served"));
        let attempt = recorder.span("connect", &[("http.response.status_code", "101")]);
        assert_eq!(attempt.field("server.address"), Some("host"));
        assert_eq!(attempt.field("server.port"), Some("80"));
        connect(&sim, "ws://host/nothing").await.expect_err("it is not served");
        recorder.span("connect", &[("error.type", "rejected")]);
        assert!(recorder.spans("connect").iter().all(|span| span.is_closed));
    });
}
