//! The choice among several paths that match. `reference.rs` checks the same rules at random.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{
    get, granted, line, offering, page, params, protocol, request, responded, taken, upgrade, ws,
};
use http::{Method, StatusCode};
use sockless_routing::{Router, Selector, websocket_raw};

/// Asserts that each of `patterns`, the best first, is chosen for `path` if those before it are
/// absent, in either order of definition.
#[track_caller]
fn ranks(path: &str, patterns: &[&'static str]) {
    for (index, best) in patterns.iter().enumerate() {
        let routes = &patterns[index..];
        let forwards = routes.iter().fold(Router::new(), |r, p| r.route(p, page(p)));
        let backwards = routes.iter().rev().fold(Router::new(), |r, p| r.route(p, page(p)));
        assert_eq!(taken(&forwards, path), *best, "{path}");
        assert_eq!(taken(&backwards, path), *best, "{path}, defined backwards");
    }
}

#[test]
fn a_literal_precedes_an_affix_precedes_a_type_precedes_a_parameter_precedes_the_wildcard_precedes_the_rest()
 {
    ranks("/12", &["/12", "/1{x}", "/{x:u8}", "/{x}", "/*", "/{*rest}"]);
}

#[test]
fn a_longer_affix_precedes_a_shorter_one_and_a_type_precedes_none() {
    ranks("/abc1", &["/abc{x:u8}", "/abc{x}", "/a{x}1", "/{x}1"]);
    ranks("/a1", &["/a{*rest}", "/{*rest}"]);
}

#[test]
fn an_end_precedes_an_optional_segment_precedes_an_empty_rest() {
    ranks("/a", &["/a", "/a/{x?}", "/a/{*rest}"]);
    ranks("/a/", &["/a/", "/a/{x?}", "/a/{*rest}"]);
    ranks("/a/b", &["/a/b", "/a/{x}", "/a/*", "/a/{*rest}"]);
}

#[test]
fn a_better_early_segment_precedes_any_later_advantage() {
    ranks("/a/b/c", &["/a/{*rest}", "/{x}/b/c", "/{x}/b/{y}", "/*/b/c", "/{*rest}"]);
}

#[test]
fn after_a_better_sibling_without_a_match_the_next_one_is_searched() {
    let router = Router::new()
        .route("/a/b/c/x", page("literal"))
        .route("/a/{p}/c/y", page("parameter"))
        .route("/*/b/{q}/z", page("wildcard"))
        .route("/{*rest}", page("rest"));
    for (path, name) in [
        ("/a/b/c/x", "literal"),
        ("/a/b/c/y", "parameter"),
        ("/a/b/c/z", "wildcard"),
        ("/a/b/c/w", "rest"),
        ("/a/b/c", "rest"),
    ] {
        assert_eq!(taken(&router, path), name, "{path}");
    }
}

#[test]
fn the_captures_of_a_sibling_without_a_match_are_dropped() {
    let router = Router::new().route("/{a}/{b:u8}/{c}/x", ws()).route("/{*rest}", ws());
    let upgrade = granted(&router, upgrade("/1/2/3/y"));
    assert_eq!(params(&upgrade), [("rest", "1/2/3/y")]);
}

#[test]
fn among_equal_routes_the_first_defined_is_chosen() {
    for types in [["u8", "u16"], ["u16", "u8"]] {
        let route = |router: Router, kind| router.route(&format!("/{{n:{kind}}}"), page(kind));
        let router = types.into_iter().fold(Router::new(), route);
        assert_eq!(taken(&router, "/7"), types[0]);
        assert_eq!(taken(&router, "/700"), "u16");
    }
}

#[test]
fn more_selectors_precede_fewer_and_fewer_precede_none() {
    let (a, b) = (|| Selector::query("a"), || Selector::query("b"));
    let router = Router::new()
        .route("/x", page("none"))
        .route("/x", page("a").when(a()))
        .route("/x", page("b").when(b()))
        .route("/x", page("both").when(b()).when(a()));
    for (path, name) in
        [("/x", "none"), ("/x?a", "a"), ("/x?b", "b"), ("/x?b&a", "both"), ("/x?c", "none")]
    {
        assert_eq!(taken(&router, path), name, "{path}");
    }
}

#[test]
fn selectors_of_a_nested_router_precede_better_paths_of_others() {
    let admin = Router::new().when(Selector::query("admin")).route("/{*rest}", page("admin"));
    let router = Router::new().route("/a/b", page("literal")).nest("/", admin);
    assert_eq!(taken(&router, "/a/b"), "literal");
    assert_eq!(taken(&router, "/a/b?admin"), "admin");
}

#[test]
fn if_a_selected_router_has_no_route_the_others_are_searched() {
    let admin = Router::new().when(Selector::query("admin")).route("/admin", page("admin"));
    let router = Router::new().route("/a", page("literal")).nest("/", admin);
    assert_eq!(taken(&router, "/a?admin"), "literal");
}

#[test]
fn a_websocket_precedes_a_page_for_upgrade_requests() {
    for routes in [
        Router::new().route("/x", ws()).route("/x", page("page")),
        Router::new().route("/x", page("page")).route("/x", ws()),
    ] {
        granted(&routes, upgrade("/x"));
        assert_eq!(taken(&routes, "/x"), "page");
    }
}

#[test]
fn a_named_subprotocol_precedes_none() {
    for router in [
        Router::new().route("/x", ws()).route("/x", ws().protocol("a")),
        Router::new().route("/x", ws().protocol("a")).route("/x", ws()),
    ] {
        assert_eq!(protocol(granted(&router, offering("/x", "b, a"))).as_deref(), Some("a"));
        assert_eq!(protocol(granted(&router, offering("/x", "b"))), None);
    }
}

#[test]
fn a_plain_request_skips_a_websocket_for_a_page_of_another_path() {
    let router = Router::new().route("/x", ws()).route("/{*rest}", page("page"));
    granted(&router, upgrade("/x"));
    assert_eq!(taken(&router, "/x"), "page");
    let raw = websocket_raw(|_session| async {});
    let router = Router::new().route("/x", raw).route("/{x}", page("page").method(Method::POST));
    let response = responded(&router, request(Method::POST, "/x"));
    assert_eq!(response.body(), "page");
}

#[test]
fn an_unserved_subprotocol_is_passed_to_the_next_websocket() {
    let router =
        Router::new().route("/chat/lobby", ws().protocol("v2")).route("/chat/{room}", ws());
    assert_eq!(protocol(granted(&router, offering("/chat/lobby", "v2"))).as_deref(), Some("v2"));
    let other = granted(&router, offering("/chat/lobby", "v1"));
    assert_eq!(params(&other), [("room", "lobby")]);
}

#[test]
fn no_page_answers_an_upgrade_request_that_has_matched_a_websocket() {
    let router = Router::new().route("/x", ws().protocol("a")).route("/{*rest}", page("page"));
    let response = responded(&router, offering("/x", "b"));
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(line(&response).ends_with("served: a"));

    let mut old = offering("/x", "a");
    old.headers_mut().unwrap().insert("sec-websocket-version", "8".parse().unwrap());
    assert_eq!(responded(&router, old).status(), StatusCode::UPGRADE_REQUIRED);
    let foreign = offering("/x", "a").header("origin", "https://evil.example");
    assert_eq!(responded(&router, foreign).status(), StatusCode::FORBIDDEN);
}

#[test]
fn a_rejected_origin_is_not_passed_to_a_more_lenient_route() {
    let anyone = Router::new().origins(sockless_routing::Origins::any()).route("/{x}", ws());
    let router = Router::new().route("/x", ws()).nest("/", anyone);
    let foreign = |path| upgrade(path).header("origin", "https://evil.example");
    assert_eq!(responded(&router, foreign("/x")).status(), StatusCode::FORBIDDEN);
    granted(&router, foreign("/y"));
}

#[test]
fn allow_lists_the_methods_of_all_paths_that_match() {
    let router = Router::new()
        .route("/x", page("post").method(Method::POST))
        .route("/{x}", page("put").method(Method::PUT))
        .route("/{*rest}", ws());
    let response = responded(&router, request(Method::DELETE, "/x"));
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "POST, PUT, GET");
    let response = responded(&router, get("/x"));
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
}

#[test]
fn no_node_is_visited_twice_even_if_the_paths_overlap() {
    let looks = Arc::new(AtomicUsize::new(0));
    let count = || {
        let looks = looks.clone();
        Selector::custom("never", move |_request| {
            looks.fetch_add(1, Ordering::Relaxed);
            false
        })
    };
    let segments = ["1", "{x:u8}", "{x}", "*"];
    let mut router = Router::new();
    let mut paths = vec![String::new()];
    for _ in 0..5 {
        let longer = paths.iter().flat_map(|path| segments.map(|s| format!("{path}/{s}")));
        paths = longer.collect();
        router = paths.iter().fold(router, |r, path| r.route(path, page("page").when(count())));
    }
    let places = router.routes().count();
    assert_eq!(places, 4 + 16 + 64 + 256 + 1024);
    for path in ["/1/1/1/1/1", "/1/1/1/1/1/1"] {
        assert_eq!(taken(&router, path), "404");
        assert_eq!(looks.swap(0, Ordering::Relaxed), places);
    }
}
