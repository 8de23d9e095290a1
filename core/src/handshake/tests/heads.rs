//! The handshake without the types of `http` gives the same results as with them.

use alloc::string::ToString;
use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::sample::select;

use super::chunking::{bytes, cases};
use super::*;

/// The verdict on all of `head`, and on the upgrade if it is a request; compared as text.
fn judged_by_head(head: &[u8]) -> Option<String> {
    let verdict = server().poll_head(&mut BytesMut::from(head))?;
    Some(format!(
        "{:?}",
        verdict.map(|head| {
            let lines = head.headers().map(|(name, value)| (name.to_ascii_lowercase(), value));
            let mut lines = lines.map(|line| format!("{line:?}")).collect::<Vec<_>>();
            lines.sort();
            let upgrade = UpgradeRequest::from_head(&head).map(|upgrade| {
                let (answer, _) = upgrade.accept_head();
                (answer.status(), answer.header("sec-websocket-accept").map(<[u8]>::to_vec))
            });
            (head.method().to_string(), head.is_http_11(), lines, upgrade)
        })
    ))
}

/// The same without a copy of the head.
fn judged_in_place(head: &[u8]) -> Option<String> {
    let mut inbound = BytesMut::from(head);
    let verdict = server().poll_borrowed(&mut inbound, |head| {
        let lines = head.headers().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let mut lines = lines.map(|line| format!("{line:?}")).collect::<Vec<_>>();
        lines.sort();
        let upgrade = match head.is_http_11() {
            true if head.method() != "GET" => Err(UpgradeError::MethodNotGet),
            true => UpgradeRequest::from_lines(head.headers()),
            false => Err(UpgradeError::HttpVersion),
        };
        let upgrade = upgrade.map(|upgrade| {
            let (answer, _) = upgrade.accept_head();
            (answer.status(), answer.header("sec-websocket-accept").map(<[u8]>::to_vec))
        });
        (head.method().to_string(), head.is_http_11(), lines, upgrade)
    });
    Some(format!("{:?}", verdict?))
}

fn judged_by_request(head: &[u8]) -> Option<String> {
    let verdict = server().poll_request(&mut BytesMut::from(head))?;
    Some(format!(
        "{:?}",
        verdict.map(|request| {
            let lines = request.headers().lines();
            let lines = lines.map(|(name, value)| (name.to_string(), value));
            let mut lines = lines.map(|line| format!("{line:?}")).collect::<Vec<_>>();
            lines.sort();
            let upgrade = UpgradeRequest::from_request(&request).map(|upgrade| {
                let (answer, _) = upgrade.accept();
                let accept = answer.headers().get("sec-websocket-accept");
                (answer.status().as_u16(), accept.map(|value| value.as_bytes().to_vec()))
            });
            let is_http_11 = request.version() == http::Version::HTTP_11;
            (request.method().to_string(), is_http_11, lines, upgrade)
        })
    ))
}

fn judged_response(head: &[u8], by_head: bool) -> Option<String> {
    let mut client = client(Request::get("ws://a/").header("Sec-WebSocket-Protocol", "chat"));
    let mut inbound = BytesMut::from(head);
    let verdict = if by_head {
        let verdict = client.poll_head(&mut inbound, Instant::EPOCH)?;
        verdict.map(|(_, head)| head.status()).map_err(|error| match error {
            HandshakeError::Declined(head) => format!("rejected: {}", head.status()),
            error => error.to_string(),
        })
    } else {
        let verdict = client.poll_response(&mut inbound, Instant::EPOCH)?;
        verdict.map(|(_, response)| response.status().as_u16()).map_err(|error| match error {
            HandshakeError::Rejected(response) => {
                format!("rejected: {}", response.status().as_u16())
            }
            error => error.to_string(),
        })
    };
    Some(format!("{verdict:?}, {inbound:?}"))
}

/// A head that is complete when it is first looked at is parsed without the scanner, which must not be
/// noticed.
#[test]
fn any_byte_in_any_place_is_judged_in_place_as_in_a_copy() {
    let check = |head: &[u8]| {
        assert_eq!(judged_in_place(head), judged_by_head(head), "{}", head.escape_ascii());
    };
    for at in 0..EXAMPLE.len() {
        let mut head = EXAMPLE.as_bytes().to_vec();
        for byte in 0..=u8::MAX {
            head[at] = byte;
            check(&head);
        }
        for extra in [&b"\r"[..], b"\n", b"\r\n", b"\t", b" ", b":", b"\0", b"\x7f", b"\x80", b","]
        {
            let (before, after) = EXAMPLE.as_bytes().split_at(at);
            check(&[before, extra, after].concat());
        }
    }
}

#[test]
fn the_limit_of_a_head_is_the_same_in_place() {
    for max in [128, EXAMPLE.len() - 1, EXAMPLE.len(), EXAMPLE.len() + 1] {
        let judge = |chunk: usize| {
            let mut server = ServerHandshake::new(limited(max), Instant::EPOCH);
            let mut inbound = BytesMut::new();
            EXAMPLE.as_bytes().chunks(chunk).find_map(|bytes| {
                inbound.extend_from_slice(bytes);
                let verdict = server.poll_borrowed(&mut inbound, |head| head.target().len())?;
                Some((verdict, max >= EXAMPLE.len() && inbound.is_empty()))
            })
        };
        let whole = judge(EXAMPLE.len());
        assert_eq!(whole.is_some_and(|(verdict, _)| verdict.is_ok()), max >= EXAMPLE.len());
        for chunk in [1, 2, 100] {
            assert_eq!(judge(chunk), whole, "{max} bytes, {chunk} at a time");
        }
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn heads_are_judged_alike(head in bytes()) {
        prop_assert_eq!(judged_by_head(&head), judged_by_request(&head));
        prop_assert_eq!(judged_by_head(&head), judged_in_place(&head));
        prop_assert_eq!(judged_response(&head, true), judged_response(&head, false));
    }

    #[test]
    fn targets_are_judged_alike(
        method in select(&["GET", "OPTIONS", "CONNECT", "POST"][..]),
        target in prop_oneof![
            "[!-~]{1,12}",
            "/[!-~]{0,12}",
            "(http|HTTPS|ws)://[a-z0-9.:@\\[\\]%]{0,8}[/?]?[!-~]{0,8}",
            "[a-z]{0,3}:?[0-9]{0,6}",
            Just("*".to_string()),
        ],
    ) {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        prop_assert_eq!(judged_by_head(head.as_bytes()), judged_by_request(head.as_bytes()), "{}", head);
    }
}

#[test]
fn a_target_has_a_limit_of_its_length_in_both() {
    for len in [65_533, 65_534] {
        let head = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len));
        let poll = || ServerHandshake::new(limited(1 << 20), Instant::EPOCH);
        let one = poll().poll_head(&mut BytesMut::from(head.as_bytes())).map(|it| it.map(drop));
        let two = poll().poll_request(&mut BytesMut::from(head.as_bytes())).map(|it| it.map(drop));
        assert_eq!(one, two);
        assert_eq!(one, Some(if len == 65_533 { Ok(()) } else { one.unwrap() }));
    }
}

/// A grant that is queued directly has the bytes of its response.
#[test]
fn a_grant_is_sent_as_its_response_is() {
    let offers = [("chat.v1, chat.v2", ""), ("", "x-one; a=1"), ("chat.v1", "x-one"), ("", "")];
    for (protocols, extensions) in offers {
        let mut request = Request::get("/").header("Host", "a").header("Upgrade", "websocket");
        request = request.header("Connection", "Upgrade").header("Sec-WebSocket-Version", "13");
        request = request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        for (name, value) in
            [("Sec-WebSocket-Protocol", protocols), ("Sec-WebSocket-Extensions", extensions)]
        {
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        let request = request.body(()).expect("a request");
        let granted = || {
            let mut upgrade = UpgradeRequest::from_request(&request).expect("an upgrade");
            upgrade.select(&["chat.v1"]);
            let answers = upgrade.extensions().to_vec();
            upgrade.pass_extensions(answers);
            upgrade.grant()
        };
        let mut others = http::HeaderMap::new();
        others.append("set-cookie", HeaderValue::from_static("a=b"));
        others.append("set-cookie", HeaderValue::from_static("c=d"));
        others.append("x-long", "x".repeat(9000).parse().expect("a value"));

        let (grant, _) = granted();
        assert_eq!(grant.has_extensions(), !extensions.is_empty());
        let mut response = grant.response();
        response.headers_mut().extend(others.clone());
        let mut by_response = server().accept_raw(&response, config());
        let mut by_grant = crate::RawConnection::server(config());
        grant.queue(&mut by_grant.outbound(), &others);
        let sent = |mut outbound: crate::Outbound<'_>| outbound.copy_to_bytes(usize::MAX);
        assert_eq!(sent(by_grant.outbound()), sent(by_response.outbound()));
    }
}

/// Both ends without the types of `http`.
#[test]
fn the_halves_agree_without_http() {
    let headers: [(&str, &[u8]); 3] = [
        ("Sec-WebSocket-Protocol", b"chat.v2"),
        ("Cookie", b"a=b"),
        ("sec-websocket-protocol", b"chat.v1"),
    ];
    let (seed, now) = (Seed::new([7; 32]), Instant::EPOCH);
    let client = ClientHandshake::with_headers("a:8080", "/x?y", &headers, seed, config(), now);
    let mut client = client.expect("a client");
    let mut wire = BytesMut::new();
    bytes::BufMut::put(&mut wire, client.outbound());
    assert!(wire.starts_with(b"GET /x?y HTTP/1.1\r\nHost: a:8080\r\n"));

    let mut server = server();
    let head = server.poll_head(&mut wire).expect("a verdict").expect("a request");
    assert!(wire.is_empty());
    assert_eq!((head.method(), head.target()), ("GET", "/x?y"));
    assert_eq!(head.header("COOKIE"), Some(&b"a=b"[..]));
    assert_eq!(head.header("sec-websocket-protocol"), Some(&b"chat.v2, chat.v1"[..]));
    let mut upgrade = UpgradeRequest::from_head(&head).expect("an upgrade");
    assert_eq!(upgrade.select(&["chat.v1"]), Some("chat.v1"));
    let (mut answer, negotiated) = upgrade.accept_head();
    answer.push_header("Set-Cookie", "a=b").expect("a header");
    let mut server = server.accept_head(&answer, negotiated, config(), now);
    bytes::BufMut::put(&mut wire, server.outbound());
    wire.extend_from_slice(b"frames");

    let opened = client.poll_head(&mut wire, now).expect("a verdict");
    let (connection, answer) = opened.expect("a connection");
    assert_eq!(answer.header("set-cookie"), Some(&b"a=b"[..]));
    assert_eq!(connection.subprotocol(), Some("chat.v1"));
    assert_eq!(&wire[..], b"frames");
}

#[test]
fn equal_requests_are_encoded_alike() {
    let request = Request::get("ws://example.com:8080/chat?room=1")
        .header("Origin", "https://example.com")
        .header("Sec-WebSocket-Protocol", "chat");
    let mut by_http = client(request);
    let headers: [(&str, &[u8]); 2] =
        [("Origin", b"https://example.com"), ("Sec-WebSocket-Protocol", b"chat")];
    let (host, target, seed) = ("example.com:8080", "/chat?room=1", Seed::new([7; 32]));
    let client =
        ClientHandshake::with_headers(host, target, &headers, seed, config(), Instant::EPOCH);
    let mut by_headers = client.expect("a client");
    assert_eq!(by_http.outbound().chunk(), by_headers.outbound().chunk());
}

#[test]
fn a_request_that_cannot_open_a_websocket_is_rejected() {
    use ClientRequestError as E;
    let started = |host: &str, target: &str, name: &str, value: &[u8]| {
        let (headers, seed) = ([(name, value)], Seed::new([7; 32]));
        let now = Instant::EPOCH;
        ClientHandshake::with_headers(host, target, &headers, seed, config(), now).map(drop)
    };
    assert_eq!(started("a:80", "/?", "Origin", b""), Ok(()));
    for host in ["", "u@a", "a/b", "a\r\nb", "::1"] {
        assert_eq!(started(host, "/", "a", b""), Err(E::AuthorityInvalid(host.into())));
    }
    for target in ["", "a", "*", "http://a/", "/a b", "/a\r\nb: c", "/#a", "/\u{e4}"] {
        assert_eq!(started("a", target, "a", b""), Err(E::TargetInvalid(target.into())));
    }
    for (name, value) in [("", "a"), ("a b", "a"), ("a:", "a"), ("a", "b\r\nc: d"), ("a", "\0")] {
        let error = started("a", "/", name, value.as_bytes());
        assert_eq!(error, Err(E::HeaderInvalid(name.into())), "{name:?} {value:?}");
    }
    for name in ["host", "Upgrade", "CONNECTION", "sec-websocket-key", "content-length"] {
        assert_eq!(started("a", "/", name, b"0"), Err(E::HeaderReserved(name.into())));
    }
    for protocols in ["", "a, a", "a b"] {
        let error = started("a", "/", "Sec-WebSocket-Protocol", protocols.as_bytes());
        assert_eq!(error, Err(E::SubprotocolInvalid), "{protocols:?}");
    }
}

#[test]
fn answers_are_encoded_as_with_http() {
    for error in [UpgradeError::NotUpgrade, UpgradeError::MethodNotGet, UpgradeError::KeyMissing] {
        let mut lines = [error.encoded_response(), encode_response(&error.response())]
            .map(|answer| answer.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect());
        lines.iter_mut().for_each(|lines: &mut Vec<_>| lines.sort());
        assert_eq!(lines[0], lines[1]);
    }
    let error = HeadError::TooLong { max: 1 };
    let answer = error.response().map(|response| encode_response(&response));
    assert_eq!(error.encoded_response(), answer);
    assert_eq!(HeadError::Eof.encoded_response(), None);
}

#[test]
fn nothing_can_be_injected_into_an_answer() {
    let mut head = ResponseHead::new(200);
    for (name, value) in [
        ("a", "b\r\nc: d"),
        ("a\r\nb", "c"),
        ("a b", "c"),
        ("", "c"),
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
    ] {
        assert!(head.push_header(name, value).is_err(), "{name:?} {value:?}");
    }
    assert_eq!(head, ResponseHead::new(200));
}

#[test]
#[should_panic(expected = "a status is 100 to 999")]
fn a_status_has_three_digits() {
    ResponseHead::new(99);
}

#[test]
fn secrets_are_not_shown() {
    let secret = "GET /?token=hunter2 HTTP/1.1\r\nHost: a\r\nCookie: hunter2\r\n\r\n";
    let head = server().poll_head(&mut BytesMut::from(secret)).expect("a verdict");
    assert!(!format!("{head:?}").contains("hunter2"));
    let mut answer = ResponseHead::new(200);
    answer.push_header("Set-Cookie", "hunter2").expect("a header");
    assert!(!format!("{answer:?}").contains("hunter2"));
}
