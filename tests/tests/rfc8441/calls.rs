//! The request as a handler sees it, and the parts that decide about it.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use sockless_core::Config;
use sockless_driver::{Request, Session};
use sockless_hyper::Mount;
use sockless_routing::{Router, websocket};

use crate::on::{Http, runtime};
use crate::serving::{App, Served};
use sockless_tests::handlers::{echo, observed, until_closed};

/// A value that a layer before the mount attaches.
#[derive(Clone)]
struct Tenant(&'static str);

pub(crate) async fn a_call_is_that_of_the_request<H: Http>() {
    let route = websocket(async |session: Session| {
        let request = session.request();
        let reported = format!(
            "{} {:?} {:?} {} {:?} {:?} {:?} {}",
            request.method(),
            request.param_str("room"),
            request.query_param("as"),
            request.header("x-mark").unwrap_or_default(),
            request.host(),
            request.peer_addr().map(|addr| addr.port()),
            request.local_addr().map(|addr| addr.port()),
            request.get::<Tenant>().map_or("nobody", |tenant| tenant.0),
        );
        session.send(reported).await
    });
    let addr = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
    let mount = Mount::new(Router::new().route("/chat/{room}", route), runtime());
    let mount = mount.with_addrs(Some(addr(1)), Some(addr(2))).peer_addr(|extensions| {
        extensions.get::<Tenant>().map(|_| SocketAddr::from(([192, 0, 2, 1], 3)))
    });
    let app = App::new(service_fn(move |mut request: http::Request<Incoming>| {
        if request.headers().contains_key("x-mark") {
            request.extensions_mut().insert(Tenant("Ada"));
        }
        Service::call(&mount, request)
    }));
    let http = H::serve(app).await;
    let method = if H::VERSION == Version::HTTP_2 { "CONNECT" } else { "GET" };
    let uri = "ws://server.test/chat/r%C3%BCbe?as=a+b";
    let marked = http::Request::get(uri).header("x-mark", "m");
    for (request, rest) in [
        (marked, "m Some(\"server.test\") Some(3) Some(2) Ada"),
        (http::Request::get(uri), " Some(\"server.test\") Some(1) Some(2) nobody"),
    ] {
        let mut session = http.open_with(request, Config::default()).await.spawn();
        let reported = session.recv().await.unwrap();
        let expected = format!("{method} Some(\"rübe\") Some(\"a b\") {rest}");
        assert_eq!(reported.as_text(), Some(&*expected));
    }
}

pub(crate) async fn a_subprotocol_is_agreed<H: Http>() {
    let tell = async |session: Session| {
        session.send(format!("{:?}", session.request().subprotocol())).await
    };
    let router = Router::new()
        .route("/", websocket(tell).protocol("chat.v1"))
        .route("/", websocket(tell).protocol("chat.v2"))
        .route("/", websocket(tell));
    let server = Served::<H>::start(router).await;
    for (offer, agreed) in [
        (Some("chat.v3, chat.v2, chat.v1"), Some("chat.v2")),
        (Some("chat.v3"), None),
        (None, None),
    ] {
        let mut request = http::Request::get("ws://server.test/");
        if let Some(offer) = offer {
            request = request.header("sec-websocket-protocol", offer);
        }
        let connected = server.http.open_with(request, Config::default()).await;
        let headers = connected.response().headers();
        let status = if H::VERSION == Version::HTTP_2 { 200 } else { 101 };
        assert_eq!(connected.response().status(), status);
        let named = headers.get("sec-websocket-protocol").map(|name| name.to_str().unwrap());
        assert_eq!(named, agreed);
        for name in ["connection", "upgrade", "sec-websocket-accept"] {
            assert_eq!(headers.contains_key(name), H::VERSION == Version::HTTP_11, "{name}");
        }
        let mut session = connected.spawn();
        assert_eq!(session.request().subprotocol(), agreed);
        assert_eq!(session.recv().await.unwrap().as_text(), Some(&*format!("{agreed:?}")));
    }
}

/// HTTP/2 without a Host header: `:authority` replaces it.
pub(crate) async fn a_page_of_the_same_origin_may_open<H: Http>() {
    let server = Served::<H>::one(websocket(echo)).await;
    let from = |origin: &str| H::asking("/").header("origin", origin);
    let granted = if H::VERSION == Version::HTTP_2 { 200 } else { 101 };
    for (origin, status) in [
        ("http://server.test", granted),
        ("http://SERVER.test:80", granted),
        ("http://server.test:81", 403),
        ("http://other.test", 403),
        ("null", 403),
    ] {
        let response = server.http.send(from(origin)).await.status();
        assert_eq!(response, status, "{origin}");
    }
}

pub(crate) async fn a_guards_finding_and_what_it_holds_last_as_long_as_the_session<H: Http>() {
    #[derive(Clone)]
    struct User(&'static str);
    let permits = Arc::new(());
    let permit = permits.clone();
    let guard = move |mut request: Request| {
        let permit = permit.clone();
        async move {
            request.insert(User("Ada"));
            request.hold(permit);
            Ok(request)
        }
    };
    let (route, ends) = observed(async |session: Session| {
        let name = session.request().get::<User>().map(|user| user.0);
        session.send(format!("{name:?}")).await.unwrap();
        until_closed(session).await
    });
    let server = Served::<H>::start(Router::new().guard(guard).route("/", route)).await;
    let idle = Arc::strong_count(&permits);
    let mut session = server.connect().await;
    assert_eq!(session.recv().await.unwrap().as_text(), Some("Some(\"Ada\")"));
    assert_eq!(Arc::strong_count(&permits), idle + 1);
    drop(session);
    ends.recv().await.unwrap();
    server.host.shutdown(std::time::Duration::from_secs(1)).await;
    assert_eq!(Arc::strong_count(&permits), idle);
}

pub(crate) async fn requests_without_an_upgrade_may_be_passed_on<H: Http>() {
    let router = Router::new().route("/echo", websocket(echo));
    let pages = service_fn(async |request: http::Request<Incoming>| {
        let reported = format!("{} {}", request.method(), request.uri().path());
        Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(bytes::Bytes::from(
            reported,
        ))))
    });
    let http = H::serve(App::new(Mount::new(router, runtime()).fallback(pages))).await;
    let page = http.send(H::plain(Method::POST, "/echo")).await;
    assert_eq!((page.status().as_u16(), &page.body()[..]), (200, &b"POST /echo"[..]));
    let refused = http.send(H::asking("/nowhere")).await;
    assert_eq!(refused.status(), 404, "a WebSocket is the router's to refuse");
    let mut session = http.open("/echo").await.spawn();
    session.send("hello").await.unwrap();
    assert_eq!(session.recv().await.unwrap().as_text(), Some("hello"));
}
