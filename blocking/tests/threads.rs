//! Nothing is left behind. A process of its own, whose threads and descriptors are counted.
#![cfg(target_os = "linux")]

use std::fs::{read_dir, read_to_string};
use std::time::{Duration, Instant};

use sockless::blocking::{self, Session};
use sockless::{CloseCode, Closed, Config};

fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv()?;
        session.send(message)?;
    }
}

/// The names of the threads of this library.
fn threads() -> Vec<String> {
    let tasks = read_dir("/proc/self/task").unwrap().flatten();
    // A thread may end in between.
    let names = tasks.filter_map(|task| read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("sockless-")).collect()
}

fn descriptors() -> usize {
    read_dir("/proc/self/fd").unwrap().count()
}

/// A thread that has done its last work takes a moment to end.
#[expect(clippy::disallowed_methods, reason = "the time that passes is the system's")]
fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        std::thread::yield_now();
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
    }
}

#[test]
fn no_thread_and_no_descriptor_is_left() {
    // The descriptors with which this thread waits exist from then on.
    connect_in_vain();
    let before = descriptors();

    let server = blocking::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    let shutdown = server.shutdown_handle();
    let serving = std::thread::spawn(|| server.serve(echo));
    let mut sessions: Vec<_> = (0..10).map(|_| blocking::connect(&url).open().unwrap()).collect();
    for session in &mut sessions {
        session.send("hello").unwrap();
        assert_eq!(session.recv().unwrap(), "hello");
    }
    let count = |name| threads().iter().filter(|thread| *thread == name).count();
    assert_eq!((count("sockless-io"), count("sockless-serve")), (20, 10));

    // Some close, some are dropped, some are closed by the server.
    for session in sessions.drain(..4) {
        assert!(session.close(CloseCode::NORMAL).is_clean());
    }
    drop(sessions.drain(..3));
    until("the threads of 7 connections end", || count("sockless-io") == 6);
    shutdown.shut_down();
    assert_eq!(serving.join().unwrap().terminated, 0);
    drop(sessions);
    until("all threads end", || threads().is_empty());
    until("all descriptors are closed", || descriptors() <= before);

    // Attempts that fail leave nothing either.
    connect_in_vain();
    until("all threads end", || threads().is_empty());
    until("all descriptors are closed", || descriptors() <= before);
}

/// Connects to a server that does not answer.
fn connect_in_vain() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let hasty = Config::default().opening_timeout(Duration::from_millis(50));
    assert!(blocking::connect(&url).config(hasty).open().is_err());
}
