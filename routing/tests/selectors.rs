//! Selectors.

mod common;

use std::net::SocketAddr;

use common::{
    answer_call, call, get, granted, line, page, request, responded, status, taken, upgrade, ws,
};
use http::{Method, StatusCode};
use sockless_driver::Answer;
use sockless_routing::{Router, Selector};

fn only(selector: Selector) -> Router {
    Router::new().route("/x", page("x").when(selector))
}

/// Returns whether `router` answers a GET of `/x` for the host `host`.
fn takes_host(router: &Router, host: &str) -> bool {
    let mut request = get("/x");
    request.headers_mut().unwrap().insert("host", host.parse().unwrap());
    match responded(router, request).status() {
        StatusCode::OK => true,
        StatusCode::NOT_FOUND => false,
        status => panic!("{status}"),
    }
}

#[test]
fn a_host_is_compared_without_its_port_and_its_case() {
    let router = only(Selector::host("API.example.com"));
    for host in ["api.example.com", "Api.Example.Com", "api.example.com:8080"] {
        assert!(takes_host(&router, host), "{host}");
    }
    for host in ["example.com", "x.api.example.com", "api.example.com.evil.org", "api.example.co"] {
        assert!(!takes_host(&router, host), "{host}");
    }
}

#[test]
fn a_star_matches_every_name_under_a_host() {
    let router = only(Selector::host("*.example.com"));
    for host in ["a.example.com", "a.b.Example.com", "a.example.com:1"] {
        assert!(takes_host(&router, host), "{host}");
    }
    for host in ["example.com", ".example.com", "aexample.com", "a.example.com.org"] {
        assert!(!takes_host(&router, host), "{host}");
    }
}

#[test]
fn a_host_may_be_an_address() {
    assert!(takes_host(&only(Selector::host("127.0.0.1")), "127.0.0.1:3000"));
    for written in ["::1", "[::1]", "0:0::1"] {
        assert!(takes_host(&only(Selector::host(written)), "[::1]:3000"), "{written}");
    }
}

#[test]
fn an_invalid_host_is_rejected() {
    for name in ["", "*", "*.", "a:80", "a:", "a/b", "a b", "a,b", "http://a", "bücher.example"] {
        assert_eq!(Selector::try_host(name), None, "{name:?}");
    }
}

#[test]
#[should_panic(expected = "invalid host \"example.com:80\"")]
fn a_host_with_a_port_panics() {
    let _ = Selector::host("example.com:80");
}

#[test]
fn a_port_is_that_of_the_clients_url() {
    let router = only(Selector::port(8080));
    assert!(takes_host(&router, "example.com:8080"));
    assert!(!takes_host(&router, "example.com"));
    assert!(takes_host(&only(Selector::port(80)), "example.com"));
}

#[test]
fn a_local_port_is_that_of_the_connection_whatever_host_is_sent() {
    let router = only(Selector::local_port(9000));
    let at = |local: Option<&str>| {
        let local = local.map(|addr| addr.parse::<SocketAddr>().unwrap());
        let mut request = get("/x");
        request.headers_mut().unwrap().insert("host", "example.com:9000".parse().unwrap());
        match answer_call(&router, call(request).with_addrs(None, local)) {
            Answer::Respond(response) => response.status(),
            Answer::Upgrade(upgrade) => panic!("{upgrade:?}"),
        }
    };
    assert_eq!(at(Some("127.0.0.1:9000")), StatusCode::OK);
    assert_eq!(at(Some("127.0.0.1:80")), StatusCode::NOT_FOUND);
    assert_eq!(at(None), StatusCode::NOT_FOUND);
}

#[test]
fn a_query_parameter_is_compared_decoded() {
    let router = only(Selector::query("näme"));
    for query in ["n%C3%A4me", "a&näme=", "n%C3%A4me=1&b"] {
        assert_eq!(taken(&router, &format!("/x?{query}")), "x", "{query}");
    }
    let router = only(Selector::query_value("v", "1 2"));
    for query in ["v=1+2", "v=1%202", "v=3&v=1+2", "%76=1+2"] {
        assert_eq!(taken(&router, &format!("/x?{query}")), "x", "{query}");
    }
    for query in ["v=12", "v", "V=1+2", "v=1+2+"] {
        assert_eq!(taken(&router, &format!("/x?{query}")), "400", "{query}");
    }
}

#[test]
fn a_missing_query_parameter_is_named() {
    let router = Router::new().route("/x", ws().when(Selector::query_value("v", "2")));
    for path in ["/x", "/x?v=1"] {
        let response = responded(&router, upgrade(path));
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(line(&response), "this path requires query \"v\" = \"2\"");
    }
    assert_eq!(status(&router, upgrade("/y")), StatusCode::NOT_FOUND);
    granted(&router, upgrade("/x?v=2"));
}

#[test]
fn a_missing_query_parameter_is_named_only_if_a_route_requires_it() {
    let inner = Router::new().when(Selector::query("q")).route("/a/{id:u8}", ws());
    let router = Router::new().nest("/n", inner);
    assert_eq!(status(&router, upgrade("/n/a/1")), StatusCode::BAD_REQUEST);
    for path in ["/n", "/n/a", "/n/a/x", "/n/b"] {
        assert_eq!(status(&router, upgrade(path)), StatusCode::NOT_FOUND, "{path}");
    }
    let root = Router::new().when(Selector::query("q")).route("/a", ws());
    assert_eq!(status(&root, upgrade("/a")), StatusCode::BAD_REQUEST);
    assert_eq!(status(&root, upgrade("/b")), StatusCode::NOT_FOUND);
    granted(&root, upgrade("/a?q"));
}

#[test]
fn a_selector_that_differs_precedes_a_missing_query_parameter() {
    let router = only(Selector::query("q").clone()).clone();
    assert_eq!(taken(&router, "/x"), "400");
    let both = page("x").when(Selector::query("q")).when(Selector::host("other.example"));
    assert_eq!(taken(&Router::new().route("/x", both), "/x"), "404");
}

#[test]
fn a_wrong_method_precedes_a_missing_query_parameter() {
    let router = Router::new()
        .route("/x", page("get").when(Selector::query("q")))
        .route("/x", page("post").method(Method::POST));
    assert_eq!(status(&router, get("/x")), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(taken(&router, "/x?q"), "get");
}

#[test]
fn one_of_two_alternative_selectors_has_to_match() {
    let router = only(Selector::host("a.example").or(Selector::host("b.example")));
    for (host, is_taken) in [("a.example", true), ("b.example", true), ("c.example", false)] {
        assert_eq!(takes_host(&router, host), is_taken, "{host}");
    }
    let router = only(Selector::query("a").or(Selector::query("b")));
    assert_eq!((taken(&router, "/x?b"), taken(&router, "/x")), ("x".into(), "400".into()));
}

#[test]
fn a_program_may_define_selectors() {
    let mobile = Selector::custom("mobile", |request| {
        request.header("user-agent").is_some_and(|agent| agent.contains("Mobile"))
    });
    let router = Router::new().route("/x", page("small").when(mobile)).route("/x", page("large"));
    assert_eq!(taken(&router, "/x"), "large");
    let phone = get("/x").header("user-agent", "Mobile Safari");
    assert_eq!(responded(&router, phone).body(), "small");
}

#[test]
fn routers_of_different_hosts_are_virtual_servers() {
    let server = |host, name| Router::new().when(Selector::host(host)).route("/x", page(name));
    let router = Router::new()
        .nest("/", server("a.example", "a"))
        .nest("/", server("b.example", "b"))
        .route("/x", page("others"));
    for (host, name) in [("a.example", "a"), ("b.example", "b"), ("c.example", "others")] {
        let mut request = get("/x");
        request.headers_mut().unwrap().insert("host", host.parse().unwrap());
        assert_eq!(responded(&router, request).body(), name);
    }
}

#[test]
fn selectors_apply_to_nested_routers_and_accumulate() {
    let inner = Router::new().when(Selector::query("b")).route("/x", page("x"));
    let router =
        Router::new().nest("/n", Router::new().when(Selector::query("a")).nest("/", inner));
    for (path, name) in [("/n/x?a&b", "x"), ("/n/x?a", "400"), ("/n/x?b", "400"), ("/n/x", "400")] {
        assert_eq!(taken(&router, path), name, "{path}");
    }
    let root = router.when(Selector::port(1));
    assert_eq!(taken(&root, "/n/x?a&b"), "404");
}

#[test]
fn the_outermost_selectors_hide_methods_too() {
    let router = Router::new().when(Selector::local_port(1)).route("/x", page("x"));
    assert_eq!(status(&router, request(Method::POST, "/x")), StatusCode::NOT_FOUND);
}
