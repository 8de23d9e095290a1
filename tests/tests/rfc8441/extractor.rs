//! The extractor for axum: beside other extractors, within layers, with the limits and the shutdown of
//! every other server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper_util::service::TowerToHyperService;
use sockless::axum::{WebSocketUpgrade, WebSockets};
use sockless::{
    CloseCode, Closed, Config, ConnectionServer, Origins, Session, TrustedProxies, websocket,
};
use sockless_driver::ClientConnection;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::on::{Http, Http1, Http2, runtime};
use crate::serving::App;
use sockless_tests::handlers::echo;
use sockless_tests::logs;
use tracing::Level;

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

async fn serve<H: Http>(app: axum::Router) -> H {
    H::serve(App::new(TowerToHyperService::new(app))).await
}

/// The first message of a session at `path`.
async fn first<H: Http>(http: &H, path: &str) -> String {
    let mut session = http.open(path).await.spawn();
    session.recv().await.unwrap().into_text().unwrap().into()
}

#[derive(Clone)]
struct Name(&'static str);

async fn works_beside_other_extractors<H: Http>() {
    async fn tell(
        State(name): State<Name>,
        ws: WebSocketUpgrade,
        Path(room): Path<String>,
        Query(query): Query<Vec<(String, String)>>,
        headers: HeaderMap,
    ) -> Response {
        let agent = headers.get("user-agent").map(|agent| agent.to_str().unwrap().to_owned());
        ws.on_upgrade(async move |session: Session| {
            let request = session.request();
            let param = request.param_str("room").unwrap_or("?").to_owned();
            let peer = request.peer_addr();
            session.send(format!("{} {room}={param} {query:?} {agent:?} {peer:?}", name.0)).await
        })
    }
    let app = axum::Router::new()
        .route("/rooms/{room}", any(tell))
        .layer(axum::Extension(ConnectInfo(PEER)))
        .with_state(Name("app"));
    let http = serve::<H>(app).await;
    let uri = "ws://server.test/rooms/a%20b?x=1";
    let request = Request::get(uri).header("user-agent", "test");
    let mut session = http.open_with(request, Config::default()).await.spawn();
    let told = session.recv().await.unwrap();
    assert_eq!(told, r#"app a b=a b [("x", "1")] Some("test") Some(127.0.0.1:9)"#);
}

async fn rejects_what_a_router_rejects<H: Http>() {
    let run = Arc::new(AtomicUsize::new(0));
    let counted = run.clone();
    let chat = async move |ws: WebSocketUpgrade| {
        counted.fetch_add(1, Ordering::Relaxed);
        ws.on_upgrade(echo)
    };
    let app = axum::Router::new().route("/", any(chat));
    let http = serve::<H>(app).await;

    let page = http.send(H::plain(Method::GET, "/")).await;
    assert_eq!(page.status(), 426);
    assert!(page.body().starts_with(b"this is a WebSocket"), "{:?}", page.body());
    let other = H::asking("/").header("sec-websocket-version", "12");
    assert_eq!(http.send(other).await.status(), 426);
    assert_eq!(run.load(Ordering::Relaxed), 0, "the handler does not run");

    let foreign = http.send(H::asking("/").header("origin", "http://evil.test")).await;
    assert_eq!(foreign.status(), 403);
    assert_eq!(
        foreign.body(),
        "pages of the origin http://evil.test may not open this WebSocket\n"
    );
    assert_eq!(run.load(Ordering::Relaxed), 1);
    let own = Request::get("ws://server.test/").header("origin", "http://server.test");
    let mut session = http.open_with(own, Config::default()).await.spawn();
    session.send("x").await.unwrap();
    assert_eq!(session.recv().await.unwrap(), "x");
}

async fn negotiates_and_answers_with_headers<H: Http>() {
    let chat = async |ws: WebSocketUpgrade| {
        let ws = ws.protocols(["b", "c"]);
        assert_eq!(ws.offered_protocols().collect::<Vec<_>>(), ["a", "c", "b"]);
        assert_eq!(ws.selected_protocol(), Some("c"), "the client's order decides");
        let ws = ws.header("set-cookie", "id=1").unwrap();
        ws.on_upgrade(async |session: Session| {
            session.send(session.request().subprotocol().unwrap_or("none")).await
        })
    };
    let refuse = async |ws: WebSocketUpgrade| match ws.header("sec-websocket-accept", "x") {
        Ok(_) => StatusCode::OK.into_response(),
        Err(error) => (StatusCode::IM_A_TEAPOT, error.to_string()).into_response(),
    };
    let app = axum::Router::new().route("/", any(chat)).route("/refuse", any(refuse));
    let http = serve::<H>(app).await;
    let offering = Request::get("ws://server.test/").header("sec-websocket-protocol", "a, c, b");
    let opened: ClientConnection = http.open_with(offering, Config::default()).await;
    let headers = opened.response().headers();
    assert_eq!(headers["sec-websocket-protocol"], "c");
    assert_eq!(headers["set-cookie"], "id=1");
    assert_eq!(opened.spawn().recv().await.unwrap(), "c");
    assert_eq!(http.send(H::asking("/refuse")).await.status(), 418);
}

async fn shuts_down_like_any_server<H: Http>() {
    let websockets = WebSockets::new();
    let chat = async |ws: WebSocketUpgrade| ws.on_upgrade(echo);
    let app = axum::Router::new().route("/", any(chat)).layer(websockets.layer());
    let http = serve::<H>(app).await;
    let mut session = http.open("/").await.spawn();
    session.send("hello").await.unwrap();
    assert_eq!(session.recv().await.unwrap(), "hello");
    assert_eq!(websockets.server().connections(), 1);

    let report = websockets.server().shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.drained, report.terminated), (1, 0));
    let closed = session.recv().await.unwrap_err();
    assert_eq!(closed.received().unwrap().code(), Some(CloseCode::GOING_AWAY));
    let refused = http.send(H::asking("/")).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.body()[..]),
        (503, &b"the server is shutting down\n"[..])
    );
    assert_eq!(websockets.server().connections(), 0);
}

async fn limits_the_connections_of_a_peer<H: Http>() {
    let websockets = WebSockets::new().max_connections_per_peer(1);
    let chat = async |ws: WebSocketUpgrade| ws.on_upgrade(echo);
    let app = axum::Router::new()
        .route("/", any(chat))
        .layer(websockets.layer())
        .layer(axum::Extension(ConnectInfo(PEER)));
    let http = serve::<H>(app).await;
    let session = http.open("/").await.spawn();
    assert_eq!(http.send(H::asking("/")).await.status(), 429);
    session.close(CloseCode::NORMAL);
    session.closed().await;
    while websockets.server().connections() > 0 {
        tokio::task::yield_now().await;
    }
    http.open("/").await.spawn().send("again").await.unwrap();
}

#[test]
fn a_limit_per_peer_without_addresses_is_reported_once() {
    let scenario = async {
        let server = ConnectionServer::new(websocket(echo), runtime()).max_connections_per_peer(1);
        let websockets = WebSockets::from_server(server);
        let chat = async |ws: WebSocketUpgrade| ws.on_upgrade(echo);
        let app = axum::Router::new().route("/", any(chat)).layer(websockets.layer());
        let http = serve::<Http2>(app).await;
        let (first, second) = (http.open("/").await.spawn(), http.open("/").await.spawn());
        for session in [first, second] {
            session.send("both are open").await.unwrap();
        }
    };
    let lines = logs::lines(Level::WARN, || {
        let mut tokio = tokio::runtime::Builder::new_current_thread();
        tokio.enable_all().start_paused(true).build().unwrap().block_on(scenario);
    });
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for named in ["max_connections_per_peer", "into_make_service_with_connect_info"] {
        assert!(lines[0].contains(named), "{lines:#?}");
    }
}

async fn works_within_layers<H: Http>() {
    let websockets = WebSockets::new();
    let chat = async |ws: WebSocketUpgrade| ws.on_upgrade(echo);
    let app = axum::Router::new()
        .route("/", any(chat))
        .layer(websockets.layer())
        .layer(CompressionLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(1)))
        .layer(CorsLayer::permissive())
        .layer(TraceLayer::new_for_http());
    let http = serve::<H>(app).await;
    let request = Request::get("ws://server.test/")
        .header("origin", "http://server.test")
        .header("accept-encoding", "gzip");
    let opened = http.open_with(request, Config::default()).await;
    let headers = opened.response().headers();
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert!(!headers.contains_key("content-encoding"));
    let mut session = opened.spawn();
    // The timeout is over long before.
    session.sleep(Duration::from_secs(60)).await;
    let long = "a text that compresses ".repeat(1_000);
    session.send(&long).await.unwrap();
    assert_eq!(session.recv().await.unwrap(), long);
    assert_eq!(websockets.server().connections(), 1);
}

async fn serves_a_page_at_the_same_path<H: Http>() {
    let either = async |ws: Option<WebSocketUpgrade>| match ws {
        Some(ws) => ws.on_upgrade(echo),
        None => "a page".into_response(),
    };
    let http = serve::<H>(axum::Router::new().route("/", any(either))).await;
    assert_eq!(http.send(H::plain(Method::GET, "/")).await.body(), "a page");
    assert_eq!(http.send(H::asking("/").header("sec-websocket-version", "1")).await.status(), 426);
    let mut session = http.open("/").await.spawn();
    session.send("x").await.unwrap();
    assert_eq!(session.recv().await.unwrap(), "x");
}

async fn passes_the_request_to_a_service<H: Http>() {
    let told = websocket(async |session: Session| {
        session.send(session.request().get::<Name>().map_or("?", |name| name.0)).await
    });
    let chat = async move |ws: WebSocketUpgrade| {
        ws.insert(Name("inserted")).handler(told.clone().protocol("v1")).await
    };
    let http = serve::<H>(axum::Router::new().route("/", any(chat))).await;
    let refused = http.send(H::asking("/")).await;
    assert_eq!(refused.status(), 400, "the service requires a subprotocol");
    let request = Request::get("ws://server.test/").header("sec-websocket-protocol", "v1");
    let mut session = http.open_with(request, Config::default()).await.spawn();
    assert_eq!(session.recv().await.unwrap(), "inserted");
}

async fn has_the_settings_of_its_layer_or_its_own<H: Http>() {
    let websockets = WebSockets::new()
        .config(Config::default().max_message_len(10))
        .origins(Origins::any())
        .trust(TrustedProxies::new(["127.0.0.1"]).x_forwarded_for());
    let told = async |session: Session| -> Result<(), Closed> {
        let (config, client) = (session.config(), session.request().client_ip());
        session.send(format!("{} {client:?}", config.get_max_message_len())).await
    };
    let layers = async move |ws: WebSocketUpgrade| ws.on_upgrade(told);
    let own = async move |ws: WebSocketUpgrade| {
        ws.configure(|config| config.max_message_len(20)).on_upgrade(told)
    };
    let replaced = async move |ws: WebSocketUpgrade| {
        ws.config(Config::default().max_message_len(30)).on_upgrade(told)
    };
    let none =
        async move |ws: WebSocketUpgrade| ws.origins(Origins::same_origin()).on_upgrade(told);
    let app = axum::Router::new()
        .route("/layers", any(layers))
        .route("/own", any(own))
        .route("/replaced", any(replaced))
        .route("/none", any(none))
        .layer(websockets.layer())
        .layer(axum::Extension(ConnectInfo(PEER)));
    let http = serve::<H>(app).await;
    let request = Request::get("ws://server.test/layers")
        .header("origin", "http://other.test")
        .header("x-forwarded-for", "192.0.2.7");
    let mut session = http.open_with(request, Config::default()).await.spawn();
    assert_eq!(session.recv().await.unwrap(), "10 Some(192.0.2.7)");
    assert_eq!(first(&http, "/own").await, "20 Some(127.0.0.1)");
    assert_eq!(first(&http, "/replaced").await, "30 Some(127.0.0.1)");
    let refused = http.send(H::asking("/none").header("origin", "http://other.test")).await;
    assert_eq!(refused.status(), 403);
}

async fn opens_sessions_of_frames<H: Http>() {
    let tap = async |ws: WebSocketUpgrade| {
        ws.on_upgrade_raw(async |mut session: sockless::RawSession| {
            while let Ok(frame) = session.recv().await {
                let _ = session.send(frame).await;
            }
        })
    };
    let http = serve::<H>(axum::Router::new().route("/", any(tap))).await;
    let mut session = http.open("/").await.spawn();
    session.send("as it came").await.unwrap();
    assert_eq!(session.recv().await.unwrap(), "as it came");
}

macro_rules! extractor {
    ($($scenario:ident)+) => {
        mod over_http1 {
            $(#[tokio::test(start_paused = true)]
            async fn $scenario() {
                super::$scenario::<super::Http1>().await;
            })+
        }
        mod over_http2 {
            $(#[tokio::test(start_paused = true)]
            async fn $scenario() {
                super::$scenario::<super::Http2>().await;
            })+
        }
    };
}

extractor! {
    has_the_settings_of_its_layer_or_its_own
    limits_the_connections_of_a_peer
    negotiates_and_answers_with_headers
    opens_sessions_of_frames
    passes_the_request_to_a_service
    rejects_what_a_router_rejects
    serves_a_page_at_the_same_path
    shuts_down_like_any_server
    works_beside_other_extractors
    works_within_layers
}
