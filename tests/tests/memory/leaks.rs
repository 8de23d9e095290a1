//! A session that is over leaves nothing: no task, no memory.

use sockless_driver::ConnectionServer;
use sockless_driver::tls::{TlsAcceptor, TlsConnector};
use sockless_routing::{Router, websocket};
use sockless_sim::{App, Sim};

use crate::held;
use sockless_tests::certificates::{Authority, Identity};
use sockless_tests::handlers::echo;

/// `CIOWebSocketTestJvm.testNonWebsocketRouteDoNotLeakOnWsRequest`, and the same with sessions.
pub(crate) fn ten_thousand_upgrades_leave_no_task_and_no_memory() {
    let sim = Sim::new(1);
    sim.run(async {
        let app = sim.app(Router::new().route("/echo", websocket(echo)));
        // Memory that is allocated once, such as the thread's lent buffers, exists by then.
        let secured = Secured::new(&sim);
        refused(&app, 100).await;
        served(&app, 100).await;
        secured.failed(&sim, 300).await;
        sim.settle().await;
        let before = held();
        refused(&app, 10_000).await;
        served(&app, 1000).await;
        secured.failed(&sim, 1000).await;
        sim.settle().await;
        let grown = held().saturating_sub(before);
        assert_eq!((app.connections(), secured.host.connections()), (0, 0));
        // Two bytes for each would be 20,000; a task is hundreds.
        assert!(grown < 10_000, "{grown} bytes more are held than before");
    });
}

/// A host by TLS, and a client that does not trust it.
struct Secured {
    host: ConnectionServer,
    acceptor: TlsAcceptor,
    stranger: TlsConnector,
}

impl Secured {
    fn new(sim: &Sim) -> Self {
        let Identity { chain, key } = Authority::new().issue("localhost");
        Self {
            host: ConnectionServer::new(Router::new(), sim.runtime()),
            acceptor: TlsAcceptor::from_pem(chain.as_bytes(), key.as_bytes()).unwrap(),
            stranger: TlsConnector::trusting_pem(Authority::new().pem().as_bytes()).unwrap(),
        }
    }

    /// Handshakes that fail: by a client that refuses, one that speaks no TLS, one that goes away.
    async fn failed(&self, sim: &Sim, count: usize) {
        for turn in 0..count {
            let (client, server) = sim.pipe();
            sim.spawn(self.host.serve_tls_connection(&self.acceptor, Box::new(server), None, None));
            match turn % 3 {
                0 => {
                    let connected = self.stranger.connect("localhost", Box::new(client)).await;
                    assert!(connected.is_err());
                }
                1 => {
                    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
                    let _ = client.read_to_end().await;
                }
                _ => drop(client),
            }
        }
    }
}

async fn refused(app: &App, count: usize) {
    for _ in 0..count {
        assert_eq!(app.open("/nowhere").refused().await.status(), 404);
    }
}

async fn served(app: &App, count: usize) {
    for _ in 0..count {
        let mut client = app.open("/echo").await;
        client.send("hello").await;
        client.expect("hello").await;
    }
}
