//! Sessions of the client, once they are open.

use sockless_core::{CloseCode, Config};
use sockless_driver::Session;
use sockless_routing::websocket;
use sockless_sim::Sim;
use sockless_tests::handlers::{at_root, echo, observed, until_closed};
use sockless_tests::opened::{HOUR, Peer, SECOND};
use sockless_tests::wire::PONG;

#[test]
fn both_ends_know_the_subprotocol() {
    Sim::check(0..10, |sim| async move {
        let router = at_root(websocket(echo).protocol("a").protocol("b"));
        sim.spawn(sim.serve("server", router));
        let connecting = sim.connect("ws://server/").subprotocol("b").subprotocol("a");
        let connected = connecting.open().await.unwrap();
        assert_eq!(connected.response().headers()["sec-websocket-protocol"], "b");
        assert_eq!(connected.spawn().request().subprotocol(), Some("b"));
    });
}

#[test]
fn a_session_that_was_spawned_answers_pings_while_its_owner_does_something_else() {
    Sim::check(0..10, |sim| async move {
        let mut listener = sim.listen("server");
        let client = sim.clone();
        let connecting = sim.spawn(async move {
            let session = client.connect("ws://server/").await.unwrap();
            client.sleep(HOUR).await;
            drop(session);
        });
        let peer = Peer::of_a_client(listener.accept().await).await;
        peer.send(peer.write.ping("hi")).await;
        let pong = sim.timeout(SECOND, peer.frame()).await.expect("a pong within a second");
        assert_eq!((pong.first, &pong.payload[..]), (PONG, &b"hi"[..]));
        peer.expect_close(1000).await;
        connecting.await;
    });
}

#[test]
fn the_result_of_a_block_is_returned_after_a_normal_close() {
    Sim::check(0..10, |sim| async move {
        let (route, ends) = observed(until_closed);
        sim.spawn(sim.serve("server", at_root(route)));
        let returned = sim.connect("ws://server/").run(async |_session| Err::<(), _>("no")).await;
        assert_eq!(returned.unwrap(), Err("no"));
        assert_eq!(ends.recv().await.unwrap().received(), Some(&CloseCode::NORMAL.into()));
    });
}

#[test]
fn the_opening_timeout_does_not_bound_the_session() {
    Sim::check(0..10, |sim| async move {
        let config = Config::default().opening_timeout(SECOND);
        sim.spawn(sim.serve("server", at_root(websocket(echo).config(config.clone()))));
        let mut session = sim.connect("ws://server/").config(config).await.unwrap();
        sim.sleep(HOUR).await;
        session.send("still here").await.unwrap();
        assert_eq!(session.recv().await.unwrap().as_text(), Some("still here"));
    });
}

#[test]
fn the_smallest_queues_pass_everything_in_order() {
    Sim::check(0..10, |sim| async move {
        sim.spawn(sim.serve("server", at_root(websocket(echo))));
        let smallest = Config::default().read_ahead(0).high_water(1);
        let mut session: Session = sim.connect("ws://server/").config(smallest).await.unwrap();
        for number in 0..100 {
            session.send(number.to_string()).await.unwrap();
        }
        for number in 0..100 {
            assert_eq!(session.recv().await.unwrap(), number.to_string());
        }
    });
}

#[test]
fn a_url_of_ws_without_a_port_leads_to_port_80() {
    Sim::check(0..5, |sim| async move {
        sim.spawn(sim.serve("server", at_root(websocket(echo))));
        sim.spawn(sim.serve("server:8080", at_root(websocket(echo).protocol("other"))));
        for (url, protocol) in [
            ("ws://server/", None),
            ("ws://server:80/", None),
            ("ws://server:8080/", Some("other")),
        ] {
            let mut connecting = sim.connect(url);
            if let Some(protocol) = protocol {
                connecting = connecting.subprotocol(protocol);
            }
            assert_eq!(connecting.await.unwrap().request().subprotocol(), protocol);
        }
        for url in ["http://server/", "server", "ws:///", "ws://nowhere/"] {
            assert!(sim.connect(url).await.is_err(), "{url}");
        }
    });
}
