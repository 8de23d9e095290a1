//! The request as it is sent.

use std::sync::Arc;

use sockless_driver::{ClientConnection, Connect, ConnectError, UrlError};
use sockless_sim::Sim;

/// The request that `connect` makes of a connection to `url`, and what its error and `Debug` show.
fn request(url: &str, connect: impl Fn(Connect) -> Connect) -> (String, String) {
    let sim = Sim::new(1);
    sim.run(async {
        let (near, far) = sim.pipe();
        let connecting = connect(sim.connect_over(near, url));
        let mut shown = format!("{connecting:?}");
        let connecting = sim.spawn(connecting.into_future());
        let head = far.read_until(b"\r\n\r\n").await.unwrap();
        drop(far);
        let error = connecting.await.unwrap_err();
        shown += &format!("{error} {error:?}");
        (String::from_utf8(head.to_vec()).unwrap(), shown)
    })
}

#[test]
fn the_host_has_a_port_unless_it_is_the_schemes_own() {
    for (url, line, host) in [
        ("ws://example.com/", "GET / ", "example.com"),
        ("ws://example.com:80/x?y=z#f", "GET /x?y=z ", "example.com"),
        ("ws://example.com:443", "GET / ", "example.com:443"),
        ("wss://example.com:443?q", "GET /?q ", "example.com"),
        ("wss://example.com:80/", "GET / ", "example.com:80"),
        ("ws://[2001:db8::1]/", "GET / ", "[2001:db8::1]"),
        ("wss://[2001:db8::1]:9000/#f", "GET / ", "[2001:db8::1]:9000"),
        ("ws://ada:secret@example.com:81/", "GET / ", "example.com:81"),
        ("ws://b\u{fc}cher.example:81/", "GET / ", "xn--bcher-kva.example:81"),
    ] {
        let (head, _) = request(url, |connect| connect);
        assert!(head.starts_with(&format!("{line}HTTP/1.1\r\nHost: {host}\r\n")), "{head}");
        assert!(!head.contains('#') && !head.contains('@'), "{head}");
    }
}

#[test]
fn headers_come_in_the_order_in_which_they_were_given() {
    let (head, _) = request("ws://server/", |connect| {
        connect
            .header("X-Zebra", "1")
            .header("Origin", "https://example.com")
            .subprotocol("chat.v2")
            .header("Cookie", "a=b")
            .subprotocol("chat.v1")
            .header("Accept", "x")
    });
    let given: Vec<&str> = head.lines().skip(6).take_while(|line| !line.is_empty()).collect();
    let due = [
        "X-Zebra: 1",
        "Origin: https://example.com",
        "Sec-WebSocket-Protocol: chat.v2, chat.v1",
        "Cookie: a=b",
        "Accept: x",
    ];
    assert_eq!(given, due);
}

#[test]
fn credentials_of_the_url_are_sent_and_never_shown() {
    let (head, shown) = request("ws://ad%61:s%65cret%21@server/", |connect| connect);
    assert!(head.contains("\r\nAuthorization: Basic YWRhOnNlY3JldCE=\r\n"), "{head}");
    for secret in ["secret", "s%65cret", "YWRh", "ada"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let (head, shown) = request("ws://ada:secret@server/", |connect| {
        connect.header("Authorization", "Bearer ours").header("Cookie", "ours")
    });
    assert_eq!(head.matches("Authorization").count(), 1, "{head}");
    assert!(head.contains("\r\nAuthorization: Bearer ours\r\n"), "{head}");
    assert!(!shown.contains("ours"), "{shown}");
}

/// A whole request of the caller's own is treated alike.
#[test]
fn credentials_of_a_request_are_sent_and_never_shown() {
    let sim = Sim::new(1);
    sim.run(async {
        let (near, far) = sim.pipe();
        let request = http::Request::get("ws://ada:secret@server/x").body(()).unwrap();
        let connecting =
            ClientConnection::handshake(Box::new(near), request, Arc::default(), sim.runtime());
        let connecting = sim.spawn(connecting);
        let head = far.read_until(b"\r\n\r\n").await.unwrap();
        let head = String::from_utf8(head.to_vec()).unwrap();
        assert!(head.starts_with("GET /x HTTP/1.1\r\nHost: server\r\n"), "{head}");
        assert!(head.contains("\r\nAuthorization: Basic YWRhOnNlY3JldA==\r\n"), "{head}");
        drop(far);
        let error = connecting.await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    });
}

/// The line of subprotocols may hold a token, as browsers have no other place for one.
#[test]
fn subprotocols_that_are_secret_stay_so() {
    let mut token = http::HeaderValue::from_static("token.abc");
    token.set_sensitive(true);
    let (head, shown) = request("ws://server/", |connect| {
        connect.header("Sec-WebSocket-Protocol", token.clone()).subprotocol("chat")
    });
    assert!(head.contains("\r\nSec-WebSocket-Protocol: token.abc, chat\r\n"), "{head}");
    assert!(!shown.contains("token.abc"), "{shown}");
}

#[test]
fn an_invalid_request_is_reported_before_dialling() {
    Sim::check(0..2, |sim| async move {
        let _listener = sim.listen("server");
        for (url, error) in [
            ("http://server/", UrlError::SchemeUnsupported),
            ("server", UrlError::SchemeUnsupported),
            ("ws://ser ver/", UrlError::CharacterInvalid { position: 9, found: ' ' }),
            ("ws://server:65536/", UrlError::PortInvalid),
            ("ws://u:%@server/", UrlError::CredentialsInvalid),
            ("ws://[fe80::1%25eth0]/", UrlError::ZoneUnsupported),
        ] {
            let reported = sim.connect(url).await.unwrap_err();
            assert!(
                matches!(reported, ConnectError::UrlInvalid(it) if it == error),
                "{url}: {reported}"
            );
        }
        let reported = sim.connect("ws://server/").header("Bad Name", "x").await.unwrap_err();
        assert!(matches!(reported, ConnectError::HeaderInvalid(_)), "{reported}");
        let reported = sim.connect("ws://server/").header("Host", "other").await.unwrap_err();
        assert!(matches!(reported, ConnectError::RequestInvalid(_)), "{reported}");
        let reported = sim.connect("ws://server/").subprotocol("a b").await.unwrap_err();
        assert!(matches!(reported, ConnectError::RequestInvalid(_)), "{reported}");
    });
}

#[test]
fn cookies_are_sent_in_one_line() {
    let (head, shown) = request("ws://server/", |connect| {
        connect.cookie("session", "8f14e45f").header("X-Other", "1").cookie("theme", "\"dark\"")
    });
    assert!(head.contains("\r\nCookie: session=8f14e45f; theme=\"dark\"\r\n"), "{head}");
    assert!(!shown.contains("8f14e45f"), "{shown}");
    for (name, value) in
        [("a b", "x"), ("", "x"), ("a", "x;y"), ("a", "x y"), ("a", "x,y"), ("a", "\r\n")]
    {
        let sim = Sim::new(1);
        let error = sim.run(async {
            let (near, _far) = sim.pipe();
            sim.connect_over(near, "ws://server/").cookie(name, value).await.unwrap_err()
        });
        assert!(matches!(error, ConnectError::HeaderInvalid(_)), "{name}={value}: {error}");
    }
}
