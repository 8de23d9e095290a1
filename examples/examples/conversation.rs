//! A test of a conversation, as a program: a whole server in memory, no port, no waiting, and a
//! network whose faults the seed draws.
//!
//! `cargo run -p sockless-examples --example conversation`. In a project of one's own this is a
//! `#[test]`.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use sockless::sim::{Link, Sim};
use sockless::{Closed, Config, Request, Router, Session, text_response, websocket};

fn main() {
    test_conversation();
    println!("100 seeds, 100 networks, no failure");
}

/// The server under test: an echo behind a guard.
fn router() -> Router {
    Router::new()
        .websockets(Config::default().ping_interval(Duration::from_secs(30)))
        .guard(require_token)
        .route("/echo", websocket(echo))
}

async fn require_token(request: Request) -> Result<Request, Response<Bytes>> {
    match request.header("authorization") {
        Some("Bearer open sesame") => Ok(request),
        _ => Err(text_response(StatusCode::UNAUTHORIZED, "a bearer token is needed\n")),
    }
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// A failure names the seed that repeats it, the line of the failed expectation, and the conversation so far.
#[cfg_attr(test, test)]
fn test_conversation() {
    let network = Link::default()
        .latency(Duration::from_millis(80))
        .jitter(Duration::from_millis(40))
        .short_reads(5);
    Sim::check(0..100, |sim| {
        let app = sim.app_over(router(), &network);
        async move {
            let mut client = app.open("/echo").header("authorization", "Bearer open sesame").await;
            for text in ["hello", "how are you?", ""] {
                client.send(text).await;
                client.expect(text).await;
            }
            // An hour of silence takes no time, and the server pings the client.
            client.expect_silence(Duration::from_secs(3600)).await;
            client.recv_ping().await;
            client.close(sockless::CloseCode::GOING_AWAY);
            client.expect_closed(1001).await;

            let refused = app.open("/echo").refused().await;
            assert_eq!(refused.status(), 401);
            assert_eq!(refused.body(), "a bearer token is needed\n");
            assert_eq!(app.get("/nowhere").await.status(), 404);
        }
    });
}
