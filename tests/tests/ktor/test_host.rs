//! `TestApplicationTestJvm`, `NettyEngineTest` and `CIOWebSocketTestJvm`: many sessions in one server, and
//! upgrades that fail.

use http::StatusCode;
use sockless_core::{CloseCode, Closed, Opcode};
use sockless_driver::{Request, Session};
use sockless_routing::{Router, text_response, websocket};
use sockless_sim::Sim;

use crate::support::{at_root, close, echo, numbered, text as text_frame};

#[test]
fn web_sockets() {
    Sim::check(0..5, |sim| async move {
        let mut client = sim.app(at_root(websocket(echo))).open("/").await;
        for number in 0..100 {
            client.send(numbered(number)).await;
            client.expect(numbered(number)).await;
        }
        client.close(CloseCode::NORMAL);
        client.expect_closed(1000).await;
    });
}

#[test]
fn multiple_parallel_web_sockets_requests() {
    Sim::check(0..5, |sim| async move {
        let app = sim.app(at_root(websocket(echo)));
        let clients: Vec<_> = (0..100)
            .map(|client| {
                let app = app.clone();
                sim.spawn(async move {
                    let mut session = app.open("/").await;
                    for number in 0..10 {
                        let message = format!("{number} of {client}");
                        session.send(message.clone()).await;
                        session.expect(message).await;
                    }
                    session
                })
            })
            .collect();
        let mut sessions = Vec::new();
        for client in clients {
            sessions.push(client.await);
        }
        assert_eq!(app.connections(), 100);
        drop(sessions);
        sim.settle().await;
        assert_eq!(app.connections(), 0);
    });
}

/// What fails on the way to a handler is answered, and nobody hangs.
#[test]
fn web_socket_with_error() {
    async fn panics(_request: Request) -> Result<Request, http::Response<bytes::Bytes>> {
        panic!("a guard that panics")
    }

    Sim::check(0..5, |sim| async move {
        let refuses = async |_request: Request| {
            Err(text_response(StatusCode::SERVICE_UNAVAILABLE, "not today\n"))
        };
        let app = sim.app(
            Router::new()
                .nest("/panics", Router::new().guard(panics).route("/", websocket(echo)))
                .nest("/refuses", Router::new().guard(refuses).route("/", websocket(echo))),
        );
        assert_eq!(app.open("/panics").refused().await.status(), 500);
        let refused = app.open("/refuses").refused().await;
        assert_eq!(
            (refused.status(), &refused.body()[..]),
            (StatusCode::SERVICE_UNAVAILABLE, &b"not today\n"[..])
        );
    });
}

#[test]
fn web_socket_connection_failed() {
    Sim::check(0..5, |sim| async move {
        let refused = sim.app(at_root(websocket(echo))).open("/nowhere").refused().await;
        assert_eq!(refused.status(), 404);
        assert!(!refused.body().is_empty());
    });
}

/// What comes from outside comes with the closure.
#[test]
fn can_pass_context_from_outside() {
    Sim::check(0..5, |sim| async move {
        let outside = "from outside".to_owned();
        let handler = move |session: Session| {
            let outside = outside.clone();
            async move { session.send(outside).await }
        };
        sim.app(at_root(websocket(handler))).open("/").await.expect("from outside").await;
    });
}

#[test]
fn raw_web_socket_freeze() {
    Sim::check(0..20, |sim| async move {
        let handler = async |session: Session| -> Result<(), Closed> {
            for _ in 0..10 {
                session.send("text").await?;
            }
            Ok(())
        };
        let mut client = sim.app(at_root(websocket(handler))).open("/").raw().await;
        for _ in 0..10 {
            client.expect(text_frame("text")).await;
        }
        let last = client.recv().await;
        assert_eq!(last.opcode, Opcode::Close);
        client.send(close(1000, "")).await;
        client.expect_end().await;
    });
}
