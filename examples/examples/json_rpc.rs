//! JSON-RPC 2.0: a server with methods, and a client with several calls under way.
//!
//! `cargo run -p sockless-examples --example json_rpc` serves on `ws://127.0.0.1:8080/`, and calls itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sockless::{
    BoxError, Closed, DecodeError, Error, Receiver, Router, Sender, Session, websocket,
};
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = sockless::bind("127.0.0.1:8080").await?;
    tokio::spawn(server.serve(router()));
    let client = Client::new(sockless::connect("ws://127.0.0.1:8080/").await?);
    let (sum, difference) = tokio::join!(
        client.call("add", json!([1, 2])),
        client.call("subtract", json!([{"minuend": 42}])),
    );
    println!("{:?}, {:?}", sum?, difference?);
    Ok(())
}

fn router() -> Router {
    Router::new().route("/", websocket(serve))
}

#[derive(Deserialize)]
struct Request {
    /// Absent in a notification, which has no response.
    id: Option<Value>,
    method: String,
    #[serde(default)]
    params: Value,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct RpcError {
    code: i32,
    message: String,
}

type Outcome = Result<Value, RpcError>;

async fn serve(mut session: Session) -> Result<(), Error> {
    loop {
        let (id, outcome) = match session.recv_json::<Value>().await.map(serde_json::from_value) {
            Ok(Ok(Request { id: Some(id), method, params })) => (id, dispatch(&method, &params)),
            Ok(Ok(notification)) => {
                let _ = dispatch(&notification.method, &notification.params);
                continue;
            }
            Ok(Err(error)) => (Value::Null, Err(failed(-32600, &error.to_string()))),
            Err(DecodeError::Invalid { error, .. }) => {
                (Value::Null, Err(failed(-32700, &error.to_string())))
            }
            Err(error) => return Err(error.into()),
        };
        let member = if outcome.is_ok() { "result" } else { "error" };
        let outcome = outcome.unwrap_or_else(|error| json!(error));
        session.send_json(&json!({"jsonrpc": "2.0", "id": id, member: outcome})).await?;
    }
}

fn dispatch(method: &str, params: &Value) -> Outcome {
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

/// Calls by number, and where the response to each is awaited.
#[derive(Clone)]
struct Client {
    sender: Sender,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Default)]
struct Calls {
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Outcome>>,
}

#[derive(Deserialize)]
struct Response {
    id: u64,
    result: Option<Value>,
    error: Option<RpcError>,
}

impl Client {
    fn new(session: Session) -> Self {
        let (sender, receiver) = session.split();
        let client = Self { sender: sender.clone(), calls: Arc::default() };
        sender.spawn(client.clone().receive(receiver));
        client
    }

    /// Calls a method. Fails with how the session ended if no response came before.
    async fn call(&self, method: &str, params: Value) -> Result<Outcome, Error> {
        let (respond, response) = oneshot::channel();
        let id = {
            let mut calls = self.calls.lock().unwrap();
            calls.last += 1;
            let id = calls.last;
            calls.waiting.insert(id, respond);
            id
        };
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.sender.send_json(&request).await?;
        match response.await {
            Ok(outcome) => Ok(outcome),
            Err(_) => Err(self.sender.closed().await.into()),
        }
    }

    async fn receive(self, mut receiver: Receiver) -> Closed {
        loop {
            match receiver.recv_json::<Response>().await {
                Ok(Response { id, result, error }) => {
                    let respond = self.calls.lock().unwrap().waiting.remove(&id);
                    if let Some(respond) = respond {
                        let _ = respond.send(error.map_or(Ok(result.unwrap_or_default()), Err));
                    }
                }
                Err(DecodeError::Closed(closed)) => {
                    self.calls.lock().unwrap().waiting.clear();
                    return closed;
                }
                // Not a response to a call of ours.
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sockless::sim::Sim;

    use super::*;

    #[test]
    fn every_request_with_an_id_has_one_response() {
        Sim::check(0..10, |sim| async move {
            let mut client = sim.app(router()).open("/").await;
            let mut exchange = async |request: Value, response: Value| {
                client.send(request.to_string()).await;
                let received = client.recv().await;
                let received: Value = serde_json::from_slice(received.as_bytes()).unwrap();
                assert_eq!(received, response);
            };
            let request = json!({"jsonrpc": "2.0", "id": "a", "method": "add", "params": [1, 2]});
            exchange(request, json!({"jsonrpc": "2.0", "id": "a", "result": 3})).await;
            let error = json!({"code": -32601, "message": "unknown method"});
            let request = json!({"jsonrpc": "2.0", "id": 1, "method": "divide"});
            exchange(request, json!({"jsonrpc": "2.0", "id": 1, "error": error})).await;
            let notification = r#"{"jsonrpc":"2.0","method":"add","params":[1]}"#;
            client.send(notification).await;
            for (invalid, code) in [("{", "-32700"), ("{}", "-32600"), ("[]", "-32600")] {
                client.send(invalid).await;
                let response = client.recv().await;
                assert!(response.as_text().unwrap().contains(code), "{response:?}");
            }
        });
    }

    async fn connected(sim: &Sim) -> Session {
        let server = sim.bind("server");
        sim.spawn(server.serve(router()));
        sim.connect("ws://server/").await.unwrap()
    }

    #[test]
    fn calls_under_way_at_once_get_their_own_responses_or_the_end() {
        Sim::check(0..20, |sim| async move {
            let session = connected(&sim).await;
            let client = Client::new(session);
            let (sum, difference, wrong) = tokio::join!(
                client.call("add", json!([1, 2])),
                client.call("subtract", json!([42, 2])),
                client.call("add", json!("one")),
            );
            assert_eq!(sum.unwrap(), Ok(json!(3)));
            assert_eq!(difference.unwrap(), Ok(json!(40)));
            assert_eq!(wrong.unwrap().unwrap_err().code, -32602);
            // A call under way when the session ends.
            let (ended, ()) =
                tokio::join!(client.call("add", json!([1])), async { client.sender.terminate() });
            assert!(ended.unwrap_err().closed().is_some());
            assert!(client.call("add", json!([1])).await.unwrap_err().closed().is_some());
        });
    }
}
