//! Cases that the suite does not cover: presence across servers, contention, messages of no known form, TLS.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sockless::rooms::{BusError, Namespace, NatsBus, PublishError, RoomConfig, Rooms};
use sockless::tls::TlsConnector;
use sockless::tokio::TokioRuntime;
use tokio::time::sleep;

use crate::broker::{Broker, Data};
use crate::common::suite::{self, Host};
use crate::common::{expect_message, router, welcome, words};
use crate::hosts::{LIMIT, Served, connected};

const PAUSE: Duration = Duration::from_millis(10);

/// Members of one server know those of another.
pub(crate) async fn presence(broker: &Broker) -> io::Result<()> {
    let config = || suite::config().presence();
    let (ada_rooms, _, ada_host) = server(broker, "presence", config()).await?;
    let (bob_rooms, _, bob_host) = server(broker, "presence", config()).await?;
    let mut ada = ada_host.open("/room?identity=ada").await;
    welcome(&mut ada).await;
    let mut bob = bob_host.open("/room?identity=bob").await;
    welcome(&mut bob).await;
    assert_eq!(words(&mut ada).await[0], "joined(occupant");
    drop(bob);
    assert_eq!(words(&mut ada).await[0], "left(occupant");
    drop(ada);
    connected(&[ada_rooms, bob_rooms], || sleep(PAUSE)).await;
    Ok(())
}

/// Two servers publish to one room at the same time: each message has a place of its own.
pub(crate) async fn contention(broker: &Broker) -> io::Result<()> {
    const EACH: usize = 50;
    let config = || suite::config().max_message_len(4 << 20);
    let (_ada_rooms, ada_chat, ada_host) = server(broker, "contention", config()).await?;
    let (_bob_rooms, bob_chat, _) = server(broker, "contention", config()).await?;
    let mut ada = ada_host.open("/room").await;
    welcome(&mut ada).await;
    let publishing = [&ada_chat, &bob_chat, &ada_chat, &bob_chat].into_iter().enumerate();
    let publishing: Vec<_> = publishing
        .map(|(task, chat)| {
            let chat = chat.clone();
            tokio::spawn(async move {
                let mut published = Vec::new();
                for number in 0..EACH {
                    let text = format!("{task}-{number}");
                    let position = chat.publish("room", text.clone()).await.unwrap().unwrap();
                    published.push((position.offset, position.to_string(), text));
                }
                published
            })
        })
        .collect();
    let mut published = Vec::new();
    for task in publishing {
        published.extend(task.await?);
    }
    published.sort();
    for ((offset, position, text), next) in published.into_iter().zip(1..) {
        assert_eq!(offset, next);
        assert_eq!(expect_message(&mut ada, &text).await, position);
    }
    let error = ada_chat.publish("room", vec![0; 2 << 20]).await.unwrap_err();
    assert!(matches!(error, PublishError::Bus(BusError::TooLong { .. })), "{error}");
    Ok(())
}

/// What other programs send and store in the name of a room is counted; the room goes on.
pub(crate) async fn messages_of_no_known_form(broker: &Broker) -> io::Result<()> {
    let (rooms, chat, host) = server(broker, "odd", suite::config()).await?;
    let mut ada = host.open("/room").await;
    welcome(&mut ada).await;
    chat.publish("room", "one").await.unwrap();
    let before = expect_message(&mut ada, "one").await;
    let long = format!("i{} \x01\x01x", "9".repeat(100));
    let odd =
        ["", "x", "i", "ia.1", "ia.1 ", "ia.1 \x01", "ia.1 \x02\x01x", "ma.1 x", &long, "s\x01"];
    for payload in odd {
        send(broker, "sockless.odd.live.room", payload)?;
    }
    until(|| rooms.stats().bus_invalid == odd.len() as u64).await;
    chat.publish("room", "two").await.unwrap();
    expect_message(&mut ada, "two").await;
    // Behind what is stored the room cannot go on counting.
    send(broker, "sockless.odd.room.room", "something else")?;
    until(|| rooms.stats().bus_invalid > odd.len() as u64).await;
    chat.publish("room", "three").await.unwrap();
    assert_eq!(words(&mut ada).await[0], "gap");
    expect_message(&mut ada, "three").await;
    let mut bob = host.open(&format!("/room?since={before}")).await;
    assert_eq!(welcome(&mut bob).await.1, "gap");
    assert!(!rooms.is_bus_down());
    Ok(())
}

/// A server that requires TLS is reached by it, and not without it.
pub(crate) async fn tls(program: &Path, certificates: &Path) -> io::Result<()> {
    let mut broker = Broker::new(program.to_owned(), Data::Lost)?.with_tls(certificates);
    broker.start()?;
    let authority = std::fs::read(certificates.join("ca.pem"))?;
    let connector = TlsConnector::trusting_pem(&authority).map_err(io::Error::other)?;
    let bus = || NatsBus::new(&broker.url()).map_err(io::Error::other);
    let rooms = Rooms::with_bus(bus()?.tls(connector), TokioRuntime);
    let chat = rooms.namespace("chat", suite::config());
    connected(&[rooms], || sleep(PAUSE)).await;
    chat.publish("room", "encrypted").await.unwrap();

    let has_panicked = Arc::new(AtomicBool::new(false));
    let noted = has_panicked.clone();
    std::panic::set_hook(Box::new(move |_| noted.store(true, Ordering::Relaxed)));
    let plain = Rooms::with_bus(bus()?, TokioRuntime);
    let chat = plain.namespace("chat", suite::config());
    sleep(Duration::from_millis(500)).await;
    let _ = std::panic::take_hook();
    let error = chat.publish("room", "not encrypted").await.unwrap_err();
    assert!(matches!(error, PublishError::Bus(BusError::Unavailable(_))), "{error}");
    assert!(plain.is_bus_down() && !has_panicked.load(Ordering::Relaxed));
    Ok(())
}

/// A server of rooms, which is connected.
async fn server(
    broker: &Broker,
    namespace: &str,
    config: RoomConfig,
) -> io::Result<(Rooms, Namespace, Served)> {
    let rooms = Rooms::nats(&broker.url(), TokioRuntime).map_err(io::Error::other)?;
    let chat = rooms.namespace(namespace, config);
    let server = sockless::bind("127.0.0.1:0").await?;
    let host = Served { addr: server.local_addr().unwrap(), connect: sockless::connect };
    tokio::spawn(server.serve(router(&chat)));
    connected(std::slice::from_ref(&rooms), || sleep(PAUSE)).await;
    Ok((rooms, chat, host))
}

async fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "it takes too long");
        sleep(PAUSE).await;
    }
}

/// Sends a message to the NATS server, and returns once the server has taken it.
fn send(broker: &Broker, subject: &str, payload: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(broker.addr())?;
    let message = format!("PUB {subject} {}\r\n{payload}\r\n", payload.len());
    write!(stream, "CONNECT {{\"verbose\":false}}\r\n{message}PING\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    while lines.next().transpose()?.is_some_and(|line| line != "PONG") {}
    Ok(())
}
