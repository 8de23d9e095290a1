//! GraphQL subscriptions by axum: the protocol `graphql-transport-ws`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Error, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

const MAX_SUBSCRIPTIONS: usize = 100;
const INIT_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new().route("/graphql", any(open));
    axum::serve(TcpListener::bind("127.0.0.1:8080").await?, app).await
}

async fn open(ws: WebSocketUpgrade) -> Response {
    let ws = ws.protocols(["graphql-transport-ws"]);
    if ws.selected_protocol().is_none() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    ws.on_upgrade(async |socket| {
        let _ = serve(socket).await;
    })
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Command {
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

/// The subscriptions of one connection, which end with it.
#[derive(Default)]
struct Subscriptions(BTreeMap<String, JoinHandle<()>>);

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.0.values().for_each(JoinHandle::abort);
    }
}

async fn serve(mut socket: WebSocket) -> Result<(), Error> {
    let (results, mut outgoing) = mpsc::channel::<Value>(16);
    let mut subscriptions = Subscriptions::default();
    let (mut is_init, deadline) = (false, Instant::now() + INIT_TIMEOUT);
    loop {
        let message = tokio::select! {
            Some(message) = outgoing.recv() => {
                socket.send(Message::text(message.to_string())).await?;
                continue;
            }
            () = sleep_until(deadline), if !is_init => {
                return close(socket, 4408, "Connection initialisation timeout").await;
            }
            message = socket.recv() => message,
        };
        let message = match message {
            None | Some(Ok(Message::Close(_))) => return Ok(()),
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message,
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Err(error),
        };
        match serde_json::from_slice(&message.into_data()) {
            Err(_) => return close(socket, 4400, "Invalid message").await,
            Ok(Command::ConnectionInit) if is_init => {
                return close(socket, 4429, "Too many initialisation requests").await;
            }
            Ok(Command::ConnectionInit) => {
                is_init = true;
                let ack = json!({"type": "connection_ack"});
                socket.send(Message::text(ack.to_string())).await?;
            }
            Ok(Command::Ping) => {
                socket.send(Message::text(json!({"type": "pong"}).to_string())).await?;
            }
            Ok(Command::Pong) => {}
            Ok(Command::Subscribe { .. }) if !is_init => {
                return close(socket, 4401, "Unauthorized").await;
            }
            Ok(Command::Subscribe { id, payload }) => {
                subscriptions.0.retain(|_, task| !task.is_finished());
                if subscriptions.0.len() == MAX_SUBSCRIPTIONS {
                    return close(socket, 1008, "Too many subscriptions").await;
                }
                if subscriptions.0.contains_key(&id) {
                    let text = format!("Subscriber for {id} already exists");
                    return close(socket, 4409, &text).await;
                }
                let task = tokio::spawn(execute(results.clone(), id.clone(), payload));
                subscriptions.0.insert(id, task);
            }
            Ok(Command::Complete { id }) => {
                if let Some(task) = subscriptions.0.remove(&id) {
                    task.abort();
                }
            }
        }
    }
}

async fn execute(results: mpsc::Sender<Value>, id: String, operation: Operation) {
    let message = |kind: &str, payload: Value| json!({"id": id, "type": kind, "payload": payload});
    if operation.query.trim() != "subscription { ticks }" {
        let errors = json!([{"message": "expected 'subscription { ticks }'"}]);
        let _ = results.send(message("error", errors)).await;
        return;
    }
    for ticks in 1..=3 {
        sleep(Duration::from_secs(1)).await;
        let next = message("next", json!({"data": {"ticks": ticks}}));
        if results.send(next).await.is_err() {
            return;
        }
    }
    let _ = results.send(json!({"id": id, "type": "complete"})).await;
}

/// Closes with a reason of at most 123 bytes, and reads until the peer has answered.
async fn close(mut socket: WebSocket, code: u16, reason: &str) -> Result<(), Error> {
    let reason = reason[..reason.floor_char_boundary(123)].into();
    socket.send(Message::Close(Some(CloseFrame { code, reason }))).await?;
    while let Some(message) = socket.recv().await {
        message?;
    }
    Ok(())
}
