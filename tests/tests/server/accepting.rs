//! A server whose connections are limited: by a number, by their peer's address, by the open files of
//! the process.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use http::StatusCode;
use sockless_core::Instant;
use sockless_core::handshake::text_response;
use sockless_driver::{Accepted, ConnectionServer, Io, Listen, Request, Server};
use sockless_routing::{Router, respond, websocket};
use sockless_sim::{Sim, SimIo};
use tracing::Level;

use sockless_tests::logs;
use sockless_tests::opened::{HOUR, Peer, SECOND, echo};

fn router() -> Router {
    Router::new()
        .route("/", websocket(async |session| drop(echo(session).await)))
        .route("/page", respond(|_request| http::Response::new("page".into())))
}

fn addr(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

/// A listener with addresses, and a process that may have so many files open.
#[derive(Clone)]
struct Gate(Arc<Mutex<Inside>>);

struct Inside {
    queue: VecDeque<Accepted>,
    waker: Option<Waker>,
    files: Arc<()>,
    max_files: usize,
    failures: usize,
}

impl Gate {
    fn new(max_files: usize) -> Self {
        let (queue, files) = (VecDeque::new(), Arc::default());
        Self(Arc::new(Mutex::new(Inside { queue, waker: None, files, max_files, failures: 0 })))
    }

    fn dial(&self, sim: &Sim, peer: Option<SocketAddr>) -> SimIo {
        let (near, far) = sim.pipe();
        let mut inside = self.0.lock().unwrap();
        let transport = Box::new(near);
        inside.queue.push_back(Accepted { transport, peer_addr: peer, local_addr: None });
        if let Some(waker) = inside.waker.take() {
            waker.wake();
        }
        far
    }

    fn failures(&self) -> usize {
        self.0.lock().unwrap().failures
    }
}

impl Listen for Gate {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let mut inside = self.0.lock().unwrap();
        if inside.queue.is_empty() {
            inside.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if Arc::strong_count(&inside.files) > inside.max_files {
            inside.failures += 1;
            return Poll::Ready(Err(io::Error::from_raw_os_error(24)));
        }
        let mut accepted = inside.queue.pop_front().expect("it is not empty");
        accepted.transport = Box::new(File(accepted.transport, Arc::clone(&inside.files)));
        Poll::Ready(Ok(accepted))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

/// A transport that is one of the process's open files.
struct File(Box<dyn Io>, #[expect(dead_code, reason = "it counts")] Arc<()>);

impl Io for File {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buffer)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

/// True if the server has ended a connection without sending a byte.
async fn is_dropped(sim: &Sim, io: &SimIo) -> bool {
    match sim.timeout(Duration::from_millis(10), io.read_some()).await {
        Some(Ok(bytes)) => bytes.is_empty(),
        Some(Err(_)) => true,
        None => false,
    }
}

#[test]
fn silent_connections_of_one_address_are_limited_from_the_moment_they_are_accepted() {
    Sim::check(0..10, |sim| async move {
        let gate = Gate::new(usize::MAX);
        let server = Server::new(gate.clone(), sim.runtime()).max_connections_per_peer(3);
        sim.spawn(server.serve(router()));
        let mut silent = Vec::new();
        for port in 1..=20 {
            silent.push(gate.dial(&sim, addr(&format!("192.0.2.1:{port}"))));
        }
        sim.settle().await;
        for (index, io) in silent.iter().enumerate() {
            assert_eq!(is_dropped(&sim, io).await, index >= 3, "{index}");
        }
        // Other peers are not affected, and a place that was freed can be taken.
        drop(Peer::of_a_server(gate.dial(&sim, addr("192.0.2.2:1"))).await);
        drop(silent.remove(0));
        sim.settle().await;
        drop(Peer::of_a_server(gate.dial(&sim, addr("192.0.2.1:99"))).await);
    });
}

#[test]
fn an_ipv6_network_counts_as_one_peer_and_no_address_as_none() {
    Sim::check(0..10, |sim| async move {
        let host = ConnectionServer::new(router(), sim.runtime()).max_connections_per_peer(1);
        let join = |peer| {
            let (near, far) = sim.pipe();
            sim.spawn(host.serve_connection(Box::new(near), peer, None));
            far
        };
        let mapped = [join(addr("192.0.2.1:1")), join(addr("[::ffff:192.0.2.1]:2"))];
        let network = [join(addr("[2001:db8::1]:1")), join(addr("[2001:db8::ffff:2]:1"))];
        let other = join(addr("[2001:db8:0:1::1]:1"));
        let unix = [join(None), join(None)];
        sim.settle().await;
        for [first, second] in [&mapped, &network] {
            assert!(!is_dropped(&sim, first).await && is_dropped(&sim, second).await);
        }
        for io in [&other, &unix[0], &unix[1]] {
            assert!(!is_dropped(&sim, io).await);
        }
        assert_eq!(host.connections(), 5);
    });
}

#[test]
fn a_connection_beyond_the_cap_makes_room_by_dropping_the_oldest_silent_one() {
    Sim::check(0..10, |sim| async move {
        let gate = Gate::new(usize::MAX);
        let server = Server::new(gate.clone(), sim.runtime()).max_connections(5);
        sim.spawn(server.serve(router()));
        let session = Peer::of_a_server(gate.dial(&sim, None)).await;
        let silent: Vec<_> = (0..4).map(|_| gate.dial(&sim, None)).collect();
        sim.settle().await;
        let honest = Peer::of_a_server(gate.dial(&sim, None)).await;
        assert_eq!(sim.now(), Instant::EPOCH, "it did not wait");
        assert!(is_dropped(&sim, &silent[0]).await);
        for io in &silent[1..] {
            assert!(!is_dropped(&sim, io).await);
        }
        for peer in [&session, &honest] {
            peer.text("still there").await;
            peer.expect_text("still there").await;
        }
    });
}

#[test]
fn sessions_are_never_dropped_for_a_newcomer() {
    Sim::check(0..10, |sim| async move {
        let gate = Gate::new(usize::MAX);
        let server = Server::new(gate.clone(), sim.runtime()).max_connections(2);
        sim.spawn(server.serve(router()));
        let first = Peer::of_a_server(gate.dial(&sim, None)).await;
        let second = Peer::of_a_server(gate.dial(&sim, None)).await;
        let third = gate.dial(&sim, None);
        assert!(!is_dropped(&sim, &third).await);
        first.text("one").await;
        first.expect_text("one").await;
        drop(second);
        drop(Peer::of_a_server(third).await);
    });
}

#[test]
fn a_client_that_lingers_on_its_refusal_makes_room_too() {
    Sim::check(0..10, |sim| async move {
        let gate = Gate::new(usize::MAX);
        let server = Server::new(gate.clone(), sim.runtime()).max_connections(1);
        sim.spawn(server.serve(router()));
        let lingers = gate.dial(&sim, None);
        lingers.write_all(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(lingers.read_until(b"\r\n\r\n").await.unwrap().starts_with(b"HTTP/1.1 404 "));
        drop(Peer::of_a_server(gate.dial(&sim, None)).await);
        assert_eq!(sim.now(), Instant::EPOCH);
    });
}

#[test]
fn a_client_that_lingers_on_a_late_refusal_makes_room_for_one_that_waits() {
    Sim::check(0..10, |sim| async move {
        let gate = Gate::new(usize::MAX);
        let clock = sim.clone();
        let refuse = move |_: Request| {
            let clock = clock.clone();
            async move {
                clock.sleep(SECOND).await;
                Err(text_response(StatusCode::FORBIDDEN, "not you\n"))
            }
        };
        let late =
            Router::new().guard(refuse).route("/late", respond(|_| http::Response::default()));
        let server = Server::new(gate.clone(), sim.runtime()).max_connections(1);
        sim.spawn(server.serve(router().nest("/refused", late)));
        let lingers = gate.dial(&sim, None);
        lingers.write_all(b"GET /refused/late HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        sim.settle().await;
        // It is accepted while the other one is answered.
        let waits = gate.dial(&sim, None);
        assert!(lingers.read_until(b"\r\n\r\n").await.unwrap().starts_with(b"HTTP/1.1 403 "));
        drop(Peer::of_a_server(waits).await);
        assert_eq!(sim.now(), Instant::EPOCH + SECOND);
    });
}

#[test]
fn an_honest_client_behind_silent_ones_is_served_at_once_where_files_run_out() {
    Sim::check(0..5, |sim| async move {
        let gate = Gate::new(50);
        sim.spawn(Server::new(gate.clone(), sim.runtime()).serve(router()));
        let silent: Vec<_> = (0..400).map(|_| gate.dial(&sim, None)).collect();
        let honest = Peer::of_a_server(gate.dial(&sim, None)).await;
        assert!(sim.now() < Instant::EPOCH + SECOND, "{:?}", sim.now());
        honest.text("in").await;
        honest.expect_text("in").await;
        assert!(gate.failures() <= 400, "{}", gate.failures());
        drop(silent);
    });
}

#[test]
fn sessions_that_hold_all_files_leave_accepting_at_rest() {
    Sim::check(0..5, |sim| async move {
        let gate = Gate::new(2);
        sim.spawn(Server::new(gate.clone(), sim.runtime()).serve(router()));
        let first = Peer::of_a_server(gate.dial(&sim, None)).await;
        let second = Peer::of_a_server(gate.dial(&sim, None)).await;
        let third = gate.dial(&sim, None);
        sim.sleep(SECOND).await;
        assert!(gate.failures() <= 11, "{}", gate.failures());
        drop(first);
        drop((Peer::of_a_server(third).await, second));
    });
}

#[test]
fn failures_to_accept_are_logged_when_they_begin_and_when_they_are_over() {
    let lines = logs::lines(Level::INFO, || {
        let sim = Sim::new(0);
        sim.run(async {
            let gate = Gate::new(2);
            sim.spawn(Server::new(gate.clone(), sim.runtime()).serve(router()));
            let silent: Vec<_> = (0..100).map(|_| gate.dial(&sim, None)).collect();
            sim.sleep(SECOND).await;
            assert_eq!(gate.failures(), 98);
            sim.sleep(SECOND * 8).await;
            drop(silent);
            sim.sleep(HOUR).await;
        });
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("WARN accepting connections fails"), "{lines:?}");
    assert!(lines[0].contains("raise the limit of open files"), "{lines:?}");
    assert_eq!(lines[1], "INFO accepting connections works again failures=98");
}
