//! `DefaultWebSocketTest`: how a session of messages answers, waits and ends.

use std::time::Duration;

use sockless_core::{Cause, CloseReason, Closed, Config, Frame, Instant, Opcode, Party, Timeout};
use sockless_driver::Session;
use sockless_routing::{WebSocketRoute, websocket};
use sockless_sim::{App, Sim};

use crate::support::{Told, at_root, close, expect_close, text};

#[test]
fn close_by_client() {
    Sim::check(0..20, |sim| async move {
        let (handler, told) = receives_all();
        let app = sim.app(at_root(handler));
        let mut client = app.open("/").raw().await;
        client.send(close(1001, "leaving")).await;
        client.expect(close(1001, "leaving")).await;
        client.expect_end().await;
        let (frames, closed) = told.told().await;
        assert_eq!((frames, closed.by()), (0, Party::Peer));
        assert_eq!(closed.received().map(CloseReason::to_string).as_deref(), Some("1001 leaving"));
        assert_eq!(closed.sent(), closed.received());
        ended(&sim, &app).await;
    });
}

#[test]
fn ping_pong() {
    Sim::check(0..20, |sim| async move {
        let (handler, told) = receives_all();
        let app = sim.app(at_root(handler));
        let mut client = app.open("/").raw().await;
        for number in 0..5 {
            client.send(Frame::new(Opcode::Ping, format!("ping {number}").into())).await;
        }
        for number in 0..5 {
            client.expect(Frame::new(Opcode::Pong, format!("ping {number}").into())).await;
        }
        client.send(close(1000, "")).await;
        client.expect(close(1000, "")).await;
        client.expect_end().await;
        assert_eq!(told.told().await.0, 0, "a control frame was received as a message");
        ended(&sim, &app).await;
    });
}

#[test]
fn ping_pong_timeout() {
    Sim::check(0..20, |sim| async move {
        let (handler, told) = receives_all();
        let half_a_second = Duration::from_millis(500);
        let config = Config::default().ping_interval(half_a_second).ping_timeout(half_a_second);
        let app = sim.app(at_root(handler.config(config)));
        let mut client = app.open("/").raw().await;
        assert_eq!(client.recv().await.opcode, Opcode::Ping);
        expect_close(&mut client, 1011).await;
        let (_, closed) = told.told().await;
        assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Ping));
        assert_eq!(sim.now(), Instant::EPOCH + 2 * half_a_second);
        client.expect_end().await;
        drop(client);
        ended(&sim, &app).await;
    });
}

#[test]
fn cancellation() {
    Sim::check(0..20, |sim| async move {
        let told = Told::new();
        let teller = told.clone();
        let handler = move |session: Session| {
            let teller = teller.clone();
            async move {
                session.flush().await.unwrap();
                session.terminate();
                teller.tell(session.closed().await);
            }
        };
        let app = sim.app(at_root(websocket(handler)));
        let mut client = app.open("/").await;
        assert_eq!(client.closed().await.cause(), &Cause::Eof);
        let closed = told.told().await;
        assert_eq!((closed.by(), closed.cause()), (Party::Local, &Cause::Aborted));
        ended(&sim, &app).await;
    });
}

/// What was received before the end is received before the end is told.
#[test]
fn messages_before_the_close() {
    Sim::check(0..20, |sim| async move {
        let (handler, told) = receives_all();
        let app = sim.app(at_root(handler));
        let mut client = app.open("/").raw().await;
        for _ in 0..3 {
            client.send(text("hello")).await;
        }
        client.send(close(1000, "")).await;
        client.expect(close(1000, "")).await;
        assert_eq!(told.told().await.0, 3);
        drop(client);
        ended(&sim, &app).await;
    });
}

/// A handler that tells how many messages it received, and how the session ended.
fn receives_all() -> (WebSocketRoute, Told<(usize, Closed)>) {
    let told = Told::new();
    let teller = told.clone();
    let handler = move |mut session: Session| {
        let teller = teller.clone();
        async move {
            let mut count = 0;
            let closed = loop {
                match session.recv().await {
                    Ok(_) => count += 1,
                    Err(closed) => break closed,
                }
            };
            // The same to everybody who asks.
            assert_eq!(session.closed().await, closed);
            assert_eq!(session.send("too late").await, Err(closed.clone()));
            teller.tell((count, closed));
        }
    };
    (websocket(handler), told)
}

/// Nothing is left.
async fn ended(sim: &Sim, app: &App) {
    sim.settle().await;
    assert_eq!(app.connections(), 0);
}
