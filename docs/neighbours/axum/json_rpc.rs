//! JSON-RPC 2.0 by axum: the server. axum has no client.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new().route("/", any(async |ws: WebSocketUpgrade| ws.on_upgrade(serve)));
    axum::serve(TcpListener::bind("127.0.0.1:8080").await?, app).await
}

#[derive(Deserialize)]
struct Request {
    id: Option<Value>,
    method: String,
    #[serde(default)]
    params: Value,
}

#[derive(Serialize)]
struct RpcError {
    code: i32,
    message: String,
}

async fn serve(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let (Message::Text(_) | Message::Binary(_)) = message else { continue };
        let request = serde_json::from_slice::<Value>(&message.into_data());
        let (id, outcome) = match request.map(serde_json::from_value) {
            Ok(Ok(Request { id: Some(id), method, params })) => (id, dispatch(&method, &params)),
            Ok(Ok(notification)) => {
                let _ = dispatch(&notification.method, &notification.params);
                continue;
            }
            Ok(Err(error)) => (Value::Null, Err(failed(-32600, &error.to_string()))),
            Err(error) => (Value::Null, Err(failed(-32700, &error.to_string()))),
        };
        let member = if outcome.is_ok() { "result" } else { "error" };
        let outcome = outcome.unwrap_or_else(|error| json!(error));
        let response = json!({"jsonrpc": "2.0", "id": id, member: outcome});
        if socket.send(Message::text(response.to_string())).await.is_err() {
            return;
        }
    }
}

fn dispatch(method: &str, params: &Value) -> Result<Value, RpcError> {
    let numbers: Option<Vec<i64>> = serde_json::from_value(params.clone()).ok();
    match (method, numbers.as_deref()) {
        ("add", Some(numbers)) => Ok(json!(numbers.iter().sum::<i64>())),
        ("subtract", Some(&[minuend, subtrahend])) => Ok(json!(minuend.wrapping_sub(subtrahend))),
        ("add" | "subtract", _) => Err(failed(-32602, "expected numbers")),
        _ => Err(failed(-32601, "unknown method")),
    }
}

fn failed(code: i32, message: &str) -> RpcError {
    RpcError { code, message: message.to_owned() }
}
