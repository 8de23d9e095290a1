//! An async loop on an executor of one thread, over the core alone: each connection is a task that is not `Send`, and all of them
//! share an `Rc`. Each message is echoed with its number among those of all connections.
//!
//! `cargo run -p sockless-examples --example local_loop`, then open `ws://127.0.0.1:8080/`.

#![expect(clippy::disallowed_methods, reason = "a loop of its own has a clock of its own")]

use std::cell::Cell;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::LazyLock;

use bytes::BytesMut;
use futures_executor::LocalPool;
use futures_util::task::LocalSpawnExt;
use smol::future::{or, pending};
use smol::{Async, Timer};
use sockless_core::handshake::{ServerHandshake, UpgradeRequest, encode_response};
use sockless_core::{Config, Connection, Event, Instant, Output, Wait};

fn main() -> Result<()> {
    serve(TcpListener::bind("127.0.0.1:8080")?)
}

/// Serves on this thread.
fn serve(listener: TcpListener) -> Result<()> {
    let listener = Async::new(listener)?;
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    pool.run_until(async {
        let count = Rc::default();
        loop {
            let (stream, _) = listener.accept().await?;
            let echo = echo(stream, Rc::clone(&count));
            spawner.spawn_local(async { drop(echo.await) }).map_err(Error::other)?;
        }
    })
}

async fn echo(stream: Async<TcpStream>, count: Rc<Cell<u64>>) -> Result<()> {
    let (connection, inbound) = open(&stream).await?;
    drive(connection, inbound, &stream, |connection, event, now| {
        if let Event::Message(message) = event {
            count.set(count.get() + 1);
            let text = message.as_text().unwrap_or("(binary)");
            // Refused only while the connection is closing.
            let _ = connection.send(format!("{}: {text}", count.get()), now);
        }
    })
    .await;
    Ok(())
}

/// The time since the first call.
fn now() -> Instant {
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    Instant::from_epoch(START.elapsed())
}

/// Runs a connection to its end, and passes each event to `react`.
async fn drive(
    mut connection: Connection,
    mut inbound: BytesMut,
    stream: &Async<TcpStream>,
    mut react: impl FnMut(&mut Connection, Event, Instant),
) {
    loop {
        match connection.poll_output(&mut inbound, now()) {
            Output::Event(event) => react(&mut connection, event, now()),
            Output::Write(mut outbound) => match stream.get_ref().write(outbound.chunk()) {
                Ok(len) => outbound.advance(len),
                Err(error) if is_temporary(&error) => {}
                Err(error) => connection.handle_transport_error(error.to_string(), now()),
            },
            Output::ShutdownWrite => drop(stream.get_ref().shutdown(Shutdown::Write)),
            Output::Wait(wait) => {
                ready(stream, wait).await;
                if wait.read {
                    read(stream, &mut connection, &mut inbound);
                }
            }
            Output::Close => return,
        }
    }
}

/// Waits for what the connection waits for.
async fn ready(stream: &Async<TcpStream>, wait: Wait) {
    let readable =
        async { if wait.read { drop(stream.readable().await) } else { pending().await } };
    let writable =
        async { if wait.write { drop(stream.writable().await) } else { pending().await } };
    let expired = async {
        // `None` is never.
        match wait.timeout(now()) {
            Some(timeout) => {
                Timer::after(timeout).await;
            }
            None => pending().await,
        }
    };
    or(or(readable, writable), expired).await;
}

/// Reads once, if there is something to read.
fn read(stream: &Async<TcpStream>, connection: &mut Connection, inbound: &mut BytesMut) {
    let mut block = [0; 16 << 10];
    match stream.get_ref().read(&mut block) {
        Ok(0) => connection.handle_eof(now()),
        Ok(len) => inbound.extend_from_slice(&block[..len]),
        Err(error) if is_temporary(&error) => {}
        Err(error) => connection.handle_transport_error(error.to_string(), now()),
    }
}

fn is_temporary(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

/// Accepts the request of a client.
async fn open(stream: &Async<TcpStream>) -> Result<(Connection, BytesMut)> {
    let config = std::sync::Arc::new(Config::default());
    let mut inbound = BytesMut::new();
    let mut handshake = ServerHandshake::new(config.clone(), now());
    let request = loop {
        if let Some(request) = handshake.poll_request(&mut inbound) {
            break request.map_err(Error::other)?;
        }
        let until = handshake.poll_timeout().unwrap_or(now());
        let readable = async {
            // A failure shows when reading.
            let _ = stream.readable().await;
        };
        let expired = async {
            Timer::after(until.saturating_since(now())).await;
        };
        or(readable, expired).await;
        let mut block = [0; 4096];
        match stream.get_ref().read(&mut block) {
            Ok(0) => handshake.handle_eof(),
            Ok(len) => inbound.extend_from_slice(&block[..len]),
            Err(error) if is_temporary(&error) => {}
            Err(error) => return Err(error),
        }
        handshake.handle_timeout(now());
    };
    match UpgradeRequest::from_request(&request) {
        Ok(upgrade) => {
            let (response, negotiated) = upgrade.accept();
            Ok((handshake.accept(&response, negotiated, config, now()), inbound))
        }
        Err(error) => {
            // Short enough for any socket.
            drop(stream.get_ref().write(&encode_response(&error.response())));
            Err(Error::other(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use smol::future::block_on;
    use sockless::{CloseCode, Session};

    use super::*;

    /// The server ends with the process.
    fn served() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(listener));
        addr
    }

    async fn connect(addr: SocketAddr) -> Session {
        sockless::smol::connect(&format!("ws://{addr}/")).await.unwrap()
    }

    async fn ask(session: &mut Session, text: &str) -> String {
        session.send(text).await.unwrap();
        session.recv().await.unwrap().into_text().unwrap().to_string()
    }

    #[test]
    fn connections_share_a_count_and_close() {
        let addr = served();
        block_on(async {
            let (mut ada, mut bob) = (connect(addr).await, connect(addr).await);
            assert_eq!(ask(&mut ada, "hello").await, "1: hello");
            assert_eq!(
                ask(&mut bob, &"x".repeat(100_000)).await,
                format!("2: {}", "x".repeat(100_000))
            );
            ada.close(CloseCode::NORMAL);
            assert!(ada.closed().await.is_clean());
            assert_eq!(ask(&mut bob, "alone").await, "3: alone");
        });
    }

    /// One client floods and reads nothing: it is not read from, and others are served.
    #[test]
    fn a_client_that_floods_and_does_not_read_stops_no_other() {
        let addr = served();
        block_on(async {
            let flooding = connect(addr).await;
            let (sender, _receiver) = flooding.split();
            let message = "x".repeat(64 << 10);
            let mut sent = 0;
            loop {
                let sending = async { sender.send(message.clone()).await.is_ok() };
                let late = async {
                    Timer::after(Duration::from_secs(1)).await;
                    false
                };
                if !or(sending, late).await {
                    break;
                }
                sent += 1;
                assert!(sent < 4096, "it is read on and on");
            }
            let mut other = connect(addr).await;
            assert!(ask(&mut other, "meanwhile").await.ends_with(": meanwhile"));
        });
    }
}
