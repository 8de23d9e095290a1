//! The ends of sessions and servers.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sockless_blocking::{Session, connect};
use sockless_core::{Cause, CloseCode, CloseReason, Closed, Config, Party, ProtocolError};
use sockless_tests::handlers::codes;

use crate::support::{Bare, CLIENT, SOON, Serving, echo};

/// The end of a client's session whose server runs `end`.
fn ended_by(end: fn() -> Result<(), Box<dyn std::error::Error + Send + Sync>>) -> Closed {
    let serving = Serving::start(move |_session: Session| end());
    serving.open().recv().unwrap_err()
}

#[test]
fn the_end_of_a_handler_decides_the_close_code() {
    let closed = ended_by(|| Ok(()));
    assert_eq!(codes(&closed), (Some(1000), Some(1000)));
    let closed = ended_by(|| Err("disk full".into()));
    assert_eq!(codes(&closed), (Some(1011), Some(1011)));
    let closed = ended_by(|| panic!("on purpose"));
    assert_eq!(codes(&closed), (Some(1011), Some(1011)));
    fn policy() -> CloseReason {
        CloseReason::from((CloseCode::POLICY_VIOLATION, "there is no such room"))
    }
    let closed = ended_by(|| Err(policy().into()));
    assert_eq!(closed.received(), Some(&policy()));
}

#[test]
fn a_panic_ends_its_own_session_only() {
    let serving = Serving::start(|mut session: Session| {
        assert!(session.recv()? != "panic", "on purpose");
        session.send("fine")
    });
    let (mut first, mut second) = (serving.open(), serving.open());
    first.send("panic").unwrap();
    assert_eq!(codes(&first.recv().unwrap_err()).1, Some(1011));
    second.send("go on").unwrap();
    assert_eq!(second.recv_timeout(SOON).unwrap(), "fine");
}

#[test]
fn the_code_of_the_peer_is_returned() {
    let (ended, end) = mpsc::channel();
    let serving =
        Serving::start(move |mut session: Session| ended.send(session.recv().unwrap_err()));
    let closed = serving.open().close((CloseCode::GOING_AWAY, "bye"));
    assert!(closed.is_clean());
    let closed = end.recv_timeout(SOON).unwrap();
    assert_eq!(codes(&closed), (Some(1001), Some(1001)));
    assert_eq!((closed.by(), closed.received().unwrap().text()), (Party::Peer, "bye"));
}

#[test]
fn a_message_over_the_limit_ends_the_session() {
    let config = Config::default().max_message_len(1000);
    let serving = Serving::start_with(|server| server.config(config.clone()), echo);
    let session = serving.open();
    session.send(vec![7; 1001]).unwrap();
    let closed = session.closed();
    assert_eq!(codes(&closed).1, Some(1009), "{closed}");

    // The client's own limit.
    let serving = Serving::start(|session: Session| session.send(vec![7; 1001]));
    let closed = connect(&serving.url()).config(config).open().unwrap().recv().unwrap_err();
    let Cause::Protocol(ProtocolError::MessageTooLong { .. }) = closed.cause() else {
        panic!("{closed}")
    };
}

#[test]
fn dropping_the_last_handle_closes_with_1000() {
    let (ended, end) = mpsc::channel();
    let serving = Serving::start(move |mut session: Session| {
        let message = session.recv();
        ended.send((message, session.recv().unwrap_err()))
    });
    let session = serving.open();
    let sender = session.sender();
    drop(session);
    sender.send("still open").unwrap();
    drop(sender);
    let (message, closed) = end.recv_timeout(SOON).unwrap();
    assert_eq!(message.unwrap(), "still open");
    assert_eq!(codes(&closed), (Some(1000), Some(1000)));
}

#[test]
fn closing_delivers_what_was_sent_before() {
    let (received, count) = mpsc::channel();
    let serving = Serving::start(move |session: Session| received.send(session.count()));
    let session = serving.open();
    for _ in 0..1000 {
        session.feed("a message").unwrap();
    }
    assert!(session.close(CloseCode::NORMAL).is_clean());
    assert_eq!(count.recv_timeout(SOON).unwrap(), 1000);
}

#[test]
fn a_session_that_is_terminated_releases_the_threads_that_wait() {
    let serving = Serving::start(echo);
    let (sender, mut receiver) = serving.open().split();
    let (waiting, other) = (sender.clone(), sender.clone());
    let receiving = thread::spawn(move || receiver.recv().unwrap_err());
    let closing = thread::spawn(move || waiting.closed());
    sender.terminate();
    let closed = receiving.join().unwrap();
    assert_eq!((closed.by(), closed.cause()), (Party::Local, &Cause::Aborted));
    assert_eq!(closing.join().unwrap().cause(), &Cause::Aborted);
    assert_eq!(other.send("too late").unwrap_err().cause(), &Cause::Aborted);
}

#[test]
fn a_peer_that_breaks_off_is_noticed() {
    let (ended, end) = mpsc::channel();
    let serving = Serving::start(move |mut session: Session| {
        let first = session.recv().unwrap();
        ended.send((first, session.recv().unwrap_err()))
    });
    let mut bare = Bare::visit(&serving);
    bare.write(&CLIENT.text("hello"));
    drop(bare);
    let (message, closed) = end.recv_timeout(SOON).unwrap();
    assert_eq!(message, "hello");
    assert!(!closed.is_clean());
}

#[test]
fn a_server_that_is_shut_down_closes_every_session_with_1001() {
    let serving = Serving::start(echo);
    let mut sessions = [serving.open(), serving.open()];
    serving.shutdown.shut_down();
    serving.shutdown.shut_down();
    for session in &mut sessions {
        assert_eq!(codes(&session.recv().unwrap_err()), (Some(1001), Some(1001)));
    }
    let url = serving.url();
    let report = serving.join();
    assert_eq!(report.terminated, 0);
    assert!(connect(&url).open().is_err());
}

#[test]
fn a_handler_that_does_not_end_is_terminated() {
    let (stop, stopped) = mpsc::channel::<()>();
    let stopped = std::sync::Mutex::new(stopped);
    let (ended, end) = mpsc::channel();
    let settings = |server: sockless_blocking::Server| server.drain_timeout(Duration::ZERO);
    let serving = Serving::start_with(settings, move |session: Session| {
        // In none of the session's calls.
        let _ = stopped.lock().unwrap().recv();
        ended.send(session.send("too late"))
    });
    let session = serving.open();
    serving.shutdown.shut_down();
    assert_eq!(serving.join().terminated, 1);
    session.closed();
    // Its thread goes on, and learns of the end in its next call.
    drop(stop);
    assert!(end.recv_timeout(SOON).unwrap().is_err());
}

#[test]
fn connections_over_the_limit_wait_for_another_to_end() {
    let serving = Serving::start_with(|server| server.max_connections(1), echo);
    let first = serving.open();
    let hasty = Config::default().opening_timeout(Duration::from_millis(300));
    assert!(connect(&serving.url()).config(hasty).open().is_err());
    first.close(CloseCode::NORMAL);
    assert!(serving.open().close(CloseCode::NORMAL).is_clean());
}
