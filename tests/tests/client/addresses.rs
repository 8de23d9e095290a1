//! From a name to a transport: lookups, the race of the addresses (RFC 8305), and the deadline.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sockless_core::{Config, Instant};
use sockless_driver::{ConnectError, ConnectStep, UrlError};
use sockless_sim::{Link, Lookup, Reachability, Sim, poll_at_most};

use crate::support::{DEADLINE, MS, SECOND, assert_echoes, error, serve_echo};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const V6: &str = "2001:db8::1";
const V4: &str = "192.0.2.1";

/// A name that is looked up to both addresses, the newer family first.
fn both(sim: &Sim) {
    sim.set_lookup("server", Lookup::Addrs(vec![ip(V6), ip(V4)]));
}

#[test]
fn a_failed_lookup_is_reported_with_the_name() {
    Sim::check(0..5, |sim| async move {
        sim.set_lookup("lost", Lookup::Fails(ErrorKind::Other));
        sim.set_lookup("empty", Lookup::Addrs(vec![]));
        for host in ["lost", "empty", "nobody"] {
            let error = error(&sim, &format!("ws://{host}:81/")).await;
            let reported = matches!(&error, ConnectError::Resolve { name, .. } if name == host);
            assert!(reported && error.is_transient(), "{error}");
            assert!(error.to_string().contains(&format!("{host}:81")), "{error}");
        }
        assert_eq!(sim.now(), Instant::EPOCH);
    });
}

#[test]
fn a_name_beyond_ascii_is_looked_up_in_its_dns_form() {
    Sim::check(0..3, |sim| async move {
        serve_echo(&sim, "xn--bcher-kva.example");
        let connected = sim.connect("ws://B\u{fc}cher.example/").open().await.unwrap();
        assert_eq!(connected.destination().host(), "xn--bcher-kva.example");
        assert_echoes(&mut connected.spawn()).await;
        let error = error(&sim, "ws://\u{378}.example/").await;
        assert!(matches!(error, ConnectError::UrlInvalid(UrlError::HostInvalid)), "{error}");
    });
}

#[test]
fn a_lookup_that_hangs_ends_at_the_deadline() {
    Sim::check(0..5, |sim| async move {
        sim.set_lookup("server", Lookup::Hangs);
        let error = error(&sim, "ws://server/").await;
        let reported = matches!(error, ConnectError::Timeout { step: ConnectStep::Resolve, .. });
        assert!(reported, "{error}");
        let text = "opening_timeout = 10s passed while resolving server:80";
        assert_eq!((error.to_string().as_str(), sim.now()), (text, DEADLINE));
    });
}

#[test]
fn a_dead_route_costs_the_delay_of_an_attempt() {
    Sim::check(0..10, |sim| async move {
        both(&sim);
        sim.set_reachability(ip(V6), Reachability::Lost);
        serve_echo(&sim, "server");
        let connected = sim.connect("ws://server/").open().await.unwrap();
        assert_eq!(sim.now(), Instant::EPOCH + 250 * MS);
        assert_eq!(connected.destination().addr(), Some((ip(V4), 80).into()));
        assert_eq!(connected.destination().to_string(), "server:80 (192.0.2.1:80)");
        assert_echoes(&mut connected.spawn()).await;
    });
}

#[test]
fn a_route_that_fails_costs_nothing() {
    Sim::check(0..10, |sim| async move {
        both(&sim);
        sim.set_reachability(ip(V6), Reachability::Fails(ErrorKind::NetworkUnreachable));
        serve_echo(&sim, "server");
        assert_echoes(&mut sim.connect("ws://server/").await.unwrap()).await;
        assert_eq!(sim.now(), Instant::EPOCH);
    });
}

/// A slow first address wins over a second one that is begun later and slower still.
#[test]
fn no_attempt_is_abandoned_for_a_later_one() {
    Sim::check(0..10, |sim| async move {
        both(&sim);
        // 300 ms there and 300 ms back.
        let slow = Link::default().latency(300 * MS);
        let mut listener = sim.listen_over("server", &slow);
        let counted = sim.spawn(async move { (listener.accept().await, listener.accept().await) });
        let connecting =
            sim.connect("ws://server/").config(Config::default().opening_timeout(601 * MS));
        let error = connecting.await.unwrap_err();
        let Some(destination) = error.destination() else { panic!("{error}") };
        assert_eq!(destination.addr(), Some((ip(V6), 80).into()), "{error}");
        // The attempt that lost was dropped, and its pipe with it.
        let (_first, second) = counted.await;
        assert_eq!(second.read_to_end().await.unwrap(), "");
    });
}

/// A result that arrived before the deadline is used, even if the program looks at it later.
#[test]
fn an_answer_that_came_counts_when_it_is_looked_at_late() {
    Sim::check(0..5, |sim| async move {
        let (near, far) = sim.pipe();
        let mut connecting = sim.connect_over(near, "ws://server/").into_future();
        assert!(poll_at_most(1, &mut connecting).await.is_none());
        let head = far.read_until(b"\r\n\r\n").await.unwrap();
        far.write_all(&crate::support::accepting(&head, &[])).await.unwrap();
        sim.sleep(11 * SECOND).await;
        connecting.await.unwrap();

        let (near, far) = sim.pipe();
        let mut connecting = sim.connect_over(near, "ws://server/").into_future();
        assert!(poll_at_most(1, &mut connecting).await.is_none());
        far.write_all(b"HTTP/1.1 101 Switching").await.unwrap();
        sim.sleep(11 * SECOND).await;
        let error = poll_at_most(1, connecting).await.unwrap().unwrap_err();
        assert!(
            matches!(error, ConnectError::Timeout { step: ConnectStep::Response, .. }),
            "{error}"
        );
    });
}

#[test]
fn every_address_is_named_with_its_error() {
    Sim::check(0..10, |sim| async move {
        both(&sim);
        sim.set_reachability(ip(V6), Reachability::Fails(ErrorKind::HostUnreachable));
        let error = error(&sim, "ws://server:8080/").await;
        let ConnectError::Dial { attempts, .. } = &error else { panic!("{error}") };
        let kinds: Vec<_> = attempts.iter().map(|it| (it.addr.ip(), it.error.kind())).collect();
        let refused = ErrorKind::ConnectionRefused;
        assert_eq!(kinds, [(ip(V6), ErrorKind::HostUnreachable), (ip(V4), refused)]);
        let text = error.to_string();
        let reported = ["cannot reach server:8080: [2001:db8::1]:8080: ", "; 192.0.2.1:8080: "];
        assert!(reported.iter().all(|part| text.contains(part)), "{text}");
    });
}

#[test]
fn dead_routes_end_at_the_deadline() {
    Sim::check(0..10, |sim| async move {
        both(&sim);
        sim.set_reachability(ip(V6), Reachability::Lost);
        sim.set_reachability(ip(V4), Reachability::Lost);
        let error = error(&sim, "ws://server/").await;
        let ConnectError::Timeout { step: ConnectStep::Connect, attempts, timeout, .. } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((attempts.len(), *timeout, sim.now()), (2, 10 * SECOND, DEADLINE));
    });
}

#[test]
fn an_address_is_not_looked_up() {
    Sim::check(0..5, |sim| async move {
        sim.set_lookup("server", Lookup::Addrs(vec![ip(V6), ip(V4)]));
        sim.set_lookup(V4, Lookup::Hangs);
        serve_echo(&sim, "server");
        assert_echoes(&mut sim.connect("ws://192.0.2.1/").await.unwrap()).await;
        assert_echoes(&mut sim.connect("ws://[2001:db8::1]/").await.unwrap()).await;
        assert_eq!(sim.now(), Instant::EPOCH);
    });
}

/// All steps share one deadline: what the lookup and the connection took is missing to the answer.
#[test]
fn the_deadline_is_one_for_all_steps() {
    Sim::check(0..5, |sim| async move {
        sim.set_lookup("server", Lookup::Addrs(vec![ip(V6), ip(V4)]));
        sim.set_reachability(ip(V6), Reachability::Lost);
        let _listener = sim.listen_over("server", &Link::default().latency(Duration::from_secs(2)));
        let error = error(&sim, "ws://server/").await;
        let reported = matches!(error, ConnectError::Timeout { step: ConnectStep::Response, .. });
        assert!(reported, "{error}");
        assert_eq!(sim.now(), DEADLINE);
    });
}

/// A stream of the caller's own: no name is looked up, and `wss:` only selects the request.
#[test]
fn a_stream_of_ones_own_is_taken_as_it_is() {
    Sim::check(0..5, |sim| async move {
        let (near, far) = sim.pipe();
        let asked = sim.spawn(async move {
            let head = far.read_until(b"\r\n\r\n").await.unwrap();
            (head, far)
        });
        let connecting = sim.connect_over(near, "wss://nobody:444/path");
        let connecting = sim.spawn(connecting.into_future());
        let (head, far) = asked.await;
        assert!(head.starts_with(b"GET /path HTTP/1.1\r\nHost: nobody:444\r\n"), "{head:?}");
        drop(far);
        let error = connecting.await.unwrap_err();
        assert!(matches!(error, ConnectError::Handshake { .. }), "{error}");

        let (near, far) = sim.pipe();
        let router = sockless_routing::Router::new();
        let router = router.route("/", sockless_routing::websocket(sockless_tests::handlers::echo));
        sim.spawn(sim.serve_connection(far, router));
        assert_echoes(&mut sim.connect_over(near, "wss://nobody/").await.unwrap()).await;
    });
}

/// Dropping the future at any step leaves no transport and no task.
#[test]
fn a_connection_to_be_is_dropped_with_all_it_has() {
    Sim::check(0..20, |sim| async move {
        both(&sim);
        let mut listener = sim.listen_over("server", &Link::default().latency(100 * MS));
        let accepted = Arc::new(std::sync::Mutex::new(Vec::new()));
        let kept = Arc::clone(&accepted);
        sim.spawn(async move {
            loop {
                let io = listener.accept().await;
                kept.lock().unwrap().push(io);
            }
        });
        let patience = Duration::from_millis(sim.draw(0..500));
        assert!(sim.timeout(patience, sim.connect("ws://server/").into_future()).await.is_none());
        sim.sleep(SECOND).await;
        let accepted = std::mem::take(&mut *accepted.lock().unwrap());
        for io in accepted {
            // It ends, with or without a request before.
            io.read_to_end().await.unwrap();
        }
    });
}
