//! Asking for a WebSocket over HTTP/2, and judging the answer.

use alloc::string::ToString;
use alloc::vec::Vec;

use http::{HeaderValue, Method, Version};

use super::*;

fn connect(request: http::request::Builder) -> Result<ExtendedConnect, ClientRequestError> {
    ExtendedConnect::new(request.body(()).expect("a request"), config())
}

fn answered(response: http::response::Builder) -> Result<Option<String>, HandshakeError> {
    let asked =
        connect(Request::get("ws://a/").header("Sec-WebSocket-Protocol", "chat, superchat"));
    let response = response.version(Version::HTTP_2).body(()).expect("a response");
    let negotiated = asked.expect("a sound request").check(&response)?;
    Ok(negotiated.subprotocol.map(|name| name.to_string()))
}

#[test]
fn the_request_is_that_of_rfc_8441() {
    let asked = connect(
        Request::get("wss://server.example.com/chat")
            .header("Origin", "http://www.example.com")
            .header("Sec-WebSocket-Protocol", "chat, superchat"),
    );
    let asked = asked.expect("a sound request");
    let request = asked.request();
    assert_eq!((request.method(), request.version()), (&Method::CONNECT, Version::HTTP_2));
    assert_eq!(request.uri(), "https://server.example.com/chat");
    let headers = request.headers();
    assert_eq!(headers["sec-websocket-version"], "13");
    assert_eq!(headers["sec-websocket-protocol"], "chat, superchat");
    assert_eq!(headers["origin"], "http://www.example.com");
    assert_eq!(headers.len(), 3, "no Host, no Connection, no key");
}

/// There are servers that look at the first line only.
#[test]
fn subprotocols_stand_in_one_line() {
    let asked = connect(
        Request::get("ws://a/")
            .header("Sec-WebSocket-Protocol", "chat.v2")
            .header("Sec-WebSocket-Protocol", "chat.v1, chat.v0"),
    );
    let asked = asked.expect("a sound request");
    let lines: Vec<_> =
        asked.request().headers().get_all("sec-websocket-protocol").iter().collect();
    assert_eq!(lines, ["chat.v2, chat.v1, chat.v0"]);
}

/// HPACK keeps what is sensitive out of its tables (RFC 7541 §7.1.3), and `{:?}` out of logs.
#[test]
fn subprotocols_in_one_line_stay_sensitive() {
    let mut token = HeaderValue::from_static("token.abc");
    token.set_sensitive(true);
    let asked = connect(
        Request::get("ws://a/")
            .header("Sec-WebSocket-Protocol", "chat")
            .header("Sec-WebSocket-Protocol", token),
    );
    let asked = asked.expect("a sound request");
    assert!(asked.request().headers()["sec-websocket-protocol"].is_sensitive());
}

/// A zone has a meaning on one machine only (RFC 6874 §4).
#[test]
fn the_authority_has_no_zone() {
    let asked = connect(Request::get("ws://[fe80::1%25eth0]:81/"));
    assert_eq!(*asked.expect("a sound request").request().uri(), "http://[fe80::1]:81/");
}

#[test]
fn the_target_is_that_of_http() {
    for (url, uri) in [
        ("ws://a", "http://a/"),
        ("ws://a:80/x?y", "http://a/x?y"),
        ("wss://a:443/", "https://a/"),
        ("WSS://[::1]:8443/", "https://[::1]:8443/"),
    ] {
        assert_eq!(*connect(Request::get(url)).expect(url).request().uri(), uri, "{url}");
    }
}

#[test]
fn a_request_that_opens_no_websocket_is_refused() {
    let refused = |request| connect(request).unwrap_err();
    let get = || Request::get("ws://a/");
    assert_eq!(refused(Request::get("http://a/")), ClientRequestError::SchemeUnsupported);
    assert_eq!(refused(Request::get("/")), ClientRequestError::SchemeUnsupported);
    assert_eq!(refused(get().method("CONNECT")), ClientRequestError::MethodNotGet);
    assert_eq!(refused(get().version(Version::HTTP_3)), ClientRequestError::HttpVersion);
    assert_eq!(
        refused(get().header("sec-websocket-protocol", "a, a")),
        ClientRequestError::SubprotocolInvalid
    );
    for name in ["connection", "host", "sec-websocket-key", "sec-websocket-version", "upgrade"] {
        let error = refused(get().header(name, "x"));
        assert!(matches!(error, ClientRequestError::HeaderReserved(header) if header == name));
    }
    let user = refused(Request::get("ws://user@a/"));
    assert!(matches!(user, ClientRequestError::AuthorityInvalid(_)));
}

#[test]
fn a_success_may_choose_one_of_the_subprotocols_offered() {
    let ok = Response::builder;
    assert_eq!(answered(ok()).unwrap(), None);
    let chose = answered(ok().header("sec-websocket-protocol", "superchat"));
    assert_eq!(chose.unwrap().as_deref(), Some("superchat"));

    for names in [&["other"][..], &["chat, superchat"], &["chat", "superchat"], &["chat", "chat"]] {
        let mut response = ok();
        for name in names {
            response = response.header("sec-websocket-protocol", *name);
        }
        let error = answered(response).unwrap_err();
        assert!(matches!(error, HandshakeError::SubprotocolNotOffered(_)), "{names:?}");
    }
}

#[test]
fn a_success_may_choose_no_extension_that_was_not_offered() {
    let response = Response::builder().header("sec-websocket-extensions", "permessage-deflate");
    let error = answered(response).unwrap_err();
    assert!(
        matches!(error, HandshakeError::ExtensionNotOffered(name) if name == "permessage-deflate")
    );
}

#[test]
fn a_response_without_success_is_returned_whole() {
    for status in [101, 302, 403, 501] {
        let error = answered(Response::builder().status(status).header("x", "y")).unwrap_err();
        assert!(error.to_string().ends_with("not 200 OK"), "{error}");
        let HandshakeError::Rejected(response) = error else { panic!("{error}") };
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x"]),
            (status, &"y".parse().unwrap())
        );
    }
}
