//! The ends of sessions, as each side reports them.

use std::future::pending;
use std::time::Duration;

use sockless_core::{Cause, CloseCode, Config, Party, Timeout};
use sockless_driver::Session;
use sockless_routing::{Router, websocket};

use crate::on::Http;
use crate::serving::Served;
use sockless_tests::handlers::{codes, echo, observed, until_closed};

pub(crate) async fn a_client_that_closes_gets_its_code_back<H: Http>() {
    let (route, ends) = observed(until_closed);
    let server = Served::<H>::one(route).await;
    let session = server.connect().await;
    session.close((CloseCode::new(4711).unwrap(), "enough"));
    let closed = until_closed(session).await;
    assert_eq!((closed.by(), closed.cause()), (Party::Local, &Cause::ClosingHandshake));
    assert_eq!(codes(&closed), (Some(4711), Some(4711)));
    let closed = ends.recv().await.unwrap();
    assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::ClosingHandshake));
    assert_eq!(closed.received().unwrap().text(), "enough");
}

pub(crate) async fn a_handler_that_ends_closes_with_1000<H: Http>() {
    let route = websocket(async |session: Session| session.send("last words").await);
    let server = Served::<H>::one(route).await;
    let mut session = server.connect().await;
    assert_eq!(session.recv().await.unwrap().as_text(), Some("last words"));
    let closed = until_closed(session).await;
    assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::ClosingHandshake));
    assert_eq!(codes(&closed), (Some(1000), Some(1000)));
}

pub(crate) async fn a_handler_that_fails_closes_with_1011<H: Http>() {
    let route = websocket(async |_session: Session| Err::<(), _>("our secret"));
    let server = Served::<H>::one(route).await;
    let closed = until_closed(server.connect().await).await;
    assert_eq!(codes(&closed), (Some(1011), Some(1011)));
    assert_eq!(closed.received().unwrap().text(), "");
}

pub(crate) async fn a_handler_that_panics_closes_with_1011_and_the_next_one_works<H: Http>() {
    let route = websocket(async |session: Session| {
        assert_eq!(session.request().query(), None, "this panic belongs to the test");
        echo(session).await
    });
    let server = Served::<H>::one(route).await;
    let mut other = server.connect().await;
    let closed = until_closed(server.http.open("/?panic").await.spawn()).await;
    assert_eq!(codes(&closed), (Some(1011), Some(1011)));
    other.send("still here").await.unwrap();
    assert_eq!(other.recv().await.unwrap().as_text(), Some("still here"));
}

/// Without a Close frame: its transport is dropped.
pub(crate) async fn a_client_that_is_gone_is_noticed<H: Http>() {
    let (route, ends) = observed(until_closed);
    let server = Served::<H>::one(route).await;
    let other = server.connect().await;
    server.connect().await.terminate();
    let closed = ends.recv().await.unwrap();
    assert_eq!((closed.by(), closed.is_clean()), (Party::Peer, false));
    assert_eq!(closed.received(), None);
    assert!(matches!(closed.cause(), Cause::Eof | Cause::Transport(_)), "{closed}");
    // The other one is not touched.
    other.close(CloseCode::NORMAL);
    assert_eq!(codes(&until_closed(other).await), (Some(1000), Some(1000)));
}

pub(crate) async fn a_silent_client_times_out<H: Http>() {
    let (route, ends) = observed(until_closed);
    let config = Config::default().ping_interval(Duration::from_secs(30));
    let server = Served::<H>::one(route.config(config)).await;
    // No task drives it, so no ping is answered.
    let silent = server.http.open("/").await;
    let closed = ends.recv().await.unwrap();
    assert_eq!(*closed.cause(), Cause::Timeout(Timeout::Ping));
    drop(silent);
}

pub(crate) async fn a_shutdown_closes_with_1001_and_counts<H: Http>() {
    let server = Served::<H>::one(websocket(echo)).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(tokio::spawn(until_closed(server.connect().await)));
    }
    let report = server.host.shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.drained, report.terminated, report.stuck), (3, 0, 0));
    assert_eq!(server.host.connections(), 0);
    for session in sessions {
        assert_eq!(codes(&session.await.unwrap()), (Some(1001), Some(1001)));
    }
}

pub(crate) async fn a_handler_that_never_ends_is_terminated<H: Http>() {
    let router = Router::new()
        .route("/", websocket(echo))
        .route("/stuck", websocket(async |_session: Session| pending::<()>().await));
    let server = Served::<H>::start(router).await;
    let session = tokio::spawn(until_closed(server.connect().await));
    let stuck = tokio::spawn(until_closed(server.http.open("/stuck").await.spawn()));
    let before = tokio::time::Instant::now();
    let drain = Duration::from_secs(10);
    let report = server.host.shutdown(drain).await;
    assert_eq!((report.drained, report.terminated, report.stuck), (1, 1, 0));
    assert_eq!(before.elapsed().as_secs(), 10);
    assert_eq!(codes(&session.await.unwrap()), (Some(1001), Some(1001)));
    assert_eq!(stuck.await.unwrap().received().unwrap().code(), Some(CloseCode::GOING_AWAY));
}
