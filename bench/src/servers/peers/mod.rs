//! The peers' servers, and opening a connection of each.

mod echo;
mod fan_out;

use std::cell::RefCell;

use ::axum::Router;
use ::axum::extract::ws::WebSocketUpgrade;
use ::axum::response::Response as AxumResponse;
use ::axum::routing::any;
use ::soketto::handshake::{Server as SokettoServer, server::Response};
use ::tokio_websockets::{Config as TokioWebsocketsConfig, Limits, ServerBuilder};
use ::yawc::{CompressionLevel, DeflatePool, Options as YawcOptions};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::{Job, Listener, Server, Transport, accept, accept_encrypted, serve_each};
use crate::Result;

/// High enough for messages of 1 MiB.
const MAX_MESSAGE_LEN: usize = 64 << 20;

/// Runs `server`.
pub async fn serve(server: Server, job: Job, listener: Listener) -> Result<()> {
    if job.fan_out {
        return fan_out::serve(server, job.deflate, listener.plain()?).await;
    }
    let deflate = job.deflate;
    match server {
        Server::Tungstenite => serve_each!(listener, echo::tungstenite),
        Server::TungsteniteBatch => serve_each!(listener, echo::tungstenite_batch),
        Server::Fastwebsockets => serve_each!(listener, echo::fastwebsockets),
        Server::TokioWebsockets => serve_each!(listener, echo::tokio_websockets),
        Server::TokioWebsocketsBatch => serve_each!(listener, echo::tokio_websockets_batch),
        Server::Soketto => serve_each!(listener, echo::soketto),
        Server::Yawc | Server::YawcSmall => {
            let options = yawc_options(server, deflate);
            serve_each!(listener, move |stream| echo::yawc(stream, options.clone()))
        }
        Server::YawcBatch => {
            let options = yawc_options(server, deflate);
            serve_each!(listener, move |stream| echo::yawc_batch(stream, options.clone()))
        }
        Server::Axum => {
            serve_axum(listener.plain()?, |upgrade| upgrade.on_upgrade(echo::axum)).await
        }
        server => Err(format!("{} is not a peer", server.name()).into()),
    }
}

/// tungstenite zeroes its read buffer of 128 KiB at each read; a `small` one has 8 KiB.
async fn open_tungstenite<S: Transport>(stream: S, small: bool) -> Result<WebSocketStream<S>> {
    let config = small.then(|| WebSocketConfig::default().read_buffer_size(8 * 1024));
    Ok(accept_async_with_config(stream, config).await?)
}

type TokioWebsocketsSocket<S> = ::tokio_websockets::WebSocketStream<S>;

/// A `large` flush threshold makes it write more at once.
async fn open_tokio_websockets<S: Transport>(
    stream: S,
    large: bool,
) -> Result<TokioWebsocketsSocket<S>> {
    let mut config = TokioWebsocketsConfig::default();
    if large {
        config = config.flush_threshold(64 * 1024);
    }
    let builder = ServerBuilder::new().limits(Limits::unlimited()).config(config);
    Ok(builder.accept(stream).await?.1)
}

type SokettoHalves<S> = (::soketto::Sender<Compat<S>>, ::soketto::Receiver<Compat<S>>);

async fn open_soketto<S: Transport>(stream: S) -> Result<SokettoHalves<S>> {
    let mut server = SokettoServer::new(stream.compat());
    let key = server.receive_request().await?.key();
    server.send_response(&Response::Accept { key, protocol: None }).await?;
    let mut builder = server.into_builder();
    builder.set_max_message_size(MAX_MESSAGE_LEN);
    builder.set_max_frame_size(MAX_MESSAGE_LEN);
    Ok(builder.finish())
}

/// The settings for all connections of one of yawc's servers.
fn yawc_options(server: Server, deflate: bool) -> YawcOptions {
    let mut options = YawcOptions::default()
        .with_limits(MAX_MESSAGE_LEN, 2 * MAX_MESSAGE_LEN)
        .without_compression();
    if deflate {
        options = options.with_compression_level(CompressionLevel::fast());
        options = options.server_no_context_takeover().client_no_context_takeover();
    }
    match server {
        Server::YawcBatch => {
            options.with_read_buffer_capacity(128 * 1024).with_backpressure_boundary(64 * 1024)
        }
        Server::YawcSmall => {
            if deflate {
                options = options.with_deflate_pool(DeflatePool::new(64));
                options = options.with_compression_threshold(64);
            }
            options.with_read_buffer_capacity(1024).with_write_buffer_capacity(1024)
        }
        _ => options,
    }
}

type YawcSocket = ::yawc::WebSocket<::yawc::HttpStream>;

/// hyper answers the handshake, and releases the stream.
async fn open_yawc<S: Transport>(stream: S, options: YawcOptions) -> Result<YawcSocket> {
    let (sender, upgraded) = tokio::sync::oneshot::channel();
    let sender = RefCell::new(Some(sender));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let upgraded = ::yawc::WebSocket::upgrade_with_options(&mut request, options.clone());
        let answer = upgraded.map(|(response, upgrading)| {
            if let Some(sender) = sender.take() {
                // Cannot fail: the receiver is awaited below.
                let _ = sender.send(upgrading);
            }
            response
        });
        std::future::ready(answer)
    });
    let io = hyper_util::rt::TokioIo::new(stream);
    hyper::server::conn::http1::Builder::new()
        .serve_connection(io, service)
        .with_upgrades()
        .await?;
    Ok(upgraded.await?.await?)
}

/// Serves `/`, where `answer` responds to an upgrade.
async fn serve_axum(
    listener: TcpListener,
    answer: impl Fn(WebSocketUpgrade) -> AxumResponse + Clone + Send + Sync + 'static,
) -> Result<()> {
    use ::axum::serve::ListenerExt;
    let handler = |upgrade: WebSocketUpgrade| async move { answer(upgrade) };
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(::axum::serve(listener, Router::new().route("/", any(handler))).await?)
}
