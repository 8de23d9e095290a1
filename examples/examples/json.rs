//! Values instead of messages: JSON through serde (feature `json`).
//!
//! `cargo run -p sockless-examples --example json`, then open `ws://127.0.0.1:8080/` and send
//! `{"op":"add","a":1,"b":2}`.

use serde::{Deserialize, Serialize};
use sockless::{BoxError, DecodeError, Router, Session, websocket};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    sockless::serve("127.0.0.1:8080", router()).await
}

fn router() -> Router {
    Router::new().route("/", websocket(calculate))
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Question {
    Add { a: i64, b: i64 },
    Negate { a: i64 },
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Result(i64),
    Error(String),
}

/// A malformed question gets an error as its answer, and the session continues.
async fn calculate(mut session: Session) -> Result<(), BoxError> {
    loop {
        let answer = match session.recv_json().await {
            Ok(Question::Add { a, b }) => Answer::Result(a.saturating_add(b)),
            Ok(Question::Negate { a }) => Answer::Result(a.saturating_neg()),
            Err(DecodeError::Invalid { error, .. }) => Answer::Error(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        session.send_json(&answer).await?;
    }
}

#[cfg(test)]
mod tests {
    use sockless::sim::Sim;

    use super::*;

    #[test]
    fn questions_are_answered() {
        Sim::check(0..20, |sim| async move {
            let mut client = sim.app(router()).open("/").await;
            client.send(r#"{"op":"add","a":1,"b":2}"#).await;
            client.expect(r#"{"result":3}"#).await;
            client.send(r#"{"op":"negate","a":1}"#).await;
            client.expect(r#"{"result":-1}"#).await;
        });
    }

    #[test]
    fn what_is_no_question_is_an_error_and_the_session_goes_on() {
        Sim::check(0..20, |sim| async move {
            let mut client = sim.app(router()).open("/").await;
            for nonsense in ["", "[]", r#"{"op":"divide"}"#] {
                client.send(nonsense).await;
                let answer = client.recv().await;
                assert!(answer.as_text().unwrap().starts_with(r#"{"error":"#), "{answer:?}");
            }
            client.send(b"\x01".as_slice()).await;
            client
                .expect(r#"{"error":"expected JSON in a text message, got a binary message"}"#)
                .await;
            client.send(r#"{"op":"negate","a":5}"#).await;
            client.expect(r#"{"result":-5}"#).await;
        });
    }
}
