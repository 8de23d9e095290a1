//! A loop of one thread over tungstenite and streams that do not block, by mio. Each message is echoed with its number. It has
//! no deadlines.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::server::{NoCallback, ServerHandshake};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

enum Connection {
    Opening(MidHandshake<ServerHandshake<TcpStream, NoCallback>>),
    Open(Box<WebSocket<TcpStream>>),
}

const LISTENER: Token = Token(0);

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 8080).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut connections, mut events) = (BTreeMap::new(), Events::with_capacity(1024));
    let (mut last, mut count) = (LISTENER, 0);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() != LISTENER {
                if let Some(connection) = connections.remove(&event.token())
                    && let Some(connection) = turn(connection, &mut count)
                {
                    connections.insert(event.token(), connection);
                }
                continue;
            }
            loop {
                let mut stream = match listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                last = Token(last.0 + 1);
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, last, interest)?;
                let handshake = ServerHandshake::start(stream, NoCallback, None);
                if let Some(connection) = turn(Connection::Opening(handshake), &mut count) {
                    connections.insert(last, connection);
                }
            }
        }
    }
}

/// Goes on until the stream would block. Returns `None` once the connection is over.
fn turn(connection: Connection, count: &mut u64) -> Option<Connection> {
    let mut socket = match connection {
        Connection::Open(socket) => socket,
        Connection::Opening(handshake) => match handshake.handshake() {
            Ok(socket) => Box::new(socket),
            Err(HandshakeError::Interrupted(handshake)) => {
                return Some(Connection::Opening(handshake));
            }
            Err(HandshakeError::Failure(_)) => return None,
        },
    };
    match echo(&mut socket, count) {
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
            Some(Connection::Open(socket))
        }
        _ => None,
    }
}

fn echo(socket: &mut WebSocket<TcpStream>, count: &mut u64) -> Result<(), Error> {
    loop {
        // Nothing is read while the last reply has not left.
        socket.flush()?;
        let text = match socket.read()? {
            Message::Text(text) => text,
            Message::Binary(_) => "(binary)".into(),
            _ => continue,
        };
        *count += 1;
        match socket.write(Message::text(format!("{count}: {text}"))) {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
            result => result?,
        }
    }
}
