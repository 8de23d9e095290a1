//! Helpers of the handshake's tests: requests written by hand, and both handshakes run on whole heads.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use bytes::BytesMut;
use http::{HeaderValue, Request, Response};

use super::fields::Fields;
use super::*;
use crate::config::Config;
use crate::connection::Connection;
use crate::seed::Seed;
use crate::time::Instant;

mod chunking;
mod client;
mod encode;
mod error;
mod extended;
mod heads;
mod observed;
mod server;
mod upgrade;

/// The request of RFC 6455 §1.3.
const EXAMPLE: &str = "GET /chat HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// The answer of RFC 6455 §1.3.
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: chat\r\n\r\n";

fn config() -> Arc<Config> {
    Arc::new(Config::default())
}

fn limited(max_head_len: usize) -> Arc<Config> {
    Arc::new(Config::default().max_head_len(max_head_len))
}

fn server() -> ServerHandshake {
    ServerHandshake::new(config(), Instant::EPOCH)
}

/// The result of a server that receives all of `head` at once.
fn read(head: impl AsRef<[u8]>) -> Option<Result<Request<()>, HeadError>> {
    server().poll_request(&mut BytesMut::from(head.as_ref()))
}

/// A client that has asked for `request`.
fn client(request: http::request::Builder) -> ClientHandshake {
    let request = request.body(()).expect("a request");
    ClientHandshake::new(request, Seed::new([7; 32]), config(), Instant::EPOCH).expect("a client")
}

/// The answer that is right for each such client, whatever it has asked for: its key is its seed's.
fn answer() -> String {
    let mut client = client(Request::get("ws://a/"));
    let request = read(client.outbound().chunk()).expect("a verdict");
    let key = request.expect("a request").headers()["sec-websocket-key"].clone();
    ANSWER.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", accept_key(key.as_bytes()).as_str())
}

/// The result of `client` when it receives all of `answer` at once.
fn receive(
    client: &mut ClientHandshake,
    answer: impl AsRef<[u8]>,
) -> Option<Result<(Connection, Response<()>), HandshakeError>> {
    client.poll_response(&mut BytesMut::from(answer.as_ref()), Instant::EPOCH)
}

#[test]
fn the_example_key_has_the_example_answer() {
    assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ==").as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/// Both halves against each other: all that one writes, the other takes.
#[test]
fn the_halves_agree() {
    let request = Request::get("ws://example.com:8080/chat?room=1")
        .header("Sec-WebSocket-Protocol", "chat.v2")
        .header("Sec-WebSocket-Protocol", "chat.v1");
    let mut client = client(request);
    let mut wire = BytesMut::new();
    bytes::BufMut::put(&mut wire, client.outbound());

    let mut server = server();
    let request = server.poll_request(&mut wire).expect("a verdict").expect("a request");
    assert!(wire.is_empty());
    assert_eq!(request.uri(), "/chat?room=1");
    assert_eq!(request.headers()["host"], "example.com:8080");
    let mut upgrade = UpgradeRequest::from_request(&request).expect("an upgrade");
    assert_eq!(upgrade.select(&["chat.v1"]), Some("chat.v1"));
    let (mut response, negotiated) = upgrade.accept();
    response.headers_mut().append("Set-Cookie", HeaderValue::from_static("a=b"));
    let mut server = server.accept(&response, negotiated, config(), Instant::EPOCH);
    bytes::BufMut::put(&mut wire, server.outbound());
    wire.extend_from_slice(b"frames");

    let opened = client.poll_response(&mut wire, Instant::EPOCH).expect("a verdict");
    let (_, response) = opened.expect("a connection");
    assert_eq!(response.headers()["set-cookie"], "a=b");
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v1");
    assert_eq!(&wire[..], b"frames");
}

/// The names that crashed parsers which keep headers in a dictionary of the language.
#[test]
fn odd_names_are_names() {
    let odd = "constructor: a\r\n__proto__: b\r\n__proto__: c\r\nhasOwnProperty: d\r\n\r\n";
    let request = EXAMPLE.replace("\r\n\r\n", &format!("\r\n{odd}"));
    let request = read(request).expect("a verdict").expect("a request");
    assert_eq!(request.headers()["constructor"], "a");
    assert_eq!(request.headers().get_all("__proto__").iter().count(), 2);
    assert!(UpgradeRequest::from_request(&request).is_ok());

    let protocols = "constructor, __proto__";
    let request = EXAMPLE.replace("chat, superchat", protocols);
    let request = read(request).expect("a verdict").expect("a request");
    let mut upgrade = UpgradeRequest::from_request(&request).expect("an upgrade");
    assert_eq!(upgrade.select(&["__proto__"]), Some("__proto__"));
}
