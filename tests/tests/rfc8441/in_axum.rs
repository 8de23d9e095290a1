//! A mount among axum's own routes.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::routing::get;
use http::Method;
use hyper_util::service::TowerToHyperService;
use sockless_driver::Session;
use sockless_hyper::Mount;
use sockless_routing::{Router, respond, text_response, websocket};

use crate::on::{Http, Http1, Http2, runtime};
use crate::serving::App;
use sockless_tests::handlers::echo;

/// Pages with state, a WebSocket at a path, a router below another, and one for all the rest.
fn app() -> axum::Router {
    let tell = async |session: Session| {
        let request = session.request();
        session.send(format!("{} {:?}", request.path(), request.peer_addr())).await
    };
    let one = Mount::new(Router::new().route("/echo", websocket(echo)), runtime());
    let nested = Router::new().route("/tell", websocket(tell));
    let nested = Mount::new(nested, runtime()).peer_addr(|extensions| {
        extensions.get::<ConnectInfo<SocketAddr>>().map(|&ConnectInfo(addr)| addr)
    });
    let rest = Router::new()
        .route("/rest", websocket(echo))
        .route("/health", respond(|_request| text_response(http::StatusCode::OK, "ok\n")));
    let addr = SocketAddr::from(([192, 0, 2, 1], 7));
    axum::Router::new()
        .route("/", get(async |State(name): State<&'static str>| format!("a page of {name}")))
        .route_service("/echo", one)
        .nest_service("/below", nested)
        .fallback_service(Mount::new(rest, runtime()))
        .layer(axum::Extension(ConnectInfo(addr)))
        .with_state("axum")
}

async fn serves_beside_pages<H: Http>() {
    let http = H::serve(App::new(TowerToHyperService::new(app()))).await;
    let page = http.send(H::plain(Method::GET, "/")).await;
    assert_eq!((page.status().as_u16(), &page.body()[..]), (200, &b"a page of axum"[..]));
    let health = http.send(H::plain(Method::GET, "/health")).await;
    assert_eq!((health.status().as_u16(), &health.body()[..]), (200, &b"ok\n"[..]));
    for path in ["/echo", "/rest"] {
        let mut session = http.open(path).await.spawn();
        session.send(path).await.unwrap();
        assert_eq!(session.recv().await.unwrap().as_text(), Some(path));
    }
    let mut session = http.open("/below/tell").await.spawn();
    let reported = session.recv().await.unwrap();
    assert_eq!(reported.as_text(), Some("/tell Some(192.0.2.1:7)"));

    let page = http.send(H::asking("/nowhere")).await;
    assert_eq!(page.status(), 404);
    assert_eq!(page.body(), "nothing is served at this path\n");
}

#[tokio::test(start_paused = true)]
async fn axum_serves_websockets_beside_pages_over_http1() {
    serves_beside_pages::<Http1>().await;
}

#[tokio::test(start_paused = true)]
async fn axum_serves_websockets_beside_pages_over_http2() {
    serves_beside_pages::<Http2>().await;
}
