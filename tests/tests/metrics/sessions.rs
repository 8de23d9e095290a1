//! Sessions: how many, how long, how much, and how they end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockless::metrics as names;
use sockless_core::{CloseCode, Closed, Config, Deflate};
use sockless_driver::{BoxError, Connect, ConnectionServer, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::{Conversation, Link, Sim};
use sockless_tests::handlers::echo;
use sockless_tests::opened::{Peer, SECOND};
use sockless_tests::wire::{BINARY_BEGINS, TEXT};

use crate::Recorded;

const SERVER: &str = r#"role="server""#;
const CLIENT: &str = r#"role="client""#;

#[test]
fn an_echo_is_counted_from_its_opening_to_its_end() {
    Recorded::check(|sim, recorded| async move {
        let link = Link::default().latency(SECOND);
        let app = sim.app_over(Router::new().route("/chat/{room}", websocket(echo)), &link);
        let mut chat = app.open("/chat/a%20room").await;
        chat.send("hi").await;
        chat.expect("hi").await;
        let labels = &[SERVER, r#"route="/chat/{room}""#];
        recorded.expect(names::SESSIONS, labels, 1.0);
        recorded.expect(names::SESSIONS_OPENED, labels, 1.0);
        recorded.expect(names::MESSAGES_RECEIVED, labels, 1.0);
        recorded.expect(names::MESSAGES_SENT, labels, 1.0);
        // A header of two bytes, and in one direction a mask of four.
        recorded.expect(names::RECEIVED_BYTES, labels, 8.0);
        let head = recorded.sum(names::SENT_BYTES, labels) - 4.0;
        assert!((100.0..200.0).contains(&head), "{head} bytes of the response");

        chat.close(CloseCode::NORMAL);
        chat.expect_closed(1000).await;
        sim.sleep(SECOND * 5).await;
        recorded.expect(names::SESSIONS, labels, 0.0);
        recorded.expect(names::RECEIVED_BYTES, labels, 16.0);
        recorded.expect(names::SENT_BYTES, labels, head + 8.0);
        recorded.expect(names::QUEUED_BYTES, labels, 0.0);
        recorded.expect(names::HELD_BYTES, labels, 0.0);
        recorded.expect(
            "sockless_handler_seconds_count",
            &[labels[0], labels[1], r#"outcome="returned""#],
            1.0,
        );
        recorded.expect("sockless_handshake_seconds_count", labels, 1.0);
        // The head of the request takes a second to arrive, but may arrive in parts.
        let seconds = recorded.sum("sockless_handshake_seconds_sum", labels);
        assert!((1.0..3.0).contains(&seconds), "{seconds} s");
        assert!(!recorded.0.render().contains("a%20room"), "what the client wrote is no label");
    });
}

/// Opens a session whose handler is `handler`, has the client `act`, and returns the labels of its end.
fn end_of<H, Fut, T>(handler: H, act: impl Fn(&Conversation)) -> Vec<String>
where
    H: Fn(Session) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), T>> + Send + 'static,
    T: Into<BoxError> + Send + 'static,
{
    let ends = Mutex::new(Vec::new());
    Recorded::check(|sim, recorded| {
        let (handler, ends, act) = (handler.clone(), &ends, &act);
        async move {
            let app = sim.app(Router::new().route("/", websocket(handler)));
            let client = app.open("/").await;
            act(&client);
            sim.sleep(SECOND * 60).await;
            recorded.expect(names::SESSIONS, &[], 0.0);
            recorded.expect(names::SESSIONS_CLOSED, &[SERVER], 1.0);
            let samples = recorded.samples().into_keys();
            let mut of = samples
                .filter(|key| key.starts_with(names::SESSIONS_CLOSED) && key.contains(SERVER));
            let key = of.next().expect("it has ended");
            let labels = ["party", "cause", "code"].map(|label| {
                let (_, rest) = key.split_once(&format!("{label}=\"")).expect("it has the label");
                rest.split('"').next().unwrap_or_default().to_owned()
            });
            ends.lock().unwrap().push(labels.join(" "));
        }
    });
    let mut ends = ends.into_inner().unwrap();
    ends.dedup();
    ends
}

#[test]
fn each_end_has_its_party_its_cause_and_its_code() {
    let of_echo = |act: fn(&Conversation)| end_of(echo, act);
    let normal = |client: &Conversation| client.close(CloseCode::NORMAL);
    assert_eq!(of_echo(normal), ["peer closing_handshake 1000"]);
    let own = |client: &Conversation| client.close(CloseCode::new(4321).unwrap());
    assert_eq!(of_echo(own), ["peer closing_handshake 4xxx"]);
    assert_eq!(of_echo(|client| client.terminate()), ["peer eof 1006"]);

    let returns = async |_| Ok::<_, Closed>(());
    assert_eq!(end_of(returns, |_| {}), ["local closing_handshake 1000"]);
    let fails = async |_| Err("it failed");
    assert_eq!(end_of(fails, |_| {}), ["local closing_handshake 1011"]);
}

#[test]
fn a_handler_that_fails_or_panics_has_that_outcome() {
    for (outcome, panics) in [("failed", false), ("panicked", true)] {
        Recorded::check(|sim, recorded| async move {
            sim.tolerate_panics();
            let clock = sim.clone();
            let handler = move |_: Session| {
                let clock = clock.clone();
                async move {
                    clock.sleep(SECOND * 2).await;
                    assert!(!panics, "it panics");
                    Err::<(), _>("it fails")
                }
            };
            let app = sim.app(Router::new().route("/", websocket(handler)));
            app.open("/").await.expect_closed(1011).await;
            let outcome = format!("outcome=\"{outcome}\"");
            recorded.expect("sockless_handler_seconds_count", &[SERVER, &outcome], 1.0);
            recorded.expect("sockless_handler_seconds_sum", &[SERVER, &outcome], 2.0);
        });
    }
}

#[test]
fn a_breach_of_the_protocol_and_a_silent_peer_are_causes() {
    Recorded::check(|sim, recorded| async move {
        let config = Config::default().ping_interval(SECOND * 10).ping_timeout(SECOND * 5);
        let router = Router::new().websockets(config).route("/", websocket(echo));
        let host = ConnectionServer::new(router, sim.runtime());
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (near, far) = sim.pipe();
            sim.spawn(host.serve_connection(Box::new(near), None, None));
            peers.push(Peer::of_a_server(far).await);
        }
        peers[0].send([TEXT | 0x40, 0x80, 0, 0, 0, 0]).await;
        sim.sleep(SECOND * 60).await;
        let (protocol, ping) =
            (r#"cause="protocol",code="1002""#, r#"cause="ping_timeout",code="1011""#);
        recorded.expect(names::SESSIONS_CLOSED, &[SERVER, protocol], 1.0);
        recorded.expect(names::SESSIONS_CLOSED, &[SERVER, ping], 1.0);
    });
}

#[test]
fn a_shutdown_ends_sessions_with_1001() {
    Recorded::check(|sim, recorded| async move {
        let app = sim.app(Router::new().route("/", websocket(echo)));
        let _client = app.open("/").await;
        app.shutdown(SECOND).await;
        let labels = r#"party="local",cause="closing_handshake",code="1001""#;
        recorded.expect(names::SESSIONS_CLOSED, &[SERVER, labels], 1.0);
    });
}

#[test]
fn compressed_messages_have_a_length_on_the_wire_and_one_for_the_application() {
    Recorded::check(|sim, recorded| async move {
        let config = || Config::default().extension(Deflate::default());
        let app = sim.app(Router::new().websockets(config()).route("/", websocket(echo)));
        let mut plain = app.open("/").await;
        plain.send("hello ".repeat(1000)).await;
        plain.recv().await;
        assert_eq!(recorded.sum(names::SENT_UNCOMPRESSED_BYTES, &[]), 0.0);
        assert!(!recorded.0.render().contains("compressed"), "nothing is");

        let mut client = app.open("/").config(config()).await;
        client.send("hello ".repeat(1000)).await;
        client.recv().await;
        recorded.expect(names::RECEIVED_UNCOMPRESSED_BYTES, &[SERVER], 6000.0);
        recorded.expect(names::SENT_UNCOMPRESSED_BYTES, &[SERVER], 6000.0);
        for name in [names::RECEIVED_COMPRESSED_BYTES, names::SENT_COMPRESSED_BYTES] {
            let len = recorded.sum(name, &[SERVER]);
            assert!((1.0..200.0).contains(&len), "{name}: {len}");
        }
    });
}

#[test]
fn round_trips_are_those_of_the_pings() {
    Recorded::check(|sim, recorded| async move {
        let config = Config::default().ping_interval(SECOND * 10);
        let link = Link::tcp().latency(Duration::from_millis(250));
        let router = Router::new().websockets(config).route("/", websocket(echo));
        let mut client = sim.app_over(router, &link).open("/").await;
        client.expect_silence(SECOND * 35).await;
        recorded.expect("sockless_round_trip_seconds_count", &[SERVER], 3.0);
        recorded.expect("sockless_round_trip_seconds_sum", &[SERVER], 1.5);
    });
}

#[test]
fn turns_that_run_out_are_counted() {
    Recorded::check(|sim, recorded| async move {
        let host = ConnectionServer::new(Router::new().route("/", websocket(echo)), sim.runtime());
        let (near, far) =
            sim.pipe_over(&Link::default().buffers(1 << 20, 1 << 20).short_reads(None));
        sim.spawn(host.serve_connection(Box::new(near), None, None));
        let peer = Peer::of_a_server(far).await;
        peer.text("one").await;
        peer.expect_text("one").await;
        recorded.expect(names::TURNS_EXHAUSTED, &[], 0.0);
        peer.send(peer.write.pong("").repeat(20_000)).await;
        sim.settle().await;
        let turns = recorded.sum(names::TURNS_EXHAUSTED, &[SERVER]);
        assert!(turns >= 2.0, "{turns} turns for 20,000 frames");
    });
}

#[test]
fn memory_and_queues_are_gauges_beside_the_budget() {
    Recorded::check(|sim, recorded| async move {
        let flood = async |session: Session| {
            session.send(vec![7; 300_000]).await?;
            session.closed().await;
            Ok::<_, Closed>(())
        };
        let router = Router::new().route("/", websocket(flood));
        let host = ConnectionServer::new(router, sim.runtime()).memory_budget(8 << 20);
        let (near, far) = sim.pipe_over(&Link::tcp().buffers(16 << 10, 16 << 10));
        sim.spawn(host.serve_connection(Box::new(near), None, None));
        let peer = Peer::of_a_server(far).await;
        peer.send(peer.write.frame(BINARY_BEGINS, vec![7; 10_000])).await;
        sim.settle().await;
        recorded.expect(names::MEMORY_BUDGET_BYTES, &[], (8 << 20).into());
        let queued = recorded.sum(names::QUEUED_BYTES, &[SERVER]);
        assert!((250_000.0..300_010.0).contains(&queued), "{queued} bytes wait");
        let held = recorded.sum(names::HELD_BYTES, &[SERVER]);
        assert_eq!(held, host.held_bytes() as f64);
        assert!(held >= queued + 10_000.0, "{held} bytes are held, of which {queued} wait");

        drop(peer);
        sim.sleep(SECOND * 60).await;
        recorded.expect(names::QUEUED_BYTES, &[], 0.0);
        recorded.expect(names::HELD_BYTES, &[], 0.0);
        drop(host);
        recorded.expect(names::MEMORY_BUDGET_BYTES, &[], 0.0);
    });
}

#[test]
fn a_client_counts_as_one_and_its_failures_have_a_reason() {
    Recorded::check(|sim, recorded| async move {
        let server = sockless_driver::Server::new(sim.listen("host:80"), sim.runtime());
        sim.spawn(server.serve(Router::new().route("/", websocket(echo))));
        let connect = |url: &str| Connect::new(url, Arc::new(sim.clone()), sim.runtime());
        let mut session = connect("ws://host/").await.unwrap();
        session.send("hi").await.unwrap();
        session.recv().await.unwrap();
        recorded.expect(names::SESSIONS, &[CLIENT, r#"route="""#], 1.0);
        recorded.expect(names::MESSAGES_SENT, &[CLIENT], 1.0);
        recorded.expect("sockless_handshake_seconds_count", &[CLIENT], 1.0);
        drop(session);
        sim.settle().await;
        let labels = r#"party="local",cause="closing_handshake",code="1000""#;
        recorded.expect(names::SESSIONS_CLOSED, &[CLIENT, labels], 1.0);

        assert!(connect("ws://host/nothing").await.is_err());
        recorded.expect(names::CONNECTS_FAILED, &[r#"reason="rejected""#], 1.0);
        assert!(connect("ws://nowhere/").await.is_err());
        recorded.expect(names::CONNECTS_FAILED, &[], 2.0);
    });
}

#[test]
fn a_session_that_began_without_a_recorder_is_not_recorded() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let sim = Sim::new(1);
    sim.run(async {
        let app = sim.app(Router::new().route("/", websocket(echo)));
        let mut before = app.open("/").await;
        let _guard = metrics::set_default_local_recorder(&recorder);
        before.send("hi").await;
        before.expect("hi").await;
        assert!(!recorder.handle().render().contains("sockless_sessions"));
        let _after = app.open("/").await;
        assert!(recorder.handle().render().contains("sockless_sessions_opened_total"));
    });
}
