//! A reverse proxy by tokio-tungstenite, behind hyper, since its own callback cannot wait for the server behind. Messages are
//! held whole, and not compressed; each end answers its own pings.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, COOKIE, ORIGIN, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, USER_AGENT,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

type Server = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let upstream = args.next().unwrap_or_else(|| "ws://127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind("127.0.0.1:8000").await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        let upstream = upstream.clone();
        let service = service_fn(move |request| {
            let upstream = upstream.clone();
            async move {
                let answer = answer(request, &upstream, peer).await;
                Ok::<_, Error>(answer.unwrap_or_else(rejection))
            }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection.with_upgrades());
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(16 << 20)).max_frame_size(Some(16 << 20))
}

async fn answer(
    mut request: Request<Incoming>,
    upstream: &str,
    peer: SocketAddr,
) -> Result<Response<Full<Bytes>>, Error> {
    let mut response = create_response_with_body(&request, Full::default)?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut behind = format!("{upstream}{path}").into_client_request()?;
    for name in [AUTHORIZATION, COOKIE, ORIGIN, USER_AGENT, SEC_WEBSOCKET_PROTOCOL] {
        for value in request.headers().get_all(&name) {
            behind.headers_mut().append(&name, value.clone());
        }
    }
    let client = peer.ip().to_string().parse().expect("an address is a valid value");
    behind.headers_mut().insert("x-forwarded-for", client);
    let (server, accepted) = connect_async_with_config(behind, Some(config()), false).await?;
    for name in [SEC_WEBSOCKET_PROTOCOL, SET_COOKIE] {
        for value in accepted.headers().get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(&mut request).await {
            let upgraded = TokioIo::new(upgraded);
            let config = Some(config());
            pipe(WebSocketStream::from_raw_socket(upgraded, Role::Server, config).await, server)
                .await;
        }
    });
    Ok(response)
}

/// Passes messages and Close frames both ways, until one end has closed and the other has answered.
async fn pipe<S>(client: WebSocketStream<S>, server: Server)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let ((mut to_client, from_client), (mut to_server, from_server)) =
        (client.split(), server.split());
    let passes = |message: &Result<Message, Error>| {
        std::future::ready(!matches!(message, Ok(Message::Ping(_) | Message::Pong(_))))
    };
    let there = async {
        let _ = from_client.filter(passes).forward(&mut to_server).await;
    };
    let back = async {
        let _ = from_server.filter(passes).forward(&mut to_client).await;
    };
    tokio::join!(there, back);
    let _ = (to_client.close().await, to_server.close().await);
}

fn rejection(error: Error) -> Response<Full<Bytes>> {
    let (status, body) = match error {
        Error::Http(response) => (response.status(), response.into_body().unwrap_or_default()),
        Error::Protocol(error) => (StatusCode::BAD_REQUEST, error.to_string().into()),
        _ => (StatusCode::BAD_GATEWAY, "the server behind cannot be reached\n".into()),
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
