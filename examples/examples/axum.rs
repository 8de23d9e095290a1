//! axum and sockless side by side: pages with state, and a WebSocket that shares it.
//!
//! `cargo run -p sockless-examples --example axum`, then open <http://127.0.0.1:8080/> in two windows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::Html;
use axum::routing::get;
use sockless::hyper::Mount;
use sockless::tokio::TokioRuntime;
use sockless::{Closed, Origins, Router, Session, websocket};
use tokio::net::TcpListener;

/// State that pages and sessions share: the number of messages echoed so far.
type Echoes = Arc<AtomicU64>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (app, websockets) = app();
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            // Without signals there is no graceful shutdown either.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            // Every session is closed with 1001; axum then waits for the pages.
            websockets.server().shutdown(Duration::from_secs(10)).await;
        })
        .await
}

/// Pages are axum's; every other path goes to the router, which answers 404 to unknown ones.
fn app() -> (axum::Router, Mount) {
    let echoes = Echoes::default();
    let router = Router::new()
        .origins(Origins::same_origin())
        .state(echoes.clone())
        .route("/echo", websocket(echo));
    let websockets = Mount::new(router, Arc::new(TokioRuntime));
    let pages = axum::Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/echoes", get(count))
        .with_state(echoes)
        .fallback_service(websockets.clone());
    (pages, websockets)
}

async fn count(State(echoes): State<Echoes>) -> String {
    echoes.load(Ordering::Relaxed).to_string()
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    let echoes = session.request().get::<Echoes>().cloned().unwrap_or_default();
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
        echoes.fetch_add(1, Ordering::Relaxed);
    }
}

const PAGE: &str = r#"<!doctype html>
<title>axum and sockless</title>
<p><input id="text" placeholder="say something"> echoed so far: <output id="count">?</output></p>
<script>
  const socket = new WebSocket("/echo");
  const refresh = async () => { count.value = await (await fetch("/echoes")).text(); };
  text.onchange = () => socket.send(text.value);
  socket.onmessage = refresh;
  setInterval(refresh, 1000);
</script>
"#;

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    use sockless::ClientConnection;
    use sockless::tokio::TokioTransport;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn connect(app: axum::Router) -> DuplexStream {
        let (near, far) = duplex(16 << 10);
        let service = TowerToHyperService::new(app);
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(far), service)
            .with_upgrades();
        tokio::spawn(connection);
        near
    }

    async fn get(app: &axum::Router, path: &str) -> String {
        let mut stream = connect(app.clone());
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    #[tokio::test]
    async fn pages_know_what_sessions_did() {
        let (app, websockets) = app();
        assert!(get(&app, "/").await.contains("new WebSocket"));
        assert!(get(&app, "/echoes").await.ends_with("\r\n0"));

        let transport = Box::new(TokioTransport::new(connect(app.clone())));
        let request = http::Request::get("ws://a/echo").body(()).unwrap();
        let runtime = Arc::new(TokioRuntime);
        let connected =
            ClientConnection::handshake(transport, request, Arc::default(), runtime).await.unwrap();
        let mut session = connected.spawn();
        for text in ["one", "two", "three"] {
            session.send(text).await.unwrap();
            assert_eq!(session.recv().await.unwrap().as_text(), Some(text));
        }
        // The third may still be counted when its echo is here already.
        websockets.server().shutdown(Duration::from_secs(10)).await;
        assert!(get(&app, "/echoes").await.ends_with("\r\n3"));
        assert!(get(&app, "/nowhere").await.starts_with("HTTP/1.1 503 "), "it has shut down");
    }
}
