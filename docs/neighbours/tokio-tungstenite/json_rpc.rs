//! JSON-RPC 2.0 by tokio-tungstenite: a server with methods, and a client with several calls under way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    tokio::spawn(listen(listener));
    let client = Client::new(connect_async("ws://127.0.0.1:8080/").await?.0);
    let (sum, difference) = tokio::join!(
        client.call("add", json!([1, 2])),
        client.call("subtract", json!([{"minuend": 42}])),
    );
    println!("{:?}, {:?}", sum?, difference?);
    Ok(())
}

async fn listen(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream));
    }
}

#[derive(Deserialize)]
struct Request {
    id: Option<Value>,
    method: String,
    #[serde(default)]
    params: Value,
}

#[derive(Debug, Deserialize, Serialize)]
struct RpcError {
    code: i32,
    message: String,
}

type Outcome = Result<Value, RpcError>;

async fn serve(stream: TcpStream) -> Result<(), Error> {
    let mut socket = accept_async(stream).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
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
        socket.send(Message::text(response.to_string())).await?;
    }
    Ok(())
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

#[derive(Clone)]
struct Client {
    /// A lock, since a sink has one owner.
    sink: Arc<tokio::sync::Mutex<SplitSink<Socket, Message>>>,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Default)]
struct Calls {
    last: u64,
    ended: bool,
    waiting: BTreeMap<u64, oneshot::Sender<Outcome>>,
}

#[derive(Deserialize)]
struct Response {
    id: u64,
    result: Option<Value>,
    error: Option<RpcError>,
}

impl Client {
    fn new(socket: Socket) -> Self {
        let (sink, stream) = socket.split();
        let client = Self { sink: Arc::new(sink.into()), calls: Arc::default() };
        tokio::spawn(client.clone().receive(stream));
        client
    }

    async fn call(&self, method: &str, params: Value) -> Result<Outcome, Error> {
        let (respond, response) = oneshot::channel();
        let id = {
            let mut calls = self.calls.lock().unwrap();
            if calls.ended {
                return Err(Error::ConnectionClosed);
            }
            calls.last += 1;
            let id = calls.last;
            calls.waiting.insert(id, respond);
            id
        };
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.sink.lock().await.send(Message::text(request.to_string())).await?;
        response.await.map_err(|_| Error::ConnectionClosed)
    }

    async fn receive(self, mut stream: SplitStream<Socket>) {
        while let Some(Ok(message)) = stream.next().await {
            let (Message::Text(_) | Message::Binary(_)) = message else { continue };
            if let Ok(Response { id, result, error }) = serde_json::from_slice(&message.into_data())
            {
                let respond = self.calls.lock().unwrap().waiting.remove(&id);
                if let Some(respond) = respond {
                    let _ = respond.send(error.map_or(Ok(result.unwrap_or_default()), Err));
                }
            }
        }
        let mut calls = self.calls.lock().unwrap();
        calls.ended = true;
        calls.waiting.clear();
    }
}
