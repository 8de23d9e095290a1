//! Requests that are rejected, by reason and status.

use std::net::SocketAddr;

use http::{Request as HttpRequest, StatusCode};
use sockless::metrics::REQUESTS_REJECTED;
use sockless_core::handshake::text_response;
use sockless_driver::{ConnectionServer, Request};
use sockless_routing::{Router, respond, websocket};
use sockless_tests::handlers::echo;
use sockless_tests::opened::{Peer, SECOND};

use crate::Recorded;

fn router() -> Router {
    let locked = async |_: Request| Err::<Request, _>(text_response(StatusCode::FORBIDDEN, "no\n"));
    Router::new()
        .route("/", websocket(echo))
        .route("/page", respond(|_| text_response(StatusCode::OK, "a page\n")))
        .nest("/locked", Router::new().guard(locked).route("/", websocket(echo)))
        .route("/panics", respond(|_| panic!("it panics")))
}

#[test]
fn each_rejection_has_its_reason_and_its_status() {
    Recorded::check(|sim, recorded| async move {
        sim.tolerate_panics();
        let app = sim.app(router());
        let expect = |reason: &str, status: &str, count: f64| {
            let labels = format!("reason=\"{reason}\",status=\"{status}\"");
            recorded.expect(REQUESTS_REJECTED, &[&labels], count);
        };
        app.get("/page").await;
        recorded.expect(REQUESTS_REJECTED, &[], 0.0);
        app.get("/favicon.ico").await;
        expect("http", "404", 1.0);
        app.open("/nothing").refused().await;
        app.open("/elsewhere").refused().await;
        expect("service", "404", 2.0);
        app.open("/locked").refused().await;
        expect("service", "403", 1.0);
        app.get("/").await;
        expect("handshake", "426", 1.0);
        app.request(HttpRequest::get("/panics").body(()).unwrap()).await;
        expect("panicked", "500", 1.0);
        let garbled = app.dial();
        garbled.write_all(b"\0\0\0\r\n\r\n").await.unwrap();
        sim.settle().await;
        expect("head", "400", 1.0);
        let (silent, slow) = (app.dial(), app.dial());
        slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        sim.sleep(SECOND * 11).await;
        expect("head", "", 1.0);
        expect("head", "408", 1.0);
        drop((garbled, silent, slow));
        let total = recorded.sum(REQUESTS_REJECTED, &[]);

        let _client = app.open("/").await;
        let late = app.dial();
        let (shut, clock) = (app.clone(), sim.clone());
        let shutdown = sim.spawn(async move { shut.shutdown(SECOND * 5).await });
        clock.settle().await;
        late.write_all(sockless_tests::opened::REQUEST.as_bytes()).await.unwrap();
        sim.settle().await;
        expect("shutting_down", "503", 1.0);
        shutdown.await;
        recorded.expect(REQUESTS_REJECTED, &[], total + 1.0);
    });
}

#[test]
fn a_connection_beyond_the_limit_of_its_peer_is_counted() {
    Recorded::check(|sim, recorded| async move {
        let host = ConnectionServer::new(router(), sim.runtime()).max_connections_per_peer(1);
        let peer: SocketAddr = "192.0.2.1:1234".parse().unwrap();
        let (near, far) = sim.pipe();
        sim.spawn(host.serve_connection(Box::new(near), Some(peer), None));
        let _first = Peer::of_a_server(far).await;
        let (near, _far) = sim.pipe();
        host.serve_connection(Box::new(near), Some(peer), None).await;
        let labels = r#"reason="connections_per_peer",status="""#;
        recorded.expect(REQUESTS_REJECTED, &[labels], 1.0);
        recorded.expect(REQUESTS_REJECTED, &[], 1.0);
    });
}
