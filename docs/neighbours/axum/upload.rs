//! An upload to disk by axum: the server. Many messages, and a text at the end, since a message is held whole. axum has no
//! client.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new().route("/", any(open)).with_state(Arc::default());
    axum::serve(TcpListener::bind("127.0.0.1:8080").await?, app).await
}

async fn open(ws: WebSocketUpgrade, State(count): State<Arc<AtomicU64>>) -> Response {
    let number = count.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("upload-{number}"));
    ws.on_upgrade(async |socket| {
        let _ = store(socket, path).await;
    })
}

async fn store(mut socket: WebSocket, path: PathBuf) -> Result<(), axum::BoxError> {
    let (mut file, mut len) = (File::create(path).await?, 0);
    while let Some(message) = socket.recv().await {
        match message? {
            Message::Binary(block) => {
                len += block.len();
                file.write_all(&block).await?;
            }
            Message::Text(_) => {
                file.flush().await?;
                socket.send(Message::text(len.to_string())).await?;
            }
            _ => {}
        }
    }
    Ok(())
}
