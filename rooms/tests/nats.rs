//! Rooms over a NATS server that misbehaves. The oracle `nats` has a real one.
//!
//! The bus has a thread of its own, with the system's clock and sockets, so these do not run in the
//! simulator.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use sockless::rooms::{BusError, NatsBus, NatsUrlError, PublishError, RoomConfig, Rooms};
use sockless::tokio::TokioRuntime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The time after which a test fails, such as one that waits for a bus that does not connect again. The
/// longest takes 12 s.
const LIMIT: Duration = Duration::from_secs(120);

/// The bus drops the connection at each of these, and connects again.
#[test]
fn garbage_breaks_the_connection_and_nothing_else() {
    const GARBAGE: &[&[u8]] = &[
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\0\r\n",
        b"INFO\r\n",
        b"INFO {}\r\n",
        b"INFO {\"server_id\":7}\r\n",
        b"INFO \xFF\xFE\r\n",
        b"MSG a 1 18446744073709551615\r\n",
        b"HMSG a 1 9 3\r\n",
        b"-ERR\r\n",
        b"-ERR 'Authorization Violation'\r\n",
        b"PING\r\nPONG\r\n+OK\r\n",
    ];
    in_tokio(async {
        let listener = listen().await;
        let (rooms, chat) = chat(&listener);
        for garbage in GARBAGE {
            let (mut broker, _) = listener.accept().await.unwrap();
            broker.write_all(garbage).await.unwrap();
            assert!(ends(&mut broker).await, "{:?}", garbage.escape_ascii());
            let error = chat.publish("room", "lost").await.unwrap_err();
            assert!(matches!(error, PublishError::Bus(BusError::Unavailable(_))), "{error}");
        }
        assert!(rooms.is_bus_down());
    });
}

/// The same once it was connected. At some of it the client panics in a task of its own: for the rooms,
/// the connection is lost, and nothing else happens.
#[test]
fn garbage_behind_the_handshake_breaks_the_connection_and_nothing_else() {
    const GARBAGE: &[&[u8]] = &[
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\xFF\x80\0\r\n",
        b"MSG\r\n",
        b"MSG a b c d e f g\r\n",
        b"MSG a 1 -1\r\n",
        b"MSG a 1 18446744073709551615\r\nx\r\n",
        b"MSG a 18446744073709551616 1\r\nx\r\n",
        b"MSG \xFF\xFE 0 1\r\nx\r\n",
        b"HMSG a 0 9 3\r\nxxxxxxxxxxxx\r\n",
        b"HMSG a 0 18446744073709551615 18446744073709551615\r\nx\r\n",
        b"HMSG a 0 0 0\r\n\r\n",
        b"HMSG a 0 12 12\r\nNATS/1.0\r\n\r\n\r\n\r\n\r\n",
        b"HMSG a 0 16 16\r\nNATS/1.0 xyz\r\n\r\n\r\n",
        b"HMSG a 0 16 16\r\nNATS/1.0\r\n:\r\n\r\n\r\n\r\n",
        b"HMSG a 0 16 16\r\n\xFF\xFE\xFD\xFC\xFF\xFE\xFD\xFC\xFF\xFE\xFD\xFC\xFF\xFE\xFD\xFC\r\n",
        b"INFO {\"server_id\":7}\r\n",
        b"-ERR \xFF\xFE\r\n",
        // It waits for what does not come, and for the answer to its pings.
        b"MSG a 0 9999999999\r\nx",
    ];
    in_tokio(async {
        let listener = listen().await;
        let (rooms, chat) = chat(&listener);
        // The client closes some only after its own attempt to connect again.
        let mut brokers = Vec::new();
        for garbage in GARBAGE {
            let mut broker = greeted(&listener).await;
            broker.write_all(garbage).await.unwrap();
            // Some of it is ignored. Then this is not.
            let _ = broker.write_all(b"\r\nGARBAGE\r\n").await;
            brokers.push(broker);
        }
        // It has not lost its thread: it is connected again, and makes requests.
        let asked = async {
            loop {
                let mut broker = greeted(&listener).await;
                if try_receive(&mut broker, "PUB $JS.API.STREAM.").await.is_some() {
                    return broker;
                }
            }
        };
        let publishing = async {
            // While the bus is down, it fails at once.
            while chat.publish("room", "hello").await.is_err() {
                tokio::task::yield_now().await;
            }
            panic!("no server has confirmed it");
        };
        let mut broker = tokio::select! {
            broker = asked => broker,
            () = publishing => unreachable!(),
        };
        drop((rooms, chat));
        assert!(ends(&mut broker).await);
    });
}

/// A server that is not a NATS server with JetStream, and one that is too old.
#[test]
fn a_server_that_lacks_what_is_needed_is_left() {
    in_tokio(async {
        let listener = listen().await;
        let (rooms, _chat) = chat(&listener);
        for version in ["2.8.4", "2.9.10"] {
            let (mut broker, _) = listener.accept().await.unwrap();
            let info = format!(
                "INFO {{\"server_id\":\"a\",\"version\":\"{version}\",\"headers\":true,\"max_payload\":1048576}}\r\n"
            );
            broker.write_all(info.as_bytes()).await.unwrap();
            let connect = receive(&mut broker, "PING\r\n").await;
            assert!(connect.starts_with("CONNECT {"), "{connect}");
            broker.write_all(b"PONG\r\n").await.unwrap();
            if version == "2.9.10" {
                let request = receive(&mut broker, "\r\n\r\n").await;
                let inbox =
                    request.split_once("$JS.API.INFO ").unwrap().1.split_once(' ').unwrap().0;
                let answer = format!("HMSG {inbox} 0 16 16\r\nNATS/1.0 503\r\n\r\n\r\n");
                broker.write_all(answer.as_bytes()).await.unwrap();
            }
            assert!(ends(&mut broker).await, "{version}");
            // It may try once more at once.
            listener.accept().await.unwrap();
        }
        assert!(rooms.is_bus_down());
    });
}

#[test]
fn the_thread_ends_with_the_rooms() {
    in_tokio(async {
        let listener = listen().await;
        let (rooms, chat) = chat(&listener);
        // It waits for what the broker says first.
        let (mut broker, _) = listener.accept().await.unwrap();
        drop((rooms, chat));
        assert!(ends(&mut broker).await);
    });
}

#[test]
fn urls_of_other_forms_are_errors() {
    for url in [
        "nats://localhost",
        "nats://u:p@[::1]:7/",
        "nats://token@host",
        "nats://one:4222,nats://two:4222",
    ] {
        let bus = NatsBus::new(url).unwrap();
        assert!(!format!("{bus:?}").contains("localhost"));
    }
    for url in [
        "",
        "localhost:4222",
        "tls://localhost",
        "ws://localhost",
        "nats://",
        "nats://host:x",
        "nats://host/path",
        "nats://host?query",
        "nats://one,two",
        "nats://one,",
    ] {
        let error: NatsUrlError = NatsBus::new(url).unwrap_err();
        assert!(error.to_string().contains("nats://"), "{url}");
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

fn chat(listener: &TcpListener) -> (Rooms, sockless::rooms::Namespace) {
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let rooms = Rooms::nats(&url, TokioRuntime).unwrap();
    let chat = rooms.namespace("chat", RoomConfig::default());
    (rooms, chat)
}

/// Accepts a connection, and answers until the bus takes it for one to a NATS server with JetStream.
async fn greeted(listener: &TcpListener) -> TcpStream {
    let info = "INFO {\"server_id\":\"a\",\"version\":\"2.9.10\",\"headers\":true,\"max_payload\":1048576}\r\n";
    loop {
        let (mut broker, _) = listener.accept().await.unwrap();
        broker.write_all(info.as_bytes()).await.unwrap();
        // The client connects once more on its own account where the last connection broke, and drops that.
        let Some(_) = try_receive(&mut broker, "PING\r\n").await else { continue };
        broker.write_all(b"PONG\r\n").await.unwrap();
        let Some(request) = try_receive(&mut broker, "\r\n\r\n").await else { continue };
        let inbox = request.split_once("$JS.API.INFO ").unwrap().1.split_once(' ').unwrap().0;
        broker.write_all(format!("MSG {inbox} 0 2\r\n{{}}\r\n").as_bytes()).await.unwrap();
        return broker;
    }
}

fn in_tokio(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async { tokio::time::timeout(LIMIT, test).await };
    runtime.block_on(test).expect("the end of the test within two minutes");
}

/// Reads until the other end closes the connection.
async fn ends(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest).await {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Reads until the text ends with `end`.
async fn receive(stream: &mut TcpStream, end: &str) -> String {
    try_receive(stream, end).await.expect("an open connection")
}

/// Does the same; `None` if the other end closes the connection.
async fn try_receive(stream: &mut TcpStream, end: &str) -> Option<String> {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with(end) {
        stream.read_exact(&mut byte).await.ok()?;
        text.push(char::from(byte[0]));
    }
    Some(text)
}
