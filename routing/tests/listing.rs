//! Listing of routes.

mod common;

use common::ws;
use http::{Method, Response};
use sockless_routing::{RouteKind, Router, Selector, respond, websocket_raw};

fn router() -> Router {
    let page = || respond(|_request| Response::new("page".into()));
    let admin = Router::new().route("/log/{day}", ws()).route("/", page());
    Router::new()
        .route("/zoo", ws().protocol("b").protocol("a"))
        .nest("/admin", admin)
        .route("/tap", websocket_raw(|_session| async {}))
        .route("/zoo", page().method(Method::POST))
}

#[test]
fn routes_are_listed_in_the_order_of_their_definition() {
    let router = router();
    let paths: Vec<_> = router.routes().map(|route| route.path()).collect();
    assert_eq!(paths, ["/zoo", "/admin/log/{day}", "/admin", "/tap", "/zoo"]);
}

#[test]
fn a_listed_route_describes_the_requests_it_serves() {
    use RouteKind::*;
    let router = router();
    let routes: Vec<_> =
        router.routes().map(|route| (route.kind(), route.protocols(), route.methods())).collect();
    let (none, get): (&[String], _) = (&[], &[Method::GET][..]);
    assert_eq!(
        routes,
        [
            (WebSocket, &["b".to_owned(), "a".to_owned()][..], get),
            (WebSocket, none, get),
            (Respond, none, &[Method::GET, Method::HEAD][..]),
            (RawWebSocket, none, get),
            (Respond, none, &[Method::POST][..]),
        ]
    );
}

#[test]
fn a_router_is_displayed_one_route_per_line() {
    let lines = "\
/zoo (WebSocket: b, a)
/admin/log/{day} (WebSocket)
/admin (GET, HEAD)
/tap (raw WebSocket)
/zoo (POST)
";
    assert_eq!(router().to_string(), lines);
    assert_eq!(Router::new().to_string(), "");
}

#[test]
fn selectors_are_listed_from_the_outermost_to_the_innermost() {
    let inner = Router::new()
        .when(Selector::query("q"))
        .when(Selector::host("A.example"))
        .route("/x", ws().protocol("p").when(Selector::query_value("v", "2")));
    let router = Router::new().nest("/n", Router::new().when(Selector::port(1)).nest("/", inner));
    let expected = "/n/x (WebSocket: p) when port 1 and host a.example and query \"q\" \
                    and query \"v\" = \"2\"\n";
    assert_eq!(router.to_string(), expected);
    let selectors = router.routes().next().unwrap().selectors();
    assert_eq!(selectors[0], Selector::port(1));
    assert_eq!(selectors.len(), 4);
    let either = Selector::local_port(1).or(Selector::custom("night", |_request| true));
    assert_eq!(either.to_string(), "(local port 1 or \"night\")");
}

#[test]
fn the_debug_output_of_a_router_lists_its_routes() {
    let debug = format!("{:?}", router().state(1));
    assert!(debug.contains("/admin/log/{day}"), "{debug}");
    assert!(debug.contains("state: 1"), "{debug}");
}
