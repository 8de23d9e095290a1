//! Other protocols run on the simulated network: axum and hyper with the router mounted in them.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use sockless::{Closed, Router, Session, websocket};
use sockless_hyper::Mount;
use sockless_sim::{Link, Sim, SimIo, SimListener};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

const MS: Duration = Duration::from_millis(1);

async fn echo(mut session: Session) -> Result<(), Closed> {
    loop {
        let message = session.recv().await?;
        session.send(message).await?;
    }
}

/// Serves a page and, for all other paths, the router.
async fn serve(sim: Sim, mut listener: SimListener) {
    let mount = Mount::new(Router::new().route("/echo", websocket(echo)), sim.runtime());
    let app = axum::Router::new()
        .route("/page", axum::routing::get(async || "a page of axum"))
        .fallback_service(mount);
    loop {
        let io = TokioIo::new(listener.accept().await);
        let service = TowerToHyperService::new(app.clone());
        // The date would be that of the system.
        let mut server = hyper::server::conn::http1::Builder::new();
        let server = server.auto_date_header(false);
        let serving = server.serve_connection(io, service).with_upgrades();
        sim.spawn(async move { serving.await.ok() });
    }
}

#[test]
fn axum_serves_pages_and_websockets() {
    let link = Link::tcp().latency(20 * MS).jitter(10 * MS).short_reads(50).short_writes(50);
    Sim::check(0..20, |sim| {
        let link = link.clone();
        async move {
            sim.spawn(serve(sim.clone(), sim.listen_over("server", &link)));
            let mut client = sim.connect("ws://server/echo").await.unwrap();
            client.send("hello").await.unwrap();
            assert_eq!(client.recv().await.unwrap(), "hello");

            assert_eq!(page(&sim).await, "a page of axum");
            client.close(sockless::CloseCode::NORMAL);
            assert!(client.closed().await.is_clean());
        }
    });
}

/// Gets the page with the client of hyper.
async fn page(sim: &Sim) -> String {
    let io = TokioIo::new(sim.dial("server").await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    sim.spawn(async move { connection.await.ok() });
    let request = hyper::Request::get("/page").header("host", "server").body(String::new());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    let body = axum::body::to_bytes(axum::body::Body::new(response.into_body()), 1000).await;
    String::from_utf8(body.unwrap().into()).unwrap()
}

#[test]
fn a_cut_of_the_wire_ends_a_session_behind_axum() {
    Sim::check(0..20, |sim| async move {
        let mut listener = sim.listen("server");
        let ended = Arc::new(tokio::sync::Notify::new());
        let (world, notify) = (sim.clone(), ended.clone());
        sim.spawn(async move {
            let handler = move |mut session: Session| {
                let notify = notify.clone();
                async move {
                    let closed = session.recv().await.unwrap_err();
                    notify.notify_one();
                    Err::<(), Closed>(closed)
                }
            };
            let mount = Mount::new(Router::new().route("/", websocket(handler)), world.runtime());
            let io = TokioIo::new(listener.accept().await);
            let mut server = hyper::server::conn::http1::Builder::new();
            let server = server.auto_date_header(false);
            let serving = server.serve_connection(io, TowerToHyperService::new(mount));
            serving.with_upgrades().await.ok();
        });
        let io = sim.dial("server").await.unwrap();
        let wire = io.wire();
        let client = sim.connect_over(io, "ws://server/").await.unwrap();
        wire.cut();
        ended.notified().await;
        assert!(!client.closed().await.is_clean());
    });
}

/// A store of one value, which speaks lines.
async fn store(io: SimIo) -> std::io::Result<()> {
    let (read, mut write) = tokio::io::split(io);
    let (mut lines, mut value) = (BufReader::new(read).lines(), String::new());
    while let Some(line) = lines.next_line().await? {
        match line.strip_prefix("set ") {
            Some(set) => set.clone_into(&mut value),
            None => write.write_all(format!("{value}\n").as_bytes()).await?,
        }
    }
    write.shutdown().await
}

#[test]
fn a_pipe_is_a_stream_of_tokio() {
    let link = Link::default().latency(MS).short_reads(3).short_writes(2);
    Sim::check(0..50, |sim| {
        let (mut here, there) = sim.pipe_over(&link);
        async move {
            sim.spawn(async move { store(there).await.unwrap() });
            here.write_all(b"set a long enough value\nget\n").await.unwrap();
            here.flush().await.unwrap();
            AsyncWriteExt::shutdown(&mut here).await.unwrap();
            let mut answer = String::new();
            here.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "a long enough value\n");
        }
    });
}
