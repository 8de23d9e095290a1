//! Limits on whole connections, on a virtual clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockless_core::Closed;
use sockless_driver::{Sender, Session};
use sockless_routing::guards::{ConnectionLimit, RateLimit, limit_connections, limit_rate};
use sockless_routing::{Router, websocket};
use sockless_sim::Sim;

const SECOND: Duration = Duration::from_secs(1);

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

#[test]
fn a_rate_limit_uses_the_clock_of_the_runtime() {
    Sim::check(0..10, |sim| async move {
        let limit = RateLimit::new(1, 10 * SECOND);
        let app = sim.app(Router::new().guard(limit_rate(limit)).route("/x", websocket(echo)));
        let app = app.with_addrs(Some(([203, 0, 113, 7], 5000).into()), None);
        app.open("/x").await.expect_silence(SECOND).await;
        let refused = app.open("/x").refused().await;
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()["retry-after"], "9");
        sim.sleep(9 * SECOND).await;
        app.open("/x").await;
    });
}

#[test]
fn a_permit_is_released_when_the_connection_ends_even_if_a_sender_is_kept() {
    Sim::check(0..10, |sim| async move {
        let room: Arc<Mutex<Vec<Sender>>> = Arc::default();
        let handler = {
            let room = room.clone();
            move |session: Session| {
                room.lock().unwrap().push(session.sender());
                echo(session)
            }
        };
        let limit = ConnectionLimit::new().per_peer(1);
        let router = Router::new().guard(limit_connections(limit)).route("/x", websocket(handler));
        let app = sim.app(router).with_addrs(Some(([203, 0, 113, 7], 5000).into()), None);
        for turn in 1..4 {
            let mut session = app.open("/x").await;
            session.send("hi").await;
            session.expect("hi").await;
            assert_eq!(app.open("/x").refused().await.status(), 429);
            session.close(sockless_core::CloseCode::NORMAL);
            session.closed().await;
            sim.sleep(10 * SECOND).await;
            assert_eq!((room.lock().unwrap().len(), app.connections()), (turn, 0));
        }
    });
}
