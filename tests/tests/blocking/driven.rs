//! A session is driven while the program is in none of its calls, and its calls do not wait for each
//! other.

use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

use sockless_blocking::{Session, connect, handler};
use sockless_core::{CloseCode, Config};
use sockless_driver::{Request, TrySendError};
use sockless_routing::{Router, websocket};
use sockless_tests::wire::{CLOSE, PING, PONG, close_body};

use crate::support::{Bare, CLIENT, SERVER, SHORT, SOON, Serving, any_port, converse, echo};

#[test]
fn a_client_answers_pings_and_a_close_frame_while_the_program_does_something_else() {
    let (mut bare, mut session) = Bare::host(|connect| connect);
    bare.write(&SERVER.ping("1"));
    // From here on, the program only waits for its peer, which is this thread too.
    assert_eq!(read(&mut bare), (PONG, b"1".to_vec()));
    bare.write(&[SERVER.text("last"), SERVER.close(1001, "")].concat());
    assert_eq!(read(&mut bare), (CLOSE, close_body(1001, "")));
    drop(bare);
    assert_eq!(session.recv().unwrap(), "last");
    assert!(session.recv().unwrap_err().is_clean());
}

#[test]
fn a_server_answers_pings_while_its_handler_does_something_else() {
    let (go_on, stopped) = mpsc::channel();
    let stopped = Mutex::new(stopped);
    let serving = Serving::start(move |session: Session| {
        let _ = stopped.lock().unwrap().recv();
        session.send("done")
    });
    let mut bare = Bare::visit(&serving);
    bare.write(&CLIENT.ping("1"));
    bare.expect(&SERVER.pong("1"));
    go_on.send(()).unwrap();
    bare.expect(&SERVER.text("done"));
}

#[test]
fn pings_are_sent_while_the_program_does_something_else() {
    let (mut bare, _session) =
        Bare::host(|connect| connect.config(Config::default().ping_interval(SHORT)));
    assert_eq!(read(&mut bare).0, PING);
}

#[test]
fn a_sender_does_not_wait_for_a_thread_that_receives() {
    let serving = Serving::start(echo);
    let (sender, mut receiver) = serving.open().split();
    // It receives before anything is sent.
    let receiving = thread::spawn(move || (0..100).map(|_| receiver.recv().unwrap()).count());
    let sending: Vec<_> = (0..4)
        .map(|_| {
            let sender = sender.clone();
            thread::spawn(move || (0..25).for_each(|_| sender.send("hello").unwrap()))
        })
        .collect();
    sending.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(receiving.join().unwrap(), 100);
}

#[test]
fn what_a_handle_cannot_queue_at_once_is_returned() {
    let (_bare, session) = Bare::host(|connect| connect);
    // The peer does not read, and no call waits for it.
    let full = loop {
        match session.try_send(vec![7; 50_000]) {
            Ok(()) => thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert!(matches!(&full, TrySendError::Full(_)));
    assert_eq!(full.into_message().len(), 50_000);
    session.terminate();
}

/// The calls of one session run inside of another one's thread, and neither misses a wake-up.
#[test]
fn a_guard_may_use_a_session_of_its_own() {
    let inner = Serving::start(echo);
    let url = inner.url();
    let guard = move |mut request: Request| {
        let mut session = connect(&url).open().unwrap();
        session.send("who is it?").unwrap();
        let reply = session.recv_timeout(SOON).unwrap();
        session.close(CloseCode::NORMAL);
        request.add_response_header("x-reply", reply.as_text().unwrap()).unwrap();
        std::future::ready(Ok(request))
    };
    let router = Router::new().guard(guard).route("/", websocket(handler(echo)));
    let outer = Serving::run(any_port(), |server| server.serve_with(router));
    let session = outer.open();
    assert_eq!(session.response().unwrap().headers()["x-reply"], "who is it?");
    converse(session);
}

#[test]
fn what_was_sent_has_left_the_process() {
    let settings = |server: sockless_blocking::Server| {
        server.config(Config::default().max_message_len(16 << 20))
    };
    let serving = Serving::start_with(settings, |session: Session| session.for_each(drop));
    let session = serving.open();
    session.send(vec![7; 16 << 20]).unwrap();
    assert_eq!(session.stats().queued_bytes, 0);
}

#[test]
fn a_session_that_is_used_by_many_threads_keeps_every_message() {
    let serving = Serving::start(echo);
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let mut session = serving.open();
            thread::spawn(move || {
                for number in 0..50 {
                    let text = format!("{client} {number}");
                    session.send(&text).unwrap();
                    assert_eq!(session.recv_timeout(SOON).unwrap(), *text);
                }
                assert!(session.close(CloseCode::NORMAL).is_clean());
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

/// Reads one short frame of a client's, and unmasks it.
fn read(bare: &mut Bare) -> (u8, Vec<u8>) {
    use std::io::Read;
    let mut head = [0; 6];
    bare.0.read_exact(&mut head).unwrap();
    let mut payload = vec![0; usize::from(head[1] & 0x7F)];
    bare.0.read_exact(&mut payload).unwrap();
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte ^= head[2 + i % 4];
    }
    (head[0], payload)
}
