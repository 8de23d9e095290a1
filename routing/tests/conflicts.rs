//! Errors of adding routes to a router.

mod common;

use common::{granted, offering, params, upgrade, ws};
use http::{Method, Response};
use sockless_routing::{RespondRoute, RouteError, Router, Selector, respond, websocket_raw};

fn page() -> RespondRoute {
    respond(|_request| Response::new("page".into()))
}

/// The text of the error, which is also that of the panic.
fn message(result: Result<Router, RouteError>) -> String {
    match result {
        Ok(router) => panic!("the router was built:\n{router}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn two_routes_without_a_subprotocol_conflict() {
    let router = Router::new().route("/x", ws());
    let raw = websocket_raw(|_session| async {});
    assert_eq!(
        message(router.try_route("/x", raw)),
        "the route /x (raw WebSocket) conflicts with /x (WebSocket): \
         both serve clients without a subprotocol"
    );
}

#[test]
fn two_routes_of_one_subprotocol_conflict() {
    let router =
        Router::new().route("/x", ws().protocol("b")).route("/x", ws().protocol("a").protocol("c"));
    assert_eq!(
        message(router.try_route("/x", ws().protocol("d").protocol("c"))),
        "the route /x (WebSocket: d, c) conflicts with /x (WebSocket: a, c): \
         both serve the subprotocol c"
    );
}

#[test]
fn two_responses_to_one_method_conflict() {
    let router = Router::new().route("/x", page());
    assert_eq!(
        message(router.try_route("/x", page().method(Method::POST).method(Method::HEAD))),
        "the route /x (POST, HEAD) conflicts with /x (GET, HEAD): both answer HEAD"
    );
}

#[test]
fn parameter_names_make_no_difference_to_a_path() {
    let router = Router::new().route("/a/{x}", ws().protocol("a"));
    assert_eq!(
        message(router.clone().try_route("/a/{y}", ws().protocol("a"))),
        "the route /a/{y} (WebSocket: a) conflicts with /a/{x} (WebSocket: a): \
         both serve the subprotocol a"
    );
    let router = router.route("/a/{y}", ws().protocol("b"));
    for (offer, name) in [("a", "x"), ("b", "y")] {
        let upgrade = granted(&router, offering("/a/1", offer));
        assert_eq!(params(&upgrade), [(name, "1")]);
    }
}

#[test]
fn the_conflicting_route_is_named() {
    let router = Router::new()
        .route("/a/b", ws())
        .route("/a/{x}/c", ws())
        .route("/a/{x}/d", ws())
        .route("/a/{x}", ws())
        .route("/a/{x}/{{e}}/{y}", ws())
        .route("/v{n:u8}/{id?}", ws())
        .route("/*/{*}", ws())
        .route("/q", ws().when(Selector::query("a")).when(Selector::port(1)));
    for (path, existing) in [
        ("/a/{z}", "/a/{x}"),
        ("/a/{z}/d", "/a/{x}/d"),
        ("/a/{z?}", "/a/{x}"),
        ("/a/{z}/{{e}}/{x}", "/a/{x}/{{e}}/{y}"),
        ("/v{m:u8}/{x}", "/v{n:u8}/{id?}"),
        ("/v{m:u8}/{x:u8?}", "/v{n:u8}/{id?}"),
        ("/*/{*rest}", "/*/{*}"),
    ] {
        match router.clone().try_route(path, ws()) {
            Err(RouteError::Conflict { new, existing: e, .. }) => {
                assert_eq!((new.path(), e.path()), (path, existing));
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    let again = ws().when(Selector::port(1)).when(Selector::query("a"));
    assert_eq!(
        message(router.try_route("/q", again)),
        "the route /q (WebSocket) when port 1 and query \"a\" conflicts with \
         /q (WebSocket) when port 1 and query \"a\": both serve clients without a subprotocol"
    );
}

#[test]
fn two_spellings_of_one_path_conflict() {
    let router = Router::new().route("/café", ws());
    assert_eq!(
        message(router.try_route("/caf%C3%A9", ws())),
        "the route /caf%C3%A9 (WebSocket) conflicts with /café (WebSocket): \
         both serve clients without a subprotocol"
    );
}

#[test]
fn routes_for_different_requests_do_not_conflict() {
    let router = Router::new()
        .route("/x", ws())
        .route("/x", ws().protocol("a"))
        .route("/x", ws().protocol("A"))
        .route("/x", page())
        .route("/x", page().method(Method::POST))
        .route("/x/", ws())
        .route("/X", ws())
        .route("/{x}", ws())
        .route("/{x}/y", ws())
        .route("/{z}/z", ws())
        .route("/{id:u8}", ws())
        .route("/{id:u16}", ws())
        .route("/v{x}", ws())
        .route("/*", ws())
        .route("/{*rest}", ws())
        .route("/x/{id?}", ws())
        .route("/x/y/{*rest}", ws())
        .route("/x", ws().when(Selector::query("a")))
        .route("/x", ws().when(Selector::query_value("a", "1")))
        .route("/x", ws().when(Selector::query("a")).when(Selector::port(1)));
    assert_eq!(router.routes().count(), 20);
}

#[test]
fn a_conflict_of_nested_routes_names_whole_paths() {
    let log = || Router::new().route("/log/{id}", ws());
    let router = Router::new().nest("/admin", log());
    assert_eq!(
        message(router.try_nest("/admin", log())),
        "the route /admin/log/{id} (WebSocket) conflicts with /admin/log/{id} (WebSocket): \
         both serve clients without a subprotocol"
    );
}

#[test]
#[should_panic(expected = "the route /x (WebSocket) conflicts with /x (WebSocket)")]
fn route_panics_on_a_conflict() {
    let _ = Router::new().route("/x", ws()).route("/x", ws());
}

#[test]
#[should_panic(expected = "the route /a/x (WebSocket) conflicts with /a/x (WebSocket)")]
fn nest_panics_on_a_conflict() {
    let inner = Router::new().route("/x", ws());
    let _ = Router::new().route("/a/x", ws()).nest("/a", inner);
}

#[test]
fn an_invalid_path_is_rejected_with_the_rule_that_it_violates() {
    for (path, rule) in [
        ("x", "begins with /"),
        ("/a?b", "query"),
        ("/%zz", "%"),
        ("/{", "brace"),
        ("/{}", "name"),
        ("/{id:int}", "type"),
        ("/{id?}/x", "end of a path"),
        ("/a*b", "only character"),
        ("/{a}{b}", "one parameter"),
        ("/{a}-{b}", "one parameter"),
        ("/{*rest}/x", "end of a path"),
        ("/{*rest}.js", "end of a path"),
    ] {
        let message = message(Router::new().try_route(path, ws()));
        assert!(message.starts_with(&format!("invalid route path {path:?}: ")), "{message}");
        assert!(message.contains(rule), "{path}: {message}");
    }
}

#[test]
fn a_prefix_is_checked_even_without_routes() {
    for prefix in ["admin", "/{"] {
        assert!(Router::new().try_nest(prefix, Router::new()).is_err(), "{prefix}");
    }
}

#[test]
fn no_route_can_follow_the_rest_or_an_optional_segment() {
    for prefix in ["/{*rest}", "/{id?}"] {
        let inner = Router::new().route("/x", ws());
        let message = message(Router::new().try_nest(prefix, inner));
        assert!(message.starts_with(&format!("invalid route path \"{prefix}/x\": ")), "{message}");
    }
}

#[test]
fn a_subprotocol_is_a_token() {
    for name in ["", "a b", "a,b", "a/b", "ä", "a\r\nx: y"] {
        let error = Router::new().try_route("/x", ws().protocol(name)).unwrap_err();
        assert!(matches!(error, RouteError::ProtocolInvalid { .. }), "{name:?}: {error}");
    }
    let router = Router::new().route("/x", ws().protocol("v10.stomp").protocol("a!#$%&'*+-.^_`|~"));
    assert_eq!(router.routes().count(), 1);
}

#[test]
fn a_clone_of_a_router_is_independent() {
    let router = Router::new().route("/a", ws());
    let more = router.clone().route("/b", ws());
    assert_eq!((router.routes().count(), more.routes().count()), (1, 2));
    granted(&more, upgrade("/a"));
}
