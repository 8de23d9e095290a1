//! Clients behind a proxy that announces them by the PROXY protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use sockless_core::Config;
use sockless_driver::{ClientConnection, ConnectionServer, ProxyProtocol, Session};
use sockless_routing::{Router, websocket};
use sockless_sim::{Link, Sim, SimIo};
use sockless_tests::opened::SECOND;

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";

fn addr(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

fn server(sim: &Sim) -> ConnectionServer {
    let told = async |session: Session| {
        let request = session.request();
        session.send(format!("{:?} {:?}", request.peer_addr(), request.local_addr())).await?;
        session.closed().await;
        Ok::<_, sockless_core::Closed>(())
    };
    let router = Router::new()
        .websockets(Config::default().opening_timeout(SECOND * 5))
        .route("/", websocket(told));
    let proxies = ProxyProtocol::new(["10.0.0.0/8", "unix:"]).unwrap();
    ConnectionServer::new(router, Arc::new(sim.clone())).proxy_protocol(proxies)
}

/// A connection from `peer`, over any link.
fn dial(sim: &Sim, server: &ConnectionServer, peer: Option<SocketAddr>) -> SimIo {
    let link = Link::default().short_reads(1 + sim.draw(0..60) as usize);
    let (near, far) = sim.pipe_over(&link);
    sim.spawn(server.serve_connection(Box::new(near), peer, addr("10.0.0.2:80")));
    far
}

async fn open(sim: &Sim, io: SimIo) -> Session {
    let request = http::Request::get("ws://server/").body(()).unwrap();
    let runtime = Arc::new(sim.clone());
    let opened = ClientConnection::handshake(Box::new(io), request, Arc::default(), runtime).await;
    opened.expect("it is accepted").spawn()
}

/// True if the server ends the connection without a byte, in time.
async fn is_dropped(sim: &Sim, io: &SimIo) -> bool {
    let read = sim.timeout(SECOND * 6, io.read_some()).await.expect("in time");
    read.map_or(true, |bytes| bytes.is_empty())
}

#[test]
fn the_announced_client_is_the_peer() {
    Sim::check(0..30, |sim| async move {
        let server = server(&sim);
        let io = dial(&sim, &server, addr("10.1.2.3:50000"));
        io.write_all(HEADER).await.unwrap();
        let told = open(&sim, io).await.recv().await.unwrap();
        assert_eq!(told, "Some(192.0.2.1:56324) Some(198.51.100.2:443)");

        let io = dial(&sim, &server, None);
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC0\0\x02\x09\xC6\x33\x64\x02\0\x07\0\x50";
        io.write_all(v2).await.unwrap();
        let told = open(&sim, io).await.recv().await.unwrap();
        assert_eq!(told, "Some(192.0.2.9:7) Some(198.51.100.2:80)");

        let io = dial(&sim, &server, addr("10.1.2.3:50000"));
        io.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
        assert_eq!(open(&sim, io).await.recv().await.unwrap(), "None None");
    });
}

#[test]
fn only_a_proxy_announces_and_every_proxy_does() {
    Sim::check(0..20, |sim| async move {
        let server = server(&sim);
        let io = dial(&sim, &server, addr("203.0.113.7:1"));
        let told = open(&sim, io).await.recv().await.unwrap();
        assert_eq!(told, "Some(203.0.113.7:1) Some(10.0.0.2:80)");
        let io = dial(&sim, &server, addr("203.0.113.7:1"));
        io.write_all(&[HEADER, b"\r\n"].concat()).await.unwrap();
        let response = io.read_until(b"\r\n").await.unwrap();
        assert!(response.starts_with(b"HTTP/1.1 400"), "a client cannot forge it: {response:?}");

        let proxy = addr("10.1.2.3:50000");
        for bytes in [&b"GET / HTTP/1.1\r\nHost: server\r\n\r\n"[..], b"PROXY TCP4 x\r\n-----", b""]
        {
            let io = dial(&sim, &server, proxy);
            io.write_all(bytes).await.unwrap();
            assert!(is_dropped(&sim, &io).await, "{bytes:?}");
        }
        let io = dial(&sim, &server, proxy);
        io.write_all(b"PROXY").await.unwrap();
        io.shutdown().await.unwrap();
        assert!(is_dropped(&sim, &io).await);
    });
}

#[test]
fn the_announced_client_is_the_one_that_is_limited() {
    Sim::check(0..10, |sim| async move {
        let server = server(&sim).max_connections_per_peer(1);
        let proxy = addr("10.1.2.3:50000");
        let one = dial(&sim, &server, proxy);
        one.write_all(HEADER).await.unwrap();
        let one = open(&sim, one).await;
        let again = dial(&sim, &server, proxy);
        again.write_all(HEADER).await.unwrap();
        assert!(is_dropped(&sim, &again).await, "the same client");
        let other = dial(&sim, &server, proxy);
        other.write_all(b"PROXY TCP4 192.0.2.2 198.51.100.2 1 443\r\n").await.unwrap();
        drop(open(&sim, other).await);
        drop(one);
        while server.connections() > 0 {
            sim.sleep(SECOND).await;
        }
        let again = dial(&sim, &server, proxy);
        again.write_all(HEADER).await.unwrap();
        open(&sim, again).await.recv().await.unwrap();
    });
}
