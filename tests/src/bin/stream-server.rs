//! A server that sends more than its clients' buffers hold, for test suites whose client reads slowly.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use sockless::{
    CloseCode, CloseReason, Closed, Config, Message, Origins, Router, Session, respond, websocket,
};

/// Serves an empty page at `/` and streams of numbered messages at `/stream` and `/stream/queued`.
///
/// A stream is a number of binary messages, which begin with their index as 32 bits in network byte order, and a Close
/// frame with 1000. All messages of `/stream/queued` are queued at once, so that pings are sent behind them, and the
/// Close frame follows a message of the client and an answer to a ping. A line on stdout reports the end of each
/// session.
#[derive(Debug, Parser)]
struct Options {
    /// The address to listen on; with port 0 the system picks one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// The number of messages in a stream.
    #[arg(long, value_name = "COUNT")]
    messages: u32,

    /// The length of each message.
    #[arg(long, value_name = "BYTES")]
    len: usize,

    /// The ping interval of the sessions.
    #[arg(long, value_name = "MILLISECONDS")]
    ping_interval: u64,

    /// The ping timeout of the sessions.
    #[arg(long, value_name = "MILLISECONDS")]
    ping_timeout: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let options = Arc::new(Options::parse());
    let server = sockless::bind(options.listen).await?;
    if let Some(addr) = server.local_addr() {
        announce(format_args!("listening on http://{addr}"));
    }
    server.serve(router(&options)).await;
    Ok(())
}

fn router(options: &Arc<Options>) -> Router {
    let config = Config::default()
        .ping_interval(Duration::from_millis(options.ping_interval))
        .ping_timeout(Duration::from_millis(options.ping_timeout));
    let (of_stream, of_queued) = (options.clone(), options.clone());
    let queued = websocket(move |session| serve_queued(session, of_queued.clone()));
    let high_water = 2 * options.len * options.messages as usize;
    Router::new()
        .websockets(config)
        .origins(Origins::same_origin())
        .route("/", respond(|_request| page()))
        .route("/stream", websocket(move |session| serve_stream(session, of_stream.clone())))
        .route("/stream/queued", queued.configure(move |config| config.high_water(high_water)))
}

fn page() -> http::Response<Bytes> {
    let mut page =
        http::Response::new(Bytes::from_static(b"<!doctype html><title>Streams</title>"));
    let html = http::HeaderValue::from_static("text/html; charset=utf-8");
    page.headers_mut().insert(http::header::CONTENT_TYPE, html);
    page
}

async fn serve_stream(mut session: Session, options: Arc<Options>) {
    let closed = match send_all(&mut session, &options).await {
        Ok(()) => close(&session).await,
        Err(closed) => closed,
    };
    announce(format_args!("/stream: {closed}"));
}

async fn serve_queued(mut session: Session, options: Arc<Options>) {
    let mut longest = Duration::ZERO;
    let sent = send_all(&mut session, &options).await;
    let received = match sent {
        Ok(()) => receive(&mut session, &mut longest).await,
        Err(closed) => Err(closed),
    };
    let closed = match received {
        Ok(()) => close(&session).await,
        Err(closed) => closed,
    };
    let longest = longest.as_millis();
    announce(format_args!("/stream/queued: {closed}; longest round trip: {longest} ms"));
}

/// Waits for a message and for the answer to a ping, and records the longest round trip.
async fn receive(session: &mut Session, longest: &mut Duration) -> Result<(), Closed> {
    let mut has_received = false;
    while !has_received || longest.is_zero() {
        let pause = session.sleep(Duration::from_millis(100));
        tokio::select! {
            message = session.recv() => {
                message?;
                has_received = true;
            }
            () = pause => {}
        }
        *longest = session.round_trip().unwrap_or_default().max(*longest);
    }
    Ok(())
}

async fn close(session: &Session) -> Closed {
    session.close(CloseReason::new(CloseCode::NORMAL, "all sent"));
    session.closed().await
}

async fn send_all(session: &mut Session, options: &Options) -> Result<(), Closed> {
    for index in 0..options.messages {
        let mut payload = vec![0; options.len.max(4)];
        payload[..4].copy_from_slice(&index.to_be_bytes());
        session.send(Message::from(payload)).await?;
    }
    Ok(())
}

/// Prints a line at once: the program that started the server waits for it in a pipe.
fn announce(line: std::fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    // A closed pipe means that the program has ended, and so will this one.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
