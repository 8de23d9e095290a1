//! The client of the crate `watermelon-net`, which speaks NATS over any stream. `async-nats` opens
//! sockets of tokio only.

use sockless_sim::{Sim, SimIo, Wire};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, ReadHalf};
use watermelon_net::error::ConnectionReadError;
use watermelon_net::{Connection, StreamingConnection, proto_connect};
use watermelon_proto::headers::HeaderMap;
use watermelon_proto::proto::{ClientOp, ServerOp};
use watermelon_proto::{Connect, MessageBase, NonStandardConnect, ServerMessage, Subject};

use super::{Broker, MS, Outbox, link, serve, twice};

const INFO: &str = concat!(
    r#"INFO {"server_id":"1","server_name":"one","version":"2.12.0","go":"go1.25","#,
    r#""host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576,"proto":1}"#,
    "\r\n"
);

/// Reads operations of clients, and performs them.
async fn connection(broker: Broker, read: ReadHalf<SimIo>, outbox: Outbox) -> std::io::Result<()> {
    let (mut read, mut line) = (BufReader::new(read), String::new());
    let _ = outbox.send(INFO.to_owned());
    while read.read_line(&mut line).await? > 0 {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words {
            ["PING"] => drop(outbox.send("PONG\r\n".to_owned())),
            ["SUB", subject, id] => {
                broker.subscribe(subject, &format!("MSG {subject} {id} "), &outbox);
            }
            ["PUB", subject, len] => {
                let mut payload = vec![0; len.parse::<usize>().unwrap() + 2];
                read.read_exact(&mut payload).await?;
                let payload = String::from_utf8(payload).unwrap();
                broker.publish(subject, &format!("{len}\r\n{payload}"));
            }
            ["CONNECT", ..] => {}
            _ => drop(outbox.send("-ERR 'Unknown Protocol Operation'\r\n".to_owned())),
        }
        line.clear();
    }
    Ok(())
}

type Client = Connection<SimIo, SimIo>;

async fn connect(sim: &Sim) -> (Client, Wire) {
    let io = sim.dial("nats:4222").await.unwrap();
    let wire = io.wire();
    let mut client = Connection::Streaming(StreamingConnection::new(io));
    let info = client.read_next().await.unwrap();
    assert!(matches!(info, ServerOp::Info { info } if info.name == "one"));
    proto_connect(&mut client, settings(), |_| {}).await.unwrap();
    (client, wire)
}

fn settings() -> Connect {
    Connect {
        verbose: false,
        pedantic: false,
        require_tls: false,
        auth_token: None,
        username: None,
        password: None,
        client_name: None,
        client_lang: "rust",
        client_version: "0.1.0",
        protocol: 1,
        echo: false,
        signature: None,
        jwt: None,
        supports_no_responders: false,
        supports_headers: false,
        nkey: None,
        non_standard: NonStandardConnect::default(),
    }
}

fn message(text: &'static str) -> MessageBase {
    MessageBase {
        subject: Subject::from_static("room"),
        reply_subject: None,
        headers: HeaderMap::new(),
        payload: text.into(),
    }
}

async fn subscribe(client: &mut Client) {
    let subject = Subject::from_static("room");
    client.enqueue_write_op(&ClientOp::Subscribe { id: 7.into(), subject, queue_group: None });
    // The answer comes after the subscription.
    client.enqueue_write_op(&ClientOp::Ping);
    client.write_and_flush().await.unwrap();
    assert_eq!(client.read_next().await.unwrap(), ServerOp::Pong);
}

async fn exchange(sim: Sim) {
    start(&sim);
    let (mut ada, _) = connect(&sim).await;
    let (mut bob, _) = connect(&sim).await;
    subscribe(&mut ada).await;
    for text in ["hello", "a message that no read and no write of this link can take as a whole"] {
        bob.enqueue_write_op(&ClientOp::Publish { message: message(text) });
        bob.write_and_flush().await.unwrap();
        let ServerOp::Message { message: received } = ada.read_next().await.unwrap() else {
            panic!("no message");
        };
        let ServerMessage { subscription_id, base, .. } = received;
        assert_eq!((subscription_id, base), (7.into(), message(text)));
    }
}

fn start(sim: &Sim) {
    sim.spawn(serve(sim.clone(), sim.listen_over("nats:4222", &link()), connection));
}

#[test]
fn messages_of_nats_pass() {
    Sim::check(0..20, exchange);
}

#[test]
fn a_run_with_nats_is_repeated_by_its_seed() {
    let [first, second] = twice(exchange);
    assert_eq!(first, second);
}

#[test]
fn a_cut_of_the_wire_fails_the_reads_of_nats() {
    Sim::check(0..20, |sim| async move {
        start(&sim);
        let (mut client, wire) = connect(&sim).await;
        subscribe(&mut client).await;
        let reading = sim.spawn(async move { client.read_next().await });
        sim.sleep(MS).await;
        wire.cut();
        let error = reading.await.unwrap_err();
        assert!(matches!(error, ConnectionReadError::Streaming(_)), "{error}");
        subscribe(&mut connect(&sim).await.0).await;
    });
}
