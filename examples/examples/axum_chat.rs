//! A chat in axum: who is logged in by a cookie may open the WebSocket, and a room is part of the state.
//!
//! `cargo run -p sockless-examples --example axum_chat`, then open <http://127.0.0.1:8080/login/ada> and
//! <http://127.0.0.1:8080/login/bob> in two browsers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts, Path, State};
use axum::http::header::{COOKIE, HeaderMap, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use sockless::axum::{WebSocketUpgrade, WebSockets};
use sockless::{Broadcast, Closed, Config, Sender, Session};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (app, websockets) = app();
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("log in at http://127.0.0.1:8080/login/ada");
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            websockets.server().shutdown(Duration::from_secs(10)).await;
        })
        .await
}

fn app() -> (axum::Router, WebSockets) {
    let websockets =
        WebSockets::new().config(Config::default().ping_interval(Duration::from_secs(30)));
    let app = axum::Router::new()
        .route("/", get(page))
        .route("/login/{name}", get(log_in))
        .route("/chat", any(chat))
        .with_state(App::default())
        .layer(websockets.layer());
    (app, websockets)
}

/// The state of the application.
#[derive(Clone, Default)]
struct App {
    logins: Logins,
    room: Room,
}

/// The users that are logged in, by the secret of their cookie.
#[derive(Clone, Default)]
struct Logins(Arc<Mutex<BTreeMap<String, String>>>);

impl FromRef<App> for Logins {
    fn from_ref(app: &App) -> Self {
        app.logins.clone()
    }
}

/// The user of a request: an extractor like any other.
struct User(String);

impl<S: Send + Sync> FromRequestParts<S> for User
where
    Logins: FromRef<S>,
{
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let secret = cookie(&parts.headers, "session").unwrap_or_default();
        let logins = Logins::from_ref(state);
        let user = lock(&logins.0).get(secret).cloned();
        user.map(Self).ok_or((StatusCode::UNAUTHORIZED, "log in at /login/your-name\n"))
    }
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split("; ")).filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// An example's login: every visitor is let in.
async fn log_in(State(Logins(logins)): State<Logins>, Path(name): Path<String>) -> Response {
    let mut secret = [0; 16];
    if getrandom::fill(&mut secret).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let secret = secret.map(|byte| format!("{byte:02x}")).concat();
    lock(&logins).insert(secret.clone(), name);
    let cookie = format!("session={secret}; Path=/; HttpOnly; SameSite=Strict");
    let mut response = Redirect::to("/").into_response();
    let cookie = HeaderValue::try_from(cookie).expect("hexadecimal digits are valid");
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

/// The extractors decide first: without a login, nothing is opened.
async fn chat(State(app): State<App>, User(name): User, ws: WebSocketUpgrade) -> Response {
    ws.on_upgrade(async move |session| app.room.serve(name, session).await)
}

/// The members of the chat, by the number of their session.
#[derive(Clone, Default)]
struct Room(Arc<Mutex<BTreeMap<u64, Sender>>>);

impl Room {
    async fn serve(self, name: String, mut session: Session) -> Result<(), Closed> {
        let number = {
            let mut members = lock(&self.0);
            let number = members.last_key_value().map_or(0, |(last, _)| last + 1);
            members.insert(number, session.sender());
            number
        };
        self.tell(&format!("{name} joined"));
        let ended = loop {
            match session.recv().await {
                Ok(message) => {
                    // Not its `Display`, which is for logs: it escapes the text.
                    if let Some(text) = message.as_text() {
                        self.tell(&format!("{name}: {text}"));
                    }
                }
                Err(closed) => break closed,
            }
        };
        lock(&self.0).remove(&number);
        self.tell(&format!("{name} left"));
        Err(ended)
    }

    /// A member that does not keep up misses lines.
    fn tell(&self, line: &str) {
        let line = Broadcast::new(line);
        for member in lock(&self.0).values() {
            let _ = member.try_send(&line);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn page(user: Result<User, (StatusCode, &'static str)>) -> Response {
    match user {
        Ok(_) => Html(PAGE).into_response(),
        Err(rejection) => rejection.into_response(),
    }
}

const PAGE: &str = r#"<!doctype html>
<title>a chat in axum</title>
<p><input id="text" placeholder="say something"></p>
<pre id="log"></pre>
<script>
  const socket = new WebSocket("/chat");
  text.onchange = () => { socket.send(text.value); text.value = ""; };
  socket.onmessage = ({ data }) => log.append(data, "\n");
  socket.onclose = ({ code }) => log.append(`closed: ${code}\n`);
</script>
"#;

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    use sockless::tokio::{TokioRuntime, TokioTransport};
    use sockless::{ClientConnection, CloseCode, ConnectError};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn connect(app: &axum::Router) -> DuplexStream {
        let (near, far) = duplex(16 << 10);
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(far), TowerToHyperService::new(app.clone()))
            .with_upgrades();
        tokio::spawn(connection);
        near
    }

    /// The cookie of a login.
    async fn log_in(app: &axum::Router, name: &str) -> String {
        let mut stream = connect(app);
        let request = format!("GET /login/{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let cookie = response.split("set-cookie: ").nth(1).expect("a cookie is set");
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn open(app: &axum::Router, cookie: &str) -> Result<Session, ConnectError> {
        let transport = Box::new(TokioTransport::new(connect(app)));
        let request = Request::get("ws://a/chat").header("cookie", cookie);
        let request = request.header("origin", "http://a").body(()).unwrap();
        let runtime = Arc::new(TokioRuntime);
        let opened =
            ClientConnection::handshake(transport, request, Arc::default(), runtime).await?;
        Ok(opened.spawn())
    }

    async fn expect(session: &mut Session, line: &str) {
        assert_eq!(session.recv().await.unwrap(), line);
    }

    #[tokio::test]
    async fn only_who_is_logged_in_may_chat() {
        let (app, websockets) = app();
        let stranger = open(&app, "session=guessed").await.unwrap_err();
        assert!(stranger.to_string().contains("401 Unauthorized"), "{stranger}");

        let (ada, bob) = (log_in(&app, "ada").await, log_in(&app, "bob").await);
        let mut ada = open(&app, &ada).await.unwrap();
        expect(&mut ada, "ada joined").await;
        let mut bob = open(&app, &format!("theme=dark; {bob}")).await.unwrap();
        expect(&mut bob, "bob joined").await;
        expect(&mut ada, "bob joined").await;
        ada.send("hello\n\"there\"").await.unwrap();
        expect(&mut ada, "ada: hello\n\"there\"").await;
        expect(&mut bob, "ada: hello\n\"there\"").await;
        ada.close(CloseCode::NORMAL);
        expect(&mut bob, "ada left").await;

        let report = websockets.server().shutdown(Duration::from_secs(10)).await;
        assert_eq!(report.terminated, 0);
        let closed = bob.closed().await;
        assert_eq!(closed.received().unwrap().code(), Some(CloseCode::GOING_AWAY));
    }
}
