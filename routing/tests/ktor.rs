//! Ktor's own routing tests, under its names, as far as a route of ours can meet them. Where ours
//! answers otherwise on purpose, a line says why.

mod common;

use std::sync::{Arc, Mutex};

use common::{
    answer_call, call, get, granted, offering, page, params, protocol, request, responded, status,
    taken, upgrade, ws,
};
use http::{Method, StatusCode};
use sockless_driver::{Answer, Request};
use sockless_routing::{Router, Selector, WebSocketRoute, text_response, websocket, websocket_raw};

// RoutingProcessingTest

#[test]
fn routing_error_status_codes() {
    let router = Router::new()
        .route("/foo", page("post").method(Method::POST))
        .route("/foo", page("query").when(Selector::query("bar")))
        .route("/only", page("query").when(Selector::query("bar")));
    assert_eq!(taken(&router, "/foo?bar"), "query");
    assert_eq!(status(&router, request(Method::PUT, "/foo")), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(status(&router, get("/only")), StatusCode::BAD_REQUEST);
    assert_eq!(status(&router, get("/unknown")), StatusCode::NOT_FOUND);
    // 405 beats 400.
    assert_eq!(status(&router, get("/foo")), StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn routing_specific_error_status_code_only_when_path_matched() {
    let router = Router::new().route("/foo/bar", page("post").method(Method::POST));
    for path in ["/foo", "/foo/bar/baz", "/"] {
        assert_eq!(status(&router, get(path)), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(status(&router, get("/foo/bar")), StatusCode::METHOD_NOT_ALLOWED);
}

/// Ktor does this for constant paths only, and answers 404 under a parameter. A route of that path exists,
/// so 404 would be misleading.
#[test]
fn routing_specific_error_status_code_for_paths_with_parameters_too() {
    let router = Router::new().route("/{param}", ws());
    let post = responded(&router, request(Method::POST, "/foo"));
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(status(&router, get("/foo")), StatusCode::UPGRADE_REQUIRED);
}

/// In Ktor it is 404; as above.
#[test]
fn routing_specific_error_status_code_for_tailcard_too() {
    let router = Router::new().route("/{*rest}", page("page"));
    assert_eq!(status(&router, request(Method::POST, "/a/b")), StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn most_specific_selected() {
    let router = Router::new().route("/{*path}", page("all")).route("/z/{*path}", page("z"));
    for (path, name) in [("/z", "z"), ("/z/a", "z"), ("/a", "all"), ("/", "all")] {
        assert_eq!(taken(&router, path), name, "{path}");
    }
}

#[test]
fn route_with_parameter_prefix_and_suffix_has_more_priority() {
    let router = Router::new()
        .route("/{param}", page("parameter"))
        .route("/prefix-{param}", page("prefix"))
        .route("/{param}-suffix", page("suffix"));
    for (path, name) in [("/prefix-a", "prefix"), ("/a-suffix", "suffix"), ("/a", "parameter")] {
        assert_eq!(taken(&router, path), name, "{path}");
    }
}

#[test]
fn deep_child_comparison() {
    let router = Router::new()
        .route("/{a}/b/c/d", page("parameter first"))
        .route("/a/{b}/{c}/{d}", page("literal first"))
        .route("/a/b/{*rest}", page("two literals"));
    assert_eq!(taken(&router, "/a/b/c/d"), "two literals");
    assert_eq!(taken(&router, "/a/x/c/d"), "literal first");
    assert_eq!(taken(&router, "/x/b/c/d"), "parameter first");
}

/// Routes that are the same are refused when the router is built; what is left to the order are
/// types.
#[test]
fn routing_on_routes_with_same_quality_should_be_based_on_order() {
    let router = Router::new().route("/{id:u32}", page("first")).route("/{id:i64}", page("second"));
    assert_eq!((taken(&router, "/1"), taken(&router, "/-1")), ("first".into(), "second".into()));
    assert!(Router::new().route("/{a}", ws()).try_route("/{b}", ws()).is_err());
}

#[test]
fn transparent_selector_priority() {
    let guarded =
        Router::new().guard(async |request: Request| Ok(request)).route("/{p}", page("guarded"));
    let router = Router::new().nest("/", guarded).route("/a", page("literal"));
    assert_eq!(taken(&router, "/a"), "literal");
    assert_eq!(taken(&router, "/b"), "guarded");
}

#[test]
fn host_and_port_routing_processing() {
    let at = |selector| Router::new().when(selector).route("/", ws());
    let router = Router::new()
        .nest("/", at(Selector::host("my-host")))
        .nest("/", at(Selector::host("my-host")).when(Selector::port(8080)).route("/p", ws()))
        .nest("/", at(Selector::port(8081)));
    let ask = |host: &str, path| {
        let mut request = upgrade(path);
        request.headers_mut().unwrap().insert("host", host.parse().unwrap());
        matches!(common::answer(&router, request), Answer::Upgrade(_))
    };
    assert!(ask("my-host", "/") && ask("my-host:1", "/") && ask("MY-HOST:8080", "/p"));
    assert!(ask("any:8081", "/") && !ask("any", "/") && !ask("my-host", "/p"));
}

#[test]
fn local_port_route_processing() {
    let router = Router::new().route("/", ws().when(Selector::local_port(8080)));
    let ask = |port: u16| {
        let local = ([127, 0, 0, 1], port).into();
        let request = call(upgrade("/")).with_addrs(None, Some(local));
        matches!(answer_call(&router, request), Answer::Upgrade(_))
    };
    assert!(ask(8080) && !ask(80));
}

/// Accept, and every other header, is a selector of the program's own.
#[test]
fn accept_header_processing() {
    let json = Selector::custom("accepts JSON", |request| {
        request.header("accept").is_some_and(|accept| accept.contains("application/json"))
    });
    let router = Router::new().route("/x", page("any")).route("/x", page("json").when(json));
    assert_eq!(taken(&router, "/x"), "any");
    assert_eq!(responded(&router, get("/x").header("accept", "application/json")).body(), "json");
}

/// The order in which it is written makes no difference, so there is one test for Ktor's two.
#[test]
fn interception_order_when_outer_should_be_before_and_after() {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let guard = |name: &'static str| {
        let ran = ran.clone();
        move |request| {
            ran.lock().unwrap().push(name);
            std::future::ready(Ok(request))
        }
    };
    let inner = || Router::new().route("/x", ws()).guard(guard("inner"));
    granted(&Router::new().guard(guard("outer")).nest("/", inner()), upgrade("/x"));
    granted(&Router::new().nest("/", inner()).guard(guard("outer")), upgrade("/x"));
    assert_eq!(ran.lock().unwrap()[..], ["outer", "inner", "outer", "inner"]);
}

#[test]
fn routing_not_called_for_handled_requests() {
    let handled = async |_request: Request| Err(text_response(StatusCode::OK, "handled"));
    let never = async |_call: Request| panic!("the call was answered already");
    let inner = Router::new().guard(never).route("/x", ws()).route("/x", page("page"));
    let router = Router::new().guard(handled).nest("/", inner);
    assert_eq!(responded(&router, upgrade("/x")).body(), "handled");
    assert_eq!(taken(&router, "/x"), "handled");
}

// RoutingResolveTest

#[test]
fn routing_with_parameter() {
    let router = Router::new().route("/{param}", ws());
    assert_eq!(params(&granted(&router, upgrade("/value"))), [("param", "value")]);
    for path in ["/", "/a/b", "/a/"] {
        assert_eq!(status(&router, upgrade(path)), StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn routing_with_optional_parameter() {
    let router = Router::new().route("/foo/{param?}", ws());
    assert_eq!(params(&granted(&router, upgrade("/foo/value"))), [("param", "value")]);
    for path in ["/foo", "/foo/"] {
        assert_eq!(params(&granted(&router, upgrade(path))), [], "{path}");
    }
}

#[test]
fn routing_with_wildcard() {
    let router = Router::new().route("/foo/*/bar", ws());
    assert_eq!(params(&granted(&router, upgrade("/foo/x/bar"))), []);
    for path in ["/foo/bar", "/foo//bar", "/foo/x/y/bar"] {
        assert_eq!(status(&router, upgrade(path)), StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn routing_with_anonymous_tailcard() {
    let router = Router::new().route("/foo/{*}", ws());
    for path in ["/foo", "/foo/", "/foo/a", "/foo/a/b/"] {
        assert_eq!(params(&granted(&router, upgrade(path))), [], "{path}");
    }
}

/// Ktor gives a list of segments, ours is one text: a path beneath a directory, most often.
#[test]
fn routing_with_named_tailcard() {
    let router = Router::new().route("/foo/{*items}", ws());
    for (path, items) in [("/foo", ""), ("/foo/", ""), ("/foo/a", "a"), ("/foo/a/b/", "a/b/")] {
        assert_eq!(params(&granted(&router, upgrade(path))), [("items", items)], "{path}");
    }
}

#[test]
fn routing_with_prefixed_tailcard() {
    let router = Router::new().route("/pre{*items}", ws());
    assert_eq!(params(&granted(&router, upgrade("/prefix/a"))), [("items", "fix/a")]);
    assert_eq!(status(&router, upgrade("/x/pre")), StatusCode::NOT_FOUND);
    assert!(Router::new().try_route("/{*items}suffix", ws()).is_err());
}

#[test]
fn custom_root_path() {
    let router = Router::new().nest("/app/v1", Router::new().route("/x", ws()).route("", ws()));
    granted(&router, upgrade("/app/v1/x"));
    granted(&router, upgrade("/app/v1"));
    assert_eq!(status(&router, upgrade("/x")), StatusCode::NOT_FOUND);
}

#[test]
fn routing_with_space_and_plus() {
    let router = Router::new().route("/a b", page("space")).route("/a+b", page("plus"));
    assert_eq!((taken(&router, "/a%20b"), taken(&router, "/a+b")), ("space".into(), "plus".into()));
}

#[test]
fn malformed_escape_is_bad_request() {
    let router = Router::new().route("/{*all}", ws());
    assert_eq!(status(&router, upgrade("/%uff0c")), StatusCode::BAD_REQUEST);
}

#[test]
fn routing_with_and_without_trailing_slash() {
    let router = Router::new().route("/foo", page("without")).route("/foo/", page("with"));
    assert_eq!(
        (taken(&router, "/foo"), taken(&router, "/foo/")),
        ("without".into(), "with".into())
    );
    let strict = Router::new().route("/foo", page("foo")).route("/p/{x}/", page("p"));
    assert_eq!((taken(&strict, "/foo/"), taken(&strict, "/p/1")), ("404".into(), "404".into()));
    let lenient = strict.ignore_trailing_slash(true);
    assert_eq!((taken(&lenient, "/foo/"), taken(&lenient, "/p/1")), ("foo".into(), "p".into()));
}

#[test]
fn constant_beats_parameter() {
    let router = Router::new().route("/{name}", page("parameter")).route("/echo", page("constant"));
    assert_eq!(
        (taken(&router, "/echo"), taken(&router, "/x")),
        ("constant".into(), "parameter".into())
    );
}

// WebSocketTest and its neighbours

#[test]
fn parameters() {
    let router = Router::new().route("/{p}", ws());
    assert_eq!(granted(&router, upgrade("/aaa")).request().param::<String>("p").unwrap(), "aaa");
}

#[test]
fn websocket_builder_returns_route() {
    let route: WebSocketRoute = websocket(|_session| async {});
    let raw: WebSocketRoute = websocket_raw(|_session| async {});
    let router = Router::new().route("/a", route.protocol("p")).route("/b", raw);
    assert_eq!(router.to_string(), "/a (WebSocket: p)\n/b (raw WebSocket)\n");
}

#[test]
fn websocket_requiring_sub_protocol_with_and_without_sub_protocol() {
    let router = Router::new().route("/x", ws().protocol("test"));
    let upgrade_ = granted(&router, offering("/x", "test"));
    assert_eq!(protocol(upgrade_).as_deref(), Some("test"));
    assert_eq!(status(&router, upgrade("/x")), StatusCode::BAD_REQUEST);
}

/// Row B2: Ktor's WebSocket without a path takes a POST with upgrade headers, ours does not.
#[test]
fn websocket_without_path_is_asked_for_with_get() {
    let router = Router::new().nest("/x", Router::new().route("", ws()));
    granted(&router, upgrade("/x"));
    let post = upgrade("/x").method(Method::POST);
    assert_eq!(status(&router, post), StatusCode::METHOD_NOT_ALLOWED);
}
