//! Over TLS: trust, misbehaving peers, and redirects from and to it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use sockless_core::Instant;
use sockless_driver::tls::rustls::pki_types::pem::PemObject;
use sockless_driver::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sockless_driver::tls::{TlsAcceptor, TlsConnector, TlsError, rustls};
use sockless_driver::{
    AttemptError, ConnectError, ConnectStep, Io, Proxy, Reconnect, RedirectError, Session,
    TlsVersion,
};
use sockless_routing::{Router, respond, websocket};
use sockless_sim::{Link, Sim, WireDirection};

use crate::support::{DEADLINE, answer, assert_echoes, script};
use sockless_tests::certificates::Authority;
use sockless_tests::handlers::echo;

/// Serves an echo at `wss://server/`, and a redirect to `location` at `/away`; what trusts it.
fn serve(sim: &Sim, location: &'static str) -> TlsConnector {
    let authority = Authority::new();
    let identity = authority.issue("server");
    let acceptor = TlsAcceptor::from_pem(identity.chain.as_bytes(), identity.key.as_bytes());
    let away = respond(move |_request| {
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        response.headers_mut().insert("location", location.try_into().unwrap());
        response
    });
    let router = Router::new().route("/", websocket(echo)).route("/away", away);
    sim.spawn(sim.bind("server:443").tls(acceptor.unwrap()).serve(router));
    TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap()
}

#[test]
fn a_url_of_wss_is_spoken_over_tls() {
    Sim::check(0..3, |sim| async move {
        sim.allow_nondeterminism();
        let connector = serve(&sim, "/");
        let connecting = sim.connect("wss://server/").tls(connector.clone());
        assert_echoes(&mut connecting.await.unwrap()).await;
        let connecting = sim.connect("wss://server/away").tls(connector.clone()).redirects(1);
        assert_echoes(&mut connecting.await.unwrap()).await;
        answer(&sim, "plain", "HTTP/1.1 301 X\r\nLocation: https://server/\r\n\r\n", false);
        let connecting = sim.connect("ws://plain/").tls(connector).redirects(1);
        assert_echoes(&mut connecting.await.unwrap()).await;
    });
}

#[test]
fn tls_goes_through_a_proxy() {
    Sim::check(0..3, |sim| async move {
        sim.allow_nondeterminism();
        let connector = serve(&sim, "/");
        crate::proxies::serve_http_proxy(&sim);
        let proxy = Proxy::new("http://ada:secret@proxy:3128").unwrap();
        let connecting = sim.connect("wss://server/").tls(connector).proxy(proxy);
        assert_echoes(&mut connecting.await.unwrap()).await;
    });
}

/// An HTTP proxy over TLS at `proxy:443`, with a certificate of `authority`.
fn serve_https_proxy(sim: &Sim, authority: &Authority) {
    let identity = authority.issue("proxy");
    let acceptor = TlsAcceptor::from_pem(identity.chain.as_bytes(), identity.key.as_bytes());
    let (acceptor, sim) = (acceptor.unwrap(), sim.clone());
    let mut listener = sim.listen("proxy:443");
    sim.clone().spawn(async move {
        loop {
            let accepted = acceptor.accept(Box::new(listener.accept().await)).await;
            let Ok(mut client) = accepted else { continue };
            let mut head = BytesMut::with_capacity(1000);
            while !head.ends_with(b"\r\n\r\n") {
                poll_fn(|cx| client.poll_read(cx, &mut head)).await.unwrap();
            }
            let head = std::str::from_utf8(&head).unwrap();
            let authority = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
            let server: Box<dyn Io> = Box::new(sim.dial(authority).await.unwrap());
            let answer = b"HTTP/1.1 200 Established\r\n\r\n";
            write(&mut client, answer).await;
            sim.spawn(relay(client, server));
        }
    });
}

async fn write(io: &mut Box<dyn Io>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| io.poll_write(cx, &[std::io::IoSlice::new(bytes)])).await;
        bytes = &bytes[written.unwrap()..];
    }
    poll_fn(|cx| io.poll_flush(cx)).await.unwrap();
}

/// Carries bytes between the two until either ends.
async fn relay(mut one: Box<dyn Io>, mut other: Box<dyn Io>) {
    loop {
        let (mut from_one, mut from_other) =
            (BytesMut::with_capacity(1000), BytesMut::with_capacity(1000));
        let read = poll_fn(|cx| match one.poll_read(cx, &mut from_one) {
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => other.poll_read(cx, &mut from_other),
        });
        if read.await.is_ok_and(|read| read > 0) {
            write(&mut other, &from_one).await;
            write(&mut one, &from_other).await;
        } else {
            return;
        }
    }
}

#[test]
fn a_proxy_is_reached_over_tls() {
    Sim::check(0..3, |sim| async move {
        // TLS draws from the system.
        sim.allow_nondeterminism();
        let authority = Authority::new();
        serve_https_proxy(&sim, &authority);
        crate::support::serve_echo(&sim, "server:8080");
        sim.settle().await;
        let proxy = Proxy::new("https://proxy").unwrap();
        let connector = TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap();
        let connecting = sim.connect("ws://server:8080/").tls(connector).proxy(proxy.clone());
        assert_echoes(&mut connecting.await.unwrap()).await;

        // TLS with the server within TLS with the proxy.
        let of_server = serve(&sim, "/");
        let error = sim.connect("wss://server/").tls(of_server).proxy(proxy).await.unwrap_err();
        assert!(matches!(error, ConnectError::ProxyTls { .. }), "another authority: {error}");
        assert!(error.to_string().contains("TLS with the proxy failed"), "{error}");
    });
}

#[test]
fn tls_goes_through_a_proxy_that_is_reached_over_tls() {
    Sim::check(0..3, |sim| async move {
        // TLS draws from the system.
        sim.allow_nondeterminism();
        let authority = Authority::new();
        serve_https_proxy(&sim, &authority);
        let identity = authority.issue("server");
        let acceptor = TlsAcceptor::from_pem(identity.chain.as_bytes(), identity.key.as_bytes());
        let router = Router::new().route("/", websocket(echo));
        sim.spawn(sim.bind("server:443").tls(acceptor.unwrap()).serve(router));
        sim.settle().await;
        let connector = TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap();
        let connecting = sim.connect("wss://server/").tls(connector);
        let opened = connecting.proxy(Proxy::new("https://proxy").unwrap()).open().await.unwrap();
        let tls = opened.tls().expect("it is over TLS").clone();
        assert_eq!(tls.version, Some(TlsVersion::V1_3));
        assert_eq!(tls.alpn.as_deref(), Some(&b"http/1.1"[..]));
        assert!(!tls.peer_certificates.is_empty());
        let mut session = opened.spawn();
        assert_echoes(&mut session).await;
        assert_eq!(session.request().tls(), Some(&tls));
    });
}

/// A server that trusts the clients' authority shows the handler which certificate came.
#[test]
fn a_client_sends_its_certificate_of_files() {
    let directory = std::env::temp_dir().join(format!("sockless-client-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let clients = Authority::new();
    let identity = clients.issue_to_client("client");
    let (chain, key) = (directory.join("chain.pem"), directory.join("key.pem"));
    std::fs::write(&chain, &identity.chain).unwrap();
    std::fs::write(&key, &identity.key).unwrap();
    Sim::check(0..2, |sim| {
        // TLS draws from the system.
        sim.allow_nondeterminism();
        let (chain, key, clients) = (chain.clone(), key.clone(), clients.pem());
        async move {
            let authority = Authority::new();
            let acceptor = asking_for(&authority, &clients, &rustls::version::TLS13);
            let told = websocket(async |session: Session| {
                let certificates =
                    session.request().tls().map_or(0, |tls| tls.peer_certificates.len());
                session.send(certificates.to_string()).await
            });
            let router = Router::new().route("/", told);
            sim.spawn(sim.bind("server:443").tls(acceptor).serve(router));
            let connector = TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap();
            let connector = connector.client_certificate_files(&chain, &key).unwrap();
            let mut session = sim.connect("wss://server/").tls(connector).await.unwrap();
            assert_eq!(session.recv().await.unwrap(), "1");
        }
    });
    let connector = TlsConnector::trusting_pem(clients.pem().as_bytes()).unwrap();
    let error = connector.clone().client_certificate_files(&key, &chain).unwrap_err();
    assert!(matches!(error, TlsError::Pem { .. }), "{error}");
    let missing = connector.client_certificate_files(directory.join("none"), &key).unwrap_err();
    assert!(matches!(missing, TlsError::File { .. }), "{missing}");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn no_redirect_leads_from_wss_to_ws() {
    Sim::check(0..3, |sim| async move {
        sim.allow_nondeterminism();
        let connector = serve(&sim, "ws://server/echo");
        crate::support::serve_echo(&sim, "server");
        let connecting = sim.connect("wss://server/away").tls(connector).redirects(5);
        let error = connecting.await.unwrap_err();
        let reported =
            matches!(error, ConnectError::Redirect { error: RedirectError::Downgrade { .. }, .. });
        assert!(reported, "{error}");
    });
}

#[test]
fn the_certificate_of_another_authority_is_rejected() {
    Sim::check(0..3, |sim| async move {
        sim.allow_nondeterminism();
        let connector = serve(&sim, "/");
        sim.set_lookup("other", sockless_sim::Lookup::Addrs(vec!["198.18.0.1".parse().unwrap()]));
        sim.set_lookup("server", sockless_sim::Lookup::Addrs(vec!["198.18.0.1".parse().unwrap()]));
        let error = sim.connect("wss://other/").tls(connector).await.unwrap_err();
        let reported = matches!(error, ConnectError::Tls { error: TlsError::Certificate(_), .. });
        assert!(reported && !error.is_transient(), "{error}");
        let stranger = TlsConnector::trusting_pem(Authority::new().pem().as_bytes()).unwrap();
        let error = sim.connect("wss://server/").tls(stranger).await.unwrap_err();
        let reported = matches!(error, ConnectError::Tls { error: TlsError::Certificate(_), .. });
        assert!(reported, "{error}");
        assert!(
            error.to_string().starts_with("TLS with server:443 (198.18.0.1:443) failed: "),
            "{error}"
        );
    });
}

/// A server that wants certificates of clients, by this version of TLS.
fn asking(
    authority: &Authority,
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsAcceptor {
    asking_for(authority, &Authority::new().pem(), version)
}

/// A server that wants certificates of clients that the authority `theirs` has issued.
fn asking_for(
    authority: &Authority,
    theirs: &str,
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(theirs.as_bytes()).unwrap()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider.clone(),
    );
    let identity = authority.issue("server");
    let chain = vec![CertificateDer::from_pem_slice(identity.chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

/// In TLS 1.3 the refusal comes when the client is through with its handshake (RFC 8446 §2): to come
/// back without a certificate would be in vain all the same.
#[test]
fn a_server_that_wants_a_certificate_is_not_asked_again() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        Sim::check(0..10, |sim| async move {
            sim.allow_nondeterminism();
            let authority = Authority::new();
            let router = Router::new().route("/", websocket(echo));
            let server = sim.bind("server:443").tls(asking(&authority, version));
            sim.spawn(server.serve(router));
            let connector = TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap();
            let client = sim.clone();
            let mut feed =
                Reconnect::new(move || client.connect("wss://server/").tls(connector.clone()));
            let gave_up = feed.next().await.unwrap_err();
            assert_eq!((gave_up.attempts(), sim.now()), (1, Instant::EPOCH));
            let AttemptError::Connect(error) = gave_up.last_error() else { panic!("{gave_up}") };
            let reported = matches!(error, ConnectError::Tls { error: TlsError::Refused(_), .. });
            assert!(reported && !error.is_transient(), "{error}");
            assert!(error.to_string().starts_with("TLS with server:443 ("), "{error}");
            assert!(error.to_string().contains("requires a certificate"), "{error}");
        });
    }
}

/// The same with a server that has closed before the request is sent.
#[test]
fn a_rejection_over_tls_before_the_request_is_sent_is_reported() {
    Sim::check(0..10, |sim| async move {
        sim.allow_nondeterminism();
        let authority = Authority::new();
        let acceptor = asking(&authority, &rustls::version::TLS13);
        let connector = TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap();
        let (near, far) = sim.pipe();
        let refusing = sim.spawn(async move { acceptor.accept(Box::new(far)).await.err() });
        let transport = connector.connect("server", Box::new(near)).await.unwrap();
        refusing.await.expect("it wants a certificate");
        let error = sim.connect("wss://server/").transport(transport).await.unwrap_err();
        let reported = matches!(error, ConnectError::Tls { error: TlsError::Refused(_), .. });
        assert!(reported && !error.is_transient(), "{error}");
    });
}

/// A server that refuses may close before the request is out.
#[test]
fn a_rejection_before_the_request_is_sent_is_reported() {
    Sim::check(0..10, |sim| async move {
        let answer = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
        let (near, far) = sim.pipe();
        near.wire().set_link(WireDirection::Outbound, Link::default().capacity(16));
        let connecting = sim.spawn(sim.connect_over(near, "ws://server/").into_future());
        far.read_exact(16).await.unwrap();
        far.write_all(answer.as_bytes()).await.unwrap();
        far.shutdown().await.unwrap();
        far.wire().end(WireDirection::Inbound);
        let error = connecting.await.unwrap_err();
        let ConnectError::Rejected { response, complete: true, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(&response.body()[..], b"busy");
    });
}

/// Speaks TLS at `server:443`, and takes what it prefers of what the client offers.
fn serve_with_alpn(sim: &Sim, protocols: &[&str]) -> Authority {
    let authority = Authority::new();
    let identity = authority.issue("server");
    let acceptor = TlsAcceptor::from_pem(identity.chain.as_bytes(), identity.key.as_bytes());
    let router = Router::new().route("/", websocket(echo));
    let server = sim.bind("server:443").tls(acceptor.unwrap().alpn(protocols));
    sim.spawn(server.serve(router));
    authority
}

/// Speaks TLS at `server:443` as a server does that knows HTTP/2 only, and nothing after it.
fn speak_h2_only(sim: &Sim) -> Authority {
    let authority = Authority::new();
    let identity = authority.issue("server");
    let acceptor = TlsAcceptor::from_pem(identity.chain.as_bytes(), identity.key.as_bytes());
    let acceptor = acceptor.unwrap().alpn(["h2"]);
    let mut listener = sim.listen("server:443");
    sim.spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(acceptor.accept(Box::new(listener.accept().await)).await);
        }
    });
    authority
}

/// HTTP/1.1 is spoken, and nothing else may be agreed on (RFC 7301 §3.2).
#[test]
fn settings_for_http_2_are_used_for_http_1_only() {
    Sim::check(0..3, |sim| async move {
        sim.allow_nondeterminism();
        let authority = serve_with_alpn(&sim, &["h2", "http/1.1"]);
        for offered in [&["h2", "http/1.1"][..], &["h2"], &["http/1.1"], &[]] {
            let connector = TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap();
            let connecting = sim.connect("wss://server/").tls(connector.alpn(offered));
            assert_echoes(&mut connecting.await.unwrap()).await;
        }
    });
    Sim::check(0..3, |sim| async move {
        sim.allow_nondeterminism();
        let authority = speak_h2_only(&sim);
        let connector = TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap();
        let connecting = sim.connect("wss://server/").tls(connector.alpn(["h2"]));
        let error = connecting.await.unwrap_err();
        let reported = matches!(error, ConnectError::Tls { error: TlsError::Refused(_), .. });
        assert!(reported && !error.is_transient(), "{error}");
        assert!(error.to_string().contains("needs http/1.1"), "{error}");
    });
}

/// A stream of the caller's own that was agreed on for something else.
#[test]
fn a_stream_of_another_protocol_is_not_spoken_into() {
    Sim::check(0..3, |sim| async move {
        sim.allow_nondeterminism();
        let authority = speak_h2_only(&sim);
        let connector = TlsConnector::trusting_pem(authority.pem().as_bytes()).unwrap();
        let transport = Box::new(sim.dial("server:443").await.unwrap());
        let transport = connector.alpn(["h2"]).connect("server", transport).await.unwrap();
        let error = sim.connect("wss://server/").transport(transport).await.unwrap_err();
        let ConnectError::Alpn { protocol, .. } = &error else { panic!("{error}") };
        assert_eq!((&protocol[..], error.is_transient()), (&b"h2"[..], false));
        let due = ["server:443", "\"h2\"", "http/1.1"];
        assert!(due.iter().all(|part| error.to_string().contains(part)), "{error}");
    });
}

#[test]
fn a_peer_without_tls_or_without_its_end_is_reported() {
    Sim::check(0..3, |sim| async move {
        sim.allow_nondeterminism();
        let connector = serve(&sim, "/");
        script(&sim, "plain:443", async |io| {
            let _ = io.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            io
        });
        script(&sim, "cut:443", async |io| {
            io.read_exact(5).await.unwrap();
            io.shutdown().await.unwrap();
            io
        });
        script(&sim, "silent:443", async |io| io);
        let plain = sim.connect("wss://plain/").tls(connector.clone()).await.unwrap_err();
        assert!(matches!(plain, ConnectError::Tls { error: TlsError::NotTls, .. }), "{plain}");
        let cut = sim.connect("wss://cut/").tls(connector.clone()).await.unwrap_err();
        let reported = matches!(cut, ConnectError::Tls { error: TlsError::Cut, .. });
        assert!(reported && cut.is_transient(), "{cut}");
        let silent = sim.connect("wss://silent/").tls(connector).await.unwrap_err();
        assert!(matches!(silent, ConnectError::Timeout { step: ConnectStep::Tls, .. }), "{silent}");
        assert_eq!(sim.now(), DEADLINE);
    });
}
