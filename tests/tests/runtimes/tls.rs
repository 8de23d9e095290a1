//! Sessions over TLS, and peers that fail its handshake.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use smol::channel;
use sockless_core::{Cause, CloseCode, Config, Message, Party};
use sockless_driver::tls::{TlsAcceptor, TlsConnector, TlsError, rustls};
use sockless_driver::{ClientConnection, ConnectError, Session, TlsInfo};
use sockless_routing::{Router, websocket};

use crate::on::{Runtime, spawn};
use crate::raw::{RawClient, upgrade_request};
use crate::serving::{Serving, exchange};
use sockless_tests::certificates::{Authority, Identity};
use sockless_tests::handlers::{codes, echo, observed, until_closed};

const NAME: &str = "localhost";

fn acceptor(identity: &Identity) -> TlsAcceptor {
    TlsAcceptor::from_pem(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap()
}

fn connector(authority: &Authority) -> TlsConnector {
    TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap()
}

async fn serve<R: Runtime>(acceptor: TlsAcceptor) -> Serving<R> {
    serve_within(acceptor, Config::default()).await
}

async fn serve_within<R: Runtime>(acceptor: TlsAcceptor, config: Config) -> Serving<R> {
    let router = Router::new().websockets(config).route("/", websocket(echo));
    Serving::start_with(router, |server| server.tls(acceptor)).await
}

async fn connect<R: Runtime>(
    addr: SocketAddr,
    connector: &TlsConnector,
) -> Result<Session, TlsError> {
    let transport = R::transport(TcpStream::connect(addr).expect("the server listens"));
    let transport = connector.connect(NAME, transport).await?;
    let request = http::Request::get(format!("wss://{NAME}/")).body(()).unwrap();
    let opening = ClientConnection::handshake(transport, request, Arc::default(), R::driver());
    Ok(opening.await.expect("the server upgrades").spawn())
}

fn large() -> Message {
    Message::from((0..1 << 20).map(|i: u32| (i / 7) as u8).collect::<Vec<_>>())
}

pub(crate) async fn the_server_echoes_over_tls_and_closes_with_1001<R: Runtime>() {
    let authority = Authority::new();
    let server = serve::<R>(acceptor(&authority.issue(NAME))).await;
    let mut session = connect::<R>(server.addr, &connector(&authority)).await.unwrap();
    for message in [Message::from("hello"), Message::from(""), large()] {
        exchange(&mut session, message).await;
    }
    let report = server.stop();
    let closed = until_closed(session).await;
    assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::ClosingHandshake));
    assert_eq!(codes(&closed), (Some(1001), Some(1001)));
    assert_eq!(report.recv().await.unwrap().drained, 1);
}

pub(crate) async fn a_url_of_wss_is_dialled<R: Runtime>() {
    let authority = Authority::new();
    let server = serve::<R>(acceptor(&authority.issue(NAME))).await;
    let url = format!("wss://{NAME}:{}/", server.addr.port());
    let mut session = R::connect(&url).tls(connector(&authority)).await.unwrap();
    exchange(&mut session, "hello").await;

    match R::connect(&url).tls(connector(&Authority::new())).await {
        Err(ConnectError::Tls { error: TlsError::Certificate(error), .. }) => {
            assert_eq!(error, rustls::CertificateError::UnknownIssuer);
        }
        other => panic!("no client trusts it, but: {other:?}"),
    }
}

pub(crate) async fn the_client_echoes_over_tls<R: Runtime>() {
    let authority = Authority::new();
    let (route, endings) = observed(async |mut session: Session| {
        for message in [Message::from("hello"), Message::from(""), large()] {
            exchange(&mut session, message).await;
        }
        session.close((CloseCode::new(4321).unwrap(), "so long"));
        session.closed().await
    });
    let acceptor = acceptor(&authority.issue(NAME));
    let router = Router::new().route("/", route);
    let server = Serving::<R>::start_with(router, |server| server.tls(acceptor)).await;
    let session = connect::<R>(server.addr, &connector(&authority)).await.unwrap();
    let closed = echo(session).await.expect_err("an echo ends with its session");
    assert_eq!((closed.by(), closed.cause()), (Party::Peer, &Cause::ClosingHandshake));
    assert_eq!(codes(&closed), (Some(4321), Some(4321)));
    let closed = endings.recv().await.unwrap();
    assert_eq!((closed.by(), closed.cause()), (Party::Local, &Cause::ClosingHandshake));
    assert_eq!(codes(&closed), (Some(4321), Some(4321)));
}

pub(crate) async fn a_call_knows_that_it_came_by_tls<R: Runtime>() {
    let authority = Authority::new();
    let (tell, reported) = channel::unbounded();
    let route = websocket(move |session: Session| {
        let _ = tell.try_send((session.request().is_secure(), session.request().tls().cloned()));
        async {}
    });
    let acceptor = acceptor(&authority.issue(NAME));
    let router = Router::new().route("/", route);
    let server = Serving::<R>::start_with(router.clone(), |server| server.tls(acceptor)).await;
    connect::<R>(server.addr, &connector(&authority)).await.unwrap();
    let (is_secure, tls) = reported.recv().await.unwrap();
    let TlsInfo { alpn, server_name, .. } = tls.expect("it came by TLS");
    assert_eq!((is_secure, server_name.as_deref()), (Some(true), Some(NAME)));
    assert_eq!(alpn.as_deref(), Some(&b"http/1.1"[..]));

    let plain = Serving::<R>::start(router).await;
    plain.connect().await;
    assert_eq!(reported.recv().await.unwrap(), (None, None));
}

/// Even where the settings offer more, as those that are shared with a server of HTTP/2.
pub(crate) async fn a_server_agrees_on_no_protocol_but_http_1_1<R: Runtime>() {
    let authority = Authority::new();
    let identity = authority.issue(NAME);
    let h2 = || acceptor(&identity).alpn(["h2"]);
    let both = || acceptor(&identity).alpn(["h2", "http/1.1"]);
    let replaced = acceptor(&identity);
    replaced.replace(both_in_a_config_of_ones_own(&identity));
    for acceptor in [h2(), both(), both_in_a_config_of_ones_own(&identity).into(), replaced] {
        let server = serve::<R>(acceptor).await;
        let transport = R::transport(TcpStream::connect(server.addr).unwrap());
        let wants_h2 = connector(&authority).alpn(["h2", "http/1.1"]);
        let transport = wants_h2.connect(NAME, transport).await.unwrap();
        assert_eq!(transport.tls().unwrap().alpn.as_deref(), Some(&b"http/1.1"[..]));
        let mut session = connect::<R>(server.addr, &wants_h2).await.unwrap();
        exchange(&mut session, "in HTTP/1.1").await;

        let refused = connect::<R>(server.addr, &connector(&authority).alpn(["h2"])).await;
        let expected = rustls::AlertDescription::NoApplicationProtocol;
        assert!(matches!(refused, Err(TlsError::Refused(alert)) if alert == expected));
        let none: [&str; 0] = [];
        let silent = connector(&authority).alpn(none);
        exchange(&mut connect::<R>(server.addr, &silent).await.unwrap(), "hello").await;
    }
}

fn both_in_a_config_of_ones_own(identity: &Identity) -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes()).map(Result::unwrap);
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(chain.collect(), key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

pub(crate) async fn a_certificate_is_replaced_while_the_server_runs<R: Runtime>() {
    let (old, new) = (Authority::new(), Authority::new());
    let acceptor = acceptor(&old.issue(NAME));
    let server = serve::<R>(acceptor.clone()).await;
    let mut before = connect::<R>(server.addr, &connector(&old)).await.unwrap();

    let Identity { chain, key } = new.issue(NAME);
    acceptor.reload_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    exchange(&mut before, "the old connection stays").await;
    let refused = connect::<R>(server.addr, &connector(&old)).await;
    assert!(matches!(refused, Err(TlsError::Certificate(_))), "{refused:?}");
    let mut after = connect::<R>(server.addr, &connector(&new)).await.unwrap();
    exchange(&mut after, "the new one has the new").await;

    // An invalid file changes nothing.
    let error = acceptor.reload_pem(b"", b"").unwrap_err();
    assert!(matches!(error, TlsError::Pem { .. }), "{error}");
    exchange(&mut connect::<R>(server.addr, &connector(&new)).await.unwrap(), "still").await;
}

pub(crate) async fn a_rejected_certificate_is_an_error<R: Runtime>() {
    let authority = Authority::new();
    let unknown = Authority::new().issue(NAME);
    let wrong = authority.issue("example.com");
    let expired = authority.issue_expired(NAME);
    let acceptor = acceptor(&unknown);
    let server = serve::<R>(acceptor.clone()).await;
    let connector = connector(&authority);
    let why = async || match connect::<R>(server.addr, &connector).await {
        Err(TlsError::Certificate(error)) => error,
        other => panic!("the certificate is at fault, but: {other:?}"),
    };
    let replace = |Identity { chain, key }: Identity| {
        acceptor.reload_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    };
    use rustls::CertificateError::*;
    assert_eq!(why().await, UnknownIssuer);
    replace(wrong);
    assert!(matches!(why().await, NotValidForNameContext { .. }));
    replace(expired);
    assert!(matches!(why().await, ExpiredContext { .. }));
    replace(authority.issue(NAME));
    exchange(&mut connect::<R>(server.addr, &connector).await.unwrap(), "sound").await;
}

/// None of them keeps the next client waiting.
pub(crate) async fn clients_that_fail_the_handshake_are_dropped<R: Runtime>() {
    let authority = Authority::new();
    let server = serve::<R>(acceptor(&authority.issue(NAME))).await;
    let mut silent = RawClient::connect(server.addr);
    let mut halfway = RawClient::connect(server.addr);
    // The head of a ClientHello that never comes.
    halfway.send([22, 3, 1, 0, 200, 1, 0, 0, 196]);
    let mut plain = RawClient::connect(server.addr);
    plain.send(upgrade_request("/"));
    let alert = plain.read_to_reset();
    assert!(alert.is_empty() || alert[0] == 21, "an alert at most (RFC 8446 §5.1): {alert:?}");

    let mut session = connect::<R>(server.addr, &connector(&authority)).await.unwrap();
    exchange(&mut session, "hello").await;
    halfway.shutdown_write();
    halfway.read_to_reset();
    silent.shutdown_write();
    assert!(silent.read_to_reset().is_empty());
    exchange(&mut session, "hello again").await;
}

pub(crate) async fn a_client_that_stalls_times_out<R: Runtime>() {
    let authority = Authority::new();
    let config = Config::default().opening_timeout(Duration::from_millis(50));
    let server = serve_within::<R>(acceptor(&authority.issue(NAME)), config).await;
    let mut silent = RawClient::connect(server.addr);
    assert!(silent.read_to_reset().is_empty());
}

pub(crate) async fn a_client_that_stalls_makes_room_at_the_cap<R: Runtime>() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.issue(NAME));
    let router = Router::new().route("/", websocket(echo));
    let cap = |server: sockless_driver::Server| server.tls(acceptor).max_connections(2);
    let server = Serving::<R>::start_with(router, cap).await;
    let mut silent = RawClient::connect(server.addr);
    let (addr, connector) = (server.addr, connector(&authority));
    let mut first = connect::<R>(addr, &connector).await.unwrap();
    let mut second = connect::<R>(addr, &connector).await.unwrap();
    assert!(silent.read_to_reset().is_empty());
    // Both are sessions now, which are not dropped for another.
    let (telling, reported) = channel::bounded(1);
    let next = spawn::<R, _>(async move {
        let session = connect::<R>(addr, &connector).await;
        telling.send(()).await.unwrap();
        exchange(&mut session.unwrap(), "my turn").await;
    });
    for _ in 0..100 {
        exchange(&mut first, "time passes").await;
    }
    assert!(reported.is_empty(), "it was let in past the cap");
    exchange(&mut second, "still here").await;
    drop(second);
    next.await;
}

pub(crate) async fn a_server_that_fails_the_handshake_is_an_error<R: Runtime>() {
    let connector = connector(&Authority::new());
    for (answer, expected) in [(&b""[..], "cut"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not TLS")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of the ClientHello: a reset for what was not read would overtake the answer.
            let mut head = [0; 5];
            stream.read_exact(&mut head).unwrap();
            let len = u16::from_be_bytes([head[3], head[4]]);
            stream.read_exact(&mut vec![0; len.into()]).unwrap();
            stream.write_all(answer).unwrap();
        });
        let error = connect::<R>(addr, &connector).await.unwrap_err();
        let found = match error {
            TlsError::Cut => "cut",
            TlsError::NotTls => "not TLS",
            _ => "something else",
        };
        assert_eq!(found, expected, "{error}");
        serving.join().unwrap();
    }
}

/// A server that disappears without closing TLS looks the same as one without TLS.
pub(crate) async fn a_lost_connection_differs_from_a_close<R: Runtime>() {
    let authority = Authority::new();
    let (route, endings) = observed(until_closed);
    let acceptor = acceptor(&authority.issue(NAME));
    let router = Router::new().route("/", route);
    let server = Serving::<R>::start_with(router, |server| server.tls(acceptor)).await;
    let stream = TcpStream::connect(server.addr).unwrap();
    let cutter = stream.try_clone().unwrap();
    let transport = connector(&authority).connect(NAME, R::transport(stream)).await.unwrap();
    let request = http::Request::get(format!("wss://{NAME}/")).body(()).unwrap();
    let opening = ClientConnection::handshake(transport, request, Arc::default(), R::driver());
    let session = opening.await.unwrap().spawn();
    cutter.shutdown(Shutdown::Both).unwrap();
    let theirs = endings.recv().await.unwrap();
    for closed in [theirs, session.closed().await] {
        assert_eq!(closed.by(), Party::Peer);
        match closed.cause() {
            Cause::Transport(error) => assert!(error.contains("close_notify"), "{error}"),
            cause => panic!("the transport was cut, but: {cause:?}"),
        }
    }
}
