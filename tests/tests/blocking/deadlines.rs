//! Each wait ends in time.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use sockless_blocking::{RecvTimeoutError, Session, connect};
use sockless_core::{Cause, CloseCode, Closed, Config, Timeout};
use sockless_driver::{ConnectError, ConnectStep};

use crate::support::{Bare, SERVER, SHORT, SOON, Serving, echo};

fn timed_out(closed: &Closed, timeout: Timeout) {
    assert_eq!(closed.cause(), &Cause::Timeout(timeout), "{closed}");
}

#[test]
fn a_server_that_does_not_answer_the_handshake_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let config = Config::default().opening_timeout(SHORT);
    let error = connect(&url).config(config).open().unwrap_err();
    let ConnectError::Timeout { step, timeout, .. } = error else { panic!("{error}") };
    assert_eq!((step, timeout), (ConnectStep::Response, SHORT));
}

#[test]
fn a_client_that_does_not_send_its_request_is_dropped() {
    let config = Config::default().opening_timeout(SHORT);
    let serving = Serving::start_with(|server| server.config(config), echo);
    let mut stream = TcpStream::connect(serving.addr).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 408 "));
}

#[test]
fn a_server_that_refuses_connections_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = connect(&url).open().unwrap_err();
    assert!(matches!(error, ConnectError::Dial { .. }), "{error}");
    assert!(error.is_transient());
}

#[test]
fn a_name_is_resolved_and_one_that_does_not_exist_is_an_error() {
    let serving = Serving::start(echo);
    let url = format!("ws://localhost:{}/", serving.addr.port());
    assert!(connect(&url).open().unwrap().close(CloseCode::NORMAL).is_clean());
    let error = connect("ws://does-not-exist.invalid/").open().unwrap_err();
    assert!(matches!(error, ConnectError::Resolve { .. }), "{error}");
}

#[test]
fn receiving_with_a_timeout_loses_no_message() {
    let (mut bare, mut session) = Bare::host(|connect| connect);
    let missed = session.recv_timeout(SHORT);
    assert!(matches!(missed, Err(RecvTimeoutError::Timeout)));
    bare.write(&SERVER.text("late"));
    assert_eq!(session.recv_timeout(SOON).unwrap(), "late");
    drop(bare);
    assert!(matches!(session.recv_timeout(SOON), Err(RecvTimeoutError::Closed(_))));
}

#[test]
fn a_peer_that_answers_no_ping_ends_the_session() {
    let config = Config::default().ping_interval(SHORT).ping_timeout(SHORT);
    let (_bare, mut session) = Bare::host(|connect| connect.config(config));
    timed_out(&session.recv().unwrap_err(), Timeout::Ping);
}

#[test]
fn a_peer_that_does_not_answer_the_close_frame_ends_the_session() {
    let config = Config::default().closing_timeout(SHORT);
    let (_bare, session) = Bare::host(|connect| connect.config(config));
    let closed = session.close(CloseCode::NORMAL);
    timed_out(&closed, Timeout::Closing);
}

#[test]
fn a_peer_that_does_not_read_ends_the_session() {
    let config = Config::default().write_timeout(SHORT);
    let (_bare, session) = Bare::host(|connect| connect.config(config));
    let closed = loop {
        if let Err(closed) = session.send(vec![7; 100_000]) {
            break closed;
        }
    };
    timed_out(&closed, Timeout::Write);
}

#[test]
fn a_handler_is_notified_of_a_deadline_in_the_call_that_it_waits_in() {
    let config = Config::default().idle_timeout(SHORT).closing_timeout(SHORT);
    let (ended, end) = std::sync::mpsc::channel();
    let settings = |server: sockless_blocking::Server| server.config(config);
    let serving = Serving::start_with(settings, move |mut session: Session| {
        ended.send(session.recv().unwrap_err())
    });
    let _bare = Bare::visit(&serving);
    timed_out(&end.recv_timeout(SOON).unwrap(), Timeout::Idle);
}

#[test]
fn a_pong_is_waited_for_with_a_timeout() {
    let (mut bare, session) = Bare::host(|connect| connect);
    let mut pong = session.ping("are you there?").unwrap();
    assert_eq!(pong.wait_timeout(SHORT).unwrap(), None);
    bare.write(&SERVER.pong("are you there?"));
    assert!(pong.wait().unwrap() >= SHORT);
    assert!(session.round_trip().is_some());
}
