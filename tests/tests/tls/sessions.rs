//! Sessions over TLS, as over any transport.

use std::sync::Arc;
use std::time::Duration;

use sockless_core::{Cause, CloseCode, Config, Instant, Message, Party};
use sockless_driver::tls::{TlsAcceptor, TlsConnector};
use sockless_driver::{ClientConnection, ConnectionServer, Service, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::{Link, Sim, SimIo, WireDirection};
use sockless_tests::handlers::{echo, until_closed};

use crate::support::{NAME, trusting};

const SECOND: Duration = Duration::from_secs(1);

/// A host that takes clients by TLS.
struct Secured {
    host: ConnectionServer,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Secured {
    fn new(sim: &Sim, service: impl Service) -> Self {
        let (acceptor, connector) = trusting();
        Self { host: ConnectionServer::new(service, sim.runtime()), acceptor, connector }
    }

    /// A client's end of a connection that is being served.
    fn dial(&self, sim: &Sim, link: &Link) -> SimIo {
        let (client, server) = sim.pipe_over(link);
        let server = Box::new(server);
        sim.spawn(self.host.serve_tls_connection(&self.acceptor, server, None, None));
        client
    }

    async fn open(&self, sim: &Sim, link: &Link) -> Session {
        self.open_over(sim, self.dial(sim, link)).await
    }

    async fn open_over(&self, sim: &Sim, io: SimIo) -> Session {
        let connected = self.connector.connect(NAME, Box::new(io)).await;
        let transport = connected.expect("the server is trusted");
        let request = http::Request::get(format!("wss://{NAME}/")).body(()).unwrap();
        let opening =
            ClientConnection::handshake(transport, request, Arc::default(), sim.runtime());
        opening.await.expect("the server upgrades").spawn()
    }
}

fn one<H, Fut, O>(handler: H) -> Router
where
    H: Fn(Session) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = O> + Send + 'static,
    O: sockless_driver::Outcome + 'static,
{
    Router::new().route("/", websocket(handler))
}

fn bytes(len: usize) -> Message {
    Message::from((0..len).map(|i| (i / 3) as u8).collect::<Vec<_>>())
}

#[test]
fn messages_and_closes_pass_over_any_network() {
    Sim::check(0..4, |sim| async move {
        sim.allow_nondeterminism();
        let base = Link::default;
        for link in [
            base(),
            base().short_reads(1).short_writes(1),
            base().capacity(64),
            base().held_until_flush(true),
            base().latency(SECOND / 20).jitter(SECOND / 50).short_reads(1000),
        ] {
            let server = Secured::new(&sim, one(echo));
            let mut session = server.open(&sim, &link).await;
            for message in [Message::from("hello"), Message::from(""), bytes(20_000)] {
                session.send(message.clone()).await.unwrap();
                assert!(session.recv().await.unwrap() == message);
            }
            session.close((CloseCode::new(4321).unwrap(), "so long"));
            let closed = until_closed(session).await;
            assert_eq!((closed.by(), closed.cause()), (Party::Local, &Cause::ClosingHandshake));
            assert_eq!(closed.received().unwrap().text(), "so long");
            sim.settle().await;
            assert_eq!(server.host.connections(), 0);
        }
    });
}

/// The wait for bytes that TLS still holds then is bounded.
#[test]
fn a_peer_that_never_reads_cannot_keep_its_connection() {
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        let server =
            Secured::new(&sim, one(async |session: Session| session.send(bytes(60_000)).await));
        let client = server.dial(&sim, &Link::default().capacity(4000));
        let wire = client.wire();
        let _session = server.open_over(&sim, client).await;
        wire.stall(WireDirection::Inbound);
        sim.settle().await;
        assert_eq!(server.host.connections(), 1, "it waits for the peer to read");
        let config = Config::default();
        // To take what the transport holds, to be answered, and to be silent.
        let holds = config.get_write_timeout().expect("it has a default");
        sim.sleep(holds * 2 + config.get_closing_timeout() * 2 + SECOND).await;
        assert_eq!(server.host.connections(), 0);
    });
}

#[test]
fn to_terminate_waits_for_nothing() {
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        let (tell, reported) = smol::channel::unbounded();
        let handler = move |session: Session| {
            let tell = tell.clone();
            async move {
                let _ = tell.send(session.closed().await).await;
            }
        };
        let server = Secured::new(&sim, one(handler));
        let client = server.dial(&sim, &Link::default().capacity(4000));
        let wire = client.wire();
        let session = server.open_over(&sim, client).await;
        wire.stall(WireDirection::Outbound);
        session.send(bytes(50_000)).await.unwrap();
        sim.settle().await;
        let before = sim.now();
        session.terminate();
        let closed = session.closed().await;
        assert_eq!(closed.cause(), &Cause::Aborted);
        // The bytes on the wire arrive; those that TLS still held were dropped.
        wire.resume(WireDirection::Outbound);
        match reported.recv().await.unwrap().cause() {
            Cause::Transport(error) => assert!(error.contains("close_notify"), "{error}"),
            cause => panic!("the transport was dropped, but: {cause:?}"),
        }
        sim.settle().await;
        assert_eq!(sim.now(), before);
        assert_eq!(server.host.connections(), 0);
    });
}

/// The Close frames have said all there is to say: a transport that ends without TLS's own farewell
/// after them has cut nothing short.
#[test]
fn a_close_counts_also_when_tls_is_not_ended_after_it() {
    Sim::check(0..20, |sim| async move {
        sim.allow_nondeterminism();
        let server = Secured::new(&sim, one(echo));
        let client = server.dial(&sim, &Link::default());
        let wire = client.wire();
        let session = server.open_over(&sim, client).await;
        session.close(CloseCode::NORMAL);
        let closed = session.closed().await;
        wire.end(WireDirection::Inbound);
        sim.settle().await;
        assert_eq!((closed.by(), closed.cause()), (Party::Local, &Cause::ClosingHandshake));
        assert_eq!(session.closed().await, closed);
        assert_eq!(server.host.connections(), 0);
    });
}

#[test]
fn an_end_in_the_midst_is_reported_as_what_it_is() {
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        let server = Secured::new(&sim, one(echo));
        let client = server.dial(&sim, &Link::default());
        let wire = client.wire();
        let session = server.open_over(&sim, client).await;
        wire.end(WireDirection::Inbound);
        let closed = session.closed().await;
        match closed.cause() {
            Cause::Transport(error) => assert!(error.contains("close_notify"), "{error}"),
            cause => panic!("TLS was cut, but: {cause:?}"),
        }
        sim.settle().await;
        assert_eq!(server.host.connections(), 0);
    });
}

#[test]
fn a_shutdown_reaches_those_who_have_not_shaken_hands() {
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        let server = Secured::new(&sim, one(echo));
        let silent = server.dial(&sim, &Link::default());
        let session = server.open(&sim, &Link::default()).await;
        let report = server.host.shutdown(SECOND).await;
        assert_eq!((report.drained, report.terminated), (1, 1));
        assert_eq!(sim.now(), Instant::EPOCH + SECOND);
        assert_eq!(silent.read_to_end().await.unwrap(), "");
        assert_eq!(session.closed().await.received().unwrap().code(), Some(CloseCode::GOING_AWAY));
    });
}

/// TLS holds 64 KiB that the session has handed over, which take this peer half a minute.
#[test]
fn a_peer_that_reads_slowly_gets_what_tls_holds_and_the_close_frame() {
    Sim::check(0..5, |sim| async move {
        sim.allow_nondeterminism();
        let server =
            Secured::new(&sim, one(async |session: Session| session.send(bytes(60_000)).await));
        let link = Link::default().capacity(4000).bandwidth(2000);
        let mut session = server.open(&sim, &link).await;
        assert!(session.recv().await.unwrap() == bytes(60_000));
        let closed = until_closed(session).await;
        assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::ClosingHandshake));
        assert_eq!(closed.received().unwrap().code(), Some(CloseCode::NORMAL));
        assert!(sim.now() >= Instant::EPOCH + SECOND * 25, "{:?}", sim.now());
    });
}
