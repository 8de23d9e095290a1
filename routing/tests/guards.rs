//! The ready-made guards.

mod common;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use common::{answer_call, call, granted, line, page, responded, upgrade, ws};
use http::request::Builder;
use http::{Response, StatusCode};
use sockless_core::Instant;
use sockless_driver::{Answer, Request, Upgrade};
use sockless_routing::guards::{
    BasicUser, ConnectionLimit, RateLimit, basic, basic_with, bearer, bearer_with, equals_secret,
    limit_connections, limit_rate,
};
use sockless_routing::{Router, TrustedProxies};

fn with(value: &str) -> Builder {
    upgrade("/x").header("authorization", value)
}

#[track_caller]
fn challenged(router: &Router, request: Builder, challenge: &str) {
    let response = responded(router, request);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["www-authenticate"], challenge);
    line(&response);
}

#[test]
fn a_valid_bearer_token_is_accepted() {
    let router = Router::new().guard(bearer(["one", "two"])).route("/x", ws());
    for value in ["Bearer one", "Bearer two", "bearer one", "BEARER  two"] {
        granted(&router, with(value));
    }
    for value in
        ["Bearer three", "Bearer ", "Bearer on", "Bearer onee", "Bearer One", "Bearer one two"]
    {
        challenged(&router, with(value), "Bearer error=\"invalid_token\"");
    }
    for value in ["one", "Basic one", "Bearerone", ""] {
        challenged(&router, with(value), "Bearer");
    }
    challenged(&router, upgrade("/x"), "Bearer");
    challenged(&router, with("Bearer one").header("authorization", "Bearer one"), "Bearer");
}

#[test]
fn without_tokens_every_request_is_rejected() {
    let router = Router::new().guard(bearer([""; 0])).route("/x", ws());
    challenged(&router, with("Bearer "), "Bearer error=\"invalid_token\"");
}

#[test]
fn a_token_may_be_checked_by_an_async_function() {
    async fn length(token: String) -> Option<usize> {
        std::future::ready(()).await;
        token.starts_with('t').then_some(token.len())
    }
    let router = Router::new().route("/x", ws().guard(bearer_with(length)));
    assert_eq!(granted(&router, with("Bearer token")).request().get::<usize>(), Some(&5));
    challenged(&router, with("Bearer x"), "Bearer error=\"invalid_token\"");
    challenged(&router, upgrade("/x"), "Bearer");
}

const ADA: &str = "Basic YWRhOmw6dmVsYWNl"; // ada:l:velace
const ASK: &str = "Basic realm=\"the \\\"engine\\\"\", charset=\"UTF-8\"";

#[test]
fn a_user_with_a_valid_password_is_accepted_and_attached() {
    let users = [("bob", "b"), ("ada", "l:velace")];
    let router = Router::new().guard(basic("the \"engine\"", users)).route("/x", ws());
    for value in [ADA, "basic YWRhOmw6dmVsYWNl", "Basic  YWRhOmw6dmVsYWNl"] {
        let upgrade = granted(&router, with(value));
        assert_eq!(upgrade.request().get(), Some(&BasicUser("ada".to_owned())));
    }
    granted(&router, with("Basic Ym9iOmI=")); // bob:b
    granted(&router, with("Basic Ym9iOmI"));
    for value in [
        "Basic YWRhOmI=", // ada:b, the password of another
        "Basic Ym9iOmw6dmVsYWNl",
        "Basic YWRh",         // ada
        "Basic Og==",         // :
        "Basic /w==",         // no UTF-8
        "Basic ada:l:velace", // no base64
        "Basic ",
        "Bearer YWRhOmw6dmVsYWNl",
        "",
    ] {
        challenged(&router, with(value), ASK);
    }
    challenged(&router, upgrade("/x"), ASK);
}

#[test]
fn a_user_may_be_checked_by_an_async_function() {
    let check =
        |name: String, password: String| async move { (password == "l:velace").then_some(name) };
    let router = Router::new().guard(basic_with("the \"engine\"", check)).route("/x", ws());
    assert_eq!(granted(&router, with(ADA)).request().get(), Some(&"ada".to_owned()));
    challenged(&router, with("Basic YWRhOmI="), ASK);
    challenged(&router, upgrade("/x"), ASK);
}

#[test]
#[should_panic(expected = "invalid realm")]
fn a_realm_is_visible_ascii() {
    let _ = basic("a\nb", [("a", "b")]);
}

#[test]
fn secrets_are_equal_or_not() {
    assert!(equals_secret("s3cret", "s3cret") && equals_secret("", ""));
    for given in ["", "s3cre", "s3cret ", "S3cret", "s3creT"] {
        assert!(!equals_secret(given, "s3cret"), "{given}");
    }
}

/// A request from `peer`, received after so many milliseconds.
fn from(peer: &str, millis: u64) -> Request {
    let peer: IpAddr = peer.parse().unwrap();
    call(upgrade("/x"))
        .with_addrs(Some((peer, 1).into()), None)
        .with_received_at(Instant::from_epoch(Duration::from_millis(millis)))
}

fn answered(router: &Router, request: Request) -> Result<Upgrade, Response<Bytes>> {
    match answer_call(router, request) {
        Answer::Upgrade(upgrade) => Ok(upgrade),
        Answer::Respond(response) => Err(response),
    }
}

#[test]
fn a_rate_is_limited_per_address_by_the_time_of_the_requests() {
    let limit = RateLimit::new(4, Duration::from_secs(10)).burst(2);
    let router = Router::new().guard(limit_rate(limit)).route("/x", ws());
    let status = |peer, millis| {
        answered(&router, from(peer, millis))
            .map_err(|r| {
                assert_eq!(r.status(), StatusCode::TOO_MANY_REQUESTS);
                line(&r);
                r.headers()["retry-after"].to_str().unwrap().to_owned()
            })
            .err()
    };
    let wait = |seconds: &str| Some(seconds.to_owned());
    assert_eq!([status("1.1.1.1", 0), status("1.1.1.1", 0)], [None, None]);
    assert_eq!(status("1.1.1.1", 0), wait("3"));
    assert_eq!(status("::ffff:1.1.1.1", 2000), wait("1"));
    assert_eq!(status("2.2.2.2", 0), None);
    assert_eq!([status("1.1.1.1", 2500), status("1.1.1.1", 2500)], [None, wait("3")]);
    assert_eq!([status("1.1.1.1", 60_000), status("1.1.1.1", 60_000)], [None, None]);
}

#[test]
fn a_limit_before_routing_counts_every_request() {
    let limit = || limit_rate(RateLimit::new(3, Duration::from_secs(1)));
    let router = || {
        Router::new()
            .guard_all(limit())
            .route("/x", ws())
            .nest("/inner", Router::new().guard(bearer(["t"])).route("/y", ws()))
    };
    let from_one_peer =
        |request: Builder| call(request).with_addrs(Some("1.1.1.1:1".parse().unwrap()), None);
    let foreign = || upgrade("/x").header("origin", "https://evil.example");
    let options = || common::request(http::Method::OPTIONS, "*");
    for (request, status) in [
        (&(|| upgrade("/nowhere")) as &dyn Fn() -> Builder, 404),
        (&(|| common::get("/x")), 426),
        (&(|| common::request(http::Method::POST, "/x")), 405),
        (&foreign, 403),
        (&(|| upgrade("/%")), 400),
        (&(|| upgrade("/inner/y")), 401),
        (&options, 204),
    ] {
        let router = router();
        for expected in [status, status, status, 429, 429] {
            let refused = answered(&router, from_one_peer(request())).unwrap_err();
            assert_eq!(refused.status(), expected);
        }
    }
    // In a nested router it counts the requests of its routes.
    let outer = Router::new().nest("/", Router::new().guard_all(limit()).route("/x", ws()));
    for _ in 0..10 {
        assert_eq!(answered(&outer, from_one_peer(upgrade("/nowhere"))).unwrap_err().status(), 404);
    }
    for _ in 0..3 {
        answered(&outer, from_one_peer(upgrade("/x"))).unwrap();
    }
    assert_eq!(answered(&outer, from_one_peer(upgrade("/x"))).unwrap_err().status(), 429);
}

#[test]
fn requests_without_an_address_are_accepted_with_one_warning_per_guard() {
    let rate = limit_rate(RateLimit::new(1, Duration::from_secs(1)));
    let connections = limit_connections(ConnectionLimit::new().per_peer(1));
    let router = Router::new().guard_all(rate).guard(connections).route("/x", ws());
    let mut open = Vec::new();
    let warnings = common::Warnings::of(|| {
        for _ in 0..100 {
            open.push(granted(&router, upgrade("/x")));
        }
    });
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    for (warning, guard) in warnings.iter().zip(["limit_rate", "limit_connections"]) {
        assert!(warning.contains(&format!("guard=\"{guard}\"")), "{warning}");
        assert!(warning.contains("TrustedProxies::unix()"), "{warning}");
        assert!(warning.contains("Mount::peer_addr"), "{warning}");
    }
    // They count towards the total.
    let total = limit_connections(ConnectionLimit::new().total(1));
    let router = Router::new().guard(total).route("/x", ws());
    let _first = granted(&router, upgrade("/x"));
    assert_eq!(common::status(&router, upgrade("/x")), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn clients_that_a_trusted_proxy_hides_count_as_one() {
    let router = |proxies| {
        let limit = limit_rate(RateLimit::new(1, Duration::from_secs(1)));
        Router::new().trust(proxies).guard(limit).route("/x", ws())
    };
    let is_granted = |router: &Router, name: &str, value: &str| {
        matches!(common::answer(router, upgrade("/x").header(name, value)), Answer::Upgrade(_))
    };
    // A malformed header does not evade the limit.
    let forwarded = router(TrustedProxies::unix().forwarded());
    assert!(is_granted(&forwarded, "forwarded", "for=\", for=1.1.1.1"));
    assert!(!is_granted(&forwarded, "forwarded", "for=unknown"));
    assert!(is_granted(&forwarded, "forwarded", "for=2.2.2.2"));
    let addresses = router(TrustedProxies::unix().x_forwarded_for());
    assert!(is_granted(&addresses, "x-forwarded-for", "unknown"));
    assert!(!is_granted(&addresses, "x-forwarded-for", "_hidden"));
    // Without a header the client is the proxy.
    for _ in 0..5 {
        assert!(is_granted(&addresses, "x-other", ""));
        assert!(is_granted(&forwarded, "forwarded", "proto=https"));
    }
}

#[test]
fn an_ipv6_network_of_64_bits_counts_as_one_address() {
    let limit = RateLimit::new(1, Duration::from_secs(1));
    let router = Router::new().guard(limit_rate(limit)).route("/x", ws());
    answered(&router, from("2001:db8:0:1::1", 0)).unwrap();
    assert!(answered(&router, from("2001:db8:0:1:ffff::2", 0)).is_err());
    answered(&router, from("2001:db8:0:2::1", 0)).unwrap();
}

#[test]
fn limits_apply_to_the_client_behind_a_trusted_proxy() {
    let limit = RateLimit::new(1, Duration::from_secs(1));
    let router = Router::new()
        .trust(TrustedProxies::new(["10.0.0.1"]).x_forwarded_for())
        .guard(limit_rate(limit))
        .route("/x", ws());
    let through = |peer: &str, client: &str| {
        let request = upgrade("/x").header("x-forwarded-for", client);
        let peer: IpAddr = peer.parse().unwrap();
        answered(&router, call(request).with_addrs(Some((peer, 1).into()), None)).is_ok()
    };
    assert!(through("10.0.0.1", "1.1.1.1") && through("10.0.0.1", "2.2.2.2"));
    assert!(!through("10.0.0.1", "1.1.1.1") && !through("10.0.0.1", "3.3.3.3, 1.1.1.1"));
    assert!(through("9.9.9.9", "4.4.4.4") && !through("9.9.9.9", "5.5.5.5"));
}

#[test]
fn clones_of_a_limit_share_their_counts() {
    let one = limit_rate(RateLimit::new(1, Duration::from_secs(1)));
    let routes = || Router::new().route("/x", ws());
    let router = Router::new()
        .nest("/a", routes().guard(one.clone()))
        .nest("/b", routes().guard(one))
        .nest("/c", routes().guard(limit_rate(RateLimit::new(1, Duration::from_secs(1)))));
    let is_granted = |path| {
        let request = call(upgrade(path)).with_addrs(Some("1.1.1.1:1".parse().unwrap()), None);
        answered(&router, request).is_ok()
    };
    assert!(is_granted("/a/x") && !is_granted("/b/x") && is_granted("/c/x"));
}

#[test]
fn the_connections_of_an_address_are_limited() {
    let limit = ConnectionLimit::new().per_peer(2);
    let router = Router::new().guard(limit_connections(limit)).route("/x", ws());
    let open = |peer| answered(&router, from(peer, 0));
    let first = open("1.1.1.1").unwrap();
    let _second = open("1.1.1.1").unwrap();
    let _other = open("2.2.2.2").unwrap();
    for _ in 0..10 {
        let refused = open("1.1.1.1").unwrap_err();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        line(&refused);
    }
    drop(first);
    let _third = open("1.1.1.1").unwrap();
    assert!(open("1.1.1.1").is_err());
}

#[test]
fn the_total_of_connections_is_limited() {
    let limit = ConnectionLimit::new().total(2);
    let router = Router::new().guard(limit_connections(limit)).route("/x", ws());
    let open = |peer| answered(&router, from(peer, 0));
    let first = open("1.1.1.1").unwrap();
    let _second = open("2.2.2.2").unwrap();
    assert_eq!(open("3.3.3.3").unwrap_err().status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(first);
    open("3.3.3.3").unwrap();
}

#[test]
fn a_rejected_request_and_a_plain_response_release_their_permits() {
    let limit = || limit_connections(ConnectionLimit::new().per_peer(1));
    let refusing = Router::new()
        .guard(limit())
        .nest("/", Router::new().guard(bearer(["t"])).route("/x", ws()));
    for _ in 0..3 {
        let refused = answered(&refusing, from("1.1.1.1", 0)).unwrap_err();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
    let pages = Router::new().guard(limit()).route("/x", page("x"));
    for _ in 0..3 {
        assert_eq!(answered(&pages, from("1.1.1.1", 0)).unwrap_err().status(), StatusCode::OK);
    }
}

#[test]
fn each_limit_counts_a_connection() {
    let outer = limit_connections(ConnectionLimit::new().per_peer(1));
    let inner = limit_connections(ConnectionLimit::new().total(5));
    let router = Router::new().guard(outer).nest("/", Router::new().guard(inner).route("/x", ws()));
    let first = answered(&router, from("1.1.1.1", 0)).unwrap();
    assert!(answered(&router, from("1.1.1.1", 0)).is_err());
    drop(first);
    answered(&router, from("1.1.1.1", 0)).unwrap();
}

#[test]
fn the_guard_of_a_route_runs_after_those_of_its_routers() {
    let names = |name: &'static str| {
        move |mut request: Request| {
            let mut ran = request.get::<Vec<&'static str>>().cloned().unwrap_or_default();
            ran.push(name);
            request.insert(ran);
            std::future::ready(Ok(request))
        }
    };
    let inner = Router::new()
        .guard(names("inner"))
        .route("/x", ws().guard(names("route 1")).guard(names("route 2")));
    let router = Router::new().nest("/a", inner).guard(names("outer"));
    let upgrade = granted(&router, upgrade("/a/x"));
    let ran = upgrade.request().get::<Vec<&'static str>>().unwrap();
    assert_eq!(ran[..], ["outer", "inner", "route 1", "route 2"]);
}
