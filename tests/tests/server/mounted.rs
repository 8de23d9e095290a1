//! Sessions behind another HTTP server, which reads the request, sends the response and hands over the
//! transport.

use std::future::{pending, ready};
use std::io;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use sockless_core::{Config, Instant};
use sockless_driver::{ConnectionServer, GrantedUpgrade, Io, Reply, Request, Session};
use sockless_routing::{Router, respond, text_response, websocket};
use sockless_sim::Sim;
use sockless_tests::wire::Writer;

use sockless_tests::opened::{HOUR, REQUEST, SECOND, echo};

const CLIENT: Writer = Writer { masks: true };

fn asking() -> http::request::Builder {
    let mut lines = REQUEST.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines
        .try_fold(http::Request::get("/"), |request, (name, value)| {
            Some(request.header(name, value))
        })
        .unwrap()
}

fn host(sim: &Sim) -> ConnectionServer {
    let health = respond(|_request| text_response(StatusCode::OK, "ok\n"));
    let router = Router::new().route("/health", health);
    let router = router.route("/", websocket(async |s| drop(echo(s).await)));
    ConnectionServer::new(router, sim.runtime())
}

async fn granted(host: &ConnectionServer) -> GrantedUpgrade {
    match host.answer(Request::new(asking().body(()).unwrap())).await {
        Reply::Upgrade(granted) => granted,
        Reply::Respond(response) => panic!("{response:?}"),
    }
}

async fn refused(host: &ConnectionServer, request: http::request::Builder) -> (u16, String) {
    match host.answer(Request::new(request.body(()).unwrap())).await {
        Reply::Upgrade(granted) => panic!("{granted:?}"),
        Reply::Respond(response) => {
            let text = String::from_utf8(response.body().to_vec()).unwrap();
            (response.status().as_u16(), text)
        }
    }
}

fn given_up(transport: impl Io) -> impl Future<Output = io::Result<Box<dyn Io>>> + Send {
    ready(Ok(Box::new(transport) as Box<dyn Io>))
}

#[test]
fn the_session_begins_on_the_transport_and_no_head_is_sent_on_it() {
    Sim::check(0..20, |sim| async move {
        let host = host(&sim);
        let granted = granted(&host).await;
        assert_eq!(granted.response().status(), 101);
        assert_eq!(
            granted.response().headers()["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(host.connections(), 1);
        let (near, far) = sim.pipe();
        granted.spawn(given_up(near));
        let sent = [CLIENT.text("hello"), CLIENT.close(1000, "")].concat();
        far.write_all(&sent).await.unwrap();
        let server = Writer { masks: false };
        let received = far.read_to_end().await.unwrap();
        assert_eq!(received, [server.text("hello"), server.close(1000, "")].concat());
        drop(far);
        sim.settle().await;
        assert_eq!(host.connections(), 0);
    });
}

#[test]
fn a_dropped_upgrade_frees_its_place() {
    Sim::check(0..5, |sim| async move {
        let host = host(&sim);
        let granted = granted(&host).await;
        assert_eq!(host.connections(), 1);
        drop(granted);
        assert_eq!(host.connections(), 0);
    });
}

#[test]
fn a_transport_that_does_not_arrive_times_out() {
    Sim::check(0..5, |sim| async move {
        let host = host(&sim);
        granted(&host).await.serve(pending()).await;
        assert_eq!(sim.now(), Instant::EPOCH + Config::default().get_opening_timeout());
        assert_eq!(host.connections(), 0);

        let failed = ready(Err(io::ErrorKind::BrokenPipe.into()));
        granted(&host).await.serve(failed).await;
        assert_eq!(host.connections(), 0);
    });
}

#[test]
fn a_shutdown_closes_sessions_rejects_requests_and_ends_waits() {
    Sim::check(0..20, |sim| async move {
        let host = host(&sim);
        let (near, far) = sim.pipe();
        granted(&host).await.spawn(given_up(near));
        sim.settle().await;
        // GrantedUpgrade before, and begun in the middle of it.
        let late = granted(&host).await;
        let (late_near, late_far) = sim.pipe();
        granted(&host).await.spawn(pending());
        let stopping = host.clone();
        let shutdown = sim.spawn(async move { stopping.shutdown(SECOND * 3).await });
        sim.sleep(SECOND).await;
        late.spawn(given_up(late_near));
        for far in [&far, &late_far] {
            let head = far.read_exact(4).await.unwrap();
            assert_eq!((head[0], &head[2..]), (0x88, &1001_u16.to_be_bytes()[..]));
            far.write_all(&CLIENT.close(1001, "")).await.unwrap();
        }
        for request in [asking(), http::Request::get("/health")] {
            let text = "the server is shutting down\n".to_owned();
            assert_eq!(refused(&host, request).await, (503, text));
        }
        let report = shutdown.await;
        assert_eq!((report.drained, report.terminated), (2, 1));
        assert_eq!(sim.now(), Instant::EPOCH + SECOND * 3);
        assert_eq!(host.connections(), 0);
    });
}

#[test]
fn a_service_that_takes_long_ends_with_the_shutdown() {
    Sim::check(0..5, |sim| async move {
        let router = Router::new()
            .websockets(Config::default().opening_timeout(HOUR))
            .guard(async |request: Request| {
                pending::<()>().await;
                Ok(request)
            })
            .route("/", websocket(async |_: Session| {}));
        let host = ConnectionServer::new(router, sim.runtime());
        let asked = host.clone();
        let answer = sim.spawn(async move { refused(&asked, asking()).await.0 });
        sim.settle().await;
        assert_eq!(host.connections(), 1);
        let report = host.shutdown(SECOND).await;
        assert_eq!((report.drained, report.terminated), (0, 1));
        assert_eq!(answer.await, 503);
    });
}

#[test]
fn what_is_decided_during_a_shutdown_is_refused() {
    Sim::check(0..5, |sim| async move {
        let clock = sim.clone();
        let router = Router::new()
            .guard(move |request: Request| {
                let thinking = clock.sleep(SECOND * 2);
                async {
                    thinking.await;
                    Ok(request)
                }
            })
            .route("/", websocket(async |_: Session| {}));
        let host = ConnectionServer::new(router, sim.runtime());
        let asked = host.clone();
        let answer = sim.spawn(async move { refused(&asked, asking()).await.0 });
        sim.sleep(SECOND).await;
        let report = host.shutdown(HOUR).await;
        assert_eq!((report.drained, report.terminated), (1, 0));
        assert_eq!(answer.await, 503);
    });
}

#[test]
fn a_head_is_held_to_the_hosts_own_limits() {
    Sim::check(0..2, |sim| async move {
        let exact = asking().body(()).unwrap();
        let lines =
            exact.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        // With the request line and the empty line: what the head is in HTTP/1.1.
        let len = "GET / HTTP/1.1\r\n\r\n".len() + lines.sum::<usize>();
        let limited = |max| {
            let router = Router::new().websockets(Config::default().max_head_len(max));
            let router = router.route("/", websocket(async |_: Session| {}));
            ConnectionServer::new(router, sim.runtime())
        };
        drop(granted(&limited(len)).await);
        let (status, text) = refused(&limited(len - 1), asking()).await;
        assert_eq!(status, 431);
        assert!(text.contains(&format!("max_head_len = {}", len - 1)), "{text}");

        let mut many = asking();
        for i in 0..124 {
            many = many.header(format!("x-{i}"), "");
        }
        assert_eq!(refused(&limited(1 << 20), many).await.0, 431);
    });
}

#[test]
fn what_a_guard_holds_is_let_go_of_with_the_transport_or_without() {
    Sim::check(0..5, |sim| async move {
        let permits = Arc::new(Mutex::new(()));
        let permit = permits.clone();
        let senders = Arc::new(Mutex::new(Vec::new()));
        let kept = senders.clone();
        let router = Router::new()
            .guard(move |mut request: Request| {
                request.hold(permit.clone());
                async { Ok(request) }
            })
            .route(
                "/",
                websocket(move |session: Session| {
                    // Another task still has a handle, and with it the request.
                    kept.lock().unwrap().push(session.sender());
                    async { drop(echo(session).await) }
                }),
            );
        let idle = Arc::strong_count(&permits);
        let host = ConnectionServer::new(router, sim.runtime());
        drop(granted(&host).await);
        assert_eq!(Arc::strong_count(&permits), idle);
        let (near, far) = sim.pipe();
        granted(&host).await.spawn(given_up(near));
        sim.settle().await;
        assert_eq!(Arc::strong_count(&permits), idle + 1);
        drop(far);
        sim.settle().await;
        assert_eq!(Arc::strong_count(&permits), idle);
        assert_eq!(senders.lock().unwrap().len(), 1);
    });
}
