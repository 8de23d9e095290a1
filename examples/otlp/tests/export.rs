//! What a collector receives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts a collector: the URL of its traces, and the spans that it receives.
fn collector() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut len = 0;
            let head = stream.by_ref().lines().map(Result::unwrap);
            let mut head = head.take_while(|line| !line.is_empty());
            assert_eq!(head.next().unwrap(), "POST /v1/traces HTTP/1.1");
            for line in head {
                let (name, value) = line.split_once(": ").unwrap();
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => len = value.parse().unwrap(),
                    "content-type" => assert_eq!(value, "application/json"),
                    _ => {}
                }
            }
            let mut body = vec![0; len];
            stream.read_exact(&mut body).unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            for resource in body["resourceSpans"].as_array().unwrap() {
                for scope in resource["scopeSpans"].as_array().unwrap() {
                    for span in scope["spans"].as_array().unwrap() {
                        sender.send(span.clone()).unwrap();
                    }
                }
            }
            // Last: the exporter takes the answer as proof that the spans are here.
            let response = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            stream.get_mut().write_all(response).unwrap();
        }
    });
    (url, receiver)
}

/// The value of an attribute, as text.
fn attribute(span: &Value, key: &str) -> Option<String> {
    let attributes = span["attributes"].as_array()?;
    let value = &attributes.iter().find(|each| each["key"] == key)?["value"];
    let value = value.as_object()?.values().next()?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

#[tokio::main(flavor = "current_thread")]
async fn talk() {
    let server = sockless::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/echo/lobby?token=secret", server.local_addr().unwrap());
    let calling = async {
        let mut session = sockless::connect(&url).await.unwrap();
        session.send("hello").await.unwrap();
        assert_eq!(session.recv().await.unwrap().as_text(), Some("hello"));
        session.close(sockless::CloseCode::NORMAL);
        session.closed().await;
    };
    server.serve_until(otlp::router(), calling).await;
}

#[test]
fn a_collector_receives_a_session_and_what_its_handler_did() {
    let (url, received) = collector();
    let provider = otlp::provider(Some(&url)).unwrap();
    let subscriber = tracing_subscriber::registry().with(otlp::layer(&provider));
    let guard = subscriber.set_default();
    talk();
    drop(guard);
    provider.shutdown().unwrap();
    let spans: Vec<Value> = received.try_iter().collect();
    let of = |name: &str, kind: u64| {
        let mut found = spans.iter().filter(|span| span["name"] == name && span["kind"] == kind);
        let span = found.next().unwrap_or_else(|| panic!("{name} {kind}: {spans:#?}"));
        assert!(found.next().is_none(), "one {name}");
        span
    };
    // The kinds of OTLP: 1 internal, 2 server, 3 client.
    let (session, reply) = (of("websocket /echo/{room}", 2), of("reply", 1));
    assert_eq!(reply["traceId"], session["traceId"]);
    assert_eq!(reply["parentSpanId"], session["spanId"]);
    assert_eq!(reply["events"][0]["name"], "an echo is sent");
    for (key, value) in [
        ("client.address", "127.0.0.1"),
        ("network.protocol.name", "websocket"),
        ("url.path", "/echo/lobby"),
        ("http.route", "/echo/{room}"),
        ("websocket.received.messages", "1"),
        ("websocket.sent.messages", "1"),
        ("websocket.close.code", "1000"),
        ("websocket.close.by", "peer"),
    ] {
        assert_eq!(attribute(session, key).as_deref(), Some(value), "{key}: {session:#}");
    }
    let client = of("websocket", 3);
    assert_eq!(attribute(client, "server.address").as_deref(), Some("127.0.0.1"));
    assert!(!spans.iter().any(|span| span.to_string().contains("secret")));
    println!("{session:#}");
}
