//! Trusted proxies and the headers that are read from them.

mod common;

use std::net::IpAddr;

use common::{answer_call, call, granted, page, upgrade, ws};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use http::request::Builder;
use sockless_driver::{Answer, Request, Upgrade};
use sockless_routing::{Origins, Router, Selector, TrustedProxies};

const NEAR: &str = "10.0.0.1";
const FAR: &str = "10.0.0.2";
const CLIENT: &str = "203.0.113.7";

fn proxies() -> TrustedProxies {
    TrustedProxies::new(["10.0.0.0/24", "fd00::/8"])
}

fn x_forwarded() -> TrustedProxies {
    proxies().x_forwarded_for().x_forwarded_host().x_forwarded_proto()
}

fn router(proxies: TrustedProxies) -> Router {
    Router::new().trust(proxies).route("/x", ws())
}

/// `request` from the address `peer`.
fn from(peer: &str, request: Builder) -> Request {
    let peer: IpAddr = peer.parse().unwrap();
    call(request).with_addrs(Some((peer, 40_000).into()), None)
}

#[track_caller]
fn routed(router: &Router, peer: &str, request: Builder) -> Upgrade {
    match answer_call(router, from(peer, request)) {
        Answer::Upgrade(upgrade) => upgrade,
        Answer::Respond(response) => panic!("refused: {response:?}"),
    }
}

/// The client's address that the handler receives.
#[track_caller]
fn client(proxies: TrustedProxies, peer: &str, headers: &[(&str, &str)]) -> Option<String> {
    let request = headers.iter().fold(upgrade("/x"), |r, (name, value)| r.header(*name, *value));
    let upgrade = routed(&router(proxies), peer, request);
    upgrade.request().client_ip().map(|ip| ip.to_string())
}

#[test]
fn the_headers_of_a_trusted_proxy_are_read() {
    let request = upgrade("/x")
        .header("x-forwarded-for", CLIENT)
        .header("x-forwarded-host", "example.org:8443")
        .header("x-forwarded-proto", "https");
    let upgrade = routed(&router(x_forwarded()), NEAR, request);
    let request = upgrade.request();
    assert_eq!(request.client_ip(), Some(CLIENT.parse().unwrap()));
    assert_eq!((request.host(), request.port()), (Some("example.org"), Some(8443)));
    assert_eq!(request.is_secure(), Some(true));
    assert_eq!(request.peer_addr().unwrap().ip().to_string(), NEAR);
}

#[test]
fn by_default_no_proxy_is_trusted() {
    let request = upgrade("/x").header("x-forwarded-for", "1.1.1.1");
    let router = Router::new().route("/x", ws());
    let upgrade = routed(&router, NEAR, request);
    assert_eq!(upgrade.request().client_ip(), Some(NEAR.parse().unwrap()));
    assert_eq!(upgrade.request().forwarded(), None);
}

#[test]
fn a_client_that_pretends_to_be_a_proxy_is_not_trusted() {
    for peer in [CLIENT, "10.0.1.1", "::ffff:203.0.113.7", "fe80::1"] {
        let request = upgrade("/x")
            .header("x-forwarded-for", "1.1.1.1")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "https")
            .header("forwarded", "for=1.1.1.1;host=evil.example;proto=https");
        for proxies in [x_forwarded(), proxies().forwarded()] {
            let upgrade = routed(&router(proxies), peer, request.try_clone());
            let request = upgrade.request();
            assert_eq!(request.client_ip(), Some(peer.parse::<IpAddr>().unwrap().to_canonical()));
            assert_eq!((request.host(), request.is_secure()), (Some("example.com"), None));
        }
    }
}

#[test]
fn items_that_a_client_wrote_before_those_of_the_proxy_are_ignored() {
    for list in [
        "1.1.1.1, 203.0.113.7",
        "10.0.0.9, 203.0.113.7",
        "unknown, 203.0.113.7",
        "\", 203.0.113.7",
        ",,,203.0.113.7",
        "1.1.1.1, 203.0.113.7, 10.0.0.2",
    ] {
        let found = client(x_forwarded(), NEAR, &[("x-forwarded-for", list)]);
        assert_eq!(found.as_deref(), Some(CLIENT), "{list}");
    }
    let lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.7")];
    assert_eq!(client(x_forwarded(), NEAR, &lines).as_deref(), Some(CLIENT));
}

#[test]
fn invalid_bytes_do_not_hide_the_item_of_the_proxy() {
    let value = HeaderValue::from_bytes(b"\xff\xfe, 203.0.113.7").unwrap();
    let mut request = upgrade("/x");
    request.headers_mut().unwrap().insert("x-forwarded-for", value);
    let upgrade = routed(&router(x_forwarded()), NEAR, request);
    assert_eq!(upgrade.request().client_ip(), Some(CLIENT.parse().unwrap()));
}

#[test]
fn the_list_is_read_backwards_to_the_first_address_that_is_not_trusted() {
    for (list, found) in [
        ("203.0.113.7, 10.0.0.3, 10.0.0.2", CLIENT),
        ("203.0.113.7:5555, fd00::1", CLIENT),
        ("[2001:db8::7]:5555", "2001:db8::7"),
        ("::ffff:203.0.113.7, ::ffff:10.0.0.2", CLIENT),
        // All are trusted: the client is the farthest.
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ] {
        let heard = client(x_forwarded(), NEAR, &[("x-forwarded-for", list)]);
        assert_eq!(heard.as_deref(), Some(found), "{list}");
    }
    assert_eq!(client(x_forwarded(), NEAR, &[]).as_deref(), Some(NEAR));
}

#[test]
fn a_hidden_client_has_no_address() {
    for list in ["1.1.1.1, unknown", "1.1.1.1, _hidden", "1.1.1.1, 203.0.113.7.8"] {
        assert_eq!(client(x_forwarded(), NEAR, &[("x-forwarded-for", list)]), None, "{list}");
        let forwarded = "for=1.1.1.1, for=unknown";
        assert_eq!(client(proxies().forwarded(), NEAR, &[("forwarded", forwarded)]), None);
    }
}

#[test]
fn a_header_that_is_not_selected_is_not_read() {
    let all = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=1.1.1.1;host=evil.example;proto=https"),
    ];
    assert_eq!(client(proxies(), NEAR, &all).as_deref(), Some(NEAR));
    let request = all.iter().fold(upgrade("/x"), |r, (name, value)| r.header(*name, *value));
    let upgrade = routed(&router(proxies().x_forwarded_for()), NEAR, request);
    assert_eq!(
        (upgrade.request().host(), upgrade.request().is_secure()),
        (Some("example.com"), None)
    );
    let forged = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=203.0.113.7")];
    assert_eq!(client(proxies().forwarded(), NEAR, &forged).as_deref(), Some(CLIENT));
}

#[test]
fn host_and_scheme_are_those_of_the_farthest_trusted_proxy() {
    for (clients, hosts, protos, host, is_secure) in [
        (CLIENT, "a.example", "https", "a.example", true),
        (CLIENT, "evil.example, a.example", "http, https", "a.example", true),
        ("203.0.113.7, 10.0.0.2", "a.example, inside", "https, http", "a.example", true),
        (
            "1.1.1.1, 203.0.113.7, 10.0.0.2",
            "e, a.example, inside",
            "http, wss, ws",
            "a.example",
            true,
        ),
        // The nearer proxy passed on the header of the farther one, or replaced it.
        ("203.0.113.7, 10.0.0.2", "a.example", "http", "a.example", false),
    ] {
        let request = upgrade("/x")
            .header("x-forwarded-for", clients)
            .header("x-forwarded-host", hosts)
            .header("x-forwarded-proto", protos);
        let upgrade = routed(&router(x_forwarded()), NEAR, request);
        assert_eq!(upgrade.request().host(), Some(host), "{clients}");
        assert_eq!(upgrade.request().is_secure(), Some(is_secure), "{clients}");
    }
}

/// A page over https behind two proxies with http between them.
#[test]
fn the_origin_is_compared_with_the_host_and_scheme_of_the_farthest_trusted_proxy() {
    let status = |proxies: TrustedProxies, clients: &str, protos: &str| {
        let router = router(proxies).origins(Origins::same_origin());
        let request = upgrade("/x")
            .header("x-forwarded-for", clients)
            .header("x-forwarded-proto", protos)
            .header("x-forwarded-host", "a.example, a.example")
            .header("origin", "https://a.example");
        match answer_call(&router, from(NEAR, request)) {
            Answer::Respond(response) => response.status().as_u16(),
            Answer::Upgrade(_) => 101,
        }
    };
    assert_eq!(status(x_forwarded(), "203.0.113.7, 10.0.0.2", "https, http"), 101);
    assert_eq!(status(x_forwarded(), "1.1.1.1, 203.0.113.7, 10.0.0.2", "http, https, http"), 101);
    assert_eq!(status(x_forwarded(), "203.0.113.7", "http, https"), 101);
    // The client forged the items before the trusted one.
    assert_eq!(status(x_forwarded(), "203.0.113.7", "https, http"), 403);
    // Without X-Forwarded-For the number of proxies is unknown.
    let no_addresses = proxies().x_forwarded_host().x_forwarded_proto();
    assert_eq!(status(no_addresses.clone(), "", "http, https"), 101);
    assert_eq!(status(no_addresses, "", "https, http"), 403);
}

#[test]
fn forwarded_is_read_element_by_element() {
    for (line, found, host, is_secure) in [
        ("for=203.0.113.7;proto=https;host=a.example", CLIENT, "a.example", Some(true)),
        ("for=1.1.1.1;host=e, for=\"203.0.113.7:80\";host=a.example", CLIENT, "a.example", None),
        (
            "for=203.0.113.7;host=a.example;proto=https, for=\"[fd00::1]\";host=inside;proto=http",
            CLIENT,
            "a.example",
            Some(true),
        ),
        // The proxy names no host, and the client may have forged its own.
        ("for=1.1.1.1;host=e, for=203.0.113.7", CLIENT, "example.com", None),
    ] {
        let request = upgrade("/x").header("forwarded", line);
        let upgrade = routed(&router(proxies().forwarded()), NEAR, request);
        let request = upgrade.request();
        assert_eq!(request.client_ip().map(|ip| ip.to_string()).as_deref(), Some(found), "{line}");
        assert_eq!((request.host(), request.is_secure()), (Some(host), is_secure), "{line}");
    }
}

#[test]
fn an_unclosed_quote_of_a_client_does_not_hide_the_item_of_the_proxy() {
    for line in ["for=\", for=203.0.113.7", "for=\", for=\"203.0.113.7\"", "x, for=203.0.113.7"] {
        let found = client(proxies().forwarded(), NEAR, &[("forwarded", line)]);
        assert_eq!(found, None, "{line}");
    }
    let lines = [("forwarded", "for=\""), ("forwarded", "for=203.0.113.7")];
    assert_eq!(client(proxies().forwarded(), NEAR, &lines).as_deref(), Some(CLIENT));
}

#[test]
fn an_invalid_host_is_ignored() {
    for host in ["a/b", "user@a", "a b", ""] {
        let request = upgrade("/x").header("x-forwarded-host", host);
        let upgrade = routed(&router(x_forwarded()), NEAR, request);
        assert_eq!(upgrade.request().host(), Some("example.com"), "{host:?}");
    }
}

#[test]
fn a_peer_without_an_address_is_not_trusted() {
    let request = upgrade("/x").header("x-forwarded-for", CLIENT);
    let upgrade =
        granted(&router(TrustedProxies::new(["0.0.0.0/0", "::/0"]).x_forwarded_for()), request);
    assert_eq!(upgrade.request().client_ip(), None);
}

#[test]
fn a_peer_of_a_unix_socket_may_be_trusted() {
    for proxies in [TrustedProxies::unix(), TrustedProxies::new(["10.0.0.2", "unix:"])] {
        let proxies = proxies.x_forwarded_for().x_forwarded_proto();
        let request = upgrade("/x")
            .header("x-forwarded-for", "1.1.1.1, 203.0.113.7")
            .header("x-forwarded-proto", "https");
        let upgrade = granted(&router(proxies.clone()), request);
        let request = upgrade.request();
        assert_eq!((request.client_ip(), request.is_secure()), (CLIENT.parse().ok(), Some(true)));
        // A peer over TCP is not a peer of a Unix socket.
        assert_eq!(client(proxies, "9.9.9.9", &[("x-forwarded-for", CLIENT)]).unwrap(), "9.9.9.9");
    }
    let forwarded = upgrade("/x").header("forwarded", "for=203.0.113.7;host=a.example");
    let upgrade = granted(&router(TrustedProxies::unix().forwarded()), forwarded);
    assert_eq!(upgrade.request().client_ip(), CLIENT.parse().ok());
    assert_eq!(upgrade.request().host(), Some("a.example"));
}

#[test]
fn selectors_and_the_same_origin_use_the_values_of_a_trusted_proxy() {
    let shop = Router::new().when(Selector::host("shop.example")).route("/x", ws());
    let router = Router::new().trust(x_forwarded()).origins(Origins::same_origin()).nest("/", shop);
    let request = |origin: &str| {
        upgrade("/x")
            .header("x-forwarded-host", "shop.example")
            .header("x-forwarded-proto", "https")
            .header("origin", origin)
    };
    routed(&router, NEAR, request("https://shop.example"));
    let status = |peer, origin| match answer_call(&router, from(peer, request(origin))) {
        Answer::Respond(response) => response.status(),
        Answer::Upgrade(upgrade) => panic!("granted: {upgrade:?}"),
    };
    assert_eq!(status(NEAR, "http://shop.example"), StatusCode::FORBIDDEN);
    assert_eq!(status(NEAR, "https://example.com"), StatusCode::FORBIDDEN);
    assert_eq!(status(CLIENT, "https://shop.example"), StatusCode::NOT_FOUND);
}

#[test]
fn the_trust_of_a_nested_router_has_no_effect() {
    let inner = Router::new().trust(x_forwarded()).route("/x", ws());
    let router = Router::new().nest("/", inner).route("/page", page("page"));
    let upgrade = routed(&router, FAR, upgrade("/x").header("x-forwarded-for", "1.1.1.1"));
    assert_eq!(upgrade.request().client_ip(), Some(FAR.parse().unwrap()));
}

/// Copies a request.
trait TryClone {
    fn try_clone(&self) -> Builder;
}

impl TryClone for Builder {
    fn try_clone(&self) -> Builder {
        let headers = self.headers_ref().unwrap().iter();
        let plain = http::Request::builder().uri(self.uri_ref().unwrap().clone());
        headers.fold(plain, |r, (name, value)| r.header(name, value))
    }
}

#[test]
fn a_named_header_has_the_clients_address() {
    let nginx = || proxies().client_header(HeaderName::from_static("x-real-ip")).x_forwarded_for();
    let real = |value| [("x-real-ip", value), ("x-forwarded-for", "198.51.100.1")];
    assert_eq!(client(nginx(), NEAR, &real(CLIENT)).as_deref(), Some(CLIENT));
    assert_eq!(client(nginx(), NEAR, &real("::ffff:203.0.113.7")).as_deref(), Some(CLIENT));
    assert_eq!(client(nginx(), CLIENT, &real("192.0.2.9")).as_deref(), Some(CLIENT), "not trusted");
    assert_eq!(client(nginx(), NEAR, &[]).as_deref(), Some(NEAR));
    for hidden in [vec![("x-real-ip", "unknown")], [real(CLIENT), real(CLIENT)].concat()] {
        assert_eq!(client(nginx(), NEAR, &hidden), None, "{hidden:?}");
    }
}
