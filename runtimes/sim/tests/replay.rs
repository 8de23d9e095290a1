//! A client that a server has recorded drives another handler in the simulator.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use sockless::proto::{Event, Negotiated};
use sockless::record::{Received, Recorder, Recording};
use sockless::{Closed, Config, Instant, Opcode, Router, Session, websocket};
use sockless_sim::Sim;

const SECOND: Duration = Duration::from_secs(1);

/// What a client did: two messages, the second in fragments with a ping between, and a Close frame.
const CLIENT: [(u32, &[u8]); 3] = [
    (0, b"\x81\x85\0\0\0\0hello"),
    (2, b"\x01\x83\0\0\0\0wor\x89\x82\0\0\0\0up\x80\x82\0\0\0\0ld"),
    (5, b"\x88\x82\0\0\0\0\x03\xe8"),
];

/// The server of that time echoes.
fn recorded(redact: bool) -> Recording {
    let config = Arc::new(Config::default());
    let recorder = Recorder::server(Negotiated::default(), config, Instant::EPOCH + SECOND);
    let mut server = if redact { recorder.redact() } else { recorder };
    let mut inbound = BytesMut::new();
    for (at, bytes) in CLIENT {
        let now = Instant::EPOCH + SECOND + at * SECOND;
        // The bytes arrive in two parts.
        let (one, other) = bytes.split_at(bytes.len() / 2);
        for part in [one, other] {
            inbound.extend_from_slice(part);
            while let Some(event) = server.poll_event(&mut inbound, now) {
                if let Event::Message(message) = event {
                    server.send(message, now).unwrap();
                }
            }
        }
    }
    server.handle_eof(Instant::EPOCH + 7 * SECOND);
    server.into_recording()
}

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// A later version, with a bug: it drops what comes after a second.
async fn hasty(mut session: Session) -> Result<(), Closed> {
    let begun = session.now();
    loop {
        let message = session.recv().await?;
        if session.now().saturating_since(begun) < SECOND {
            session.send(message).await?;
        }
    }
}

#[test]
fn a_recording_has_what_was_received_and_when() {
    let received = recorded(false).received().unwrap();
    let mut parts = received.iter();
    for (at, bytes) in CLIENT {
        for part in [&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]] {
            assert_eq!(parts.next(), Some(&(at * SECOND, Received::Bytes(part.to_vec()))));
        }
    }
    assert_eq!(parts.next(), Some(&(6 * SECOND, Received::Eof)));
    assert_eq!(parts.next(), None);
    let text = recorded(false).to_string().replacen("poll x", "poll y", 1);
    let error = text.parse::<Recording>().unwrap().received().unwrap_err().to_string();
    assert!(error.ends_with("of the recording is malformed"), "{error}");
}

#[test]
fn a_recorded_client_drives_the_handler_of_today() {
    let recording = recorded(false);
    Sim::check(0..20, |sim| {
        let recording = recording.clone();
        async move {
            let router =
                Router::new().route("/echo", websocket(echo)).route("/hasty", websocket(hasty));
            let app = sim.app(router);
            let begun = sim.now();
            let client = app.open("/echo").replay(&recording).await;
            assert_eq!(client.messages(), ["hello", "world"]);
            assert!(client.has_ended());
            let frames: Vec<_> =
                client.frames().iter().map(|(at, frame)| (at.as_secs(), frame.opcode)).collect();
            let expected =
                [(0, Opcode::Text), (2, Opcode::Pong), (2, Opcode::Text), (5, Opcode::Close)];
            assert_eq!(frames, expected);
            assert_eq!(sim.now().saturating_since(begun), 5 * SECOND);

            // The regression shows.
            let client = app.open("/hasty").replay(&recording).await;
            assert_eq!(client.messages(), ["hello"]);
        }
    });
}

#[test]
fn a_redacted_recording_takes_the_same_course() {
    let recording = recorded(true);
    assert!(!recording.to_string().contains("68656c6c6f"), "no payload");
    Sim::check(0..5, |sim| {
        let recording = recording.clone();
        async move {
            let app = sim.app(Router::new().route("/", websocket(echo)));
            let client = app.open("/").replay(&recording).await;
            assert_eq!(client.messages(), ["xxxxx", "xxxxx"]);
        }
    });
}

#[test]
fn a_service_that_does_not_end_is_waited_for_no_longer_than_the_patience() {
    async fn idle(session: Session) {
        session.sleep(1000 * SECOND).await;
    }
    // Without the Close frame and the end.
    let text = recorded(false).to_string();
    let kept = text.lines().filter(|line| !line.starts_with("6000") && !line.starts_with("7000"));
    let recording: Recording =
        kept.map(|line| line.to_owned() + "\n").collect::<String>().parse().unwrap();
    Sim::check(0..5, |sim| {
        let recording = recording.clone();
        async move {
            let app = sim.app(Router::new().route("/", websocket(idle))).patience(10 * SECOND);
            let client = app.open("/").replay(&recording).await;
            assert!(!client.has_ended());
            assert!(sim.now() <= Instant::EPOCH + 20 * SECOND, "{:?}", sim.now());
        }
    });
}
