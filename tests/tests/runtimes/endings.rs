//! The ends of sessions, as each side reports them.

use std::time::Duration;

use smol::channel;
use sockless_core::{Cause, CloseCode, Config, Party, Timeout};
use sockless_driver::{ConnectError, Session};
use sockless_routing::{Router, websocket};

use crate::on::{Runtime, World};
use crate::raw::RawClient;
use crate::serving::{Serving, exchange};
use sockless_tests::handlers::{codes, echo, observed, until_closed};

pub(crate) async fn a_handler_that_ends_closes_with_1000<R: World>() {
    let route = websocket(async |session: Session| session.send("last words").await);
    let server = Serving::<R>::one(route).await;
    let mut session = server.connect().await;
    assert_eq!(session.recv().await.expect("it was sent").as_text(), Some("last words"));
    let closed = session.recv().await.expect_err("the handler has ended");
    assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::ClosingHandshake));
    assert_eq!(codes(&closed), (Some(1000), Some(1000)));
}

pub(crate) async fn a_handler_that_fails_closes_with_1011<R: World>() {
    let route = websocket(async |_session: Session| Err::<(), _>("our secret"));
    let server = Serving::<R>::one(route).await;
    let closed = until_closed(server.connect().await).await;
    assert_eq!(codes(&closed), (Some(1011), Some(1011)));
    assert_eq!(closed.received().unwrap().text(), "");
}

pub(crate) async fn a_handler_that_panics_closes_with_1011<R: World>() {
    let route = websocket(async |session: Session| {
        assert_eq!(session.request().query(), None, "this panic belongs to the test");
        echo(session).await
    });
    let server = Serving::<R>::one(route).await;
    let session = R::connect(&format!("{}?panic", server.url())).await;
    let closed = until_closed(session.expect("the server answers")).await;
    assert_eq!(codes(&closed), (Some(1011), Some(1011)));
    exchange(&mut server.connect().await, "the server goes on").await;
}

pub(crate) async fn a_close_code_comes_back<R: World>() {
    let (route, endings) = observed(until_closed);
    let server = Serving::<R>::one(route).await;
    let session = server.connect().await;
    session.close((CloseCode::new(4321).unwrap(), "so long"));
    let ours = session.closed().await;
    assert_eq!((ours.by(), ours.cause()), (Party::Local, &Cause::ClosingHandshake));
    assert_eq!(codes(&ours), (Some(4321), Some(4321)));

    let theirs = endings.recv().await.expect("the handler ends");
    assert_eq!((theirs.by(), theirs.cause()), (Party::Peer, &Cause::ClosingHandshake));
    assert_eq!(codes(&theirs), (Some(4321), Some(4321)));
    assert_eq!(theirs.received().unwrap().text(), "so long");
}

pub(crate) async fn a_client_that_drops_its_session_closes_with_1000<R: World>() {
    let (route, endings) = observed(until_closed);
    let server = Serving::<R>::one(route).await;
    drop(server.connect().await);
    let closed = endings.recv().await.expect("the handler ends");
    assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::ClosingHandshake));
    assert_eq!(codes(&closed), (Some(1000), Some(1000)));
}

pub(crate) async fn a_shutdown_closes_with_1001_and_counts<R: World>() {
    let server = Serving::<R>::one(websocket(echo)).await;
    let url = server.url();
    let mut sessions = [server.connect().await, server.connect().await, server.connect().await];
    for session in &mut sessions {
        exchange(session, "hello").await;
    }
    let report = server.stop();
    for session in sessions {
        assert_eq!(codes(&until_closed(session).await), (Some(1001), Some(1001)));
    }
    let report = report.recv().await.expect("the server ends");
    assert_eq!((report.drained, report.terminated, report.stuck), (3, 0, 0));
    let late = R::connect(&url).await;
    assert!(matches!(late, Err(ConnectError::Dial { .. })), "{late:?}");
}

pub(crate) async fn a_handler_that_never_ends_is_terminated<R: World>() {
    let (sender, handlers) = channel::unbounded::<()>();
    let route = websocket(move |mut session: Session| {
        let sender = sender.clone();
        async move {
            // Dropped with the handler.
            let _sender = sender;
            session.send("hello").await.expect("the session is open");
            while session.recv().await.is_ok() {}
            std::future::pending::<()>().await;
        }
    });
    let router = Router::new().route("/", route);
    let drain = |server: sockless_driver::Server| server.drain_timeout(Duration::from_millis(50));
    let server = Serving::<R>::start_with(router, drain).await;
    let mut session = server.connect().await;
    session.recv().await.expect("the handler has begun");

    let report = server.stop();
    assert_eq!(codes(&until_closed(session).await), (Some(1001), Some(1001)));
    let report = report.recv().await.expect("the server ends");
    assert_eq!((report.drained, report.terminated, report.stuck), (0, 1, 0));
    handlers.recv().await.expect_err("the handler is gone, and the route with it");
}

pub(crate) async fn a_peer_that_answers_no_ping_times_out<R: Runtime>() {
    let (route, endings) = observed(until_closed);
    let config = Config::default()
        .ping_interval(Duration::from_millis(20))
        .ping_timeout(Duration::from_millis(20));
    let server = Serving::<R>::start(Router::new().websockets(config).route("/", route)).await;
    let _silent = RawClient::upgrade(server.addr);
    let closed = endings.recv().await.expect("the handler ends");
    assert_eq!(closed.cause(), &Cause::Timeout(Timeout::Ping));
}
