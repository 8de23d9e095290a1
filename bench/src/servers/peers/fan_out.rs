//! Each peer's room: a tokio broadcast channel, and a task for each member that reads and writes.

use ::axum::extract::ws::Message as AxumMessage;
use ::fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocket};
use ::tokio_websockets::Message as TokioWebsocketsMessage;
use ::yawc::{Frame as YawcFrame, OpCode as YawcOpCode};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::sync::mpsc::unbounded_channel;
use tokio_tungstenite::tungstenite::Message as TungsteniteMessage;

use super::{
    open_soketto, open_tokio_websockets, open_tungstenite, open_yawc, serve_axum, yawc_options,
};
use crate::Result;
use crate::servers::limits::{ROOM_LEN, upgrade};
use crate::servers::{Server, accept};

/// Serves a room. A member receives all messages from the moment its connection was accepted.
pub async fn serve(server: Server, deflate: bool, listener: TcpListener) -> Result<()> {
    match server {
        Server::Tungstenite | Server::TungsteniteBatch => {
            let (room, batch) = (channel(ROOM_LEN).0, server == Server::TungsteniteBatch);
            let serve = |stream| tungstenite(stream, Seat::new(&room, batch));
            accept(listener, serve).await
        }
        Server::TokioWebsockets | Server::TokioWebsocketsBatch => {
            let (room, batch) = (channel(ROOM_LEN).0, server == Server::TokioWebsocketsBatch);
            accept(listener, |stream| tokio_websockets(stream, Seat::new(&room, batch))).await
        }
        Server::Yawc | Server::YawcSmall | Server::YawcBatch => {
            let (room, batch) = (channel(ROOM_LEN).0, server == Server::YawcBatch);
            let options = yawc_options(server, deflate);
            accept(listener, |stream| yawc(stream, options.clone(), Seat::new(&room, batch))).await
        }
        Server::Axum => {
            let room = channel(ROOM_LEN).0;
            serve_axum(listener, move |upgrade| {
                let seat = Seat::new(&room, false);
                upgrade.on_upgrade(async |socket| drop(member(socket, seat, is_axum_data).await))
            })
            .await
        }
        Server::Fastwebsockets => {
            let room = channel(ROOM_LEN).0;
            accept(listener, |stream| fastwebsockets(stream, Seat::new(&room, false))).await
        }
        Server::Soketto => {
            let room = channel(ROOM_LEN).0;
            accept(listener, |stream| soketto(stream, Seat::new(&room, false))).await
        }
        server => Err(format!("{} is not a peer", server.name()).into()),
    }
}

/// A member's ends of the channel, and whether all waiting messages are sent with one flush.
struct Seat<M> {
    room: Sender<M>,
    news: Receiver<M>,
    batch: bool,
}

impl<M: Clone> Seat<M> {
    fn new(room: &Sender<M>, batch: bool) -> Self {
        Self { room: room.clone(), news: room.subscribe(), batch }
    }
}

/// A member of a library that has a stream and a sink.
async fn member<S, M, E>(mut socket: S, seat: Seat<M>, is_data: fn(&M) -> bool) -> Result<()>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    M: Clone,
    E: Into<Box<dyn std::error::Error>>,
{
    let Seat { room, mut news, batch } = seat;
    loop {
        tokio::select! {
            message = socket.next() => {
                let Some(message) = message else { return Ok(()) };
                let message = message.map_err(Into::into)?;
                if is_data(&message) {
                    // Fails without receivers, but this member is one.
                    let _ = room.send(message);
                }
            }
            message = news.recv() => {
                socket.feed(message?).await.map_err(Into::into)?;
                while batch && let Ok(more) = news.try_recv() {
                    socket.feed(more).await.map_err(Into::into)?;
                }
                socket.flush().await.map_err(Into::into)?;
            }
        }
    }
}

async fn tungstenite(stream: TcpStream, seat: Seat<TungsteniteMessage>) -> Result<()> {
    let socket = open_tungstenite(stream, seat.batch).await?;
    member(socket, seat, |message| message.is_text() || message.is_binary()).await
}

async fn tokio_websockets(stream: TcpStream, seat: Seat<TokioWebsocketsMessage>) -> Result<()> {
    let socket = open_tokio_websockets(stream, seat.batch).await?;
    member(socket, seat, |message| message.is_text() || message.is_binary()).await
}

fn is_axum_data(message: &AxumMessage) -> bool {
    matches!(message, AxumMessage::Text(_) | AxumMessage::Binary(_))
}

async fn yawc(stream: TcpStream, options: ::yawc::Options, seat: Seat<YawcFrame>) -> Result<()> {
    let socket = open_yawc(stream, options).await?.map(Ok);
    member(socket, seat, |frame| matches!(frame.opcode(), YawcOpCode::Text | YawcOpCode::Binary))
        .await
}

/// Its `read_frame` is not cancel-safe, so each direction has a future of its own.
async fn fastwebsockets(mut stream: TcpStream, seat: Seat<(OpCode, Bytes)>) -> Result<()> {
    upgrade(&mut stream).await?;
    let Seat { room, mut news, .. } = seat;
    let socket = WebSocket::after_handshake(stream, Role::Server);
    let (reader, mut writer) = socket.split(tokio::io::split);
    let mut reader = FragmentCollectorRead::new(reader);
    writer.set_writev(true);
    let (answer, mut answers) = unbounded_channel();
    let reading = async {
        let mut answer = |frame| std::future::ready(answer.send(frame));
        loop {
            let frame = reader.read_frame(&mut answer).await?;
            if matches!(frame.opcode, OpCode::Text | OpCode::Binary) {
                room.send((frame.opcode, Bytes::from(Vec::from(frame.payload))))?;
            }
        }
    };
    let writing = async {
        loop {
            tokio::select! {
                Some(answer) = answers.recv() => writer.write_frame(answer).await?,
                message = news.recv() => {
                    let (opcode, payload) = message?;
                    let payload = Payload::Borrowed(&payload);
                    writer.write_frame(Frame::new(true, opcode, None, payload)).await?;
                }
            }
        }
    };
    tokio::select! {
        end = reading => end,
        end = writing => end,
    }
}

async fn soketto(stream: TcpStream, seat: Seat<(bool, Bytes)>) -> Result<()> {
    let Seat { room, mut news, .. } = seat;
    let (mut sender, mut receiver) = open_soketto(stream).await?;
    let reading = async {
        loop {
            let mut message = Vec::new();
            let is_text = receiver.receive_data(&mut message).await?.is_text();
            room.send((is_text, message.into()))?;
        }
    };
    let writing = async {
        loop {
            let (is_text, message) = news.recv().await?;
            if is_text {
                sender.send_text(str::from_utf8(&message)?).await?;
            } else {
                sender.send_binary(&message).await?;
            }
            sender.flush().await?;
        }
    };
    tokio::select! {
        end = reading => end,
        end = writing => end,
    }
}
