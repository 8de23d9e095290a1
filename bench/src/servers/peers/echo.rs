//! The peers' echo servers: each as its own documentation writes it, and batching where it can be made to.

use ::axum::Router;
use ::axum::extract::ws::{Message as AxumMessage, WebSocketUpgrade};
use ::axum::routing::any;
use ::fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
use ::soketto::handshake::{Server, server::Response};
use ::tokio_websockets::{Config as TokioWebsocketsConfig, Limits, ServerBuilder};
use ::yawc::OpCode as YawcOpCode;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{accept_async, accept_async_with_config};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::limits::upgrade;
use crate::Result;

/// How many messages a batching echo takes before it answers.
const BATCH: usize = 64;
const YAWC_BATCH: usize = 32;
/// So that a message of 1 MiB does not meet a limit.
const MAX_MESSAGE_LEN: usize = 64 << 20;

pub async fn tungstenite(stream: TcpStream) -> Result<()> {
    let mut socket = accept_async(stream).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Its 128 KiB of read buffer are zeroed at each read; 8 KiB make it level with the others.
pub async fn tungstenite_batch(stream: TcpStream) -> Result<()> {
    let config = WebSocketConfig::default().read_buffer_size(8 * 1024);
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    loop {
        // Polled once more for nothing before it flushes: only so does it know that no message is ready.
        let message = match socket.next().now_or_never() {
            Some(message) => message,
            None => {
                socket.flush().await?;
                socket.next().await
            }
        };
        let Some(message) = message.transpose()? else {
            return Ok(());
        };
        if message.is_text() || message.is_binary() {
            socket.feed(message).await?;
        }
    }
}

pub async fn fastwebsockets(mut stream: TcpStream) -> Result<()> {
    upgrade(&mut stream).await?;
    let mut socket = WebSocket::after_handshake(stream, Role::Server);
    socket.set_writev(true);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

pub async fn tokio_websockets(stream: TcpStream) -> Result<()> {
    let (_, mut socket) = ServerBuilder::new().limits(Limits::unlimited()).accept(stream).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Its `next` flushes before it reads, so that messages are collected before they are answered.
pub async fn tokio_websockets_batch(stream: TcpStream) -> Result<()> {
    let config = TokioWebsocketsConfig::default().flush_threshold(64 * 1024);
    let builder = ServerBuilder::new().limits(Limits::unlimited()).config(config);
    let (_, mut socket) = builder.accept(stream).await?;
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(message) = socket.next().await {
        batch.push(message?);
        while batch.len() < BATCH {
            match socket.next().now_or_never() {
                Some(Some(message)) => batch.push(message?),
                _ => break,
            }
        }
        for message in batch.drain(..) {
            if message.is_text() || message.is_binary() {
                socket.feed(message).await?;
            }
        }
        socket.flush().await?;
    }
    Ok(())
}

pub async fn soketto(stream: TcpStream) -> Result<()> {
    let mut server = Server::new(stream.compat());
    let key = server.receive_request().await?.key();
    server.send_response(&Response::Accept { key, protocol: None }).await?;
    let mut builder = server.into_builder();
    builder.set_max_message_size(MAX_MESSAGE_LEN);
    builder.set_max_frame_size(MAX_MESSAGE_LEN);
    let (mut sender, mut receiver) = builder.finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        if receiver.receive_data(&mut message).await?.is_text() {
            sender.send_text(str::from_utf8(&message)?).await?;
        } else {
            sender.send_binary(&message).await?;
        }
        sender.flush().await?;
    }
}

pub async fn yawc(stream: TcpStream) -> Result<()> {
    let options = ::yawc::Options::default().without_compression();
    let mut socket = upgrade_yawc(stream, options).await?;
    while let Some(frame) = socket.next().await {
        if matches!(frame.opcode(), YawcOpCode::Text | YawcOpCode::Binary) {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

/// What its own benchmark does: reading flushes, so that messages are collected before they are answered.
pub async fn yawc_batch(stream: TcpStream) -> Result<()> {
    let options = ::yawc::Options::default()
        .without_compression()
        .with_read_buffer_capacity(128 * 1024)
        .with_backpressure_boundary(64 * 1024);
    let mut socket = upgrade_yawc(stream, options).await?;
    let mut batch = Vec::with_capacity(YAWC_BATCH);
    while let Some(frame) = socket.next().await {
        batch.push(frame);
        while batch.len() < YAWC_BATCH {
            match socket.next().now_or_never() {
                Some(Some(frame)) => batch.push(frame),
                _ => break,
            }
        }
        for frame in batch.drain(..) {
            if matches!(frame.opcode(), YawcOpCode::Text | YawcOpCode::Binary) {
                socket.feed(frame).await?;
            }
        }
        socket.flush().await?;
    }
    Ok(())
}

type YawcSocket = ::yawc::WebSocket<::yawc::HttpStream>;

/// hyper answers, and lets go of the stream.
async fn upgrade_yawc(stream: TcpStream, options: ::yawc::Options) -> Result<YawcSocket> {
    let options =
        options.with_max_payload_read(MAX_MESSAGE_LEN).with_max_read_buffer(2 * MAX_MESSAGE_LEN);
    let (sender, upgraded) = tokio::sync::oneshot::channel();
    let sender = std::cell::RefCell::new(Some(sender));
    let service =
        hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let upgraded = ::yawc::WebSocket::upgrade_with_options(&mut request, options.clone());
            let answer = upgraded.map(|(response, upgrading)| {
                if let Some(sender) = sender.take() {
                    // The receiver waits below.
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

pub async fn axum(listener: TcpListener) -> Result<()> {
    use ::axum::serve::ListenerExt;
    let echo = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                let is_data = matches!(message, AxumMessage::Text(_) | AxumMessage::Binary(_));
                if is_data && socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    };
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(::axum::serve(listener, Router::new().route("/", any(echo))).await?)
}
