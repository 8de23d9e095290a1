//! Sessions over Unix sockets.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sockless_core::{Cause, CloseCode, Message, Party};
use sockless_driver::{Reconnect, ReconnectState, Session};
use sockless_routing::{Router, websocket};

use crate::on::Runtime;
use crate::serving::{Serving, exchange};
use sockless_tests::handlers::{codes, echo, until_closed};

/// The longest delay before an attempt.
const MOMENT: Duration = Duration::from_millis(10);

/// A path that is free, and is again when this is dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "sockless-{}-{}.sock",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) async fn a_unix_socket_carries_both_roles<R: Runtime>() {
    let place = Place::new();
    let greeting = websocket(async |session: Session| {
        let addrs = (session.request().peer_addr(), session.request().local_addr());
        assert_eq!(addrs, (None, None));
        session.send(session.request().host().unwrap_or_default().to_owned()).await?;
        echo(session).await
    });
    let server = R::bind_unix(&place.0).unwrap();
    assert_eq!(server.local_addr(), None);
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let server = Serving::<R>::run_at(nowhere, server, Router::new().route("/greet", greeting));
    let connecting = R::connect_unix(&place.0, "ws://somewhere/greet").await.unwrap();
    let mut session = connecting.await.unwrap();
    assert_eq!(session.recv().await.unwrap().as_text(), Some("somewhere"));
    exchange(&mut session, Message::from(vec![7; 1 << 20])).await;
    session.close(CloseCode::NORMAL);
    let closed = session.closed().await;
    assert_eq!((closed.by(), closed.cause()), (Party::Local, &Cause::ClosingHandshake));

    let connecting = R::connect("ws://somewhere/greet").unix_socket(&place.0);
    let session = connecting.await.unwrap();
    let report = server.stop();
    assert_eq!(codes(&until_closed(session).await), (Some(1001), Some(1001)));
    assert_eq!(report.recv().await.unwrap().terminated, 0);
}

/// The server's socket is another one after a restart, at the same path.
pub(crate) async fn a_reconnect_dials_a_unix_socket_again<R: Runtime>() {
    let place = Place::new();
    let path = place.0.clone();
    let mut feed =
        Reconnect::new(move || R::connect("ws://somewhere/").unix_socket(&path)).max_delay(MOMENT);
    let watch = feed.watch();
    for _ in 0..2 {
        let server = R::bind_unix(&place.0).unwrap();
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let server =
            Serving::<R>::run_at(nowhere, server, Router::new().route("/", websocket(echo)));
        let mut session = feed.next().await.unwrap();
        assert!(matches!(watch.state(), ReconnectState::Open));
        exchange(&mut session, "hello").await;
        let report = server.stop();
        assert_eq!(codes(&until_closed(session).await), (Some(1001), Some(1001)));
        assert_eq!(report.recv().await.unwrap().terminated, 0);
        std::fs::remove_file(&place.0).unwrap();
    }
}

pub(crate) async fn a_path_in_use_and_one_without_a_listener_are_errors<R: Runtime>() {
    let place = Place::new();
    let error = R::connect_unix(&place.0, "ws://somewhere/").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(place.0.to_str().unwrap()), "{error}");

    let server = R::bind_unix(&place.0).unwrap();
    assert_eq!(R::bind_unix(&place.0).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(server);
    let error = R::connect_unix(&place.0, "ws://somewhere/").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
