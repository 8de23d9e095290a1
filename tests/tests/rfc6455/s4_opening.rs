//! The opening handshake: what a server answers, what a client makes of answers, and by when.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use sockless_core::handshake::HandshakeError;
use sockless_core::{Config, Instant};
use sockless_driver::{
    Answer, BoxFuture, ClientConnection, ConnectError, ConnectStep, ConnectionServer, Io, Request,
    Service, Session,
};
use sockless_routing::{Router, respond, websocket};
use sockless_sim::{Link, Sim, SimIo};
use sockless_tests::wire::Writer;
use tracing::Level;

use sockless_tests::logs;
use sockless_tests::opened::{HOUR, Once, Peer, REQUEST, SECOND, any_link, echo};

fn router() -> Router {
    Router::new()
        .route("/", websocket(async |session| drop(echo(session).await)))
        .route("/health", respond(|_request| Response::new("well".into())))
}

/// Sends `request` to a server, and gives all that it answers.
async fn answer_to(sim: &Sim, link: &Link, request: impl AsRef<[u8]>) -> String {
    let (near, far) = sim.pipe_over(link);
    sim.spawn(sim.serve_connection(near, router()));
    let (io, request) = (Arc::new(far), request.as_ref().to_vec());
    let writer = Arc::clone(&io);
    // The part that can no longer be written is not needed for the answer.
    sim.spawn(async move { drop(writer.write_all(&request).await) });
    answer(&io).await
}

async fn answer(io: &SimIo) -> String {
    let answer = io.read_to_end().await.expect("an answer and no reset");
    String::from_utf8(answer.to_vec()).expect("an answer in text")
}

#[test]
fn a_head_that_never_ends_is_answered_408_at_its_deadline() {
    Sim::check(0..10, |sim| async move {
        let (near, far) = sim.pipe();
        sim.spawn(sim.serve_connection(near, router()));
        // Bytes decide: segments that arrive now and then do not extend the deadline.
        for byte in REQUEST.as_bytes() {
            if far.write_all(&[*byte]).await.is_err() || sim.now() >= Instant::EPOCH + SECOND * 10 {
                break;
            }
            sim.sleep(SECOND).await;
        }
        let answer = answer(&far).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(sim.now(), Instant::EPOCH + SECOND * 10);
    });
}

#[test]
fn a_peer_that_sends_nothing_is_dropped_without_an_answer() {
    Sim::check(0..10, |sim| async move {
        let (near, far) = sim.pipe();
        let serving = sim.spawn(sim.serve_connection(near, router()));
        serving.await;
        assert_eq!(answer(&far).await, "");
        assert_eq!(sim.now(), Instant::EPOCH + SECOND * 10);
    });
}

#[test]
fn a_length_that_is_not_one_number_is_answered_400() {
    for length in ["abc", "-1", "+1", "1, 2", "1\r\nContent-Length: 1", "99999999999999999999", ""]
    {
        Sim::check(0..3, |sim| async move {
            let request =
                format!("GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            let answer = answer_to(&sim, &any_link(&sim), request).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{length}: {answer}");
            assert!(answer.contains("Content-Length"), "{answer}");
        });
    }
}

#[test]
fn an_options_request_is_answered_with_what_the_path_allows() {
    Sim::check(0..3, |sim| async move {
        for (target, status, allow) in [
            ("/health", 204, Some("GET, HEAD, OPTIONS")),
            ("/", 204, Some("GET, OPTIONS")),
            ("*", 204, Some("GET, HEAD, OPTIONS")),
            ("/nowhere", 404, None),
        ] {
            let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: server\r\n\r\n");
            let answer = answer_to(&sim, &any_link(&sim), request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
            let allowed = answer.lines().find_map(|line| line.strip_prefix("Allow: "));
            assert_eq!(allowed, allow, "{target}");
        }
    });
}

#[test]
fn a_handshake_whose_upgrade_a_proxy_removed_is_named() {
    Sim::check(0..3, |sim| async move {
        let request = REQUEST.replace("Connection: Upgrade\r\nUpgrade: websocket\r\n", "");
        let answer = answer_to(&sim, &any_link(&sim), request).await;
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        assert!(answer.contains("a proxy removed"), "{answer}");
        assert!(answer.contains("proxy_set_header Upgrade $http_upgrade"), "{answer}");
        let request = REQUEST.replace("HTTP/1.1", "HTTP/1.0");
        let answer = answer_to(&sim, &any_link(&sim), request).await;
        assert!(answer.contains("proxy_http_version 1.1"), "{answer}");
    });
}

#[test]
fn a_head_may_have_the_lines_that_proxies_add() {
    Sim::check(0..3, |sim| async move {
        // As many as Apache lets through, and what it adds.
        let lines: String = (0..120).map(|i| format!("X-{i}: 1\r\n")).collect();
        let request = REQUEST.replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
        let (near, far) = sim.pipe_over(&any_link(&sim));
        sim.spawn(sim.serve_connection(near, router()));
        far.write_all(request.as_bytes()).await.unwrap();
        let head = far.read_until(b"\r\n\r\n").await.unwrap();
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
    });
}

/// The lines logged at info for requests from `peer` to a server of `router`.
fn logged_of(requests: &'static [&'static str]) -> Vec<String> {
    logs::lines(Level::INFO, || {
        let sim = Sim::new(0);
        sim.run(async {
            for request in requests {
                let (near, far) = sim.pipe();
                let host = ConnectionServer::new(router(), sim.runtime());
                let peer = Some("192.0.2.7:4711".parse().unwrap());
                sim.spawn(host.serve_connection(Box::new(near), peer, None));
                let _ = far.write_all(request.as_bytes()).await;
                sim.settle().await;
            }
        });
    })
}

#[test]
fn a_rejected_handshake_is_logged_at_info() {
    const HEADERS: &str = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let requests = [
        format!("GET /nowhere?token=secret HTTP/1.1\r\n{HEADERS}"),
        format!("GET / HTTP/1.1\r\nOrigin: https://evil.example\r\n{HEADERS}"),
        format!("POST / HTTP/1.1\r\n{HEADERS}"),
        format!("GET / HTTP/1.1\r\n{}", HEADERS.replace("Upgrade: websocket\r\n", "")),
        format!("GET / HTTP/1.1\r\n{}", HEADERS.replace("Version: 13", "Version: 8")),
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ];
    let requests = requests.map(|request| &*request.leak());
    let lines = logged_of(requests.to_vec().leak());
    let begin = |status: u16, path: &str| {
        format!(
            "INFO a request was rejected status={status} path={path} peer=Some(192.0.2.7:4711) reason="
        )
    };
    let expected = [
        begin(404, "/nowhere") + "nothing is served at this path",
        begin(403, "/") + "requests from web pages are rejected",
        begin(405, "/"),
        begin(426, "/"),
        begin(426, "/"),
        begin(426, "/"),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(&expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
    assert!(lines.iter().all(|line| !line.contains("secret")), "{lines:#?}");
}

#[test]
fn malformed_and_plain_requests_are_not_logged_at_info() {
    let lines = logged_of(&[
        "GET / HTTP/1.1\r\n\r\n",
        "GARBAGE\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /% HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n",
        "",
    ]);
    assert_eq!(lines, [""; 0]);
}

#[test]
fn a_head_too_long_is_answered_431() {
    Sim::check(0..20, |sim| async move {
        let request = format!("GET / HTTP/1.1\r\nHost: server\r\nX-Long: {}", "x".repeat(17_000));
        // In crumbs, and in time.
        let link = any_link(&sim).latency(Duration::ZERO).jitter(Duration::ZERO);
        let answer = answer_to(&sim, &link, request).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    });
}

#[test]
fn input_that_is_not_http_1_is_rejected_cleanly() {
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20);
    let http_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00".to_vec();
    let garbage: Vec<u8> = (0..=255).cycle().take(2_000).collect();
    for request in [tls_hello, http_2, garbage, b"\0".repeat(100), b"GET\r\n\r\n".to_vec()] {
        Sim::check(0..10, |sim| {
            let request = request.clone();
            async move {
                let (near, far) = sim.pipe_over(&any_link(&sim));
                let serving = sim.spawn(sim.serve_connection(near, router()));
                // Writing may fail once the answer is out.
                let _ = far.write_all(&request).await;
                let answer = answer(&far).await;
                let refuses = |status| answer.starts_with(&format!("HTTP/1.1 {status} "));
                assert!(refuses(400) || refuses(408) || refuses(505), "{answer}");
                drop(far);
                serving.await;
            }
        });
    }
}

#[test]
fn bytes_pipelined_behind_the_request_are_the_first_frames() {
    Sim::check(0..30, |sim| async move {
        let (near, far) = sim.pipe_over(&any_link(&sim));
        sim.spawn(sim.serve_connection(near, router()));
        let write = Writer { masks: true };
        let mut bytes = REQUEST.as_bytes().to_vec();
        for text in ["one", "two", "three"] {
            bytes.extend(write.text(text));
        }
        let io = Arc::new(far);
        let writer = Arc::clone(&io);
        sim.spawn(async move { writer.write_all(&bytes).await.unwrap() });
        let head = io.read_until(b"\r\n\r\n").await.unwrap();
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        for text in ["one", "two", "three"] {
            let frame = io.read_exact(2 + text.len()).await.unwrap();
            assert_eq!(&frame[2..], text.as_bytes());
        }
    });
}

#[test]
fn frames_behind_a_servers_answer_are_the_first_of_a_client() {
    Sim::check(0..30, |sim| async move {
        let mut listener = sim.listen_over("server", &any_link(&sim));
        let client = sim.clone();
        let connecting = sim.spawn(async move {
            let mut session = client.connect("ws://server/").await.unwrap();
            session.recv().await.unwrap()
        });
        let peer = Peer::of_a_client(listener.accept().await).await;
        peer.text("first").await;
        assert_eq!(connecting.await.as_text(), Some("first"));
    });
}

/// A service that applies its own function to a request.
enum Strange {
    NeverDecides,
    Panics,
    PanicsLater,
}

impl Service for Strange {
    fn call(&self, _request: Request) -> BoxFuture<'_, Answer> {
        match self {
            Self::NeverDecides => Box::pin(std::future::pending()),
            Self::Panics => quiet_panic(),
            Self::PanicsLater => Box::pin(async { quiet_panic() }),
        }
    }

    fn config(&self) -> Arc<Config> {
        Arc::default()
    }
}

/// As a panic, and without its noise.
fn quiet_panic() -> ! {
    std::panic::resume_unwind(Box::new("a bug of ours"))
}

#[test]
fn a_guard_that_never_decides_is_answered_503_at_the_deadline() {
    Sim::check(0..10, |sim| async move {
        let (near, far) = sim.pipe();
        let serving = sim.spawn(sim.serve_connection(near, Strange::NeverDecides));
        far.write_all(REQUEST.as_bytes()).await.unwrap();
        far.shutdown().await.unwrap();
        assert!(answer(&far).await.starts_with("HTTP/1.1 503 "));
        assert_eq!(sim.now(), Instant::EPOCH + SECOND * 10);
        serving.await;
    });
}

#[test]
fn a_service_that_panics_is_answered_500() {
    for later in [false, true] {
        Sim::check(0..10, |sim| async move {
            let (near, far) = sim.pipe();
            let service = if later { Strange::PanicsLater } else { Strange::Panics };
            sim.spawn(sim.serve_connection(near, service));
            far.write_all(REQUEST.as_bytes()).await.unwrap();
            far.shutdown().await.unwrap();
            let answer = answer(&far).await;
            assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
            assert!(!answer.contains("a bug of ours"), "no internals: {answer}");
            assert_eq!(sim.now(), Instant::EPOCH);
        });
    }
}

#[test]
fn a_head_request_gets_no_body() {
    Sim::check(0..10, |sim| async move {
        let get = "GET /health HTTP/1.1\r\nHost: server\r\n\r\n";
        let with_body = answer_to(&sim, &any_link(&sim), get).await;
        assert!(with_body.ends_with("\r\n\r\nwell"), "{with_body}");
        let head = answer_to(&sim, &any_link(&sim), get.replace("GET", "HEAD")).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    });
}

#[test]
fn a_peer_that_does_not_read_its_answer_is_forgotten_too() {
    Sim::check(0..10, |sim| async move {
        let (near, far) = sim.pipe_over(&Link::default().capacity(10));
        let serving = sim.spawn(sim.serve_connection(near, router()));
        let io = Arc::new(far);
        let writer = Arc::clone(&io);
        sim.spawn(async move {
            // It continues to send, and never reads.
            let request = b"GET /nowhere HTTP/1.1\r\nHost: server\r\n\r\n";
            while writer.write_all(request).await.is_ok() {}
        });
        serving.await;
        assert!(sim.now() <= Instant::EPOCH + SECOND * 10, "{:?}", sim.now());
        drop(io);
    });
}

/// A transport that takes bytes and never gets rid of them, as TLS over a peer that reads nothing.
struct NeverFlushes(SimIo);

impl Io for NeverFlushes {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buffer)
    }

    fn poll_write(
        &mut self,
        _cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

#[test]
fn a_refusal_that_is_never_flushed_ends_at_its_deadline() {
    Sim::check(0..10, |sim| async move {
        let (near, far) = sim.pipe();
        let host = ConnectionServer::new(router(), sim.runtime());
        let serving = sim.spawn(host.serve_connection(Box::new(NeverFlushes(near)), None, None));
        far.write_all(b"GET /nowhere HTTP/1.1\r\nHost: server\r\n\r\n").await.unwrap();
        sim.timeout(HOUR, serving).await.expect("it ends");
        assert_eq!(sim.now(), Instant::EPOCH + SECOND * 10);
    });
}

#[test]
fn an_answer_comes_through_to_a_peer_that_talks_on() {
    Sim::check(0..20, |sim| async move {
        let (near, far) = sim.pipe_over(&any_link(&sim));
        sim.spawn(sim.serve_connection(near, router()));
        let body = vec![b'x'; 300_000];
        let request = "POST /nowhere HTTP/1.1\r\nHost: server\r\nContent-Length: 300000\r\n\r\n";
        let io = Arc::new(far);
        let writer = Arc::clone(&io);
        sim.spawn(async move {
            let _ = writer.write_all(request.as_bytes()).await;
            let _ = writer.write_all(&body).await;
        });
        let answer = answer(&io).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    });
}

#[test]
fn a_shutdown_during_the_opening_refuses_with_503() {
    Sim::check(0..10, |sim| async move {
        let (near, far) = sim.pipe();
        let host = ConnectionServer::new(router(), sim.runtime());
        sim.spawn(host.serve_connection(Box::new(near), None, None));
        far.write_all(&REQUEST.as_bytes()[..40]).await.unwrap();
        sim.settle().await;
        let stopping = host.clone();
        let shutdown = sim.spawn(async move { stopping.shutdown(SECOND * 30).await });
        sim.settle().await;
        far.write_all(&REQUEST.as_bytes()[40..]).await.unwrap();
        far.shutdown().await.unwrap();
        assert!(answer(&far).await.starts_with("HTTP/1.1 503 "));
        let report = shutdown.await;
        assert_eq!((report.drained, report.terminated), (1, 0));
        assert_eq!(sim.now(), Instant::EPOCH);
    });
}

#[test]
fn an_opening_that_outlasts_the_drain_is_terminated() {
    Sim::check(0..10, |sim| async move {
        let (near, far) = sim.pipe();
        let host = ConnectionServer::new(router(), sim.runtime());
        sim.spawn(host.serve_connection(Box::new(near), None, None));
        sim.settle().await;
        let report = host.shutdown(SECOND).await;
        assert_eq!((report.drained, report.terminated), (0, 1));
        assert_eq!((host.connections(), sim.now()), (0, Instant::EPOCH + SECOND));
        assert_eq!(answer(&far).await, "");
    });
}

/// Connects to a server that answers the request with `answer` and then ends the stream, if at all.
async fn connect_to(sim: &Sim, answer: &'static str, ends: bool) -> Result<Session, ConnectError> {
    let mut listener = sim.listen_over("server", &any_link(sim));
    let keeper = sim.clone();
    sim.spawn(async move {
        let io = listener.accept().await;
        io.read_until(b"\r\n\r\n").await.unwrap();
        io.write_all(answer.as_bytes()).await.unwrap();
        if ends {
            io.shutdown().await.unwrap();
        }
        keeper.sleep(HOUR).await;
    });
    sim.connect("ws://server/").await
}

#[test]
fn a_silent_server_times_out_at_the_deadline() {
    Sim::check(0..10, |sim| async move {
        let error = connect_to(&sim, "HTTP/1.1 101 Switch", false).await.unwrap_err();
        let step = ConnectStep::Response;
        assert!(matches!(&error, ConnectError::Timeout { step: at, .. } if *at == step), "{error}");
        assert_eq!(sim.now(), Instant::EPOCH + SECOND * 10);
    });
}

#[test]
fn a_server_that_does_not_read_times_out_at_the_deadline() {
    Sim::check(0..10, |sim| async move {
        let (near, far) = sim.pipe_over(&Link::default().capacity(10));
        let request = http::Request::get("ws://server/").body(()).unwrap();
        let connecting =
            ClientConnection::handshake(Box::new(near), request, Arc::default(), sim.runtime())
                .await;
        let error = connecting.unwrap_err();
        let step = ConnectStep::Request;
        assert!(matches!(&error, ConnectError::Timeout { step: at, .. } if *at == step), "{error}");
        assert_eq!(sim.now(), Instant::EPOCH + SECOND * 10);
        drop(far);
    });
}

#[test]
fn dialling_a_server_that_is_too_far_away_times_out() {
    Sim::check(0..10, |sim| async move {
        let _listener = sim.listen_over("server", &Link::default().latency(HOUR));
        let config = Config::default().opening_timeout(Duration::from_millis(1500));
        let error = sim.connect("ws://server/").config(config).await.unwrap_err();
        let step = ConnectStep::Connect;
        assert!(matches!(&error, ConnectError::Timeout { step: at, .. } if *at == step), "{error}");
        assert_eq!(sim.now(), Instant::EPOCH + Duration::from_millis(1500));
    });
}

#[test]
fn responses_without_a_handshake_are_errors_that_name_the_reason() {
    const WRONG_ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    Sim::check(0..10, |sim| async move {
        let error = connect_to(&sim, WRONG_ACCEPT, false).await.unwrap_err();
        assert!(matches!(error, ConnectError::Handshake { .. }), "{error}");
    });
    Sim::check(0..10, |sim| async move {
        let error = connect_to(&sim, NOT_FOUND, false).await.unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
    });
    for eof in ["", "HTTP/1.1 101 Switch"] {
        Sim::check(0..10, |sim| async move {
            let error = connect_to(&sim, eof, true).await.unwrap_err();
            assert!(matches!(error, ConnectError::Handshake { .. }), "{error}");
            assert!(sim.now() < Instant::EPOCH + SECOND * 10);
        });
    }
    Sim::check(0..10, |sim| async move {
        let error = connect_to(&sim, "\x16\x03\x01 no HTTP at all\r\n\r\n", false).await;
        assert!(matches!(
            error,
            Err(ConnectError::Handshake { error: HandshakeError::Head(_), .. })
        ));
    });
}

#[test]
fn a_refused_connection_is_an_error_that_names_the_destination() {
    Sim::check(0..3, |sim| async move {
        let error = sim.connect("ws://nowhere:8080/").await.unwrap_err();
        assert!(error.to_string().contains("nowhere:8080"), "{error}");
        let error = sim.connect("http://server/").await.unwrap_err();
        assert!(matches!(error, ConnectError::UrlInvalid(_)), "{error}");
    });
}

#[test]
fn a_port_is_part_of_a_name() {
    Sim::check(0..3, |sim| async move {
        for name in ["server", "server:8080", "other:80"] {
            let service = Once::new(Config::default(), async move |session: Session| {
                session.send(name).await
            });
            sim.spawn(sim.serve(name, service));
        }
        for (url, name) in [
            ("ws://server/", "server"),
            ("ws://server:8080/", "server:8080"),
            ("ws://other/", "other:80"),
        ] {
            let mut session = sim.connect(url).await.unwrap();
            assert_eq!(session.recv().await.unwrap().as_text(), Some(name));
        }
    });
}

#[test]
fn the_body_of_a_rejection_states_the_reason() {
    Sim::check(0..3, |sim| async move {
        let refuse = |_request: Request| async {
            let mut response = Response::new(Bytes::from_static(b"not today\n"));
            *response.status_mut() = StatusCode::FORBIDDEN;
            Err(response)
        };
        let router = router().guard(refuse);
        let (near, far) = sim.pipe();
        sim.spawn(sim.serve_connection(near, router));
        far.write_all(REQUEST.as_bytes()).await.unwrap();
        far.shutdown().await.unwrap();
        let answer = answer(&far).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("not today\n"), "{answer}");
    });
}

/// The process stands still, and the request comes meanwhile.
#[test]
fn a_request_that_came_in_time_is_answered_however_late_it_is_read() {
    Sim::check(0..10, |sim| async move {
        let (near, far) = sim.pipe();
        let server = sim.machine("server");
        let serving = Mutex::new(Some(sim.serve_connection(near, router())));
        server.run(move |_| {
            let serving = serving.lock().unwrap().take();
            async move { serving.expect("it is started once").await }
        });
        far.write_all(&REQUEST.as_bytes()[..20]).await.unwrap();
        sim.settle().await;
        server.pause();
        sim.sleep(SECOND).await;
        far.write_all(&REQUEST.as_bytes()[20..]).await.unwrap();
        sim.sleep(SECOND * 100).await;
        server.resume();
        let head = far.read_until(b"\r\n\r\n").await.unwrap();
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
    });
}
