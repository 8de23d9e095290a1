//! The memory that a server's sessions hold together is bounded, and the time that each holds it.

use std::sync::Arc;

use sockless_core::{Cause, Config, Deflate, Instant, Timeout};
use sockless_driver::{ConnectionServer, Service, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::{Link, Sim};
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
