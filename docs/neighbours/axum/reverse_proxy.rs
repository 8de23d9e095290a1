//! A reverse proxy by axum, with tokio-tungstenite for the server behind. Messages are held whole, and not compressed; each
//! end answers its own pings.

use std::net::SocketAddr;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::header::{
    AUTHORIZATION, COOKIE, ORIGIN, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, USER_AGENT,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::any};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{self, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Error};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

type Server = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let upstream = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8080".to_owned());
    let app = Router::new().fallback(any(answer)).with_state(upstream);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(TcpListener::bind("127.0.0.1:8000").await?, app).await
}

async fn answer(
    State(upstream): State<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    mut ws: WebSocketUpgrade,
) -> Result<Response, Response> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut behind = format!("{upstream}{path}").into_client_request().map_err(rejection)?;
    for name in [AUTHORIZATION, COOKIE, ORIGIN, USER_AGENT, SEC_WEBSOCKET_PROTOCOL] {
        for value in headers.get_all(&name) {
            behind.headers_mut().append(&name, value.clone());
        }
    }
    let client = peer.ip().to_string().parse().expect("an address is a valid value");
    behind.headers_mut().insert("x-forwarded-for", client);
    let config =
        WebSocketConfig::default().max_message_size(Some(16 << 20)).max_frame_size(Some(16 << 20));
    let connecting = connect_async_with_config(behind, Some(config), false);
    let (server, accepted) = connecting.await.map_err(rejection)?;
    if let Some(selected) = accepted.headers().get(SEC_WEBSOCKET_PROTOCOL) {
        ws.set_selected_protocol(selected.clone());
    }
    let ws = ws.max_message_size(16 << 20).max_frame_size(16 << 20);
    let mut response = ws.on_upgrade(|client| pipe(client, server));
    for cookie in accepted.headers().get_all(SET_COOKIE) {
        response.headers_mut().append(SET_COOKIE, cookie.clone());
    }
    Ok(response)
}

/// Passes messages and Close frames both ways, until one end has closed and the other has answered.
async fn pipe(client: WebSocket, server: Server) {
    let ((mut to_client, mut from_client), (mut to_server, mut from_server)) =
        (client.split(), server.split());
    let there = async {
        while let Some(Ok(message)) = from_client.next().await {
            if let Some(message) = to_tungstenite(message)
                && to_server.send(message).await.is_err()
            {
                break;
            }
        }
        let _ = to_server.close().await;
    };
    let back = async {
        while let Some(Ok(message)) = from_server.next().await {
            if let Some(message) = to_axum(message)
                && to_client.send(message).await.is_err()
            {
                break;
            }
        }
        let _ = to_client.close().await;
    };
    tokio::join!(there, back);
}

fn to_tungstenite(message: Message) -> Option<tungstenite::Message> {
    Some(match message {
        Message::Text(text) => tungstenite::Message::text(text.as_str()),
        Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
        Message::Close(frame) => tungstenite::Message::Close(frame.map(|frame| {
            let reason = frame.reason.as_str().into();
            protocol::CloseFrame { code: frame.code.into(), reason }
        })),
        Message::Ping(_) | Message::Pong(_) => return None,
    })
}

fn to_axum(message: tungstenite::Message) -> Option<Message> {
    Some(match message {
        tungstenite::Message::Text(text) => Message::text(text.as_str()),
        tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
        tungstenite::Message::Close(frame) => Message::Close(frame.map(|frame| {
            let reason = frame.reason.as_str().into();
            CloseFrame { code: frame.code.into(), reason }
        })),
        _ => return None,
    })
}

fn rejection(error: Error) -> Response {
    match error {
        Error::Http(response) => {
            (response.status(), response.into_body().unwrap_or_default()).into_response()
        }
        _ => (StatusCode::BAD_GATEWAY, "the server behind cannot be reached\n").into_response(),
    }
}
