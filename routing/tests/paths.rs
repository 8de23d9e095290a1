//! Literal paths, parameters and percent-decoding.

mod common;

use common::{granted, line, params, request, responded, status, upgrade, ws};
use http::{Method, StatusCode};
use sockless_routing::Router;

#[test]
fn a_literal_path_matches_only_itself() {
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
    assert_eq!(upgrade_.request().param_str("room"), Some("lobby"));
    assert_eq!(upgrade_.request().param_str("nothing"), None);
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
fn a_plus_is_not_decoded_as_a_space() {
    let router = Router::new().route("/chat/{room}", ws());
    assert_eq!(params(&granted(&router, upgrade("/chat/a+b"))), [("room", "a+b")]);
}

#[test]
fn a_literal_matches_every_encoding_of_itself() {
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
fn a_target_that_is_not_a_path_is_not_found() {
    let router = Router::new().route("/{*rest}", ws());
    // It concerns the server and no route.
    let asterisk = request(Method::OPTIONS, "*");
    assert_eq!(status(&router, asterisk), StatusCode::NO_CONTENT);
    let asterisk = request(Method::GET, "*");
    assert_eq!(status(&router, asterisk), StatusCode::NOT_FOUND);
    let authority = request(Method::CONNECT, "example.com:443");
    assert_eq!(status(&router, authority), StatusCode::NOT_FOUND);
}

#[test]
fn the_path_of_an_absolute_target_is_routed() {
    let router = Router::new().route("/echo", ws());
    granted(&router, upgrade("http://example.com/echo"));
}
