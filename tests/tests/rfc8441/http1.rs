//! Behaviour that is specific to HTTP/1.1.

use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::{Service, service_fn};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sockless_hyper::Mount;
use sockless_routing::{Router, websocket};
use sockless_tests::wire::{self, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::on::{Http, Http1, runtime};
use crate::serving::{App, Served};
use sockless_tests::handlers::{echo, observed};

const CLIENT: Writer = Writer { masks: true };
const SERVER: Writer = Writer { masks: false };

const ASKING: &str = "GET / HTTP/1.1\r\n\
    Host: server.test\r\n\
    Connection: Upgrade\r\n\
    Upgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn read_head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(start_paused = true)]
async fn frames_right_behind_the_request_are_answered() {
    let server = Served::<Http1>::one(websocket(echo)).await;
    let mut client = server.http.connect();
    let frames = [CLIENT.text("at once"), CLIENT.frame(wire::CLOSE, "")].concat();
    client.write_all(&[ASKING.as_bytes(), &frames].concat()).await.unwrap();
    let head = read_head(&mut client).await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, [SERVER.text("at once"), SERVER.frame(wire::CLOSE, "")].concat());
}

#[tokio::test(start_paused = true)]
async fn an_end_in_the_middle_of_a_frame_is_reported() {
    let (route, ends) = observed(sockless_tests::handlers::until_closed);
    let server = Served::<Http1>::one(route).await;
    let mut client = server.http.connect();
    client.write_all(ASKING.as_bytes()).await.unwrap();
    read_head(&mut client).await;
    client.write_all(&CLIENT.text("cut")[..4]).await.unwrap();
    drop(client);
    assert!(!ends.recv().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn http_1_0_opens_no_websocket() {
    let server = Served::<Http1>::one(websocket(echo)).await;
    let mut client = server.http.connect();
    client.write_all(ASKING.replace("HTTP/1.1", "HTTP/1.0").as_bytes()).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.0 400 "));
}

#[tokio::test(start_paused = true)]
async fn connect_is_not_implemented() {
    let server = Served::<Http1>::one(websocket(echo)).await;
    let mut client = server.http.connect();
    client.write_all(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n").await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 501 "));
}

/// Such as one that copies the head of a request without its extensions.
#[tokio::test(start_paused = true)]
async fn a_layer_that_takes_the_upgrade_away_gets_500() {
    let mount = Mount::new(Router::new().route("/", websocket(echo)), runtime());
    let host = mount.server().clone();
    let http = Http1::serve(App::new(service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().remove::<OnUpgrade>();
        Service::call(&mount, request)
    })))
    .await;
    let response = http.send(Http1::asking("/")).await;
    assert_eq!(response.status(), 500);
    assert_eq!(response.body(), "this server cannot open WebSockets\n");
    assert_eq!(host.connections(), 0);
}

/// A connection that is served without upgrades answers 101, and then has to end.
#[tokio::test(start_paused = true)]
async fn a_server_without_upgrades_is_noticed() {
    let mount = Mount::new(Router::new().route("/", websocket(echo)), runtime());
    let host = mount.server().clone();
    let (mut client, far) = duplex(1 << 10);
    tokio::spawn(Builder::new().serve_connection(TokioIo::new(far), mount));
    client.write_all(ASKING.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    let report = host.shutdown(Duration::from_secs(60)).await;
    assert_eq!(report.terminated, 0);
    assert_eq!(host.connections(), 0);
}
