//! Each peer's echo as in its documentation, and a batching one where the library allows it.

use ::axum::extract::ws::{Message as AxumMessage, WebSocket as AxumSocket};
use ::fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
use ::yawc::{OpCode as YawcOpCode, Options as YawcOptions};
use futures_util::{FutureExt, SinkExt, StreamExt};

use super::{open_soketto, open_tokio_websockets, open_tungstenite, open_yawc};
use crate::Result;
use crate::servers::Transport;
use crate::servers::limits::upgrade;

/// The number of messages that a batching echo receives before it answers.
const BATCH: usize = 64;
const YAWC_BATCH: usize = 32;

pub async fn tungstenite<S: Transport>(stream: S) -> Result<()> {
    let mut socket = open_tungstenite(stream, false).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

pub async fn tungstenite_batch<S: Transport>(stream: S) -> Result<()> {
    let mut socket = open_tungstenite(stream, true).await?;
    loop {
        // One more poll before the flush, to find out that no message is ready.
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

pub async fn fastwebsockets<S: Transport>(mut stream: S) -> Result<()> {
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

pub async fn tokio_websockets<S: Transport>(stream: S) -> Result<()> {
    let mut socket = open_tokio_websockets(stream, false).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// `next` flushes before it reads, so messages are collected before they are answered.
pub async fn tokio_websockets_batch<S: Transport>(stream: S) -> Result<()> {
    let mut socket = open_tokio_websockets(stream, true).await?;
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

pub async fn soketto<S: Transport>(stream: S) -> Result<()> {
    let (mut sender, mut receiver) = open_soketto(stream).await?;
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

pub async fn yawc<S: Transport>(stream: S, options: YawcOptions) -> Result<()> {
    let mut socket = open_yawc(stream, options).await?;
    while let Some(frame) = socket.next().await {
        if matches!(frame.opcode(), YawcOpCode::Text | YawcOpCode::Binary) {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

/// As in yawc's own benchmark: reading flushes, so messages are collected before they are answered.
pub async fn yawc_batch<S: Transport>(stream: S, options: YawcOptions) -> Result<()> {
    let mut socket = open_yawc(stream, options).await?;
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

pub async fn axum(mut socket: AxumSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let is_data = matches!(message, AxumMessage::Text(_) | AxumMessage::Binary(_));
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}
