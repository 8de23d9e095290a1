//! Negotiating: which requests are upgrades, and what they settle.

use alloc::vec::Vec;

use http::{HeaderName, Method, StatusCode, Version};

use super::*;

/// The request of RFC 6455 §1.3, with `value` for the header `name`, or without it.
fn with(name: &'static str, value: Option<&str>) -> Request<()> {
    let mut request = read(EXAMPLE).expect("a verdict").expect("a request");
    request.headers_mut().remove(name);
    if let Some(value) = value {
        add(&mut request, name, value);
    }
    request
}

fn add(request: &mut Request<()>, name: &'static str, value: &str) {
    let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
    request.headers_mut().append(HeaderName::from_static(name), value);
}

fn error(request: &Request<()>) -> UpgradeError {
    UpgradeRequest::from_request(request).expect_err("no upgrade")
}

fn offered(value: &str) -> Result<Vec<String>, UpgradeError> {
    let upgrade = UpgradeRequest::from_request(&with("sec-websocket-protocol", Some(value)))?;
    Ok(upgrade.subprotocols().map(String::from).collect())
}

#[test]
fn the_example_is_accepted_as_in_the_rfc() {
    let request = read(EXAMPLE).expect("a verdict").expect("a request");
    let mut upgrade = UpgradeRequest::from_request(&request).expect("an upgrade");
    assert_eq!(upgrade.subprotocols().collect::<Vec<_>>(), ["chat", "superchat"]);
    assert_eq!(upgrade.select(&["chat"]), Some("chat"));
    let (response, negotiated) = upgrade.accept();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers();
    assert_eq!(headers.len(), 4);
    assert_eq!(headers["upgrade"], "websocket");
    assert_eq!(headers["connection"], "Upgrade");
    assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    assert_eq!(negotiated.subprotocol.as_deref(), Some("chat"));
}

#[test]
fn each_missing_part_has_its_error() {
    use UpgradeError as E;
    assert_eq!(error(&with("host", None)), E::HostInvalid);
    assert_eq!(error(&with("connection", None)), E::ConnectionMissing);
    assert_eq!(error(&with("upgrade", None)), E::UpgradeMissing);
    assert_eq!(error(&with("sec-websocket-key", None)), E::KeyMissing);
    assert_eq!(error(&with("sec-websocket-version", None)), E::VersionUnsupported);
    let mut plain = with("upgrade", None);
    plain.headers_mut().remove("connection");
    assert_eq!(error(&plain), E::UpgradeRemoved);
    plain.headers_mut().remove("sec-websocket-key");
    assert_eq!(error(&plain), E::NotUpgrade);
}

#[test]
fn the_method_and_the_version_of_http_decide_first() {
    for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_2, Version::HTTP_3] {
        let mut request = with("host", Some("a"));
        *request.version_mut() = version;
        assert_eq!(error(&request), UpgradeError::HttpVersion);
    }
    for method in [Method::POST, Method::HEAD, Method::CONNECT, Method::OPTIONS] {
        let mut request = Request::new(());
        *request.method_mut() = method;
        assert_eq!(error(&request), UpgradeError::MethodNotGet);
    }
}

#[test]
fn connection_and_upgrade_are_lists_whatever_their_case_and_lines() {
    for (connection, upgrade) in [
        ("keep-alive, Upgrade", "WebSocket"),
        ("UPGRADE", "WEBSOCKET"),
        (" ,, upgrade\t,", "h2c, websocket"),
    ] {
        let mut request = with("connection", Some(connection));
        request.headers_mut().remove("upgrade");
        add(&mut request, "upgrade", upgrade);
        assert!(UpgradeRequest::from_request(&request).is_ok(), "{connection:?} {upgrade:?}");
    }
    let mut lines = with("connection", Some("keep-alive"));
    add(&mut lines, "connection", "Upgrade");
    assert!(UpgradeRequest::from_request(&lines).is_ok());

    for wrong in ["notupgrade", "upgrade-insecure", "close", "", "up, grade", "\"upgrade\""] {
        assert_eq!(error(&with("connection", Some(wrong))), UpgradeError::ConnectionMissing);
    }
    for wrong in ["websockets", "h2c", "", "websocket/13", "web socket"] {
        assert_eq!(error(&with("upgrade", Some(wrong))), UpgradeError::UpgradeMissing);
    }
}

#[test]
fn the_version_is_13_once() {
    for wrong in ["8", "12", "14", "013", "13, 8", "+13", "13;", "\u{bd}"] {
        let request = with("sec-websocket-version", Some(wrong));
        assert_eq!(error(&request), UpgradeError::VersionUnsupported, "{wrong:?}");
    }
    let mut twice = with("host", Some("a"));
    add(&mut twice, "sec-websocket-version", "13");
    assert_eq!(error(&twice), UpgradeError::VersionUnsupported);
}

#[test]
fn the_key_is_16_bytes_in_base64_once() {
    for wrong in [
        "",
        "x",
        "eA==",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQ==, ",
        "dGhlIHNhbXBsZSBub25jZSE=",
        "dGhlIHNhbXBsZSBub25jZSEh",
        "dGhlIHNhbXBsZSBub25j-_==",
        "dGhlIHNhbXBsZSBub25j ZQ=",
        "====dGhlIHNhbXBsZSBub25j",
        "JCMCrKJENqcrTU9erFxGoiP5P8JhjeocERQs9vgR/Y4=",
    ] {
        let request = with("sec-websocket-key", Some(wrong));
        assert_eq!(error(&request), UpgradeError::KeyInvalid, "{wrong:?}");
    }
    let mut twice = with("host", Some("a"));
    add(&mut twice, "sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(error(&twice), UpgradeError::KeyInvalid);
    // Bits that belong to no byte are the client's own business.
    let request = with("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZR=="));
    let (response, _) = UpgradeRequest::from_request(&request).expect("an upgrade").accept();
    assert_eq!(
        response.headers()["sec-websocket-accept"],
        accept_key(b"dGhlIHNhbXBsZSBub25jZR==").as_str()
    );
}

#[test]
fn an_upgrade_has_no_body() {
    for wrong in ["1", "00", "0, 0", "-0", "", "18446744073709551616"] {
        let request = with("content-length", Some(wrong));
        assert_eq!(error(&request), UpgradeError::BodyUnexpected, "{wrong:?}");
    }
    for wrong in ["chunked", "identity", ""] {
        let request = with("transfer-encoding", Some(wrong));
        assert_eq!(error(&request), UpgradeError::BodyUnexpected, "{wrong:?}");
    }
    assert!(UpgradeRequest::from_request(&with("content-length", Some("0"))).is_ok());
}

#[test]
fn a_host_has_to_be_one_and_valid() {
    for wrong in ["", "a b", "user@a", "a:b"] {
        assert_eq!(error(&with("host", Some(wrong))), UpgradeError::HostInvalid, "{wrong:?}");
    }
    let mut twice = with("host", Some("a"));
    add(&mut twice, "host", "a");
    assert_eq!(error(&twice), UpgradeError::HostInvalid);
}

#[test]
fn subprotocols_keep_the_client_s_order_over_lines() {
    assert_eq!(offered("b,a").as_deref(), Ok(&["b".into(), "a".into()][..]));
    assert_eq!(offered(" , b\t,, a ,").as_deref(), Ok(&["b".into(), "a".into()][..]));
    let mut request = with("sec-websocket-protocol", Some("c, b"));
    add(&mut request, "sec-websocket-protocol", "a");
    let upgrade = UpgradeRequest::from_request(&request).expect("an upgrade");
    assert_eq!(upgrade.subprotocols().collect::<Vec<_>>(), ["c", "b", "a"]);
    let none = UpgradeRequest::from_request(&with("sec-websocket-protocol", None));
    assert_eq!(none.expect("an upgrade").subprotocols().count(), 0);
}

#[test]
fn subprotocols_are_distinct_tokens() {
    for wrong in ["", " ", ",", ",,", "a, a", "a b", "a/b", "a;b", "\"a\"", "a=b", "\u{e4}"] {
        assert_eq!(offered(wrong), Err(UpgradeError::SubprotocolInvalid), "{wrong:?}");
    }
    // Case matters, so these are two.
    assert_eq!(offered("a, A").map(|offered| offered.len()), Ok(2));
    let mut request = with("sec-websocket-protocol", Some("a, b"));
    add(&mut request, "sec-websocket-protocol", "a");
    assert_eq!(error(&request), UpgradeError::SubprotocolInvalid);
}

#[test]
fn either_side_s_preference_may_decide() {
    let request = with("sec-websocket-protocol", Some("a, b, c"));
    let mut upgrade = UpgradeRequest::from_request(&request).expect("an upgrade");
    assert_eq!(upgrade.select(&["c", "b"]), Some("b"));
    assert_eq!(upgrade.select_server_preference(&["x", "c", "b"]), Some("c"));
    let accepted = UpgradeRequest::from_request(&request).map(|mut upgrade| {
        upgrade.select(&["b"]);
        upgrade.select_server_preference(&["x", "c", "b"]);
        upgrade.accept().1.subprotocol
    });
    assert_eq!(accepted, Ok(Some("c".into())));
    // The last selection counts, and may be none.
    assert_eq!(upgrade.select(&["A", "x", ""]), None);
    let (response, negotiated) = upgrade.accept();
    assert_eq!(negotiated.subprotocol, None);
    assert!(!response.headers().contains_key("sec-websocket-protocol"));
}

/// Work that is quadratic in what a stranger sends would not end here.
#[test]
fn long_lists_cost_their_length() {
    let spaces = " ".repeat(256 << 10);
    assert_eq!(offered(&format!("a{spaces},b")).map(|offered| offered.len()), Ok(2));
    assert_eq!(offered(&format!("a{spaces}b")), Err(UpgradeError::SubprotocolInvalid));
    assert_eq!(offered(&",".repeat(256 << 10)), Err(UpgradeError::SubprotocolInvalid));
    assert_eq!(offered(&" ,".repeat(256 << 10)), Err(UpgradeError::SubprotocolInvalid));
    let many = (0..50_000).map(|n| format!("p{n}")).collect::<Vec<_>>().join(",");
    assert_eq!(offered(&many).map(|offered| offered.len()), Ok(50_000));
    let commas = with("connection", Some(&format!("{}upgrade", ",".repeat(256 << 10))));
    assert!(UpgradeRequest::from_request(&commas).is_ok());
}

/// Offers are passed over as long as there is nothing to answer them with.
#[test]
fn odd_extension_offers_do_no_harm() {
    for offer in ["permessage-deflate", "constructor; __proto__", "a,,b;c=\"d\""] {
        let request = with("sec-websocket-extensions", Some(offer));
        let (response, _) = UpgradeRequest::from_request(&request).expect("an upgrade").accept();
        assert!(!response.headers().contains_key("sec-websocket-extensions"), "{offer:?}");
    }
}

#[test]
fn extensions_that_do_not_conform_fail_the_handshake() {
    for offer in ["", ",", "a; b=\"", "a; b=\"\\", ",;=", "\u{e4}", "a b"] {
        let request = with("sec-websocket-extensions", Some(offer));
        assert_eq!(error(&request), UpgradeError::ExtensionsInvalid, "{offer:?}");
    }
}

#[test]
fn an_extended_connect_needs_no_key_and_gets_200() {
    let connect = |version, method, protocol: &str| {
        let request = Request::builder()
            .uri("https://example.com/chat")
            .version(version)
            .method(method)
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Protocol", protocol);
        UpgradeRequest::from_extended_connect(&request.body(()).expect("a request"))
    };
    let mut upgrade = connect(Version::HTTP_2, Method::CONNECT, "a, b").expect("an upgrade");
    assert_eq!(upgrade.select(&["b"]), Some("b"));
    let (response, negotiated) = upgrade.accept();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers().len(), 1);
    assert_eq!(response.headers()["sec-websocket-protocol"], "b");
    assert_eq!(negotiated.subprotocol.as_deref(), Some("b"));

    for (version, method, protocol, expected) in [
        (Version::HTTP_11, Method::CONNECT, "a", UpgradeError::HttpVersion),
        (Version::HTTP_2, Method::GET, "a", UpgradeError::HttpVersion),
        (Version::HTTP_3, Method::CONNECT, "a, a", UpgradeError::SubprotocolInvalid),
    ] {
        assert_eq!(connect(version, method, protocol).unwrap_err(), expected);
    }
    let mut bare = Request::new(());
    *bare.version_mut() = Version::HTTP_2;
    *bare.method_mut() = Method::CONNECT;
    let error = UpgradeRequest::from_extended_connect(&bare).unwrap_err();
    assert_eq!(error, UpgradeError::VersionUnsupported);
}

#[test]
fn a_request_for_a_websocket_is_recognized_even_if_it_is_malformed() {
    let request = |method: Method, version, upgrade: &str| {
        let request = Request::builder().uri("/").method(method).version(version);
        request.header("Upgrade", upgrade).body(()).expect("a request")
    };
    for (method, version, upgrade, expected) in [
        (Method::GET, Version::HTTP_11, "websocket", true),
        (Method::GET, Version::HTTP_11, "WebSocket", true),
        (Method::GET, Version::HTTP_11, "h2c, websocket", true),
        (Method::GET, Version::HTTP_11, "h2c", false),
        (Method::GET, Version::HTTP_11, "websocket/13", false),
        (Method::POST, Version::HTTP_11, "websocket", false),
        (Method::CONNECT, Version::HTTP_11, "websocket", false),
        // RFC 9110 §7.8: to be ignored.
        (Method::GET, Version::HTTP_10, "websocket", false),
        (Method::GET, Version::HTTP_2, "websocket", false),
        // RFC 8441 §4: the pseudo-header `:protocol` is checked by the HTTP stack.
        (Method::CONNECT, Version::HTTP_2, "", true),
        (Method::CONNECT, Version::HTTP_3, "", true),
    ] {
        let asked = is_upgrade_request(&request(method.clone(), version, upgrade));
        assert_eq!(asked, expected, "{method} {version:?} {upgrade}");
    }
    assert!(!is_upgrade_request(&Request::new(())));
}

#[test]
fn the_digits_of_a_key_are_those_of_base64() {
    for byte in 0x20..0x7F {
        for at in 0..24 {
            let mut key = *b"dGhlIHNhbXBsZSBub25jZQ==";
            key[at] = byte;
            let is_digit = byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
            let is_valid = if at < 22 { is_digit } else { byte == b'=' };
            let headers: [(&str, &[u8]); 5] = [
                ("Host", b"a"),
                ("Upgrade", b"websocket"),
                ("Connection", b"Upgrade"),
                ("Sec-WebSocket-Version", b"13"),
                ("Sec-WebSocket-Key", &key),
            ];
            let accepted = UpgradeRequest::from_headers(&headers).is_ok();
            assert_eq!(accepted, is_valid, "{byte} at {at}");
        }
    }
}
