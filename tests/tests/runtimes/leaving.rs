//! A program whose runtime ends right after it has sent something: what arrives nevertheless.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use sockless_core::{CloseCode, CloseReason, Closed, Message};
use sockless_driver::Session;
use sockless_routing::{Router, websocket};

/// The number of times that each program runs.
const TIMES: usize = 100;

/// Longer than a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// All messages that one session received, and how it ended.
type Report = (Vec<Message>, Closed);

/// A server on another runtime, with threads of its own; one report for each session. At `/closes` it closes
/// at once.
fn serve() -> (String, Receiver<Report>) {
    let (reports, received) = channel();
    let route = websocket(move |mut session: Session| {
        let reports = reports.clone();
        async move {
            if session.request().path() == "/closes" {
                session.close((CloseCode::NORMAL, "that was all"));
            }
            let mut messages = Vec::new();
            let closed = loop {
                match session.recv().await {
                    Ok(message) => messages.push(message),
                    Err(closed) => break closed,
                }
            };
            // Given up when the test has failed.
            let _ = reports.send((messages, closed));
        }
    });
    let server = smol::block_on(sockless_smol::bind("127.0.0.1:0")).expect("a free port");
    let url = format!("ws://{}/", server.local_addr().expect("a TCP address"));
    let router = Router::new().route("/", route.clone()).route("/closes", route);
    smol::spawn(server.serve(router)).detach();
    (url, received)
}

/// Runs a program that connects and does `then`, on a runtime that is dropped at once, with all that is
/// left to do on it.
fn run_and_leave<F>(url: &str, then: F)
where
    F: AsyncFnOnce(Session),
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let session = sockless_tokio::connect(url).await.expect("the server answers");
        then(session).await;
    });
}

/// The messages of the `number`th program: one write or more than one.
fn messages(number: usize) -> [Message; 2] {
    let len = if number.is_multiple_of(2) { 10 } else { 300_000 };
    [format!("message {number}").into(), vec![number as u8; len].into()]
}

#[test]
fn what_was_flushed_arrives_when_the_runtime_ends_at_once() {
    let (url, reports) = serve();
    for number in 0..TIMES {
        run_and_leave(&url, async |session| {
            for message in messages(number) {
                session.send(message).await.expect("the session is open");
            }
            session.flush().await.expect("the session is open");
        });
        let (received, _) = reports.recv_timeout(PATIENCE).expect("the session ends");
        assert_eq!(received, messages(number), "program {number} of {TIMES}");
    }
}

#[test]
fn what_was_sent_arrives_when_the_end_was_waited_for() {
    let (url, reports) = serve();
    for number in 0..TIMES {
        run_and_leave(&url, async |session| {
            for message in messages(number) {
                session.send(message).await.expect("the session is open");
            }
            session.close((CloseCode::NORMAL, "done"));
            assert!(session.closed().await.is_clean());
        });
        let (received, closed) = reports.recv_timeout(PATIENCE).expect("the session ends");
        assert_eq!(received, messages(number), "program {number} of {TIMES}");
        assert_eq!(closed.received().map(CloseReason::text), Some("done"));
    }
}

/// A block is driven where it stands: when `run` returns, the session is over.
#[test]
fn what_a_block_sent_arrives_when_the_runtime_ends_at_once() {
    let (url, reports) = serve();
    for number in 0..TIMES {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let block = async |session: Session| {
                for message in messages(number) {
                    session.send(message).await.expect("the session is open");
                }
            };
            sockless_tokio::connect(&url).run(block).await.expect("the server answers");
        });
        let (received, closed) = reports.recv_timeout(PATIENCE).expect("the session ends");
        assert_eq!(received, messages(number), "program {number} of {TIMES}");
        assert!(closed.is_clean(), "{closed}");
    }
}

/// The peer closes first, and is answered before the runtime is dropped.
#[test]
fn the_answer_to_a_close_frame_leaves_when_it_was_flushed() {
    let (url, reports) = serve();
    for number in 0..TIMES {
        run_and_leave(&format!("{url}closes"), async |session| {
            let closed = session.closed().await;
            assert_eq!(closed.received().map(CloseReason::text), Some("that was all"));
            session.flush().await.expect("the answer leaves");
        });
        let (_, closed) = reports.recv_timeout(PATIENCE).expect("the session ends");
        assert!(closed.is_clean(), "program {number} of {TIMES}: {closed}");
    }
}
