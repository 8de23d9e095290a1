//! The options of TCP sockets, accepted and dialled.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use smol::channel;
use sockless_driver::Session;
use sockless_routing::{Router, websocket};

use crate::on::Runtime;
use crate::serving::{Serving, exchange};
use sockless_tests::handlers::echo;

pub(crate) async fn keep_alive_is_on_where_one_accepts_and_dials<R: Runtime>() {
    let (telling, reported) = channel::unbounded();
    let route = websocket(move |session: Session| {
        let _ = telling.try_send(session.request().peer_addr());
        echo(session)
    });
    let server = Serving::<R>::start(Router::new().route("/", route)).await;
    let mut session = server.connect().await;
    exchange(&mut session, "hello").await;
    let client = reported.recv().await.unwrap().expect("it came by TCP");
    let runtime = R::driver();
    // The accepted and the dialled socket. At first another timer may run: that of an acknowledgement.
    for (local, remote) in [(server.addr, client), (client, server.addr)] {
        while !is_kept_alive(local, remote) {
            let mut timer = runtime.timer(runtime.now() + Duration::from_millis(5));
            poll_fn(|cx| timer.poll_expired(cx)).await;
        }
    }
}

/// True if the system will probe a connection of this machine within a minute (proc_net_tcp(5)).
fn is_kept_alive(local: SocketAddr, remote: SocketAddr) -> bool {
    let port = |addr: SocketAddr| format!(":{:04X}", addr.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has this table");
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let Some((kind, left)) = fields.get(5).and_then(|timer| timer.split_once(':')) else {
            return false;
        };
        // In hundredths of a second.
        let is_soon = i64::from_str_radix(left, 16).is_ok_and(|left| left <= 6100);
        let is_it = fields[1].ends_with(&port(local)) && fields[2].ends_with(&port(remote));
        is_it && kind == "02" && is_soon
    })
}
