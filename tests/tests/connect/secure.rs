//! Over TLS: whom it trusts, what a peer may do instead, and redirects from and to it.

use bytes::Bytes;
use http::StatusCode;
use sockless_driver::tls::{TlsAcceptor, TlsConnector, TlsError};
use sockless_driver::{ConnectError, Proxy, RedirectError, Step};
use sockless_routing::{Router, respond, websocket};
use sockless_sim::Sim;

use crate::certificates::Authority;
use crate::support::{DEADLINE, answer, assert_echoes, echo, script};

/// Serves an echo at `wss://server/`, and a redirect to `location` at `/away`; what trusts it.
fn serve(sim: &Sim, location: &'static str) -> TlsConnector {
    let authority = Authority::new();
    let identity = authority.issue("server");
    let acceptor = TlsAcceptor::from_pem(identity.chain.as_bytes(), identity.key.as_bytes());
    let away = respond(move |_call| {
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
        let connector = serve(&sim, "/");
        crate::proxies::serve_http_proxy(&sim);
        let proxy = Proxy::new("http://ada:secret@proxy:3128").unwrap();
        let connecting = sim.connect("wss://server/").tls(connector).proxy(proxy);
        assert_echoes(&mut connecting.await.unwrap()).await;
    });
}

#[test]
fn no_redirect_leads_from_wss_to_ws() {
    Sim::check(0..3, |sim| async move {
        let connector = serve(&sim, "ws://server/echo");
        crate::support::serve_echo(&sim, "server");
        let connecting = sim.connect("wss://server/away").tls(connector).redirects(5);
        let error = connecting.await.unwrap_err();
        let told =
            matches!(error, ConnectError::Redirect { error: RedirectError::Downgrade { .. }, .. });
        assert!(told, "{error}");
    });
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    Sim::check(0..3, |sim| async move {
        let connector = serve(&sim, "/");
        sim.set_lookup("other", sockless_sim::Lookup::Addrs(vec!["198.18.0.1".parse().unwrap()]));
        sim.set_lookup("server", sockless_sim::Lookup::Addrs(vec!["198.18.0.1".parse().unwrap()]));
        let error = sim.connect("wss://other/").tls(connector).await.unwrap_err();
        let told = matches!(error, ConnectError::Tls { error: TlsError::Certificate(_), .. });
        assert!(told && !error.is_transient(), "{error}");
        let stranger = TlsConnector::trusting_pem(Authority::new().pem().as_bytes()).unwrap();
        let error = sim.connect("wss://server/").tls(stranger).await.unwrap_err();
        let told = matches!(error, ConnectError::Tls { error: TlsError::Certificate(_), .. });
        assert!(told, "{error}");
        assert!(
            error.to_string().starts_with("no TLS with server:443 (198.18.0.1:443): "),
            "{error}"
        );
    });
}

#[test]
fn a_peer_that_speaks_no_tls_or_none_to_its_end_is_told() {
    Sim::check(0..3, |sim| async move {
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
        let told = matches!(cut, ConnectError::Tls { error: TlsError::Cut, .. });
        assert!(told && cut.is_transient(), "{cut}");
        let silent = sim.connect("wss://silent/").tls(connector).await.unwrap_err();
        assert!(matches!(silent, ConnectError::Timeout { step: Step::Tls, .. }), "{silent}");
        assert_eq!(sim.now(), DEADLINE);
    });
}
