//! Asking for a WebSocket, and judging the answer.

use core::str;
use core::time::Duration;

use http::{Method, Version};

use super::*;

fn get(uri: &str) -> http::request::Builder {
    Request::get(uri)
}

fn asked(request: http::request::Builder) -> Result<String, ClientRequestError> {
    let request = request.body(()).expect("a request");
    let mut client = ClientHandshake::new(request, Seed::new([7; 32]), config(), Instant::EPOCH)?;
    Ok(str::from_utf8(client.outbound().chunk()).expect("text").into())
}

/// A client that offers two subprotocols, and the right answer to it.
fn client_and_answer() -> (ClientHandshake, String) {
    (client(get("ws://a/").header("Sec-WebSocket-Protocol", "chat, superchat")), answer())
}

/// The result of a correct response in which `from` is replaced by `to`.
fn answered(from: &str, to: &str) -> Result<Option<String>, HandshakeError> {
    let (mut client, answer) = client_and_answer();
    assert!(answer.contains(from), "{from:?} is not in {answer:?}");
    let (_, response) = receive(&mut client, answer.replace(from, to)).expect("a verdict")?;
    let subprotocol = response.headers().get("sec-websocket-protocol");
    Ok(subprotocol.map(|value| value.to_str().expect("text").into()))
}

#[test]
fn the_request_is_that_of_the_rfc() {
    let request = get("ws://server.example.com/chat?room=1")
        .header("Origin", "http://example.com")
        .header("Sec-WebSocket-Protocol", "chat, superchat")
        .header("Cookie", "a=b");
    let asked = asked(request).expect("a request");
    let key = asked.split("Sec-WebSocket-Key: ").nth(1).expect("a key");
    let key = key.split("\r\n").next().expect("a line");
    assert_eq!(STANDARD.decode(key).expect("base64").len(), 16);
    let expected = "GET /chat?room=1 HTTP/1.1\r\n\
        Host: server.example.com\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Key: KEY\r\n\
        Sec-WebSocket-Version: 13\r\n\
        Origin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\n\
        Cookie: a=b\r\n\r\n";
    assert_eq!(asked, expected.replace("KEY", key));
}

/// A zone has a meaning on one machine only (RFC 6874 §4).
#[test]
fn the_host_has_no_zone() {
    for (url, host) in [
        ("ws://[fe80::1%25eth0]/", "[fe80::1]"),
        ("ws://[fe80::1%25eth0]:80/", "[fe80::1]"),
        ("wss://[fe80::1%25en%2d1]:80/", "[fe80::1]:80"),
        ("ws://[fe80::1%eth0]:81/", "[fe80::1]:81"),
    ] {
        let head = asked(get(url)).expect(url);
        assert!(head.contains(&format!("\r\nHost: {host}\r\n")), "{head}");
        assert!(!head.contains('%'), "{head}");
    }
    let error = asked(get("ws://[%25eth0]/")).expect_err("there is no address");
    assert!(matches!(error, ClientRequestError::AuthorityInvalid(_)), "{error}");
}

/// Servers that look at the first line of a header only see all that is offered.
#[test]
fn subprotocols_are_offered_in_one_line() {
    let request = get("ws://a/")
        .header("Sec-WebSocket-Protocol", "chat.v3")
        .header("Cookie", "a=b")
        .header("Sec-WebSocket-Protocol", "chat.v2,chat.v1");
    let asked = asked(request).expect("a request");
    assert_eq!(asked.matches("Sec-WebSocket-Protocol").count(), 1, "{asked}");
    assert!(asked.contains("Sec-WebSocket-Protocol: chat.v3, chat.v2, chat.v1\r\n"), "{asked}");
}

#[test]
fn host_and_target_come_from_the_uri() {
    for (uri, target, host) in [
        ("ws://a", "/", "a"),
        ("ws://a/", "/", "a"),
        ("ws://a?b", "/?b", "a"),
        ("ws://a/b?c=d", "/b?c=d", "a"),
        ("WSS://a/b", "/b", "a"),
        ("ws://a:80/", "/", "a"),
        ("wss://a:443/", "/", "a"),
        ("ws://a:443/", "/", "a:443"),
        ("wss://a:80/", "/", "a:80"),
        ("ws://a:/", "/", "a"),
        ("ws://[::1]:9000/", "/", "[::1]:9000"),
        ("ws://a/\u{e4}?\u{20ac}", "/%C3%A4?%E2%82%AC", "a"),
        // Not sent, as `Uri` has dropped it.
        ("ws://a/b#c", "/b", "a"),
    ] {
        let asked = asked(get(uri)).expect(uri);
        let start = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
        assert!(asked.starts_with(&start), "{uri}: {asked}");
    }
}

#[test]
fn a_request_that_cannot_open_a_websocket_is_refused() {
    use ClientRequestError as E;
    for uri in ["http://a/", "https://a/", "/a", "*", "a:80", "wsx://a/"] {
        assert_eq!(asked(get(uri)), Err(E::SchemeUnsupported), "{uri}");
    }
    for authority in ["u@a", "u:p@a", "a:65536", ":80", "a[::1]"] {
        let error = asked(get(&format!("ws://{authority}/")));
        assert_eq!(error, Err(E::AuthorityInvalid(authority.into())));
    }
    assert_eq!(asked(get("ws://a/").method(Method::POST)), Err(E::MethodNotGet));
    assert_eq!(asked(get("ws://a/").version(Version::HTTP_2)), Err(E::HttpVersion));
    for protocols in ["", "a, a", "a b", "a;b", "\u{e4}"] {
        let request = get("ws://a/").header("Sec-WebSocket-Protocol", protocols);
        assert_eq!(asked(request), Err(E::SubprotocolInvalid), "{protocols:?}");
    }
    for name in [
        "host",
        "connection",
        "upgrade",
        "content-length",
        "transfer-encoding",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-accept",
        "sec-websocket-extensions",
    ] {
        let error = asked(get("ws://a/").header(name, "0"));
        assert_eq!(error, Err(E::HeaderReserved(name.into())));
    }
}

/// Nothing that ends a line gets as far as a request: the types of `http` do not hold it.
#[test]
fn nothing_can_be_injected() {
    for evil in ["a\r\nb: c", "a\nb", "a\rb", "a\0b"] {
        assert!(get("ws://a/").header("Origin", evil).body(()).is_err());
        assert!(get("ws://a/").header("Sec-WebSocket-Protocol", evil).body(()).is_err());
        assert!(get("ws://a/").header(evil, "a").body(()).is_err());
        assert!(get(&format!("ws://a/{evil}")).body(()).is_err());
        assert!(get(&format!("ws://a/?{evil}")).body(()).is_err());
        assert!(get(&format!("ws://{evil}/")).body(()).is_err());
        assert!(Request::builder().method(evil).body(()).is_err());
    }
}

#[test]
fn the_right_answer_opens_and_leaves_the_frames() {
    let (mut client, answer) = client_and_answer();
    client.outbound().advance(10);
    let unsent = client.outbound().remaining();
    let mut inbound = BytesMut::from(&answer[..]);
    inbound.extend_from_slice(b"\x81\x01a");
    let opened = client.poll_response(&mut inbound, Instant::EPOCH).expect("a verdict");
    let (mut connection, response) = opened.expect("a connection");
    assert_eq!(response.status(), 101);
    assert_eq!(&inbound[..], b"\x81\x01a");
    // The connection sends the bytes that were not sent before.
    assert_eq!(connection.outbound().remaining(), unsent);
    assert!(client.poll_response(&mut inbound, Instant::EPOCH).is_none());
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn lists_in_the_answer_are_lists() {
    for (from, to) in [
        ("websocket\r\nConn", "WebSocket\r\nConn"),
        ("Connection: Upgrade", "connection: keep-alive\r\nConnection: , UPGRADE"),
        ("Sec-WebSocket-Accept: ", "sec-websocket-accept:\t "),
        ("Protocol: chat", "Protocol: superchat"),
        ("101 Switching Protocols", "101 Web Socket Protocol Handshake"),
        ("101 Switching Protocols", "101"),
    ] {
        let opened = answered(from, to);
        assert!(opened.is_ok(), "{from:?} as {to:?}: {opened:?}");
    }
    // A server may choose none of those offered (RFC 6455 §4.2.2).
    assert!(matches!(answered("Sec-WebSocket-Protocol: chat\r\n", ""), Ok(None)));
}

#[test]
fn each_wrong_answer_has_its_error() {
    use HandshakeError as E;
    let same = |left: &E, right: &E| format!("{left:?}") == format!("{right:?}");
    for (from, to, expected) in [
        ("Upgrade: websocket\r\n", "", E::UpgradeMissing),
        ("Upgrade: websocket", "Upgrade: h2c", E::UpgradeMissing),
        ("Upgrade: websocket", "Upgrade: websocket, h2c", E::UpgradeMissing),
        ("Connection: Upgrade\r\n", "", E::ConnectionMissing),
        ("Connection: Upgrade", "Connection: close", E::ConnectionMissing),
        ("Sec-WebSocket-Accept", "Sec-WebSocket-Reject", E::AcceptMissing),
        ("=\r\n", "\r\n", E::AcceptMismatch),
        ("=\r\n", "=\r\nSec-WebSocket-Accept: a\r\n", E::AcceptMismatch),
        ("Protocol: chat", "Protocol: Chat", E::SubprotocolNotOffered("Chat".into())),
        ("Protocol: chat", "Protocol: ", E::SubprotocolNotOffered("".into())),
        (
            "Protocol: chat",
            "Protocol: chat, superchat",
            E::SubprotocolNotOffered("chat, superchat".into()),
        ),
        (
            "Protocol: chat",
            "Protocol: chat\r\nSec-WebSocket-Protocol: superchat",
            E::SubprotocolNotOffered("superchat".into()),
        ),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Extensions: permessage-deflate; a\r\n\r\n",
            E::ExtensionNotOffered("permessage-deflate; a".into()),
        ),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Extensions: permessage-deflate; a=\"\r\n\r\n",
            E::ExtensionsInvalid,
        ),
        ("HTTP/1.1 101", "HTTP/1.0 101", E::Head(HeadError::VersionUnsupported)),
    ] {
        let error = answered(from, to).expect_err(to);
        assert!(same(&error, &expected), "{to:?}: {error:?}");
    }
}

#[test]
fn a_refusal_is_handed_over_with_its_body_left() {
    let answer = "HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\nno";
    let mut inbound = BytesMut::from(answer);
    let mut client = client(get("ws://a/"));
    for _ in 0..2 {
        match client.poll_response(&mut inbound, Instant::EPOCH) {
            Some(Err(HandshakeError::Rejected(response))) => {
                assert_eq!(response.status(), 401);
                assert_eq!(response.headers()["www-authenticate"], "Basic");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(&inbound[..], b"no");
    }
}

#[test]
fn interim_responses_are_passed_over_within_the_limit() {
    let (mut client, answer) = client_and_answer();
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let verdict = receive(&mut client, format!("{interim}HTTP/1.1 100\r\n\r\n{answer}"));
    assert!(matches!(verdict, Some(Ok(_))));

    let max = 1 << 10;
    let request = get("ws://a/").body(()).expect("a request");
    let mut client =
        ClientHandshake::new(request, Seed::new([7; 32]), limited(max), Instant::EPOCH)
            .expect("a client");
    let mut inbound = BytesMut::new();
    let mut came = 0;
    let error = loop {
        inbound.extend_from_slice(interim.as_bytes());
        came += interim.len();
        if let Some(verdict) = client.poll_response(&mut inbound, Instant::EPOCH) {
            break verdict.unwrap_err();
        }
    };
    assert!(matches!(error, HandshakeError::Head(HeadError::TooLong { max: 1024 })));
    assert!(came < max + interim.len());
}

/// The last byte of each is the first that no status line could have there.
#[test]
fn what_is_no_response_is_refused_at_once() {
    use HeadRule as R;
    let invalid =
        |rule| move |error| matches!(error, HeadError::Invalid { rule: r, .. } if r == rule);
    let check = |start: &str, expected: &dyn Fn(HeadError) -> bool| {
        match receive(&mut client(get("ws://a/")), start) {
            Some(Err(HandshakeError::Head(error))) => assert!(expected(error), "{start:?} {error}"),
            other => panic!("{start:?}: {other:?}"),
        }
        let shorter = &start[..start.len() - 1];
        assert!(receive(&mut client(get("ws://a/")), shorter).is_none(), "{start:?}");
    };
    check("\x15", &|error| error == HeadError::NotHttp { first: 0x15 });
    check("S", &|error| error == HeadError::NotHttp { first: b'S' });
    check("\r", &|error| error == HeadError::NotHttp { first: b'\r' });
    check("HE", &invalid(R::StatusLine));
    check("HTTP\r", &invalid(R::StatusLine));
    check("HTTP/1.1\n", &invalid(R::BareLf));
    check("HTTP/1.x 101\r", &invalid(R::StatusLine));
    check("HTTP/1.1 101 a\0", &invalid(R::ControlByte(0)));
    check("HTTP/2 200\r", &|error| error == HeadError::VersionUnsupported);
    check("HTTP/1.1 20 OK\r\n\r\n", &invalid(R::StatusLine));
    check("HTTP/1.1 099 OK\r\n\r\n", &invalid(R::StatusLine));
    check("HTTP/1.1  200 OK\r\n\r\n", &invalid(R::StatusLine));
    check("HTTP/1.1 200 OK\r\na ", &invalid(R::HeaderName));
    check("HTTP/1.1 200 OK\r\na: b\r\n ", &invalid(R::Folded));
}

#[test]
fn the_wait_ends_with_the_transport_or_the_deadline() {
    let mut gone = client(get("ws://a/"));
    gone.handle_eof();
    for _ in 0..2 {
        assert!(matches!(receive(&mut gone, "HTTP/1.1 1"), Some(Err(HandshakeError::Eof))));
    }

    let mut late = client(get("ws://a/"));
    let deadline = late.poll_timeout().expect("a deadline");
    assert_eq!(deadline, Instant::EPOCH + Duration::from_secs(10));
    late.handle_timeout(Instant::EPOCH + Duration::from_secs(9));
    assert!(receive(&mut late, "").is_none());
    late.handle_timeout(deadline);
    assert_eq!(late.poll_timeout(), None);
    assert!(matches!(receive(&mut late, ""), Some(Err(HandshakeError::Timeout))));
}
