//! Rooms: members, messages, and those that are slow.

use sockless::metrics as names;
use sockless::rooms::{Lag, Namespace, RoomConfig, Rooms};
use sockless_driver::{BoxError, ConnectionServer, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::Link;
use sockless_tests::opened::{Peer, SECOND};

use crate::Recorded;

async fn member(mut session: Session, room: Namespace) -> Result<(), BoxError> {
    let member = room.join(&session, "lobby").await?;
    loop {
        let message = session.recv().await?;
        member.publish(message).await?;
    }
}

#[test]
fn members_and_what_they_publish_are_counted() {
    Recorded::check(|sim, recorded| async move {
        let chat = Rooms::local(sim.clone()).namespace("chat", RoomConfig::default());
        let handler = websocket(move |session| member(session, chat.clone()));
        let app = sim.app(Router::new().route("/", handler));
        let (mut ada, mut bob) = (app.open("/").await, app.open("/").await);
        sim.settle().await;
        recorded.expect(names::ROOMS, &[], 1.0);
        recorded.expect(names::ROOM_MEMBERS, &[], 2.0);
        ada.send("hello").await;
        ada.expect("hello").await;
        bob.expect("hello").await;
        recorded.expect(names::ROOMS_PUBLISHED, &[r#"result="ok""#], 1.0);
        recorded.expect(names::ROOMS_DELIVERED, &[], 2.0);
        recorded.expect(names::ROOMS_LAGGED, &[], 0.0);
        ada.terminate();
        sim.settle().await;
        recorded.expect(names::ROOM_MEMBERS, &[], 1.0);
        bob.terminate();
        sim.settle().await;
        recorded.expect(names::ROOM_MEMBERS, &[], 0.0);
        recorded.expect(names::ROOMS, &[], 0.0);
    });
}

#[test]
fn slow_members_are_counted_and_what_they_lose() {
    for is_closed in [false, true] {
        Recorded::check(|sim, recorded| async move {
            let lag = match is_closed {
                true => Lag::Close { max_bytes: 100_000 },
                false => Lag::DropOldest { max_bytes: 100_000 },
            };
            let rooms = Rooms::local(sim.clone());
            let chat = rooms.namespace("chat", RoomConfig::default().lag(lag));
            let joined = chat.clone();
            let handler = websocket(move |session| member(session, joined.clone()));
            let host = ConnectionServer::new(Router::new().route("/", handler), sim.runtime());
            let (near, far) = sim.pipe_over(&Link::tcp().buffers(4 << 10, 4 << 10));
            sim.spawn(host.serve_connection(Box::new(near), None, None));
            // It never reads.
            let _peer = Peer::of_a_server(far).await;
            sim.settle().await;
            for _ in 0..20 {
                chat.publish("lobby", vec![7; 20_000]).await.unwrap();
            }
            sim.sleep(SECOND).await;
            let stats = rooms.stats();
            assert!(stats.lagged > 0 && (stats.dropped > 0) != is_closed, "{stats:?}");
            recorded.expect(names::ROOMS_LAGGED, &[], stats.lagged as f64);
            recorded.expect(names::ROOMS_DROPPED, &[r#"reason="oldest""#], stats.dropped as f64);
            recorded.expect(names::ROOMS_CLOSED_FOR_LAG, &[], is_closed.into());
            recorded.expect(names::ROOM_MEMBERS, &[], stats.members as f64);
        });
    }
}
