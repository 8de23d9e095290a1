//! A session that a server on tokio has recorded: the core repeats it exactly, and its client drives
//! a handler in the simulator.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bytes::BytesMut;
use sockless::trace::{JsonTrace, Payloads};
use sockless::{CloseCode, Closed, Config, Instant, Message, Role, Router, Session, websocket};
use sockless_core::{Connection, Negotiated, Observer};
use sockless_sim::{Sim, Trace};
use sockless_tests::wire::Writer;

/// The most bytes that are recorded.
const BOUND: u64 = 1 << 20;

/// The time between two pings of the server.
const INTERVAL: Duration = Duration::from_millis(20);

fn config() -> Config {
    Config::default().ping_interval(INTERVAL)
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// Returns a recorder of a server's connection, and its lines.
fn recorder(payloads: Payloads) -> (Box<dyn Observer>, Receiver<String>) {
    let (sender, lines) = mpsc::channel();
    let write = move |line: &str| drop(sender.send(line.to_owned()));
    (Box::new(JsonTrace::new(Role::Server, write).payloads(payloads).max_len(BOUND)), lines)
}

/// Records a session over a real socket: messages, a ping, one of keep-alive, and the end.
fn recorded(payloads: Payloads) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (observer, lines) = recorder(payloads);
    let observer = Arc::new(std::sync::Mutex::new(Some(observer)));
    let handler = move |session: Session| {
        session.set_observer(observer.lock().unwrap().take());
        echo(session)
    };
    let mut text = String::new();
    runtime.block_on(async {
        let server = sockless_tokio::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", server.local_addr().unwrap());
        let router = Router::new().websockets(config()).route("/", websocket(handler));
        tokio::spawn(server.serve(router));
        let mut client = sockless_tokio::connect(&url).await.unwrap();
        for message in [Message::from("hello"), vec![0xff; 300].into(), "".into()] {
            client.send(message.clone()).await.unwrap();
            assert_eq!(client.recv().await.unwrap(), message);
        }
        client.ping("are you there?").unwrap().await.unwrap();
        // The client's task answers the ping of keep-alive meanwhile.
        while !text.contains(r#"frame_parsed","data":{"opcode":"pong""#) {
            text += &lines.recv().unwrap();
        }
        client.close((CloseCode::NORMAL, "enough"));
        assert!(client.closed().await.is_clean());
    });
    drop(runtime);
    text.extend(lines);
    assert!(text.contains(r#""new":"closed""#), "{text}");
    text
}

/// Makes a connection do what the lines record, and returns its own lines. What it does on its own
/// accord is left to it: pongs, Close frames that answer, its end.
fn repeated(recorded: &str) -> String {
    let (observer, lines) = recorder(Payloads::UpTo(usize::MAX));
    // A trace does not have when the connection was opened: one interval before its first ping.
    let is_ping = |line: &&str| line.contains(r#"frame_created","data":{"opcode":"ping""#);
    let pinged = time(recorded.lines().find(is_ping).expect("a ping")).since_epoch();
    let opened = Instant::EPOCH + pinged.saturating_sub(INTERVAL);
    let mut server = Connection::server(Negotiated::default(), Arc::new(config()), opened);
    server.set_observer(Some(observer));
    let (mut inbound, mut done) = (BytesMut::new(), Vec::new());
    for (index, line) in recorded.lines().enumerate().skip(1) {
        done.extend(lines.try_iter());
        if index < done.len() {
            continue;
        }
        let (now, event) = (time(line), serde_json::from_str::<serde_json::Value>(line).unwrap());
        let (name, data) = (event["name"].as_str().unwrap(), &event["data"]);
        let opcode = data["opcode"].as_str().unwrap_or_default();
        match (name.trim_start_matches("websocket:"), opcode) {
            ("frame_parsed", _) => {
                let opcodes = [
                    ("text", 0x81),
                    ("binary", 0x82),
                    ("close", 0x88),
                    ("ping", 0x89),
                    ("pong", 0x8a),
                ];
                let (_, first) = opcodes.into_iter().find(|(name, _)| *name == opcode).unwrap();
                inbound.extend_from_slice(&Writer { masks: true }.frame(first, payload(data)));
                // Once: the handler has its turn before what is due next.
                server.poll_event(&mut inbound, now);
            }
            ("frame_created", "ping") => server.handle_timeout(now),
            ("frame_created", "text") => {
                let text = String::from_utf8(payload(data)).unwrap();
                server.send(text, now).unwrap();
            }
            ("frame_created", "binary") => server.send(payload(data), now).unwrap(),
            ("frame_created", "pong" | "close") | ("state_updated", _) => {
                server.poll_event(&mut inbound, now);
            }
            other => panic!("{other:?} was not repeated, in line {index} of:\n{recorded}"),
        }
    }
    done.extend(lines.try_iter());
    done.concat()
}

/// Returns the time of a line, exact to the nanosecond.
fn time(line: &str) -> Instant {
    let (_, time) = line.split_once("\"time\":").unwrap();
    let (millis, nanos) = time.split_once(',').unwrap().0.split_once('.').unwrap();
    let nanos = Duration::from_nanos(nanos.parse().unwrap());
    Instant::EPOCH + Duration::from_millis(millis.parse().unwrap()) + nanos
}

fn payload(data: &serde_json::Value) -> Vec<u8> {
    if let Some(text) = data["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    let hex = data["hex"].as_str().unwrap_or_default();
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[test]
fn the_core_repeats_a_recorded_session_exactly() {
    let recorded = recorded(Payloads::UpTo(usize::MAX));
    assert_eq!(repeated(&recorded), recorded);

    // A version that does something else is noticed.
    let other = recorded.replacen(r#""text":"are you there?""#, r#""text":"are you here?!""#, 1);
    assert_ne!(repeated(&other), other);
}

#[test]
fn the_client_of_a_recorded_session_drives_the_handler_of_today() {
    /// A later version, with a bug.
    async fn hasty(mut session: Session) -> Result<(), Closed> {
        let message = session.recv().await?;
        session.send(message).await
    }

    let trace: Trace = recorded(Payloads::UpTo(usize::MAX)).parse().unwrap();
    let client = trace.client(1).unwrap();
    Sim::check(0..5, |sim| {
        let client = client.clone();
        async move {
            let router =
                Router::new().route("/", websocket(echo)).route("/hasty", websocket(hasty));
            let app = sim.app(router);
            let replayed = app.open("/").replay(client.clone()).await;
            assert_eq!(
                replayed.messages(),
                [Message::from("hello"), vec![0xff; 300].into(), "".into()]
            );
            assert!(replayed.has_ended());
            assert_eq!(app.open("/hasty").replay(client).await.messages(), ["hello"]);
        }
    });
}

#[test]
fn a_recording_without_payloads_takes_the_same_course() {
    let text = recorded(Payloads::Redacted);
    assert!(!text.contains("hello") && !text.contains("enough"), "{text}");
    let trace: Trace = text.parse().unwrap();
    let error = trace.client(1).unwrap_err().to_string();
    assert!(error.contains("Trace::redacted_client"), "{error}");
    let client = trace.redacted_client(1).unwrap();
    Sim::check(0..5, |sim| {
        let (app, client) = (sim.app(Router::new().route("/", websocket(echo))), client.clone());
        async move {
            let replayed = app.open("/").replay(client).await;
            assert_eq!(
                replayed.messages(),
                [Message::from("xxxxx"), vec![0; 300].into(), "".into()]
            );
            assert!(replayed.has_ended());
        }
    });
}
