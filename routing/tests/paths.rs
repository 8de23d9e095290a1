//! Which paths a route matches, and what its parameters hold.

mod common;

use common::{get, granted, line, params, request, responded, status, upgrade, ws};
use http::{Method, StatusCode};
use sockless_routing::Router;

#[test]
fn a_literal_path_matches_itself_alone() {
    let router = Router::new().route("/echo", ws());
    granted(&router, upgrade("/echo"));
    granted(&router, upgrade("/echo?room=1"));
    for path in ["/", "/ech", "/echoo", "/Echo", "/echo/", "//echo", "/echo/x"] {
        assert_eq!(status(&router, upgrade(path)), StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn a_parameter_holds_one_segment() {
    let router = Router::new().route("/chat/{room}", ws());
    let upgrade_ = granted(&router, upgrade("/chat/lobby"));
    assert_eq!(upgrade_.call().param("room"), Some("lobby"));
    assert_eq!(upgrade_.call().param("nothing"), None);
    for path in ["/chat", "/chat/", "/chat/lobby/", "/chat/a/b"] {
        assert_eq!(status(&router, upgrade(path)), StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn parameters_come_in_the_order_of_the_path() {
    let router = Router::new().route("/{b}/x/{a}/v{c}", ws());
    let upgrade = granted(&router, upgrade("/1/x/2/v3"));
    assert_eq!(params(&upgrade), [("b", "1"), ("a", "2"), ("c", "3")]);
}

#[test]
fn the_rest_holds_all_segments_that_are_left() {
    let router = Router::new().route("/files/{*rest}", ws());
    let upgrade_ = granted(&router, upgrade("/files/a/b%20c/d/"));
    assert_eq!(params(&upgrade_), [("rest", "a/b c/d/")]);
    assert_eq!(status(&router, upgrade("/files/")), StatusCode::NOT_FOUND);
}

#[test]
fn the_more_literal_path_is_matched() {
    let router = Router::new()
        .route("/{*rest}", ws())
        .route("/chat/{room}", ws())
        .route("/chat/lobby", ws());
    assert_eq!(params(&granted(&router, upgrade("/chat/lobby"))), []);
    let parameter = granted(&router, upgrade("/chat/attic"));
    assert_eq!(params(&parameter), [("room", "attic")]);
    let rest = granted(&router, upgrade("/chat/attic/x"));
    assert_eq!(params(&rest), [("rest", "chat/attic/x")]);
}

#[test]
fn parameters_are_decoded() {
    let router = Router::new().route("/chat/{room}", ws());
    for (path, room) in [
        ("/chat/a%20b", "a b"),
        ("/chat/caf%C3%A9", "café"),
        ("/chat/café", "café"),
        ("/chat/100%25", "100%"),
        ("/chat/%7Broom%7D", "{room}"),
        ("/chat/%3F%23", "?#"),
        ("/chat/%00", "\0"),
    ] {
        let upgrade = granted(&router, upgrade(path));
        assert_eq!(params(&upgrade), [("room", room)], "{path}");
    }
}

#[test]
fn an_encoded_slash_does_not_split_a_segment() {
    let router = Router::new().route("/chat/{room}", ws());
    for path in ["/chat/a%2Fb", "/chat/a%2fb"] {
        assert_eq!(params(&granted(&router, upgrade(path))), [("room", "a/b")]);
    }
    let router = Router::new().route("/a/b", ws());
    assert_eq!(status(&router, upgrade("/a%2Fb")), StatusCode::NOT_FOUND);
}

#[test]
fn a_parameter_is_decoded_once() {
    let router = Router::new().route("/chat/{room}", ws());
    let upgrade = granted(&router, upgrade("/chat/%252F"));
    assert_eq!(params(&upgrade), [("room", "%2F")]);
}

#[test]
fn a_plus_is_a_plus() {
    let router = Router::new().route("/chat/{room}", ws());
    assert_eq!(params(&granted(&router, upgrade("/chat/a+b"))), [("room", "a+b")]);
}

#[test]
fn a_literal_matches_however_it_is_spelled() {
    for written in ["/café/a b", "/caf%c3%a9/a%20b", "/c%61f%C3%A9/a%20b"] {
        let router = Router::new().route(written, ws());
        granted(&router, upgrade("/caf%C3%A9/a%20b"));
        granted(&router, upgrade("/%63afé/%61%20b"));
    }
}

#[test]
fn a_path_that_cannot_be_decoded_is_a_bad_request() {
    let router = Router::new().route("/chat/{room}", ws());
    for path in ["/chat/%", "/chat/%4", "/chat/%zz", "/chat/%u0041", "/elsewhere%"] {
        let response = responded(&router, upgrade(path));
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        assert!(line(&response).contains('%'));
    }
    for path in ["/chat/%ff", "/chat/%C3", "/chat/%C3%28", "/chat/%ED%A0%80"] {
        let response = responded(&router, upgrade(path));
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        assert!(line(&response).contains("UTF-8"));
    }
}

#[test]
fn targets_that_are_no_paths_are_not_found() {
    let router = Router::new().route("/{*rest}", ws());
    let asterisk = request(Method::OPTIONS, "*");
    assert_eq!(status(&router, asterisk), StatusCode::NOT_FOUND);
    let authority = request(Method::CONNECT, "example.com:443");
    assert_eq!(status(&router, authority), StatusCode::NOT_FOUND);
}

#[test]
fn the_path_of_an_absolute_target_counts() {
    let router = Router::new().route("/echo", ws());
    granted(&router, upgrade("http://example.com/echo"));
}

#[test]
fn a_parameter_and_its_neighbour_share_a_segment() {
    let router = Router::new().route("/v{version}", ws()).route("/feed/{name}.json", ws());
    assert_eq!(params(&granted(&router, upgrade("/v2"))), [("version", "2")]);
    let named = granted(&router, upgrade("/feed/a.b.json"));
    assert_eq!(params(&named), [("name", "a.b")]);
    assert_eq!(status(&router, get("/feed/a.xml")), StatusCode::NOT_FOUND);
}

#[test]
fn ten_thousand_unmatched_upgrades_are_ten_thousand_times_404() {
    let router = Router::new().route("/echo", ws());
    let before = router.to_string();
    for index in 0..10_000 {
        let path = format!("/nowhere/{index}");
        assert_eq!(status(&router, upgrade(&path)), StatusCode::NOT_FOUND);
    }
    assert_eq!(router.to_string(), before);
    granted(&router, upgrade("/echo"));
}
