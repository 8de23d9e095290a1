//! Listeners with options: several on one port, and how many connections wait for one.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use sockless_driver::sockets::ListenOptions;
use sockless_driver::{Session, ShutdownReport};
use sockless_routing::{Router, websocket};

use crate::on::Runtime;
use crate::serving::{Serving, exchange};
use sockless_tests::handlers::{codes, until_closed};

/// Two servers on one port, each of which greets by its name; `None` where the system has no such thing.
async fn two<R: Runtime>() -> Option<[Serving<R>; 2]> {
    let shared = ListenOptions::default().reuse_port(true);
    let first = R::bind_with(ANY_PORT, &shared).await;
    if !cfg!(any(
        target_os = "android",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "linux"
    )) {
        assert_eq!(first.expect_err("no such option").kind(), ErrorKind::Unsupported);
        return None;
    }
    let first = first.expect("a port is free");
    let addr = first.local_addr().expect("a TCP listener has an address");
    let second = R::bind_with(addr, &shared).await.expect("the port is shared");
    assert_eq!(second.local_addr(), Some(addr));
    Some([Serving::run(first, named("first")), Serving::run(second, named("second"))])
}

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Says its name, then echoes.
fn named(name: &'static str) -> Router {
    let handler = move |session: Session| async move {
        session.send(name).await?;
        sockless_tests::handlers::echo(session).await
    };
    Router::new().route("/", websocket(handler))
}

/// A session, and who serves it.
async fn greeted<R: Runtime>(addr: SocketAddr) -> (Session, String) {
    let mut session = R::connect(&format!("ws://{addr}/")).await.expect("the server answers");
    let greeting = session.recv().await.expect("it was sent");
    (session, greeting.as_text().expect("a text").to_owned())
}

/// By chance all come to the same server once in 2⁶³ times.
const MANY: usize = 64;

pub(crate) async fn servers_that_share_a_port_share_the_connections<R: Runtime>() {
    let Some([first, second]) = two::<R>().await else { return };
    let mut sessions = Vec::new();
    for _ in 0..MANY {
        sessions.push(greeted::<R>(first.addr).await);
    }
    let of_first = sessions.iter().filter(|(_, name)| name == "first").count();
    assert!((1..MANY).contains(&of_first), "{of_first} of {MANY} came to the first");

    let reports = [first.stop(), second.stop()];
    for (session, _) in sessions {
        assert_eq!(codes(&until_closed(session).await), (Some(1001), Some(1001)));
    }
    let [first, second] = reports;
    let reports = [first.recv().await.unwrap(), second.recv().await.unwrap()];
    assert_eq!((reports[0].drained, reports[0].terminated, reports[0].stuck), (of_first, 0, 0));
    let sum: ShutdownReport = reports.into_iter().sum();
    assert_eq!((sum.drained, sum.terminated, sum.stuck), (MANY, 0, 0));
}

pub(crate) async fn a_server_that_shares_its_port_may_leave<R: Runtime>() {
    let Some([first, second]) = two::<R>().await else { return };
    let (mut session, name) = greeted::<R>(first.addr).await;
    let (leaving, staying, left) = match &*name {
        "first" => (second, first, "second"),
        _ => (first, second, "first"),
    };
    let report = leaving.stop().recv().await.expect("the server ends");
    assert_eq!(report, ShutdownReport::default());
    exchange(&mut session, "the other one goes on").await;
    for _ in 0..MANY {
        let (_session, name) = greeted::<R>(staying.addr).await;
        assert_ne!(name, left);
    }
}

pub(crate) async fn a_port_is_shared_only_if_both_are_set_to<R: Runtime>() {
    let Some([first, _second]) = two::<R>().await else { return };
    let alone = ListenOptions::default();
    let shared = ListenOptions::default().reuse_port(true);
    let error = R::bind_with(first.addr, &alone).await.expect_err("the port is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);

    let alone = R::bind_with(ANY_PORT, &alone).await.expect("a port is free");
    let error = R::bind_with(alone.local_addr().unwrap(), &shared).await;
    assert_eq!(error.expect_err("the port is taken").kind(), ErrorKind::AddrInUse);
}

/// No task accepts, and the system ignores connections when its queue is full.
pub(crate) async fn a_backlog_bounds_who_waits_to_be_accepted<R: Runtime>() {
    let server = R::bind_with(ANY_PORT, &ListenOptions::default().backlog(2)).await.unwrap();
    let addr = server.local_addr().unwrap();
    let mut waiting = vec![TcpStream::connect(addr).expect("there is room")];
    let ignored = loop {
        match TcpStream::connect_timeout(&addr, Duration::from_millis(100)) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        // Linux lets one more connection wait than the backlog.
        assert!(waiting.len() <= 3, "the backlog is full");
    };
    assert_eq!(ignored.kind(), ErrorKind::TimedOut);
}
