//! Responses without a session: the same over both versions of HTTP, except where HTTP/2 has no counterpart.

use std::future::pending;
use std::time::Duration;

use http::{Method, StatusCode, Version};
use sockless_core::Config;
use sockless_driver::{Request, Session};
use sockless_routing::{Origins, Router, respond, text_response, websocket};

use crate::on::Http;
use crate::serving::Served;
use sockless_tests::handlers::echo;

/// A setting of its own, so that the head is held to ours and not to that of hyper.
const MAX_HEAD_LEN: usize = 2048;

fn router() -> Router {
    let guarded =
        Router::new().guard(async |request: Request| match request.header("authorization") {
            Some(_) => Ok(request),
            None => Err(text_response(StatusCode::UNAUTHORIZED, "who are you?\n")),
        });
    Router::new()
        .websockets(Config::default().max_head_len(MAX_HEAD_LEN))
        .origins(Origins::same_origin())
        .route("/echo", websocket(echo))
        .route("/chat", websocket(echo).protocol("chat.v1"))
        .route("/health", respond(|_request| text_response(StatusCode::OK, "ok\n")))
        .nest("/guarded", guarded.route("/", websocket(echo)))
}

pub(crate) async fn each_invalid_request_is_answered_with_its_status<H: Http>() {
    let server = Served::<H>::start(router()).await;
    let padding = "x".repeat(MAX_HEAD_LEN);
    let with = |path: &str, name: &str, value: &str| H::asking(path).header(name, value);
    for (request, status, body) in [
        (H::asking("/nowhere"), 404, "nothing is served at this path\n"),
        (H::asking("/health"), 405, ""),
        (H::asking("/guarded"), 401, "who are you?\n"),
        (
            with("/echo", "origin", "https://evil.test"),
            403,
            "pages of the origin https://evil.test may not",
        ),
        (H::asking("/chat"), 400, "this path requires a subprotocol in Sec-WebSocket-Protocol"),
        (with("/chat", "sec-websocket-protocol", "x"), 400, "none of the subprotocols"),
        (with("/echo", "sec-websocket-protocol", "a, a"), 400, "Sec-WebSocket-Protocol must"),
        (with("/echo", "sec-websocket-version", "13"), 426, "Sec-WebSocket-Version must be 13"),
        (with("/echo", "x-padding", &padding), 431, "the head is longer than max_head_len = 2048"),
    ] {
        // A page in the place of a WebSocket is one for CONNECT no less.
        if status == 405 && H::VERSION == Version::HTTP_11 {
            continue;
        }
        let response = server.http.send(request).await;
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        assert_eq!(response.status(), status, "{text}");
        assert!(text.starts_with(body), "{text:?}");
        if status == 426 {
            assert_eq!(response.headers()["sec-websocket-version"], "13");
        }
        let is_upgrade = H::VERSION == Version::HTTP_11 && status == 426;
        assert_eq!(response.headers().contains_key("upgrade"), is_upgrade);
        assert_eq!(response.headers().contains_key("connection"), is_upgrade);
    }
    assert_eq!(server.host.connections(), 0);
}

pub(crate) async fn requests_without_an_upgrade_are_answered_by_the_router<H: Http>() {
    let server = Served::<H>::start(router()).await;
    let health = server.http.send(H::plain(Method::GET, "/health")).await;
    assert_eq!((health.status().as_u16(), &health.body()[..]), (200, &b"ok\n"[..]));
    let head = server.http.send(H::plain(Method::HEAD, "/health")).await;
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &"3".parse().unwrap())
    );
    let wrong = server.http.send(H::plain(Method::POST, "/health")).await;
    assert_eq!(
        (wrong.status().as_u16(), &wrong.headers()["allow"]),
        (405, &"GET, HEAD".parse().unwrap())
    );

    let page = server.http.send(H::plain(Method::GET, "/echo")).await;
    let text = String::from_utf8(page.body().to_vec()).unwrap();
    if H::VERSION == Version::HTTP_11 {
        assert_eq!(
            (page.status().as_u16(), &page.headers()["upgrade"]),
            (426, &"websocket".parse().unwrap())
        );
        assert!(text.starts_with("this is a WebSocket"), "{text}");
    } else {
        assert_eq!((page.status().as_u16(), page.headers().get("upgrade")), (400, None));
        assert!(text.contains("extended CONNECT over HTTP/2"), "{text}");
    }
}

pub(crate) async fn a_guard_that_panics_is_500<H: Http>() {
    let guard = async |request: Request| {
        assert_eq!(request.query(), None, "this panic belongs to the test");
        Ok(request)
    };
    let server = Served::<H>::start(Router::new().guard(guard).route("/", websocket(echo))).await;
    let response = server.http.send(H::asking("/?panic")).await;
    assert_eq!(response.status(), 500);
    assert_eq!(response.body(), "the server met an unexpected condition\n");
    server.http.open("/").await.spawn().send("still here").await.unwrap();
}

pub(crate) async fn a_guard_that_takes_too_long_is_503<H: Http>() {
    let router = Router::new()
        .websockets(Config::default().opening_timeout(Duration::from_secs(7)))
        .guard(async |request: Request| {
            pending::<()>().await;
            Ok(request)
        });
    let server = Served::<H>::start(router.route("/", websocket(echo))).await;
    let before = tokio::time::Instant::now();
    let response = server.http.send(H::asking("/")).await;
    assert_eq!((response.status().as_u16(), before.elapsed().as_secs()), (503, 7));
    assert_eq!(response.body(), "the request was not decided within opening_timeout\n");
    assert_eq!(server.host.connections(), 0);
}

pub(crate) async fn a_request_in_a_shutdown_is_503<H: Http>() {
    let stuck = websocket(async |_session: Session| pending::<()>().await);
    let server = Served::<H>::start(router().route("/stuck", stuck)).await;
    let session = server.http.open("/stuck").await.spawn();
    let host = server.host.clone();
    let shutdown = tokio::spawn(async move { host.shutdown(Duration::from_secs(60)).await });
    session.closed().await;
    let response = server.http.send(H::asking("/echo")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.body(), "the server is shutting down\n");
    assert_eq!(shutdown.await.unwrap().terminated, 1);
}
