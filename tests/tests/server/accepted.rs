//! Sessions on streams that the program accepts itself, without a router.

use std::sync::Arc;

use http::StatusCode;
use sockless_core::handshake::text_response;
use sockless_core::{Cause, CloseCode, Config};
use sockless_driver::{AcceptError, ClientConnection, ConnectError, IncomingUpgrade, Session};
use sockless_sim::{JoinHandle, Sim, SimIo};
use sockless_tests::opened::{HOUR, SECOND};

type Accepting = JoinHandle<Result<Session, AcceptError>>;

/// Accepts a stream by `decide`, and returns the client's end.
fn accept<F>(sim: &Sim, config: Config, decide: F) -> (SimIo, Accepting)
where
    F: FnOnce(&mut IncomingUpgrade) -> Result<(), http::Response<bytes::Bytes>> + Send + 'static,
{
    let (near, far) = sim.pipe();
    let runtime = Arc::new(sim.clone());
    let accepting = sim.spawn(async move {
        let mut upgrade = IncomingUpgrade::read(Box::new(near), Arc::new(config), runtime).await?;
        match decide(&mut upgrade) {
            Ok(()) => Ok(upgrade.accept()),
            Err(response) => Err(upgrade.reject(response).await),
        }
    });
    (far, accepting)
}

async fn connect(
    sim: &Sim,
    io: SimIo,
    request: http::request::Builder,
) -> Result<ClientConnection, ConnectError> {
    let request = request.body(()).unwrap();
    ClientConnection::handshake(Box::new(io), request, Arc::default(), Arc::new(sim.clone())).await
}

#[test]
fn a_stream_becomes_a_session() {
    Sim::check(0..20, |sim| async move {
        let (io, accepting) = accept(&sim, Config::default(), |upgrade| {
            assert_eq!(upgrade.request().path(), "/chat");
            assert_eq!(upgrade.offered_protocols().collect::<Vec<_>>(), ["v1", "v2"]);
            assert_eq!(upgrade.select_protocol(&["v2"]), Some("v2"));
            assert_eq!(upgrade.request().client_ip(), None);
            upgrade.set_addrs("192.0.2.7:50000".parse().ok(), "192.0.2.1:80".parse().ok());
            upgrade.add_header("set-cookie", "id=1").unwrap();
            upgrade.add_header("sec-websocket-accept", "forged").unwrap_err();
            Ok(())
        });
        let request = http::Request::get("ws://server/chat");
        let opened = connect(&sim, io, request.header("sec-websocket-protocol", "v1, v2")).await;
        let opened = opened.unwrap();
        assert_eq!(opened.response().headers()["set-cookie"], "id=1");
        let mut client = opened.spawn();
        let mut server = accepting.await.unwrap();
        assert_eq!(server.request().subprotocol(), Some("v2"));
        assert_eq!(server.request().client_ip(), "192.0.2.7".parse().ok());
        assert_eq!(server.request().local_addr(), "192.0.2.1:80".parse().ok());
        client.send("hello").await.unwrap();
        assert_eq!(server.recv().await.unwrap(), "hello");
        // It is driven while nothing is awaited from it.
        client.ping("").unwrap().await.unwrap();
        drop(server);
        let closed = client.recv().await.unwrap_err();
        assert_eq!(closed.received().unwrap().code(), Some(CloseCode::NORMAL));
    });
}

#[test]
fn a_request_is_rejected_with_the_programs_response() {
    Sim::check(0..20, |sim| async move {
        let (io, accepting) = accept(&sim, Config::default(), |_| {
            Err(text_response(StatusCode::UNAUTHORIZED, "a token is required\nand more\n"))
        });
        let rejected = connect(&sim, io, http::Request::get("ws://server/")).await.unwrap_err();
        let expected =
            "answered 401 Unauthorized, not 101 Switching Protocols: \"a token is required\"";
        assert!(rejected.to_string().ends_with(expected), "{rejected}");
        let error = accepting.await.unwrap_err();
        assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
        assert!(matches!(error, AcceptError::Rejected(_)));
    });
}

#[test]
fn what_is_no_handshake_is_an_error_and_answered() {
    Sim::check(0..20, |sim| async move {
        let (io, accepting) = accept(&sim, Config::default(), |_| Ok(()));
        io.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let response = io.read_to_end().await.unwrap();
        assert!(response.starts_with(b"HTTP/1.1 426 "), "{response:?}");
        drop(io);
        let error = accepting.await.unwrap_err();
        assert!(matches!(error, AcceptError::Upgrade(_)), "{error}");

        let (io, accepting) = accept(&sim, Config::default(), |_| Ok(()));
        io.write_all(b"\x16\x03\x01").await.unwrap();
        assert!(io.read_to_end().await.unwrap().starts_with(b"HTTP/1.1 400 "));
        drop(io);
        assert!(matches!(accepting.await.unwrap_err(), AcceptError::Head(_)));
    });
}

#[test]
fn a_silent_client_is_an_error_within_opening_timeout() {
    Sim::check(0..5, |sim| async move {
        let config = Config::default().opening_timeout(SECOND * 5);
        let (io, accepting) = accept(&sim, config, |_| Ok(()));
        let error = sim.timeout(SECOND * 11, accepting).await.expect("in time").unwrap_err();
        assert!(matches!(error, AcceptError::Head(_)), "{error}");
        drop(io);
    });
}

#[test]
fn an_accepted_session_notices_the_end_of_its_client() {
    Sim::check(0..5, |sim| async move {
        let (io, accepting) = accept(&sim, Config::default(), |_| Ok(()));
        let client = connect(&sim, io, http::Request::get("ws://server/")).await.unwrap().spawn();
        let mut server = accepting.await.unwrap();
        client.terminate();
        let closed = sim.timeout(HOUR, server.recv()).await.expect("in time").unwrap_err();
        assert!(matches!(closed.cause(), Cause::Eof | Cause::Transport(_)), "{closed}");
    });
}
