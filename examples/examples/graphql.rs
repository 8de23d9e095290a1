//! GraphQL subscriptions: the protocol `graphql-transport-ws`, as Apollo's and urql's clients speak it.
//!
//! `cargo run -p sockless-examples --example graphql`, then subscribe to `{ ticks }` at `ws://127.0.0.1:8080/graphql`. The
//! protocol is <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>; a schema takes the place of `ticks`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use sockless::{CloseCode, DecodeError, Error, Router, Sender, Session, SessionTask, websocket};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    sockless::serve("127.0.0.1:8080", router()).await
}

fn router() -> Router {
    Router::new().route("/graphql", websocket(serve).protocol("graphql-transport-ws"))
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Request {
    ConnectionInit,
    Ping,
    Pong,
    Subscribe { id: String, payload: Operation },
    Complete { id: String },
}

#[derive(Deserialize)]
struct Operation {
    query: String,
}

/// Of one connection, at a time.
const MAX_SUBSCRIPTIONS: usize = 100;

const INIT_TIMEOUT: Duration = Duration::from_secs(3);

async fn serve(mut session: Session) -> Result<(), Error> {
    let mut subscriptions = BTreeMap::<String, SessionTask<()>>::new();
    let deadline = session.sender();
    let mut init = Some(session.spawn(async move {
        deadline.sleep(INIT_TIMEOUT).await;
        deadline.close((code(4408), "Connection initialisation timeout"));
    }));
    loop {
        match recv(&mut session).await? {
            Request::ConnectionInit => {
                let Some(waiting) = init.take() else {
                    return Err(refused(4429, "Too many initialisation requests"));
                };
                waiting.abort();
                session.send_json(&json!({"type": "connection_ack"})).await?;
            }
            Request::Ping => session.send_json(&json!({"type": "pong"})).await?,
            Request::Pong => {}
            Request::Subscribe { .. } if init.is_some() => {
                return Err(refused(4401, "Unauthorized"));
            }
            Request::Subscribe { id, payload } => {
                subscriptions.retain(|_, task| !task.is_finished());
                if subscriptions.len() == MAX_SUBSCRIPTIONS {
                    return Err(Error::close(
                        CloseCode::POLICY_VIOLATION,
                        "Too many subscriptions",
                    ));
                }
                if subscriptions.contains_key(&id) {
                    let text = format!("Subscriber for {id} already exists");
                    return Err(refused(4409, &text));
                }
                let task = execute(session.sender(), id.clone(), payload);
                subscriptions.insert(id, session.spawn(task));
            }
            Request::Complete { id } => {
                if let Some(task) = subscriptions.remove(&id) {
                    task.abort();
                }
            }
        }
    }
}

async fn recv(session: &mut Session) -> Result<Request, Error> {
    session.recv_json().await.map_err(|error| match error {
        DecodeError::Invalid { .. } => refused(4400, "Invalid message"),
        error => error.into(),
    })
}

/// Runs an operation to its end, or until the client completes it.
async fn execute(sender: Sender, id: String, operation: Operation) {
    let message = |kind: &str, payload: Value| json!({"id": id, "type": kind, "payload": payload});
    if operation.query.trim() != "subscription { ticks }" {
        let errors = json!([{"message": "expected 'subscription { ticks }'"}]);
        let _ = sender.send_json(&message("error", errors)).await;
        return;
    }
    for ticks in 1..=3 {
        sender.sleep(Duration::from_secs(1)).await;
        let next = message("next", json!({"data": {"ticks": ticks}}));
        if sender.send_json(&next).await.is_err() {
            return;
        }
    }
    let _ = sender.send_json(&json!({"id": id, "type": "complete"})).await;
}

/// Closes the session as the protocol requires. A reason longer than a Close frame holds is cut.
fn refused(number: u16, reason: &str) -> Error {
    Error::close(code(number), reason)
}

fn code(number: u16) -> CloseCode {
    CloseCode::new(number).expect("the codes of the protocol may be sent")
}

#[cfg(test)]
mod tests {
    use sockless::sim::{Conversation, Sim};

    use super::*;

    async fn opened(sim: &Sim) -> Conversation {
        sim.app(router()).open("/graphql").subprotocol("graphql-transport-ws").await
    }

    async fn acknowledged(sim: &Sim) -> Conversation {
        let mut client = opened(sim).await;
        client.send(r#"{"type":"connection_init","payload":{}}"#).await;
        client.expect(r#"{"type":"connection_ack"}"#).await;
        client
    }

    fn subscribe(id: &str) -> String {
        let payload = json!({"query": "subscription { ticks }"});
        json!({"type": "subscribe", "id": id, "payload": payload}).to_string()
    }

    #[test]
    fn a_subscription_runs_to_its_end() {
        Sim::check(0..10, |sim| async move {
            let mut client = acknowledged(&sim).await;
            client.send(subscribe("a")).await;
            for ticks in 1..=3 {
                let next =
                    json!({"id": "a", "type": "next", "payload": {"data": {"ticks": ticks}}});
                client.expect(next.to_string().as_str()).await;
            }
            client.expect(r#"{"id":"a","type":"complete"}"#).await;
            client.send(r#"{"type":"ping"}"#).await;
            client.expect(r#"{"type":"pong"}"#).await;
        });
    }

    #[test]
    fn a_completed_subscription_sends_nothing_more() {
        Sim::check(0..10, |sim| async move {
            let mut client = acknowledged(&sim).await;
            client.send(subscribe("a")).await;
            client.recv().await;
            client.send(r#"{"type":"complete","id":"a"}"#).await;
            client.expect_silence(Duration::from_secs(60)).await;
        });
    }

    #[test]
    fn what_breaks_the_protocol_is_closed_with_its_code() {
        Sim::check(0..5, |sim| async move {
            opened(&sim).await.expect_closed(4408).await;
            let mut early = opened(&sim).await;
            early.send(subscribe("a")).await;
            early.expect_closed(4401).await;
            let mut malformed = acknowledged(&sim).await;
            malformed.send("{}").await;
            malformed.expect_closed(4400).await;
            let mut twice = acknowledged(&sim).await;
            twice.send(r#"{"type":"connection_init"}"#).await;
            twice.expect_closed(4429).await;
            let mut same = acknowledged(&sim).await;
            same.send(subscribe("a")).await;
            same.send(subscribe("a")).await;
            same.expect_closed(4409).await;
        });
    }
}
