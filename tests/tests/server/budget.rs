//! The memory that a server's sessions hold together is bounded, and the time that each holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sockless_core::{Cause, Config, Deflate, Instant, Role, Timeout};
use sockless_driver::{ConnectionServer, Service, Session};
use sockless_routing::{Origins, Router, websocket};
use sockless_sim::{Link, Sim};
use sockless_tests::end::End;
use sockless_tests::served::BROWSER_REQUEST;
use sockless_tests::wire::{BINARY, BINARY_BEGINS, CLOSE, Writer};

use sockless_tests::opened::{Peer, SECOND, close_code, echo};

/// The demo's echo: messages up to 16 MiB, pings each 30 s, compression.
fn demo() -> impl Service {
    let config = Config::default()
        .max_message_len(16 << 20)
        .ping_interval(SECOND * 30)
        .extension(Deflate::default());
    Router::new().websockets(config).route("/", websocket(serve_echo))
}

async fn serve_echo(session: Session) {
    echo(session).await;
}

/// Connects `count` clients to `host`, over sockets with small buffers.
async fn connect(sim: &Sim, host: &ConnectionServer, count: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    for _ in 0..count {
        let (near, far) = sim.pipe_over(&Link::tcp().buffers(64 << 10, 64 << 10));
        sim.spawn(host.serve_connection(Box::new(near), None, None));
        peers.push(Peer::of_a_server(far).await);
    }
    peers
}

#[test]
fn peers_that_never_read_are_gone_in_time_and_hold_no_more_than_the_budget() {
    Sim::check(0..2, |sim| async move {
        let host = ConnectionServer::new(demo(), sim.runtime()).memory_budget(16 << 20);
        let peers = connect(&sim, &host, 20).await;
        let began = sim.now();
        let message = Arc::new(Writer { masks: true }.frame(BINARY, vec![7; 1 << 20]));
        for peer in peers {
            let message = Arc::clone(&message);
            // It sends until it is stopped, and keeps its socket.
            sim.spawn(async move { while peer.io.write_all(&message).await.is_ok() {} });
        }
        let mut most = 0;
        while host.connections() > 0 {
            most = most.max(host.held_bytes());
            sim.sleep(SECOND).await;
        }
        assert!(sim.now() <= began + SECOND * 80, "{:?}", sim.now());
        // One message more may have come whole for each before it was looked at.
        assert!(most <= (16 << 20) + 20 * (2 << 20), "{most} bytes were held");
        assert_eq!(host.held_bytes(), 0);
    });
}

#[test]
fn unfinished_messages_hold_no_more_than_the_budget_and_are_gone_in_time() {
    Sim::check(0..2, |sim| async move {
        let budget = 8 << 20;
        let config = Config::default().max_message_len(16 << 20);
        let router = Router::new().websockets(config).route("/", websocket(serve_echo));
        let host = ConnectionServer::new(router, sim.runtime()).memory_budget(budget);
        let peers = connect(&sim, &host, 20).await;
        let began = sim.now();
        for peer in &peers {
            let begun = peer.write.frame(BINARY_BEGINS, vec![7; 1 << 20]);
            // Those that hold more than their share are ended meanwhile.
            let _ = peer.io.write_all(&begun).await;
            sim.settle().await;
            // Buffers grow to twice what they hold.
            assert!(host.held_bytes() <= budget + (3 << 20), "{} bytes", host.held_bytes());
        }
        // They have the closing timeout to read why.
        sim.sleep(SECOND * 6).await;
        let left = host.connections();
        assert!((4..20).contains(&left), "{left} are left");
        while host.connections() > 0 {
            sim.sleep(SECOND).await;
        }
        assert!(sim.now() <= began + SECOND * 75, "{:?}", sim.now());
        assert_eq!(host.held_bytes(), 0);
    });
}

#[test]
fn a_session_that_exceeds_the_budget_is_closed_with_a_reason_and_the_others_go_on() {
    Sim::check(0..5, |sim| async move {
        let host = ConnectionServer::new(demo(), sim.runtime()).memory_budget(1 << 20);
        let mut peers = connect(&sim, &host, 2).await;
        let (small, large) = (peers.remove(0), peers.remove(0));
        small.send(small.write.frame(BINARY_BEGINS, vec![7; 1000])).await;
        large.send(large.write.frame(BINARY_BEGINS, vec![7; 1 << 20])).await;
        let last = large.frame().await;
        assert_eq!((last.first, close_code(&last)), (CLOSE, Some(1013)));
        small.send(small.write.frame(0x80, "end")).await;
        assert_eq!(small.frame().await.payload.len(), 1003);
    });
}

#[test]
fn a_message_that_drips_ends_in_time() {
    Sim::check(0..2, |sim| async move {
        let host = ConnectionServer::new(demo(), sim.runtime());
        let peers = connect(&sim, &host, 1).await;
        let (began, peer) = (sim.now(), &peers[0]);
        peer.send(peer.write.header(BINARY, 1000)).await;
        while peer.io.write_all(&[0]).await.is_ok() {
            sim.sleep(SECOND / 2).await;
        }
        assert!(sim.now() <= began + SECOND * 100, "{:?}", sim.now());
        assert_eq!(host.connections(), 0);
    });
}

#[test]
fn what_goes_to_many_is_not_counted_for_each() {
    Sim::check(0..2, |sim| async move {
        let (tell, reported) = tokio::sync::oneshot::channel();
        let tell = std::sync::Mutex::new(Some(tell));
        let message = sockless_core::Message::from(vec![7; 1 << 20]);
        let handler = move |session: Session| {
            let (message, tell) = (message.clone(), tell.lock().unwrap().take());
            async move {
                session.send(message).await.unwrap();
                let closed = session.closed().await;
                tell.map(|tell| tell.send(closed.clone()));
                drop(closed);
            }
        };
        let router = Router::new().route("/", websocket(handler));
        let host = ConnectionServer::new(router, sim.runtime()).memory_budget(2 << 20);
        let _peers = connect(&sim, &host, 10).await;
        sim.sleep(SECOND).await;
        assert_eq!(host.connections(), 10);
        assert!(host.held_bytes() < 1 << 20, "{}", host.held_bytes());
        let closed = reported.await.unwrap();
        assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Write));
        assert!(sim.now() <= Instant::EPOCH + SECOND * 70);
    });
}

/// Many times what the kernel held of it, if it were inflated at once.
#[test]
fn what_would_grow_ahead_of_an_end_waits_for_the_handler() {
    Sim::check(0..2, |sim| async move {
        let received = Arc::new(AtomicUsize::new(0));
        let (counter, clock) = (Arc::clone(&received), sim.clone());
        let host = bombed(&sim, move |mut session: Session| {
            let (counter, clock) = (Arc::clone(&counter), clock.clone());
            async move {
                clock.sleep(SECOND * 60).await;
                while let Ok(message) = session.recv().await {
                    assert_eq!(message.len(), 1 << 20);
                    counter.fetch_add(1, Ordering::Relaxed);
                    clock.sleep(SECOND).await;
                }
            }
        });
        let host = host.await;
        let most = most_held(&sim, &host).await;
        assert_eq!(received.load(Ordering::Relaxed), BOMBS);
        // What the kernel's buffers held was read, too.
        let ceiling = bombed_config().memory_ceiling() + (2 << 20);
        assert!(most <= ceiling, "{most} bytes were held, of {ceiling}");
    });
}

#[test]
fn a_handler_that_receives_nothing_of_what_would_grow_is_ended_in_time() {
    Sim::check(0..2, |sim| async move {
        let host = bombed(&sim, async |session: Session| drop(session.closed().await)).await;
        let began = sim.now();
        let most = most_held(&sim, &host).await;
        assert!(sim.now() <= began + SECOND * 320, "{:?}", sim.now());
        assert!(most <= bombed_config().memory_ceiling() + (2 << 20), "{most} bytes were held");
    });
}

const BOMBS: usize = 100;

fn bombed_config() -> Config {
    Config::default().extension(Deflate::default())
}

/// A server with one session, whose peer has sent 100 KB of messages of 1 MiB and has ended.
async fn bombed<H, Fut>(sim: &Sim, handler: H) -> ConnectionServer
where
    H: Fn(Session) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut from = End::new(Role::Client, bombed_config());
    for _ in 0..BOMBS {
        from.connection.send(vec![0; 1 << 20], from.now).unwrap();
    }
    let router = Router::new().websockets(bombed_config()).origins(Origins::any());
    let host = ConnectionServer::new(router.route("/", websocket(handler)), sim.runtime());
    let (near, far) = sim.pipe_over(&Link::tcp().buffers(1 << 20, 1 << 20));
    sim.spawn(host.serve_connection(Box::new(near), None, None));
    far.write_all(BROWSER_REQUEST).await.unwrap();
    let head = far.read_until(b"\r\n\r\n").await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
    far.write_all(&from.drain()).await.unwrap();
    far.shutdown().await.unwrap();
    // It stays, and says nothing more.
    sim.spawn(async move { while far.read_some().await.is_ok_and(|read| !read.is_empty()) {} });
    host
}

/// The most that a server's sessions hold until they have ended.
async fn most_held(sim: &Sim, host: &ConnectionServer) -> usize {
    let mut most = 0;
    while host.connections() > 0 {
        most = most.max(host.held_bytes());
        sim.sleep(SECOND).await;
    }
    assert_eq!(host.held_bytes(), 0);
    most
}

#[test]
fn chunks_that_a_receiver_joins_count() {
    Sim::check(0..5, |sim| async move {
        let config = Config::default().recv_chunk_len(4096);
        let router = Router::new().websockets(config).route("/", websocket(serve_echo));
        let host = ConnectionServer::new(router, sim.runtime());
        let peer = connect(&sim, &host, 1).await.remove(0);
        peer.send(peer.write.frame(BINARY_BEGINS, vec![7; 100_000])).await;
        sim.settle().await;
        // What is shorter than a chunk waits elsewhere.
        assert!(host.held_bytes() >= 100_000, "{} bytes", host.held_bytes());
        peer.send(peer.write.frame(0x80, "end")).await;
        assert_eq!(peer.frame().await.payload.len(), 100_003);
        sim.settle().await;
        assert_eq!(host.held_bytes(), 0);
    });
}
