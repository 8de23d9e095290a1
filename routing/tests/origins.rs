//! Origin policies.

mod common;

use common::{get, granted, line, responded, status, upgrade, ws};
use http::{Response, StatusCode, request};
use sockless_routing::{Origins, Router, respond};

fn router(origins: Origins) -> Router {
    Router::new().route("/x", ws()).origins(origins)
}

/// An upgrade request to `host` from a page of `origin`.
fn page(host: &str, origin: &str) -> request::Builder {
    let mut request = upgrade("/x").header("origin", origin);
    let headers = request.headers_mut().unwrap();
    headers.insert("host", host.parse().unwrap());
    request
}

#[test]
fn without_a_policy_every_page_is_rejected() {
    let router = Router::new().route("/x", ws());
    let response = responded(&router, page("example.com", "https://example.com"));
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let line = str::from_utf8(response.body()).unwrap();
    assert!(line.contains("Router::origins"), "{line}");
    granted(&router, upgrade("/x"));
    // It inherits the policy of an outer router.
    let outer = Router::new().origins(Origins::same_origin()).nest("/", router);
    granted(&outer, page("example.com", "https://example.com"));
}

#[test]
fn requests_without_an_origin_are_accepted_by_every_policy() {
    for origins in [
        Origins::any(),
        Origins::same_origin(),
        Origins::list(["https://example.com"]),
        Origins::list([""; 0]),
    ] {
        granted(&router(origins), upgrade("/x"));
    }
}

#[test]
fn the_same_origin_is_the_same_host_and_port() {
    let router = router(Origins::same_origin());
    for (host, origin) in [
        ("example.com", "http://example.com"),
        ("example.com", "https://example.com"),
        ("example.com", "HTTPS://EXAMPLE.com"),
        ("Example.COM", "https://example.com"),
        ("example.com:443", "https://example.com"),
        ("example.com", "https://example.com:443"),
        ("example.com:80", "http://example.com"),
        ("example.com:", "http://example.com:80"),
        ("example.com:8080", "http://example.com:8080"),
        ("localhost:3000", "http://localhost:3000"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("[::1]:3000", "http://[::1]:3000"),
        ("[::1]", "http://[::1]"),
        ("a_b-c.example", "http://a_b-c.example"),
    ] {
        let answer = common::answer(&router, page(host, origin));
        let is_granted = matches!(answer, sockless_driver::Answer::Upgrade(_));
        assert!(is_granted, "{origin} on {host}");
    }
}

#[test]
fn another_host_or_port_is_another_origin() {
    let router = router(Origins::same_origin());
    for (host, origin) in [
        ("example.com", "https://evil.example"),
        ("example.com", "https://evil-example.com"),
        ("example.com", "https://example.com.evil.org"),
        ("example.com", "https://evilexample.com"),
        ("example.com", "https://www.example.com"),
        ("www.example.com", "https://example.com"),
        ("example.com", "https://example.com."),
        ("example.com", "https://example.com:8443"),
        ("example.com", "http://example.com:443"),
        ("example.com:443", "http://example.com"),
        ("example.com:80", "https://example.com"),
        ("example.com:8080", "http://example.com"),
        ("example.com:8080", "http://example.com:8081"),
        ("[::1]", "http://[::2]"),
        ("127.0.0.1", "http://localhost"),
        ("example.com", "chrome-extension://example.com"),
    ] {
        let response = responded(&router, page(host, origin));
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{origin} on {host}");
        let line = line(&response);
        assert!(line.contains(origin), "{line}");
    }
}

#[test]
fn an_invalid_origin_is_rejected() {
    for origins in [Origins::same_origin(), Origins::list(["https://example.com"])] {
        let router = router(origins);
        for origin in [
            "null",
            "",
            "example.com",
            "//example.com",
            "://example.com",
            "https:example.com",
            "https://",
            "https://:443",
            "https://example.com/",
            "https://example.com/path",
            "https://example.com?",
            "https://example.com#",
            "https://user@example.com",
            "https://example.com@evil.org",
            "https://evil.org/https://example.com",
            "https://example.com:+443",
            "https://example.com:443:443",
            "https://example.com:65536",
            "https://example.com:port",
            "https://example.com https://example.com",
            "https://example.com,https://example.com",
            "https://example.com\\.evil.org",
            "https://[example.com]",
            "https://[::1",
        ] {
            let response = responded(&router, page("example.com", origin));
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{origin}");
            line(&response);
        }
    }
}

#[test]
fn two_origins_are_rejected_even_if_they_are_equal() {
    let router = router(Origins::same_origin());
    let request = page("example.com", "https://example.com");
    let request = request.header("origin", "https://example.com");
    assert_eq!(status(&router, request), StatusCode::FORBIDDEN);
}

#[test]
fn without_one_valid_host_no_page_has_the_same_origin() {
    let router = router(Origins::same_origin());
    for host in ["", "user@example.com", "example.com/", "example.com:x"] {
        let request = page(host, "https://example.com");
        assert!(status(&router, request).is_client_error(), "{host}");
    }
}

#[test]
fn the_authority_of_the_target_overrides_host() {
    let router = router(Origins::same_origin());
    let request = |origin| {
        let mut request = page("elsewhere.example", origin);
        request = request.uri("https://example.com/x");
        request
    };
    granted(&router, request("https://example.com"));
    let foreign = request("https://elsewhere.example");
    assert_eq!(status(&router, foreign), StatusCode::FORBIDDEN);
}

#[test]
fn the_scheme_of_an_absolute_target_is_compared() {
    let router = router(Origins::same_origin());
    for (target, origin, is_granted) in [
        ("https://example.com/x", "https://example.com", true),
        ("wss://example.com/x", "https://example.com", true),
        ("http://example.com/x", "http://example.com", true),
        ("https://example.com/x", "http://example.com", false),
        ("http://example.com/x", "https://example.com", false),
    ] {
        let request = page("example.com", origin).uri(target);
        let answer = common::answer(&router, request);
        let was_granted = matches!(answer, sockless_driver::Answer::Upgrade(_));
        assert_eq!(was_granted, is_granted, "{origin} on {target}");
    }
}

#[test]
fn a_list_accepts_its_origins_only() {
    let router = router(Origins::list([
        "https://App.example",
        "http://localhost:3000",
        "chrome-extension://abcdef",
    ]));
    for origin in [
        "https://app.example",
        "https://app.example:443",
        "HTTPS://APP.EXAMPLE",
        "http://localhost:3000",
        "chrome-extension://abcdef",
    ] {
        granted(&router, page("example.com", origin));
    }
    for origin in [
        "http://app.example",
        "https://app.example:444",
        "https://x.app.example",
        "https://app.example.evil.org",
        "http://localhost",
        "https://localhost:3000",
        "https://example.com",
        "null",
    ] {
        let refused = status(&router, page("example.com", origin));
        assert_eq!(refused, StatusCode::FORBIDDEN, "{origin}");
    }
}

#[test]
fn any_accepts_every_page() {
    let router = router(Origins::any());
    for origin in ["https://evil.example", "null", "file://", ""] {
        granted(&router, page("example.com", origin));
    }
}

#[test]
fn a_list_with_an_invalid_origin_is_an_error() {
    for text in ["", "null", "example.com", "https://example.com/", "https://bücher.example", "*"]
    {
        let error = Origins::try_list(["https://example.com", text]).unwrap_err();
        assert!(error.to_string().starts_with(&format!("invalid origin {text:?}")));
    }
}

#[test]
#[should_panic(expected = "invalid origin \"example.com\"")]
fn a_list_with_an_invalid_origin_panics() {
    let _ = Origins::list(["example.com"]);
}

#[test]
fn a_nested_router_inherits_the_policy_unless_it_has_its_own() {
    let routes = || Router::new().route("/x", ws());
    let router = Router::new()
        .nest("/open", routes().origins(Origins::any()))
        .nest("/listed", routes())
        .origins(Origins::list(["https://app.example"]));
    let from = |path, origin| upgrade(path).header("origin", origin);
    granted(&router, from("/open/x", "https://evil.example"));
    granted(&router, from("/listed/x", "https://app.example"));
    let foreign = from("/listed/x", "https://evil.example");
    assert_eq!(status(&router, foreign), StatusCode::FORBIDDEN);
}

#[test]
fn the_origin_of_plain_requests_is_not_checked() {
    let router = Router::new().route("/page", respond(|_request| Response::new("page".into())));
    let request = get("/page").header("origin", "https://evil.example");
    assert_eq!(status(&router, request), StatusCode::OK);
}
