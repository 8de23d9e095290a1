//! Every message to all members, by axum. A member that falls 100 messages behind is dropped.

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio::net::TcpListener;
use tokio::sync::broadcast;

type Room = broadcast::Sender<Message>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new().route("/chat", any(open)).with_state(Room::new(100));
    axum::serve(TcpListener::bind("127.0.0.1:8080").await?, app).await
}

async fn open(ws: WebSocketUpgrade, headers: HeaderMap, State(room): State<Room>) -> Response {
    // Only pages of this server, and programs other than browsers.
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("host").unwrap_or_default();
    match text("origin") {
        Some(origin) if origin.split_once("://").is_none_or(|(_, page)| page != host) => {
            StatusCode::FORBIDDEN.into_response()
        }
        _ => ws.on_upgrade(|socket| chat(socket, room)),
    }
}

async fn chat(mut socket: WebSocket, room: Room) {
    let mut others = room.subscribe();
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    let _ = room.send(message);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            message = others.recv() => match message {
                Ok(message) => {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            },
        }
    }
}
