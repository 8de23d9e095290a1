//! Heads on their way out.

use alloc::string::ToString;

use bytes::Bytes;
use http::StatusCode;

use super::*;

fn encoded(response: http::response::Builder, body: &'static str) -> Bytes {
    encode_response(&response.body(Bytes::from_static(body.as_bytes())).expect("a response"))
}

#[test]
fn every_response_states_its_length_and_that_it_is_the_last() {
    for error in [UpgradeError::NotUpgrade, UpgradeError::MethodNotGet, UpgradeError::KeyMissing] {
        let response = error.response();
        let bytes = encode_response(&response);
        let mut inbound = BytesMut::from(&bytes[..]);
        let mut client = client(Request::get("ws://a/"));
        match client.poll_response(&mut inbound, Instant::EPOCH) {
            Some(Err(HandshakeError::Rejected(head))) => {
                assert_eq!(head.status(), response.status());
                assert_eq!(head.headers()["content-length"], inbound.len().to_string());
                assert!(head.headers().lists(&fields::CONNECTION, "close"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(inbound, response.body());
    }
}

#[test]
fn the_426_of_the_rfc() {
    let text = "Sec-WebSocket-Version must be 13, once (RFC 6455 4.2.1)\n";
    let expected = format!(
        "HTTP/1.1 426 Upgrade Required\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Content-Length: {}\r\n\
         Connection: Upgrade, close\r\n\r\n{text}",
        text.len()
    );
    assert_eq!(encode_response(&UpgradeError::VersionUnsupported.response()), expected);
}

#[test]
fn the_framing_is_not_the_response_s_to_set() {
    let response = Response::builder()
        .header("Content-Length", "100")
        .header("Transfer-Encoding", "chunked")
        .header("Connection", "Keep-Alive, x")
        .header("Connection", "close");
    assert_eq!(
        encoded(response, "ok"),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, close\r\n\r\nok"
    );
}

#[test]
fn an_answer_to_head_keeps_the_length_that_it_states() {
    let response = Response::builder().header("Content-Length", "100").body(Bytes::new()).unwrap();
    assert_eq!(
        encode_response(&response),
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn statuses_without_a_body_get_none() {
    for status in [101, 103, 204, 304] {
        let bytes = encoded(Response::builder().status(status), "body");
        assert!(bytes.ends_with(b"\r\nConnection: close\r\n\r\n"), "{status}: {bytes:?}");
        assert!(!bytes.windows(14).any(|window| window == b"Content-Length"));
    }
}

#[test]
fn a_status_without_a_phrase_keeps_its_space() {
    let bytes = encoded(Response::builder().status(599), "");
    assert!(bytes.starts_with(b"HTTP/1.1 599 \r\n"));
    assert!(StatusCode::from_u16(99).is_err());
}

#[test]
fn names_are_capitalised_and_values_are_not_touched() {
    let response = Response::builder()
        .header("x--odd-", "A b\u{e4}\t")
        .header("sec-websocket-accept", "a")
        .header("set-cookie", "a")
        .header("set-cookie", "b");
    let bytes = encoded(response, "");
    let expected = "HTTP/1.1 200 OK\r\nX--Odd-: A b\u{e4}\t\r\nSec-WebSocket-Accept: a\r\n\
        Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(bytes, expected);
}

#[test]
fn requests_take_the_form_of_their_method() {
    for (method, uri, line) in [
        ("GET", "http://a/b?c", "GET /b?c HTTP/1.1"),
        ("GET", "http://a?c", "GET /?c HTTP/1.1"),
        ("GET", "/", "GET / HTTP/1.1"),
        ("OPTIONS", "*", "OPTIONS * HTTP/1.1"),
        ("CONNECT", "a:443", "CONNECT a:443 HTTP/1.1"),
        ("GET", "/\u{e4}", "GET /%C3%A4 HTTP/1.1"),
    ] {
        let request = Request::builder().method(method).uri(uri).header("A", "b");
        let request = request.header("Host", "a").body(()).expect("a request");
        let expected = format!("{line}\r\nHost: a\r\nA: b\r\n\r\n");
        assert_eq!(encode_request(&request), expected, "{method} {uri}");
        assert!(matches!(read(&expected), Some(Ok(_))), "{expected:?}");
    }
}
