//! A server that goes down: 1001 to every session, a time to drain, and an end for the rest.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use sockless_core::{Cause, Config, Instant};
use sockless_driver::{Accepted, ConnectionServer, Listen, Server, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::Sim;

use sockless_tests::opened::{HOUR, Peer, SECOND, echo, receive_all};

async fn join(sim: &Sim, host: &ConnectionServer) -> Peer {
    let (near, far) = sim.pipe();
    sim.spawn(host.serve_connection(Box::new(near), None, None));
    Peer::of_a_server(far).await
}

#[test]
fn a_shutdown_closes_every_session_with_1001_and_waits_for_their_answers() {
    Sim::check(0..20, |sim| async move {
        let router = Router::new().route("/", websocket(async |s| drop(echo(s).await)));
        let host = ConnectionServer::new(router, sim.runtime());
        let mut peers = Vec::new();
        for _ in 0..10 {
            peers.push(join(&sim, &host).await);
        }
        let (stopping, clock) = (host.clone(), sim.clone());
        let shutdown = sim.spawn(async move { (stopping.shutdown(SECOND * 3).await, clock.now()) });
        for peer in &peers {
            peer.expect_close(1001).await;
        }
        // Seven answer, one of them late; three do not.
        for peer in &peers[..6] {
            peer.close(1001).await;
            assert_eq!(peer.rest().await, []);
        }
        sim.sleep(SECOND).await;
        peers[6].close(1001).await;
        let (report, at) = shutdown.await;
        assert_eq!((report.drained, report.terminated), (7, 3));
        assert_eq!(at, Instant::EPOCH + SECOND * 3);
        assert_eq!(host.connections(), 0);
    });
}

#[test]
fn a_shutdown_that_all_answer_is_over_at_once() {
    Sim::check(0..10, |sim| async move {
        let router = Router::new().route("/", websocket(async |s| drop(echo(s).await)));
        let host = ConnectionServer::new(router, sim.runtime());
        let peer = join(&sim, &host).await;
        let stopping = host.clone();
        let shutdown = sim.spawn(async move { stopping.shutdown(HOUR).await });
        peer.expect_close(1001).await;
        peer.close(1001).await;
        let report = shutdown.await;
        assert_eq!((report.drained, report.terminated), (1, 0));
        assert_eq!(sim.now(), Instant::EPOCH);
    });
}

#[test]
fn handlers_learn_of_the_shutdown_and_may_finish_their_work() {
    Sim::check(0..10, |sim| async move {
        let clock = sim.clone();
        let handler = move |mut session: Session| {
            let clock = clock.clone();
            async move {
                let end = receive_all(&mut session).await.1;
                assert_eq!(end.sent().and_then(|sent| sent.code()).map(|c| c.get()), Some(1001));
                // Such as to write something down.
                clock.sleep(SECOND * 2).await;
            }
        };
        let router = Router::new().route("/", websocket(handler));
        let host = ConnectionServer::new(router, sim.runtime());
        let peer = join(&sim, &host).await;
        let stopping = host.clone();
        let shutdown = sim.spawn(async move { stopping.shutdown(HOUR).await });
        peer.expect_close(1001).await;
        peer.close(1001).await;
        let report = shutdown.await;
        assert_eq!((report.drained, report.terminated), (1, 0));
        assert_eq!(sim.now(), Instant::EPOCH + SECOND * 2);
    });
}

#[test]
fn stragglers_are_terminated_with_their_handlers() {
    Sim::check(0..10, |sim| async move {
        let (clock, spawner) = (sim.clone(), sim.clone());
        let ends = Arc::new(Mutex::new(Vec::new()));
        let reported = ends.clone();
        let handler = move |session: Session| {
            let (clock, reported, sender) = (clock.clone(), reported.clone(), session.sender());
            spawner.spawn(async move {
                let end = sender.closed().await;
                reported.lock().unwrap().push(end);
            });
            async move {
                clock.sleep(HOUR).await;
                drop(session);
                unreachable!("it was dropped long before");
            }
        };
        let handler = move |session| {
            let running = handler(session);
            async move {
                let () = running.await;
            }
        };
        // Longer to close than to drain.
        let config = Config::default().closing_timeout(HOUR);
        let router = Router::new().websockets(config).route("/", websocket(handler));
        let host = ConnectionServer::new(router, sim.runtime());
        let peers = [join(&sim, &host).await, join(&sim, &host).await];
        let report = host.shutdown(SECOND).await;
        assert_eq!((report.drained, report.terminated), (0, 2));
        for peer in peers {
            peer.expect_close(1001).await;
            assert_eq!(peer.rest().await, []);
        }
        sim.settle().await;
        let ends = ends.lock().unwrap();
        assert_eq!(ends.len(), 2);
        assert!(ends.iter().all(|end| end.cause() == &Cause::Aborted), "{ends:?}");
    });
}

#[test]
fn a_connection_that_still_opens_is_terminated_wherever_it_waits() {
    Sim::check(0..10, |sim| async move {
        let host = ConnectionServer::new(Router::new(), sim.runtime());
        let (near, far) = sim.pipe();
        let mut opening = Box::pin(host.serve_connection(Box::new(near), None, None));
        // It begins to wait in this task, and goes on in another.
        assert!(opening.as_mut().now_or_never().is_none());
        let opening = sim.spawn(opening);
        let report = host.shutdown(SECOND).await;
        assert_eq!((report.drained, report.terminated), (0, 1));
        opening.await;
        assert_eq!(sim.now(), Instant::EPOCH + SECOND);
        drop(far);
    });
}

#[test]
fn a_connection_that_does_not_go_when_terminated_is_reported_after_a_second() {
    Sim::check(0..10, |sim| async move {
        let host = ConnectionServer::new(Router::new(), sim.runtime());
        let (near, _far) = sim.pipe();
        // Never polled, as a task whose thread a handler blocks.
        let stuck = host.serve_connection(Box::new(near), None, None);
        let report = sim.timeout(HOUR, host.shutdown(SECOND * 3)).await.expect("it returns");
        assert_eq!(sim.now(), Instant::EPOCH + SECOND * 4);
        assert_eq!((report.drained, report.terminated), (0, 1));
        assert_eq!((report.stuck, host.connections()), (1, 1));
        drop(stuck);
        assert_eq!(host.connections(), 0);
    });
}

#[test]
fn a_handler_that_blocks_its_thread_does_not_hold_up_the_shutdown() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let (begin, begun) = smol::channel::unbounded::<()>();
    let handler = move |mut session: Session| {
        let (released, begin) = (released.clone(), begin.clone());
        async move {
            session.recv().await.unwrap();
            begin.send(()).await.unwrap();
            // As a call of a library does that blocks.
            let _ = released.lock().unwrap().recv();
        }
    };
    let router = Router::new().route("/", websocket(handler));
    runtime.block_on(async move {
        let drain = Duration::from_millis(50);
        let server = sockless_tokio::bind("127.0.0.1:0").await.unwrap().drain_timeout(drain);
        let url = format!("ws://{}/", server.local_addr().unwrap());
        let client = tokio::spawn(async move {
            let session = sockless_tokio::connect(&url).await.unwrap();
            session.send("block").await.unwrap();
            session
        });
        let stop = async move { begun.recv().await.unwrap() };
        let serving = server.serve_until(router, stop);
        let report = serving.await;
        assert_eq!((report.drained, report.terminated, report.stuck), (0, 1, 1));
        release.send(()).expect("the handler still waits");
        drop(client.await.unwrap());
    });
}

/// A listener to which connections come faster than a server can accept them.
struct Flood {
    sim: Sim,
    accepted: u32,
}

impl Listen for Flood {
    fn poll_accept(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        self.accepted += 1;
        assert!(self.accepted < 100_000, "no other task gets a turn");
        let transport = Box::new(self.sim.pipe().0);
        Poll::Ready(Ok(Accepted { transport, peer_addr: None, local_addr: None }))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

#[test]
fn a_flood_of_connections_does_not_hold_up_the_shutdown() {
    Sim::check(0..5, |sim| async move {
        let flood = Flood { sim: sim.clone(), accepted: 0 };
        let server = Server::new(flood, sim.runtime());
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        let stopped = async move { while stopped.recv().await.is_ok() {} };
        let serving = sim.spawn(server.serve_until(Router::new(), stopped));
        let stopping = sim.spawn(async move { drop(stop) });
        stopping.await;
        serving.await;
    });
}

#[test]
fn a_server_stops_to_accept_and_ends_what_it_has() {
    Sim::check(0..10, |sim| async move {
        let router = Router::new().route("/", websocket(async |s| drop(echo(s).await)));
        let server = sim.bind("server").drain_timeout(SECOND * 2);
        let stop = sim.sleep(SECOND);
        let clock = sim.clone();
        let serving =
            sim.spawn(async move { (server.serve_until(router, stop).await, clock.now()) });
        let mut polite = sim.connect("ws://server/").await.unwrap();
        let silent = Peer::of_a_server(sim.dial("server").await.unwrap()).await;
        let end = polite.recv().await.unwrap_err();
        assert_eq!(end.received().and_then(|r| r.code()).map(|code| code.get()), Some(1001));
        assert!(sim.dial("server").await.is_err(), "the listener is closed");
        let (report, at) = serving.await;
        assert_eq!((report.drained, report.terminated), (1, 1));
        assert_eq!(at, Instant::EPOCH + SECOND * 3);
        drop(silent);
    });
}

#[test]
fn a_handover_answers_those_who_have_connected_and_closes_them_with_1001() {
    Sim::check(0..20, |sim| async move {
        let router = || Router::new().route("/", websocket(async |s| drop(echo(s).await)));
        let server = sim.bind("server").handover(true).drain_timeout(SECOND * 5);
        let stop = sim.sleep(SECOND);
        let serving = sim.spawn(async move { server.serve_until(router(), stop).await });
        let late = sim.dial("server").await.unwrap();
        sim.sleep(SECOND * 2).await;
        assert!(sim.dial("server").await.is_err(), "the listener is closed");
        let late = Peer::of_a_server(late).await;
        late.expect_close(1001).await;
        late.close(1001).await;
        let report = serving.await;
        assert_eq!((report.drained, report.terminated), (1, 0));

        // Those that wait in the queue too.
        let server = sim.bind("other").handover(true);
        let waiting = sim.dial("other").await.unwrap();
        let serving = server.serve_until(router(), std::future::ready(()));
        let serving = sim.spawn(serving);
        let waiting = Peer::of_a_server(waiting).await;
        waiting.expect_close(1001).await;
        waiting.close(1001).await;
        let report = serving.await;
        assert_eq!((report.drained, report.terminated), (1, 0));
    });
}

#[test]
fn two_shutdowns_at_once_both_come_to_an_end() {
    Sim::check(0..20, |sim| async move {
        let router = Router::new().route("/", websocket(async |s| drop(echo(s).await)));
        let host = ConnectionServer::new(router, sim.runtime());
        let peer = join(&sim, &host).await;
        let both: Vec<_> = (1..=2)
            .map(|i| {
                let host = host.clone();
                sim.spawn(async move { host.shutdown(HOUR * i).await })
            })
            .collect();
        peer.expect_close(1001).await;
        peer.close(1001).await;
        for shutdown in both {
            shutdown.await;
        }
        assert_eq!(sim.now(), Instant::EPOCH);
    });
}

#[test]
fn a_cap_on_connections_lets_the_next_one_wait() {
    Sim::check(0..10, |sim| async move {
        let router = Router::new().route("/", websocket(async |s| drop(echo(s).await)));
        let server = sim.bind("server").max_connections(2);
        sim.spawn(server.serve(router));
        let first = sim.connect("ws://server/").await.unwrap();
        let second = sim.connect("ws://server/").await.unwrap();
        let patience = Duration::from_millis(500);
        let client = sim.clone();
        let mut third = sim.spawn(async move { client.connect("ws://server/").await });
        assert!(sim.timeout(patience, &mut third).await.is_none());
        drop(first);
        let third = third.await.unwrap();
        third.send("in").await.unwrap();
        drop((second, third));
    });
}
