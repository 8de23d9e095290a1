//! Plain responses, and the responses to requests that no route handles.

mod common;

use bytes::Bytes;
use common::{get, granted, line, request, responded, status, upgrade, ws};
use http::{Method, Response, StatusCode, Version};
use sockless_driver::Request;
use sockless_routing::{Origins, Router, respond, respond_async, text_response};

fn router() -> Router {
    let post = respond(|_request| text_response(StatusCode::CREATED, "made")).method(Method::POST);
    Router::new()
        .origins(Origins::same_origin())
        .route("/socket", ws())
        .route("/both", ws())
        .route("/both", respond(|_request| text_response(StatusCode::OK, "page")))
        .route("/page", respond(|_request| text_response(StatusCode::OK, "page")))
        .route("/page", post)
}

#[test]
fn a_path_without_a_route_is_not_found() {
    for request in [get("/nowhere"), upgrade("/nowhere"), request(Method::POST, "/nowhere")] {
        let response = responded(&router(), request);
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(line(&response), "nothing is served at this path");
    }
}

#[test]
fn a_router_without_routes_finds_nothing() {
    assert_eq!(status(&Router::new(), get("/")), StatusCode::NOT_FOUND);
}

#[test]
fn another_method_is_answered_with_the_allowed_methods() {
    for (method, path, allow) in [
        (Method::POST, "/socket", "GET"),
        (Method::POST, "/both", "GET, HEAD"),
        (Method::PUT, "/page", "GET, HEAD, POST"),
    ] {
        let response = responded(&router(), request(method, path));
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers()["allow"], allow, "{path}");
        assert_eq!(line(&response), format!("method not allowed: this path answers {allow}"));
    }
}

#[test]
fn options_is_answered_with_the_methods_of_a_path() {
    for (path, allow) in [
        ("/socket", "GET, OPTIONS"),
        ("/both", "GET, HEAD, OPTIONS"),
        ("/page", "GET, HEAD, POST, OPTIONS"),
        ("*", "GET, HEAD, OPTIONS"),
    ] {
        let response = responded(&router(), request(Method::OPTIONS, path));
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{path}");
        assert_eq!(response.headers()["allow"], allow, "{path}");
        assert!(response.body().is_empty());
    }
    assert_eq!(status(&router(), request(Method::OPTIONS, "/nowhere")), StatusCode::NOT_FOUND);
    assert_eq!(status(&Router::new(), request(Method::OPTIONS, "*")), StatusCode::NO_CONTENT);
    let own = respond(|_request| text_response(StatusCode::OK, "own")).method(Method::OPTIONS);
    let router = router().route("/own", own);
    assert_eq!(status(&router, request(Method::OPTIONS, "/own")), StatusCode::OK);
}

#[test]
fn an_upgrade_request_has_to_be_a_get() {
    let mut request = upgrade("/socket");
    request = request.method(Method::POST);
    let response = responded(&router(), request);
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "GET");
}

#[test]
fn a_plain_get_to_a_websocket_must_upgrade() {
    let response = responded(&router(), get("/socket"));
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["connection"], "Upgrade");
    assert_eq!(response.headers()["sec-websocket-version"], "13");
    assert!(line(&response).contains("WebSocket"));
}

#[test]
fn a_handshake_whose_headers_a_proxy_removed_is_answered_with_the_proxy_setting() {
    for method in [Method::GET, Method::HEAD] {
        let mut request = upgrade("/socket").method(method.clone());
        for name in ["connection", "upgrade"] {
            request.headers_mut().unwrap().remove(name);
        }
        let response = responded(&router(), request);
        assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
        if method == Method::GET {
            assert!(line(&response).contains("proxy_set_header Upgrade $http_upgrade"));
        }
    }
}

#[test]
fn an_upgrade_to_another_protocol_does_not_open_a_websocket() {
    for name in ["h2c", "websockets", "web socket", "TLS/1.0, h2c"] {
        let mut request = upgrade("/socket");
        let headers = request.headers_mut().unwrap();
        headers.insert("upgrade", name.parse().unwrap());
        assert_eq!(status(&router(), request), StatusCode::UPGRADE_REQUIRED, "{name}");
    }
}

#[test]
fn another_version_is_answered_with_the_supported_one_even_beside_a_page() {
    for path in ["/socket", "/both"] {
        let mut request = upgrade(path);
        let headers = request.headers_mut().unwrap();
        headers.insert("sec-websocket-version", "8".parse().unwrap());
        let response = responded(&router(), request);
        assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED, "{path}");
        assert_eq!(response.headers()["sec-websocket-version"], "13");
        line(&response);
    }
}

#[test]
fn a_malformed_handshake_is_a_bad_request() {
    let mut request = upgrade("/socket");
    request.headers_mut().unwrap().remove("sec-websocket-key");
    let response = responded(&router(), request);
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    line(&response);
}

#[test]
fn a_websocket_and_a_page_share_a_path() {
    granted(&router(), upgrade("/both"));
    let response = responded(&router(), get("/both"));
    assert_eq!((response.status(), &response.body()[..]), (StatusCode::OK, &b"page"[..]));
}

#[test]
fn upgrade_is_a_list_without_regard_to_case() {
    for names in ["WebSocket", "h2c, websocket", " websocket ,h2c"] {
        let mut request = upgrade("/both");
        let headers = request.headers_mut().unwrap();
        headers.insert("upgrade", names.parse().unwrap());
        granted(&router(), request);
    }
}

#[test]
fn a_content_type_does_not_prevent_an_upgrade() {
    granted(&router(), upgrade("/socket").header("content-type", "application/json"));
}

#[test]
fn an_upgrade_request_to_a_page_gets_the_page() {
    // RFC 9110 §7.8: a server may ignore it.
    assert_eq!(status(&router(), upgrade("/page")), StatusCode::OK);
}

#[test]
fn an_upgrade_of_another_version_of_http_is_ignored() {
    // RFC 9110 §7.8.
    let old = |path| upgrade(path).version(Version::HTTP_10);
    assert_eq!(status(&router(), old("/both")), StatusCode::OK);
    assert_eq!(status(&router(), old("/socket")), StatusCode::BAD_REQUEST);
}

#[test]
fn a_websocket_opens_by_extended_connect_over_http_2() {
    let connect = |path: &str, origin| {
        let target = format!("https://example.com{path}");
        let request = http::Request::connect(target).version(Version::HTTP_2);
        request.header("sec-websocket-version", "13").header("origin", origin)
    };
    for path in ["/socket", "/both"] {
        let upgrade = granted(&router(), connect(path, "https://example.com"));
        assert_eq!(upgrade.response().status(), StatusCode::OK);
    }
    let foreign = connect("/socket", "https://evil.example");
    assert_eq!(status(&router(), foreign), StatusCode::FORBIDDEN);
    let response = responded(&router(), connect("/page", "https://example.com"));
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "GET, HEAD, POST");
}

#[test]
fn responses_differ_by_method() {
    assert_eq!(responded(&router(), get("/page")).body(), "page");
    let response = responded(&router(), request(Method::POST, "/page"));
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[test]
fn a_response_may_depend_on_the_request() {
    let router = Router::new().route(
        "/hello/{name}",
        respond(|request| {
            let (name, query) =
                (request.param_str("name").unwrap(), request.query().unwrap_or("-"));
            Response::new(format!("{name} {query}").into())
        }),
    );
    assert_eq!(responded(&router, get("/hello/ada?x=1")).body(), "ada x=1");
}

#[test]
fn a_responder_may_be_async() {
    async fn slow(request: Request) -> Response<Bytes> {
        std::future::ready(()).await;
        Response::new(request.path().to_owned().into())
    }
    let router = Router::new().route("/slow", respond_async(slow));
    assert_eq!(responded(&router, get("/slow")).body(), "/slow");
}

#[test]
fn head_is_answered_as_get_without_the_body() {
    for path in ["/page", "/both", "/socket", "/nowhere", "/%"] {
        let got = responded(&router(), get(path));
        let mut head = responded(&router(), request(Method::HEAD, path));
        assert!(head.body().is_empty(), "{path}");
        assert_eq!(head.status(), got.status(), "{path}");

        let length = head.headers_mut().remove("content-length").unwrap();
        assert_eq!(length, got.body().len().to_string(), "{path}");
        assert_eq!(head.headers(), got.headers(), "{path}");
    }
}

#[test]
fn head_keeps_a_length_that_the_handler_states() {
    let big = |_: &Request| {
        let response = Response::builder().header("content-length", "5");
        response.body("12345".into()).unwrap()
    };
    let router = Router::new().route("/x", respond(big));
    let response = responded(&router, request(Method::HEAD, "/x"));
    assert_eq!(response.headers().get_all("content-length").iter().count(), 1);
    assert!(response.body().is_empty());
}

#[test]
fn a_rejected_head_request_gets_no_body() {
    let router = router()
        .guard(async |_request: Request| Err(text_response(StatusCode::UNAUTHORIZED, "no")));
    let response = responded(&router, request(Method::HEAD, "/page"));
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.body().is_empty());
}

#[test]
fn get_includes_head() {
    let page = respond(|_request| text_response(StatusCode::OK, "page"));
    let router = Router::new().route("/x", page.method(Method::POST).method(Method::GET));
    for method in [Method::GET, Method::HEAD, Method::POST] {
        assert_eq!(status(&router, request(method, "/x")), StatusCode::OK);
    }
    let post = respond(|_request| text_response(StatusCode::OK, "page")).method(Method::POST);
    let router = Router::new().route("/x", post);
    assert_eq!(status(&router, get("/x")), StatusCode::METHOD_NOT_ALLOWED);
}
