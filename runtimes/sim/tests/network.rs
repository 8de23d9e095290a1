//! Listeners and their clients.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use sockless_core::Instant;
use sockless_sim::{Link, Sim, poll_at_most};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_client_reaches_the_listener_of_a_name() {
    Sim::check(0..10, |sim| async move {
        let mut listener = sim.listen("server");
        sim.spawn(async move {
            let peer = listener.accept().await;
            peer.write_all(b"welcome").await.unwrap();
        });
        let server = sim.dial("server").await.unwrap();
        assert_eq!(server.read_to_end().await.unwrap(), "welcome");
    });
}

#[test]
fn connections_are_accepted_in_the_order_of_arrival() {
    Sim::check(0..20, |sim| async move {
        let mut listener = sim.listen("server");
        let mut clients = Vec::new();
        for number in 0..5 {
            let client = sim.dial("server").await.unwrap();
            client.write_all(&[number]).await.unwrap();
            clients.push(client);
        }
        for number in 0..5 {
            let peer = listener.accept().await;
            assert_eq!(peer.read_some().await.unwrap()[..], [number]);
        }
    });
}

#[test]
fn each_name_has_its_own_connections() {
    let sim = Sim::new(1);
    sim.run(async {
        let (mut one, mut two) = (sim.listen("one"), sim.listen("two"));
        let client = sim.dial("two").await.unwrap();
        client.write_all(b"to two").await.unwrap();
        assert!(poll_at_most(1, one.accept()).await.is_none());
        assert_eq!(two.accept().await.read_some().await.unwrap(), "to two");
    });
}

#[test]
fn without_a_listener_a_connection_is_refused() {
    let sim = Sim::new(1);
    sim.run(async {
        let refused = || async { sim.dial("server").await.unwrap_err().kind() };
        assert_eq!(refused().await, ErrorKind::ConnectionRefused);
        let listener = sim.listen("server");
        let waiting = sim.dial("server").await.unwrap();
        drop(listener);
        assert_eq!(refused().await, ErrorKind::ConnectionRefused);
        assert_eq!(waiting.read_some().await.unwrap(), "", "it was never accepted");
        let _again = sim.listen("server");
        sim.dial("server").await.unwrap();
    });
}

#[test]
#[should_panic(expected = "the name \"server\" is already in use by a listener")]
fn a_name_has_at_most_one_listener() {
    let sim = Sim::new(1);
    let _first = sim.listen("server");
    let _second = sim.listen("server");
}

#[test]
fn connecting_takes_a_round_trip() {
    let sim = Sim::new(1);
    sim.run(async {
        let mut listener = sim.listen_over("server", &Link::default().latency(10 * MS));
        let clock = sim.clone();
        let accepting = sim.spawn(async move {
            let peer = listener.accept().await;
            (peer, clock.now())
        });
        let _client = sim.dial("server").await.unwrap();
        assert_eq!(sim.now(), Instant::EPOCH + 20 * MS);
        assert_eq!(accepting.await.1, Instant::EPOCH + 10 * MS);
    });
}

#[test]
fn a_listener_dropped_during_the_round_trip_refuses_the_connection() {
    let sim = Sim::new(1);
    sim.run(async {
        let listener = sim.listen_over("server", &Link::default().latency(10 * MS));
        let client = sim.clone();
        let connecting = sim.spawn(async move { client.dial("server").await });
        sim.sleep(5 * MS).await;
        drop(listener);
        assert_eq!(connecting.await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_dropped_accept_loses_no_connection() {
    let sim = Sim::new(1);
    sim.run(async {
        let mut listener = sim.listen("server");
        assert!(poll_at_most(1, listener.accept()).await.is_none());
        let client = sim.dial("server").await.unwrap();
        client.write_all(b"here").await.unwrap();
        assert_eq!(listener.accept().await.read_some().await.unwrap(), "here");
    });
}

#[test]
fn a_dial_dropped_at_any_await_leaves_no_connection_or_one_that_ends() {
    for polls in 0..4 {
        let sim = Sim::new(1);
        sim.run(async {
            let mut listener = sim.listen_over("server", &Link::default().latency(10 * MS));
            let connected = poll_at_most(polls, sim.dial("server")).await;
            assert_eq!(connected.is_some(), polls == 3);
            drop(connected);
            match sim.timeout(100 * MS, listener.accept()).await {
                Some(peer) => assert_eq!(peer.read_to_end().await.unwrap(), ""),
                None => assert!(polls < 2),
            }
        });
    }
}

#[test]
fn a_wire_injects_faults_while_the_driver_owns_the_end() {
    let sim = Sim::new(1);
    sim.run(async {
        let mut listener = sim.listen("server");
        let client = Arc::new(sim.dial("server").await.unwrap());
        let peer = listener.accept().await;
        client.wire().cut();
        assert_eq!(peer.read_some().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}
