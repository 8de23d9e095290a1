//! Helpers of the client's tests: servers that follow a script.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::Instant;
use sockless_core::handshake::{ServerHandshake, UpgradeRequest};
use sockless_driver::{ConnectError, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::{Sim, SimIo};
use sockless_tests::handlers::echo;

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// `Config::opening_timeout` by default.
pub(crate) const DEADLINE: Instant = Instant::from_epoch(Duration::from_secs(10));

/// A response that accepts the upgrade of a request with the key of RFC 6455 §1.3.
pub(crate) const WRONG_ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Serves an echo at `name`, on all paths that end in `/echo`, and at the root.
pub(crate) fn serve_echo(sim: &Sim, name: &str) {
    let router = Router::new().route("/", websocket(echo)).route("/echo", websocket(echo));
    sim.spawn(sim.serve(name, router));
}

pub(crate) async fn assert_echoes(session: &mut Session) {
    session.send("hello").await.unwrap();
    assert_eq!(session.recv().await.unwrap().as_text(), Some("hello"));
}

/// Serves each connection to `name` with `script`, and keeps it open afterwards.
pub(crate) fn script<F, Fut>(sim: &Sim, name: &str, script: F)
where
    F: Fn(SimIo) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = SimIo> + Send,
{
    let mut listener = sim.listen(name);
    sim.spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(script(listener.accept().await).await);
        }
    });
}

/// Answers each request to `name` with `answer`, and then ends the stream if it is to.
pub(crate) fn answer(sim: &Sim, name: &str, answer: impl Into<Vec<u8>>, ends: bool) {
    let answer = answer.into();
    script(sim, name, move |io| {
        let answer = answer.clone();
        async move {
            io.read_until(b"\r\n\r\n").await.unwrap();
            // The client may be gone by then.
            let _ = io.write_all(&answer).await;
            if ends {
                let _ = io.shutdown().await;
            }
            io
        }
    });
}

/// The error of connecting to `url` with the default settings.
pub(crate) async fn error(sim: &Sim, url: &str) -> ConnectError {
    sim.connect(url).await.expect_err("there is no session to be had")
}

/// The answer that grants the upgrade of this request, with these lines more.
pub(crate) fn accepting(head: &[u8], lines: &[&str]) -> Vec<u8> {
    let mut handshake = ServerHandshake::new(Arc::default(), Instant::EPOCH);
    let request = handshake.poll_request(&mut BytesMut::from(head)).unwrap().unwrap();
    let (response, _) = UpgradeRequest::from_request(&request).unwrap().accept();
    let mut answer = String::from("HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in response.headers() {
        answer += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    for line in lines {
        answer += &format!("{line}\r\n");
    }
    (answer + "\r\n").into_bytes()
}
