//! The loop over blocking sockets, in this process, while it has nothing to read or to write.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::Scope;
use std::time::Duration;

use bytes::BytesMut;
use sockless_core::{Config, Connection, Event, Instant, Negotiated};

use crate::driver::EventLoop;
use crate::programs::LIMIT;
use crate::servers::{BINARY, CLOSE, short_frame, take_ping};

/// What the application of a loop and its test share.
#[derive(Default)]
struct Shared {
    has_room: AtomicBool,
    /// How often the loop went on without an event.
    turns: AtomicUsize,
}

/// A loop that spins takes this many turns in a moment, one that waits for a few deadlines does not.
const MANY: usize = 100;

/// A socket, and the loop at its other end with `config`: it passes each event to `react`.
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    config: Config,
    react: impl FnMut(&mut Connection, Option<Event>, Instant) + Send + 'scope,
) -> (TcpStream, std::thread::ScopedJoinHandle<'scope, ()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let peer = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
    peer.set_read_timeout(Some(LIMIT)).expect("it is a socket");
    let (stream, _) = listener.accept().expect("it connects");
    let looping = scope.spawn(move || {
        let mut event_loop = EventLoop::new(stream).expect("it is a socket");
        let now = event_loop.now();
        let connection = Connection::server(Negotiated::default(), Arc::new(config), now);
        event_loop.drive(connection, BytesMut::new(), react);
    });
    (peer, looping)
}

/// An application that has room for one message, and then for none until `shared` has some.
fn takes_one<'scope>(
    shared: &'scope Shared,
    received: Sender<u8>,
) -> impl FnMut(&mut Connection, Option<Event>, Instant) + Send + 'scope {
    move |connection, event, _| match event {
        Some(Event::Message(message)) => {
            connection.set_paused(!shared.has_room.load(Ordering::Acquire));
            received.send(message.as_bytes()[0]).expect("the test receives");
        }
        None => {
            shared.turns.fetch_add(1, Ordering::Relaxed);
            connection.set_paused(!shared.has_room.load(Ordering::Acquire));
        }
        _ => {}
    }
}

fn messages() -> Vec<u8> {
    [short_frame(BINARY, &[1]), short_frame(BINARY, &[2]), short_frame(CLOSE, &[])].concat()
}

#[test]
fn a_paused_loop_waits_for_its_deadlines_and_does_not_spin() {
    let shared = Shared::default();
    let (sender, received) = channel();
    let config = Config::default().ping_interval(Duration::from_millis(20)).ping_timeout(LIMIT);
    std::thread::scope(|scope| {
        let (mut peer, looping) = start(scope, config, takes_one(&shared, sender));
        peer.write_all(&messages()).expect("it is connected");
        assert_eq!(received.recv_timeout(LIMIT), Ok(1));
        for _ in 0..5 {
            take_ping(&mut peer);
        }
        let turns = shared.turns.load(Ordering::Relaxed);
        assert!((1..MANY).contains(&turns), "{turns} turns");
        shared.has_room.store(true, Ordering::Release);
        looping.thread().unpark();
        assert_eq!(received.recv_timeout(LIMIT), Ok(2));
        peer.shutdown(Shutdown::Both).expect("it is connected");
    });
}

#[test]
fn a_paused_loop_without_a_deadline_resumes_when_another_thread_unparks_it() {
    let shared = Shared::default();
    let (sender, received) = channel();
    std::thread::scope(|scope| {
        let (mut peer, looping) = start(scope, Config::default(), takes_one(&shared, sender));
        peer.write_all(&messages()).expect("it is connected");
        assert_eq!(received.recv_timeout(LIMIT), Ok(1));
        shared.has_room.store(true, Ordering::Release);
        looping.thread().unpark();
        assert_eq!(received.recv_timeout(LIMIT), Ok(2));
        peer.shutdown(Shutdown::Both).expect("it is connected");
    });
    assert!(shared.turns.load(Ordering::Relaxed) < MANY);
}
