//! The values that a request returns, whole.

use std::sync::Arc;

use super::*;

fn request(request: http::request::Builder) -> Request {
    Request::new(request.body(()).unwrap())
}

#[test]
fn a_parameter_is_parsed_as_the_requested_type() {
    let mut request = request(http::Request::get("/7"));
    request.push_param("id", "7");
    assert_eq!(request.param::<u64>("id"), Ok(7));
    assert_eq!(request.param::<String>("id").as_deref(), Ok("7"));
    assert_eq!(request.param_str("id"), Some("7"));

    let invalid = request.param::<bool>("id").unwrap_err();
    assert_eq!(invalid.to_string(), "the path parameter \"id\" is not a bool");
    assert_eq!(invalid.response().status(), 404);
    let missing = request.param::<u64>("no").unwrap_err();
    assert_eq!(missing.to_string(), "there is no path parameter \"no\"");
}

#[test]
fn a_header_that_is_sent_twice_has_no_single_value() {
    let request =
        request(http::Request::get("/").header("a", "1").header("b", "2").header("b", "2"));
    assert_eq!((request.header("a"), request.header("b")), (Some("1"), None));
    assert_eq!(request.headers().get_all("b").iter().count(), 2);
}

#[test]
fn a_cookie_is_found_in_any_of_the_headers() {
    let request = request(
        http::Request::get("/")
            .header("cookie", "sid=1; theme=\"dark\";empty=; odd")
            .header("cookie", "sid=2; last=a=b"),
    );
    let found = ["sid", "theme", "empty", "last"].map(|name| request.cookie(name));
    assert_eq!(found, [Some("1"), Some("dark"), Some(""), Some("a=b")]);
    assert_eq!((request.cookie("odd"), request.cookie("SID")), (None, None));
}

#[test]
fn credentials_are_not_written_to_logs() {
    let request = request(
        http::Request::get("/")
            .header("authorization", "Bearer secret")
            .header("cookie", "a=secret")
            .header("cookie", "b=secret"),
    );
    assert!(!format!("{request:?}").contains("secret"));
    assert_eq!(request.header("authorization"), Some("Bearer secret"));
}

#[test]
fn the_port_is_that_of_the_host_or_the_default_of_the_scheme() {
    let port = |request: http::request::Builder, local: &str| {
        self::request(request).with_addrs(None, Some(local.parse().unwrap())).port()
    };
    let from = |host| http::Request::get("/").header("host", host);
    assert_eq!(port(from("a:8080"), "127.0.0.1:1"), Some(8080));
    assert_eq!(port(from("a"), "127.0.0.1:8080"), Some(80));
    assert_eq!(port(from("a"), "127.0.0.1:443"), Some(443));
    assert_eq!(port(http::Request::get("wss://a/"), "127.0.0.1:1"), Some(443));
    assert_eq!(port(http::Request::get("http://a/"), "127.0.0.1:443"), Some(80));
    assert_eq!(port(http::Request::get("/"), "127.0.0.1:443"), None);
}

#[test]
fn a_trusted_proxy_overrides_the_transport_and_the_request() {
    let mut request = request(http::Request::get("/").header("host", "inside:81"))
        .with_addrs(Some("[::ffff:10.0.0.1]:5".parse().unwrap()), None);
    assert_eq!(request.client_ip(), Some("10.0.0.1".parse().unwrap()));
    assert_eq!(
        (request.host(), request.port(), request.is_secure()),
        (Some("inside"), Some(81), None)
    );

    let client = Some("203.0.113.7".parse().unwrap());
    let host = Some("example.com".into());
    request.set_forwarded(Some(Forwarded { client, hidden: false, host, secure: Some(true) }));
    assert_eq!(request.client_ip(), client);
    assert_eq!((request.host(), request.port()), (Some("example.com"), Some(443)));
    assert_eq!(request.peer_addr().unwrap().port(), 5);

    request.set_forwarded(Some(Forwarded::default()));
    assert_eq!((request.client_ip(), request.host()), (None, Some("inside")));
}

#[test]
fn permits_are_dropped_by_the_code_that_takes_them() {
    let permit = Arc::new(());
    let mut request = request(http::Request::get("/"));
    request.hold(permit.clone());
    request.hold(permit.clone());
    let permits = request.take_permits();
    assert_eq!(Arc::strong_count(&permit), 3);
    drop(permits);
    assert_eq!(Arc::strong_count(&permit), 1);

    request.hold(permit.clone());
    drop(request);
    assert_eq!(Arc::strong_count(&permit), 1);
}

fn decoded(query: &str) -> Vec<(String, String)> {
    let request = request(http::Request::get(format!("/?{query}")));
    let params = request.query_params();
    params.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

#[test]
fn query_parameters_are_decoded_in_order() {
    let expected = [("a", "1 2"), ("b c", "é"), ("a", "3=4"), ("d", ""), ("", "e")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(decoded("a=1+2&b%20c=%c3%A9&&a=3=4&d&=e"), expected);
    assert_eq!(decoded(""), []);
}

#[test]
fn malformed_percent_encoding_is_kept_as_text() {
    for (query, value) in [
        ("v=%", "%"),
        ("v=%4", "%4"),
        ("v=%zz", "%zz"),
        ("v=%+1", "% 1"),
        ("v=%%41", "%A"),
        ("v=100%25", "100%"),
        ("v=%ff", "\u{fffd}"),
        ("v=%2B", "+"),
    ] {
        assert_eq!(decoded(query), [("v".to_owned(), value.to_owned())], "{query}");
    }
}

#[test]
fn a_query_without_encoding_is_not_copied() {
    let request = request(http::Request::get("/?name=ada"));
    let (name, value) = request.query_params().next().unwrap();
    assert!(matches!((name, value), (Cow::Borrowed(_), Cow::Borrowed(_))));
}
