//! Reading a request: what is one, what is refused and after how many bytes.

use core::time::Duration;

use http::{Method, Version};

use super::*;

fn rule(head: impl AsRef<[u8]>) -> HeadRule {
    match read(&head) {
        Some(Err(HeadError::Invalid { rule, .. })) => rule,
        other => panic!("{:?}: {other:?}", head.as_ref().escape_ascii()),
    }
}

#[test]
fn takes_exactly_the_head() {
    let mut server = server();
    let mut inbound = BytesMut::from(EXAMPLE);
    inbound.extend_from_slice(b"\x81\x80abcd");
    let request = server.poll_request(&mut inbound).expect("a verdict").expect("a request");
    assert_eq!(&inbound[..], b"\x81\x80abcd");
    assert_eq!(request.method(), Method::GET);
    assert_eq!(request.uri(), "/chat");
    assert_eq!(request.version(), Version::HTTP_11);
    assert_eq!(request.headers().len(), 7);
    // A request of a second kind would be frames read as a head.
    assert!(server.poll_request(&mut inbound).is_none());
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn other_requests_are_requests_too() {
    for head in [
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a_b~c!$&'()*+,;=:80\r\n\r\n",
        "GET http://a:80/b?c HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET HTTPS://a HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        "BREW /{\"pot\"}?a|b HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\ta \t\r\nEmpty:\r\nLatin: \u{e4}\r\n\r\n",
    ] {
        assert!(matches!(read(head), Some(Ok(_))), "{head:?}: {:?}", read(head));
    }
}

#[test]
fn a_head_that_breaks_a_rule_is_refused() {
    use HeadRule as R;
    for (head, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", R::HostMissing),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", R::HostRepeated),
        ("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", R::HostRepeated),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", R::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", R::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", R::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", R::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", R::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a%41b\r\n\r\n", R::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", R::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: [v1.a]\r\n\r\n", R::HostInvalid),
        ("GET http://a%41b/ HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("GET http://[fe80::1%25eth0]/ HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", R::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: \u{e4}\r\n\r\n", R::HostInvalid),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("GET ws://a/ HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", R::Target),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", R::RequestLine),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", R::RequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", R::RequestLine),
        ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", R::RequestLine),
        ("GET HTTP/1.1\r\nHost: a\r\n\r\n", R::RequestLine),
    ] {
        assert_eq!(rule(head), expected, "{head:?}");
    }
}

/// The last byte of each is the first that no head could have there.
#[test]
fn what_can_never_become_a_head_is_refused_at_once() {
    use HeadRule as R;
    for (start, expected) in [
        ("GET / HTTP/1.1\n", R::BareLf),
        ("\n", R::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\n", R::BareLf),
        ("GET / HTTP/1.1\r\nHost\n", R::BareLf),
        ("GET / HTTP/1.1\r\n\n", R::BareLf),
        ("\rG", R::BareCr),
        ("GET / HTTP/1.1\rH", R::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\r", R::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rb", R::BareCr),
        ("GET /\0", R::ControlByte(0)),
        ("GET /\t", R::ControlByte(9)),
        ("GET /\x7f", R::ControlByte(0x7f)),
        ("GET / HTTP/1.1\r\na: \x1b", R::ControlByte(0x1b)),
        ("GET / HTTP/1.1\r\na: \x7f", R::ControlByte(0x7f)),
        ("GET / HTTP/1.1\r\na: b\r\n ", R::Folded),
        ("GET / HTTP/1.1\r\na: b\r\n\t", R::Folded),
        ("GET / HTTP/1.1\r\n ", R::Folded),
        ("GET / HTTP/1.1\r\n:", R::HeaderName),
        ("GET / HTTP/1.1\r\na ", R::HeaderName),
        ("GET / HTTP/1.1\r\na\r", R::HeaderName),
        ("GET / HTTP/1.1\r\na\0", R::HeaderName),
        ("G(", R::RequestLine),
        ("GET\r", R::RequestLine),
        ("GET /\r", R::RequestLine),
        ("GET / HTTP/1.x\r", R::RequestLine),
        ("GET / http/1.1\r", R::RequestLine),
        ("SSH-2.0-OpenSSH_9.2\r", R::RequestLine),
    ] {
        assert_eq!(rule(start), expected, "{start:?}");
        assert!(read(&start[..start.len() - 1]).is_none(), "{start:?} is refused too early");
    }
    // Not in the table: a test's text is UTF-8, and this is the first byte of a character.
    assert_eq!(rule(b"GET /\xc3"), R::Target);
}

#[test]
fn tls_on_a_plaintext_port_is_recognised_by_its_first_byte() {
    for hello in [&b"\x16\x03\x01\x02\x00\x01"[..], b"\x80\x2e\x01", b"\0", b" ", b"{"] {
        let error = read(&hello[..1]).expect("a verdict").unwrap_err();
        assert_eq!(error, HeadError::NotHttp { first: hello[0] });
        assert_eq!(error.response().expect("an answer").status(), 400);
    }
}

#[test]
fn other_versions_of_http_are_refused_with_the_first_line() {
    for start in ["PRI * HTTP/2.0\r", "GET / HTTP/2\r", "GET / HTTP/3.0\r", "GET / HTTP/1.2\r"] {
        assert_eq!(read(start).expect("a verdict").unwrap_err(), HeadError::VersionUnsupported);
        assert!(read(&start[..start.len() - 1]).is_none());
    }
}

#[test]
fn a_head_may_be_as_long_as_the_limit() {
    let len = EXAMPLE.len();
    let fits = ServerHandshake::new(limited(len), Instant::EPOCH)
        .poll_request(&mut BytesMut::from(EXAMPLE));
    assert!(matches!(fits, Some(Ok(_))));
    for len in [128, len - 1] {
        let mut server = ServerHandshake::new(limited(len), Instant::EPOCH);
        let verdict = server.poll_request(&mut BytesMut::from(EXAMPLE));
        assert_eq!(verdict.expect("a verdict").unwrap_err(), HeadError::TooLong { max: len });
    }
    // As soon as that many bytes came, and not when the next one does.
    let mut server = ServerHandshake::new(limited(128), Instant::EPOCH);
    let mut inbound = BytesMut::from(&EXAMPLE[..127]);
    assert!(server.poll_request(&mut inbound).is_none());
    inbound.extend_from_slice(b"x");
    assert!(server.poll_request(&mut inbound).is_some());
}

#[test]
fn header_lines_are_counted_to_the_limit() {
    let with = |count: usize| {
        let lines = "a: b\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    };
    for count in [127, 128] {
        let request = read(with(count)).expect("a verdict").expect("a request");
        assert_eq!(request.headers().len(), count);
    }
    for count in [129, 130, 2000] {
        let error = read(with(count)).expect("a verdict").unwrap_err();
        assert_eq!(error, HeadError::TooManyHeaders);
    }
}

#[test]
fn a_length_is_one_number_or_the_request_is_invalid() {
    let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    for lines in ["Content-Length: 0\r\n", "Content-Length:  18446744073709551615 \r\n", ""] {
        read(with(lines)).expect("a verdict").expect("a request");
    }
    read(with("Transfer-Encoding: chunked\r\n")).expect("a verdict").expect("a request");
    for lines in [
        "Content-Length: abc\r\n",
        "Content-Length:\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 0x10\r\n",
        "Content-Length: 1 2\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let error = read(with(lines)).expect("a verdict").unwrap_err();
        let is_length = |rule| matches!(rule, HeadRule::ContentLength);
        assert!(matches!(error, HeadError::Invalid { rule, .. } if is_length(rule)), "{lines:?}");
    }
}

#[test]
fn a_peer_that_sent_nothing_by_the_deadline_is_silent_and_gets_no_answer() {
    for (bytes, error) in [("", HeadError::Silent), ("\r", HeadError::Timeout)] {
        let mut server = server();
        let mut inbound = BytesMut::from(bytes);
        assert!(server.poll_request(&mut inbound).is_none());
        server.handle_timeout(server.poll_timeout().expect("a deadline"));
        assert_eq!(server.poll_request(&mut inbound).expect("a verdict").unwrap_err(), error);
        assert_eq!(error.response().is_some(), !bytes.is_empty());
    }
}

/// With a limit of 4 MiB and a byte a call, work that is not linear would not end.
#[test]
fn an_endless_header_costs_a_step_a_byte_and_ends_at_the_limit() {
    let max = 4 << 20;
    let mut server = ServerHandshake::new(limited(max), Instant::EPOCH);
    let mut inbound = BytesMut::from("GET / HTTP/1.1\r\na: ");
    while server.poll_request(&mut inbound).is_none() {
        inbound.extend_from_slice(b"x");
    }
    assert_eq!(inbound.len(), max);
    let error = server.poll_request(&mut inbound).expect("a verdict").unwrap_err();
    assert_eq!(error, HeadError::TooLong { max });
}

#[test]
fn an_end_of_transport_is_an_error_unless_the_head_is_whole() {
    for (head, whole) in [(EXAMPLE, true), ("GET / HT", false), ("", false)] {
        let mut server = server();
        server.handle_eof();
        assert_eq!(server.poll_timeout(), None);
        let verdict = server.poll_request(&mut BytesMut::from(head)).expect("a verdict");
        assert_eq!(verdict.map(|_| ()), if whole { Ok(()) } else { Err(HeadError::Eof) });
    }
}

#[test]
fn the_deadline_is_an_error_unless_the_head_is_whole() {
    let start = Instant::from_epoch(Duration::from_secs(100));
    let deadline = start + Duration::from_secs(10);
    let mut server = ServerHandshake::new(config(), start);
    let mut inbound = BytesMut::from("GET / HT");
    assert_eq!(server.poll_timeout(), Some(deadline));
    server.handle_timeout(start + Duration::from_millis(9_999));
    assert!(server.poll_request(&mut inbound).is_none());
    let mut other = server.clone();

    server.handle_timeout(deadline);
    // The first event that ended the wait is the result.
    server.handle_eof();
    assert_eq!(server.poll_timeout(), None);
    let verdict = server.poll_request(&mut inbound).expect("a verdict");
    assert_eq!(verdict.unwrap_err(), HeadError::Timeout);

    other.handle_timeout(deadline);
    inbound.extend_from_slice(b"TP/1.1\r\nHost: a\r\n\r\n");
    assert!(matches!(other.poll_request(&mut inbound), Some(Ok(_))));
}

#[test]
fn a_deadline_of_the_hosts_own_is_the_only_one() {
    let start = Instant::from_epoch(Duration::from_secs(100));
    let deadline = start + Duration::from_secs(3);
    let mut server = ServerHandshake::new(config(), start).with_deadline(deadline);
    assert_eq!(server.poll_timeout(), Some(deadline));
    server.handle_timeout(deadline);
    let verdict = server.poll_request(&mut BytesMut::from("GET / HT")).expect("a verdict");
    assert_eq!(verdict.unwrap_err(), HeadError::Timeout);
}

#[test]
fn an_error_is_final_and_takes_nothing() {
    let mut server = server();
    let mut inbound = BytesMut::from("GET / HTTP/1.1\r\n\r\nrest");
    for _ in 0..2 {
        let error = server.poll_request(&mut inbound).expect("a verdict").unwrap_err();
        assert_eq!(error, HeadError::Invalid { rule: HeadRule::HostMissing, at: 18 });
        assert_eq!(&inbound[..], b"GET / HTTP/1.1\r\n\r\nrest");
        assert_eq!(server.poll_timeout(), None);
        server.handle_eof();
    }
}

/// A caller that breaks the contract and empties the buffer gets no panic for it.
#[test]
fn a_buffer_that_shrank_is_survived() {
    let mut server = server();
    assert!(server.poll_request(&mut BytesMut::from("GET / HTTP/1.1\r\nHost: a")).is_none());
    assert!(server.poll_request(&mut BytesMut::new()).is_none());
    assert!(server.poll_request(&mut BytesMut::from("x")).is_none());
    server.handle_eof();
    assert!(matches!(server.poll_request(&mut BytesMut::new()), Some(Err(HeadError::Eof))));

    let mut server = super::server();
    assert!(server.poll_request(&mut BytesMut::from("\r\nGET / HTTP/1.1")).is_none());
    let other = [b'\r'; 17];
    assert!(matches!(server.poll_request(&mut BytesMut::from(&other[..])), Some(Err(_))));
}

#[test]
fn both_kinds_of_connection_begin_with_the_101() {
    let request = read(EXAMPLE).expect("a verdict").expect("a request");
    let mut upgrade = UpgradeRequest::from_request(&request).expect("an upgrade");
    upgrade.select(&["chat"]);
    let (mut response, negotiated) = upgrade.accept();
    // Neither a length nor another status may precede frames.
    response.headers_mut().insert("Content-Length", HeaderValue::from_static("5"));
    *response.status_mut() = http::StatusCode::OK;

    let mut connection = server().accept(&response, negotiated, config(), Instant::EPOCH);
    assert_eq!(connection.outbound().chunk(), ANSWER.as_bytes());
    let mut connection = server().accept_raw(&response, config());
    assert_eq!(connection.outbound().chunk(), ANSWER.as_bytes());
}

#[test]
fn a_byte_is_judged_alike_at_each_place_of_a_long_line() {
    let verdict = |head: &[u8]| match server().poll_head(&mut BytesMut::from(head)) {
        Some(Ok(_)) => None,
        Some(Err(error)) => Some(error),
        None => panic!("the head is complete"),
    };
    for byte in 0..=u8::MAX {
        for at in 0..100 {
            let mut line = [b'x'; 100];
            line[at] = byte;
            let start = b"GET / HTTP/1.1\r\nHost: a\r\nb: c";
            let value = [start, &line[..], b"\r\n\r\n"].concat();
            let expected = match byte {
                b'\t' | b' '..=b'~' | 0x80.. => None,
                b'\n' => Some((HeadRule::BareLf, start.len() + at)),
                b'\r' => Some((HeadRule::BareCr, start.len() + at + 1)),
                _ => Some((HeadRule::ControlByte(byte), start.len() + at)),
            };
            let expected = expected.map(|(rule, at)| HeadError::Invalid { rule, at });
            assert_eq!(verdict(&value), expected, "{byte} at {at} of a value");
            let target = [b"GET /", &line[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let is_allowed = matches!(byte, b'!'..=b'~' if !b"#<>\\^`{|}".contains(&byte));
            if is_allowed {
                assert_eq!(verdict(&target), None, "{byte} at {at} of a target");
            } else if !(b' '..=b'~').contains(&byte) && !b"\r\n".contains(&byte) {
                let Some(HeadError::Invalid { at: found, .. }) = verdict(&target) else {
                    panic!("{byte} at {at} of a target is accepted")
                };
                assert_eq!(found, 5 + at, "{byte} at {at} of a target");
            }
        }
    }
}
