//! The verdict is the same however the bytes are cut, and so is what is left of them.

use alloc::vec::Vec;
use std::io::Write;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// First lines: good, bad and in between.
const STARTS: &[&str] = &[
    "GET /chat HTTP/1.1",
    "POST http://a/b?c HTTP/1.1",
    "GET / HTTP/1.0",
    "PRI * HTTP/2.0",
    "GET /#a HTTP/1.1",
    "GET  / HTTP/1.1",
    "",
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 403 Forbidden",
    "HTTP/1.1 100\r\n\r\nHTTP/1.1 200 OK",
    "HTTP/2 200",
];

/// Lines after the first.
const LINES: &[&str] = &[
    "Host: a",
    "Host: a b",
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: chat, superchat",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    "__proto__: a",
    "no colon",
    " folded",
    "a : b",
];

/// A head put together from lines, now and then with a byte that does not belong, and what follows.
pub(super) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![Just(EXAMPLE.into()), Just(answer())].prop_map(String::into_bytes);
    let end = prop_oneof![18 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
    let start = (select(STARTS), end.clone());
    let lines = vec((select(LINES), end), 0..9);
    let lines = (start, lines).prop_map(|(start, lines)| {
        let lines = core::iter::once(start).chain(lines).flat_map(|(line, end)| [line, end]);
        lines.chain(["\r\n"]).collect::<String>().into_bytes()
    });
    let spoilt = proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    let follows = vec(any::<u8>(), 0..20);
    (prop_oneof![whole, lines], spoilt, follows).prop_map(|(mut head, spoilt, follows)| {
        if let Some((index, byte)) = spoilt {
            let index = index.index(head.len());
            head[index] = byte;
        }
        head.extend_from_slice(&follows);
        head
    })
}

/// Feeds `bytes` in chunks of these lengths until `poll` gives a verdict, and says what it was, as
/// text, and what was not taken.
fn judged(
    bytes: &[u8],
    chunks: &[usize],
    mut poll: impl FnMut(&mut BytesMut, bool) -> Option<String>,
) -> (String, Vec<u8>) {
    let mut inbound = BytesMut::new();
    let mut unfed = bytes;
    let mut chunks = chunks.iter().copied().chain(core::iter::repeat(bytes.len().max(1)));
    loop {
        if let Some(verdict) = poll(&mut inbound, unfed.is_empty()) {
            inbound.extend_from_slice(unfed);
            return (verdict, inbound.to_vec());
        }
        let len = chunks.next().unwrap_or(1).min(unfed.len());
        let (chunk, rest) = unfed.split_at(len);
        inbound.extend_from_slice(chunk);
        unfed = rest;
    }
}

fn judged_request(bytes: &[u8], chunks: &[usize], max: usize) -> (String, Vec<u8>) {
    let mut server = ServerHandshake::new(limited(max), Instant::EPOCH);
    judged(bytes, chunks, |inbound, last| {
        if last {
            server.handle_eof();
        }
        server.poll_request(inbound).map(|verdict| format!("{verdict:?}"))
    })
}

fn judged_response(bytes: &[u8], chunks: &[usize], max: usize) -> (String, Vec<u8>) {
    let request = Request::get("ws://a/").header("Sec-WebSocket-Protocol", "chat");
    let request = request.body(()).expect("a request");
    let client = ClientHandshake::new(request, Seed::new([7; 32]), limited(max), Instant::EPOCH);
    let mut client = client.expect("a client");
    judged(bytes, chunks, |inbound, last| {
        if last {
            client.handle_eof();
        }
        client.poll_response(inbound, Instant::EPOCH).map(|verdict| format!("{verdict:?}"))
    })
}

/// A failure is reported by its smallest case, not kept in a file.
pub(super) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn any_chunking_gives_the_same_verdict_and_the_same_rest(
        bytes in bytes(),
        chunks in vec(0..40_usize, 0..60),
        max in prop_oneof![Just(16_usize << 10), 128..300_usize],
    ) {
        prop_assert_eq!(judged_request(&bytes, &chunks, max), judged_request(&bytes, &[], max));
        prop_assert_eq!(judged_response(&bytes, &chunks, max), judged_response(&bytes, &[], max));
    }

    #[test]
    fn noise_is_judged_too(bytes in vec(any::<u8>(), 0..200), chunks in vec(0..9_usize, 0..40)) {
        prop_assert_eq!(judged_request(&bytes, &chunks, 128), judged_request(&bytes, &[], 128));
        prop_assert_eq!(judged_response(&bytes, &chunks, 128), judged_response(&bytes, &[], 128));
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn what_is_encoded_is_what_is_read(
        path in "/[a-z0-9/%._~-]{0,20}(\\?[a-z0-9=&]{0,20})?",
        values in vec("[!-~][ -~]{0,20}[!-~]", 0..20),
    ) {
        let mut request = Request::get(&path).header("Host", "example.com:8080");
        for value in &values {
            request = request.header("x-value", value);
        }
        let request = request.body(()).expect("a request");
        let read = read(encode_request(&request)).expect("a verdict").expect("a request");
        prop_assert_eq!(read.uri(), request.uri());
        prop_assert_eq!(read.headers(), request.headers());
    }
}

/// Byte by byte is the cut that finds most.
#[test]
fn each_line_of_the_examples_byte_by_byte() {
    let single = std::vec![1; 4096];
    for head in [EXAMPLE.into(), answer()] {
        let mut bytes = head.into_bytes();
        write!(bytes, "rest").expect("a vector takes all");
        assert_eq!(judged_request(&bytes, &single, 4096), judged_request(&bytes, &[], 4096));
        assert_eq!(judged_response(&bytes, &single, 4096), judged_response(&bytes, &[], 4096));
    }
    assert!(judged_request(EXAMPLE.as_bytes(), &single, 4096).0.starts_with("Ok"));
    assert!(judged_response(answer().as_bytes(), &single, 4096).0.starts_with("Ok"));
}
