//! Peers that fail the handshake: each is an ordinary event, and leaves nothing behind.

use std::future::pending;
use std::time::Duration;

use sockless_core::{Config, Instant};
use sockless_driver::tls::TlsError;
use sockless_driver::{ConnectionServer, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::{Link, Sim, SimIo, WireDirection};
use tracing::Level;

use crate::support::{NAME, shake_hands, trusting};
use sockless_tests::logs;

const MS: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_secs(10);

fn router() -> Router {
    let config = Config::default().opening_timeout(TIMEOUT);
    Router::new().websockets(config).route("/", websocket(async |_session: Session| {}))
}

/// A host by TLS, and the client's end of a connection to it.
fn dial(sim: &Sim) -> (ConnectionServer, SimIo) {
    let host = ConnectionServer::new(router(), sim.runtime());
    let (client, server) = sim.pipe();
    sim.spawn(host.serve_tls_connection(&trusting().0, Box::new(server), None, None));
    (host, client)
}

#[test]
fn one_deadline_holds_for_all_of_the_opening() {
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        // Silence from the first byte on.
        let (host, silent) = dial(&sim);
        assert_eq!(silent.read_to_end().await.unwrap(), "");
        assert_eq!(sim.now(), Instant::EPOCH + TIMEOUT);
        sim.settle().await;
        assert_eq!(host.connections(), 0);
    });
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        // A request that begins after a handshake that took half of the time.
        let (acceptor, connector) = trusting();
        let host = ConnectionServer::new(router(), sim.runtime());
        let (client, server) = sim.pipe();
        sim.spawn(host.serve_tls_connection(&acceptor, Box::new(server), None, None));
        sim.sleep(TIMEOUT / 2).await;
        let mut client = connector.connect(NAME, Box::new(client)).await.unwrap();
        crate::support::write_all(&mut *client, b"GET / HTTP/1.1\r\n").await.unwrap();
        let response = crate::support::read(&mut *client, 1000).await.unwrap();
        assert!(response.starts_with(b"HTTP/1.1 408 "), "{response:?}");
        assert_eq!(sim.now(), Instant::EPOCH + TIMEOUT);
    });
}

#[test]
fn what_is_no_tls_is_closed_at_once() {
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
            &[0; 100],
            &[0xff; 20_000],
            // A record that is longer than any may be (RFC 8446 §5.1).
            &[22, 3, 1, 0xff, 0xff, 1, 0],
            // An alert, application data and a heartbeat, before there is anything to alert of.
            &[21, 3, 3, 0, 2, 2, 40],
            &[23, 3, 3, 0, 1, 0],
            &[24, 3, 3, 0, 1, 0],
        ] {
            let (host, client) = dial(&sim);
            // It may be gone before all was written.
            let _ = client.write_all(bytes).await;
            let _ = client.read_to_end().await;
            sim.settle().await;
            assert_eq!(host.connections(), 0);
            assert_eq!(sim.now(), Instant::EPOCH);
        }
    });
}

#[test]
fn noise_does_no_harm() {
    Sim::check(0..200, |sim| async move {
        sim.allow_nondeterminism();
        let (host, client) = dial(&sim);
        let len = sim.draw(1..3000);
        let mut noise: Vec<u8> = (0..len).map(|_| sim.draw(0..256) as u8).collect();
        // Half of it looks like a handshake at first.
        if sim.draw(0..2) == 0 {
            let head = [22, 3, 1, (len >> 8) as u8, len as u8, 1, 0, (len >> 8) as u8, len as u8];
            noise.splice(0..0, head);
        }
        let _ = client.write_all(&noise).await;
        let _ = client.shutdown().await;
        let _ = client.read_to_end().await;
        sim.settle().await;
        assert_eq!(host.connections(), 0);
    });
}

/// Any client can make its own handshake fail: that is not logged above debug.
#[test]
fn what_a_peer_does_wrong_is_logged_quietly() {
    let loudest = logs::max_level(|| {
        Sim::check(0..5, |sim| async move {
            sim.allow_nondeterminism();
            let (_, stranger) = trusting();
            let (_host, client) = dial(&sim);
            assert!(stranger.connect(NAME, Box::new(client)).await.is_err());
            let (_host, plain) = dial(&sim);
            plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            let (_host, cut) = dial(&sim);
            cut.wire().cut();
            let (_host, silent) = dial(&sim);
            sim.sleep(2 * TIMEOUT).await;
            drop((plain, cut, silent));
        });
    });
    assert_eq!(loudest, Some(Level::DEBUG), "nothing, or something louder, was logged");
}

/// Whenever the wire is cut, both sides say so, or had their handshake by then.
#[test]
fn a_cut_at_any_time_is_reported() {
    Sim::check(0..10, |sim| async move {
        sim.allow_nondeterminism();
        let ends = trusting();
        let link = Link::default().latency(MS).jitter(5 * MS).short_writes(100);
        let mut cuts = 0;
        for time in 0.. {
            let (client, server) = sim.pipe_over(&link);
            let wire = client.wire();
            let acceptor = ends.0.clone();
            let accepting = sim.spawn(async move { acceptor.accept(Box::new(server)).await });
            let cutting = async {
                sim.sleep(MS * time).await;
                wire.cut();
                pending().await
            };
            let shaking = async {
                let connected = ends.1.connect(NAME, Box::new(client)).await;
                (connected, accepting.await)
            };
            let (connected, accepted) = smol::future::or(shaking, cutting).await;
            for result in [&connected, &accepted] {
                match result {
                    Ok(_) => {}
                    Err(TlsError::Cut) => cuts += 1,
                    Err(error) => panic!("the wire was cut, but: {error}"),
                }
            }
            if connected.is_ok() && accepted.is_ok() {
                break;
            }
        }
        assert!(cuts > 5, "{cuts} are too few to tell");
    });
}

#[test]
fn an_end_in_the_handshake_is_a_cut() {
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        let (_, connector) = trusting();
        let (client, server) = sim.pipe();
        let connecting = sim.spawn(async move { connector.connect(NAME, Box::new(client)).await });
        server.read_some().await.unwrap();
        server.shutdown().await.unwrap();
        let error = connecting.await.err().expect("there is no server");
        assert!(matches!(error, TlsError::Cut), "{error}");
    });
}

#[test]
fn a_stalled_wire_delays_no_other_connection() {
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        let ends = trusting();
        let (stalled, server) = sim.pipe();
        stalled.wire().stall(WireDirection::Inbound);
        let acceptor = ends.0.clone();
        sim.spawn(async move { acceptor.accept(Box::new(server)).await.map(drop) });
        let (client, server) = shake_hands(&sim, &ends, &Link::default()).await;
        assert!(client.is_ok() && server.is_ok());
        drop(stalled);
        sim.settle().await;
    });
}
