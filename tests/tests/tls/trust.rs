//! A client's trust, and the errors of both ends without it.

use std::path::Path;

use rustls::pki_types::pem;
use rustls::{AlertDescription, CertificateError};
use sockless_driver::tls::{TlsAcceptor, TlsConnector, TlsError, rustls};
use sockless_sim::{Link, Sim};

use crate::support::*;
use sockless_tests::certificates::Authority;

/// The client's error, and the server's.
fn failures(acceptor: TlsAcceptor, connector: TlsConnector) -> (TlsError, TlsError) {
    let sim = Sim::new(1);
    sim.run(async {
        let ends = (acceptor, connector);
        let (client, server) = shake_hands(&sim, &ends, &Link::default()).await;
        (client.err().expect("it is refused"), server.err().expect("it is refused"))
    })
}

fn certificate_error(error: &TlsError) -> &CertificateError {
    match error {
        TlsError::Certificate(error) => error,
        error => panic!("the certificate is at fault, but: {error}"),
    }
}

fn alert(error: &TlsError) -> AlertDescription {
    match error {
        TlsError::Refused(alert) => *alert,
        error => panic!("the client refuses, but: {error}"),
    }
}

#[test]
fn an_authority_that_is_not_known_is_not_trusted() {
    let (client, server) =
        failures(acceptor(&Authority::new().issue(NAME)), connector(&Authority::new()));
    assert_eq!(certificate_error(&client), &CertificateError::UnknownIssuer);
    assert_eq!(alert(&server), AlertDescription::UnknownCA);
    assert!(client.to_string().starts_with("the peer's certificate is rejected: "));
}

#[test]
fn the_wide_world_does_not_trust_an_authority_of_the_tests() {
    for connector in [TlsConnector::platform().unwrap(), TlsConnector::webpki_roots().unwrap()] {
        let (client, _) = failures(acceptor(&Authority::new().issue(NAME)), connector);
        assert_eq!(certificate_error(&client), &CertificateError::UnknownIssuer);
    }
}

#[test]
fn an_authority_of_the_program_is_trusted_beside_those_of_the_platform() {
    let authority = Authority::new();
    let both = TlsConnector::platform_and_pem(authority.pem().as_bytes()).unwrap();
    let sim = Sim::new(1);
    sim.run(async {
        let ends = (acceptor(&authority.issue(NAME)), both.clone());
        let (client, server) = shake_hands(&sim, &ends, &Link::default()).await;
        client.unwrap();
        server.unwrap();
    });
    let (client, _) = failures(acceptor(&Authority::new().issue(NAME)), both.clone());
    assert_eq!(certificate_error(&client), &CertificateError::UnknownIssuer);
    let (client, _) = failures(acceptor(&authority.issue("example.org")), both.clone());
    let error = certificate_error(&client);
    assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{error:?}");
    let (client, _) = failures(acceptor(&authority.issue_expired(NAME)), both);
    let error = certificate_error(&client);
    assert!(matches!(error, CertificateError::ExpiredContext { .. }), "{error:?}");
}

#[test]
fn an_authority_beside_those_of_the_platform_is_pem() {
    let nothing = TlsConnector::platform_and_pem(b"").unwrap_err();
    assert!(matches!(nothing, TlsError::Pem { expected: "certificate", .. }), "{nothing}");
}

#[test]
fn a_certificate_for_another_name_is_not_accepted() {
    let authority = Authority::new();
    let other = acceptor(&authority.issue("example.org"));
    let (client, server) = failures(other, connector(&authority));
    let error = certificate_error(&client);
    assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{error:?}");
    assert!(client.to_string().contains("example.org"), "{client}");
    assert_eq!(alert(&server), AlertDescription::BadCertificate);
}

#[test]
fn a_certificate_of_old_is_not_accepted() {
    let authority = Authority::new();
    let old = acceptor(&authority.issue_expired(NAME));
    let (client, server) = failures(old, connector(&authority));
    let error = certificate_error(&client);
    assert!(matches!(error, CertificateError::ExpiredContext { .. }), "{error:?}");
    assert_eq!(alert(&server), AlertDescription::CertificateExpired);
}

#[test]
fn an_address_can_have_a_certificate_and_nonsense_cannot() {
    let sim = Sim::new(1);
    sim.run(async {
        let authority = Authority::new();
        let (acceptor, connector) = (acceptor(&authority.issue("::1")), connector(&authority));
        let (client, server) = sim.pipe();
        let accepting = sim.spawn(async move { acceptor.accept(Box::new(server)).await });
        let connected = connector.connect("::1", Box::new(client)).await;
        assert!(connected.is_ok());
        // A name is not sent for an address (RFC 6066 §3).
        assert_eq!(accepting.await.unwrap().tls().unwrap().server_name, None);

        let (client, _server) = sim.pipe();
        match connector.connect("no name", Box::new(client)).await {
            Err(TlsError::NameInvalid { host }) => assert_eq!(host, "no name"),
            other => panic!("it is no name, but: {:?}", other.map(|_| ())),
        }
    });
}

#[test]
fn the_protocol_is_negotiated_and_the_name_reported() {
    let sim = Sim::new(1);
    sim.run(async {
        let (acceptor, connector) = trusting();
        let agreed = async |acceptor: TlsAcceptor, connector: TlsConnector| {
            let ends = (acceptor, connector);
            let (client, server) = shake_hands(&sim, &ends, &Link::default()).await;
            let (client, server) = (client.unwrap(), server.unwrap());
            let (client, server) = (client.tls().unwrap(), server.tls().unwrap());
            assert_eq!(server.server_name.as_deref(), Some(NAME));
            assert_eq!((client.server_name, &client.alpn), (None, &server.alpn));
            client.alpn.map(|alpn| String::from_utf8(alpn.to_vec()).unwrap())
        };
        let ours = agreed(acceptor.clone(), connector.clone()).await;
        assert_eq!(ours.as_deref(), Some("http/1.1"));
        let both = acceptor.clone().alpn(["h2", "http/1.1"]);
        let h2 = agreed(both.clone(), connector.clone().alpn(["http/1.1", "h2"])).await;
        assert_eq!(h2.as_deref(), Some("h2"), "the server's order decides");
        let first = agreed(both, connector.clone()).await;
        assert_eq!(first.as_deref(), Some("http/1.1"));
        let none: [&str; 0] = [];
        assert_eq!(agreed(acceptor.clone(), connector.clone().alpn(none)).await, None);
        assert_eq!(agreed(acceptor.alpn(none), connector).await, None);
    });
}

#[test]
fn protocols_that_do_not_meet_are_refused() {
    let (acceptor, connector) = trusting();
    let (client, server) = failures(acceptor, connector.alpn(["h2"]));
    assert_eq!(alert(&client), AlertDescription::NoApplicationProtocol);
    assert!(matches!(server, TlsError::Protocol(rustls::Error::NoApplicationProtocol)));
}

#[test]
fn a_second_connection_resumes_the_first() {
    let sim = Sim::new(1);
    sim.run(async {
        let ends = trusting();
        assert_eq!(is_resumed(&sim, &ends).await, (false, false));
        assert_eq!(is_resumed(&sim, &ends).await, (true, true));
    });
}

/// A server that kept the sessions would have to keep all of them.
#[test]
fn a_connection_resumes_after_those_of_many_other_clients() {
    let sim = Sim::new(1);
    sim.run(async {
        let authority = Authority::new();
        let acceptor = acceptor(&authority.issue(NAME));
        let first = (acceptor.clone(), connector(&authority));
        assert_eq!(is_resumed(&sim, &first).await, (false, false));
        for _ in 0..300 {
            let other = (acceptor.clone(), connector(&authority));
            assert_eq!(is_resumed(&sim, &other).await, (false, false));
        }
        assert_eq!(is_resumed(&sim, &first).await, (true, true));
    });
}

#[test]
fn a_replaced_certificate_is_presented_to_clients_of_the_old_one() {
    let sim = Sim::new(1);
    sim.run(async {
        let authority = Authority::new();
        let ends = (acceptor(&authority.issue(NAME)), connector(&authority));
        assert_eq!(is_resumed(&sim, &ends).await, (false, false));
        let renewed = authority.issue(NAME);
        ends.0.reload_pem(renewed.chain.as_bytes(), renewed.key.as_bytes()).unwrap();
        assert_eq!(is_resumed(&sim, &ends).await, (false, false));
        assert_eq!(is_resumed(&sim, &ends).await, (true, true));
    });
}

/// Whether a connection resumes a session, for its client and its server.
async fn is_resumed(sim: &Sim, ends: &(TlsAcceptor, TlsConnector)) -> (bool, bool) {
    let (client, server) = shake_hands(sim, ends, &Link::default()).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    // The ticket comes with what the server sends first.
    write_all(&mut *server, b"hello").await.unwrap();
    assert_eq!(read(&mut *client, 100).await.unwrap(), "hello");
    (client.tls().unwrap().is_resumed, server.tls().unwrap().is_resumed)
}

#[test]
fn invalid_settings_state_what_is_wrong() {
    let authority = Authority::new();
    let (ours, other) = (authority.issue(NAME), authority.issue(NAME));
    let from = |chain: &str, key: &str| {
        TlsAcceptor::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err()
    };
    let pem = |error: TlsError| match error {
        TlsError::Pem { expected: what, error: pem::Error::NoItemsFound } => what,
        error => panic!("there is nothing, but: {error}"),
    };
    let both = [&ours.key[..], &ours.chain].concat();
    TlsAcceptor::from_pem(both.as_bytes(), both.as_bytes()).expect("one text may hold both");
    assert_eq!(pem(from("", &ours.key)), "certificate");
    assert_eq!(pem(from(&ours.key, &ours.key)), "certificate");
    assert_eq!(pem(from(&ours.chain, &ours.chain)), "private key");
    assert_eq!(pem(TlsConnector::trusting_pem(b"").unwrap_err()), "certificate");
    let mixed = from(&ours.chain, &other.key);
    assert!(matches!(mixed, TlsError::Config(rustls::Error::InconsistentKeys(_))), "{mixed}");

    let nowhere = Path::new("no/such/file.pem");
    match TlsAcceptor::from_pem_files(nowhere, nowhere) {
        Err(TlsError::File { path, error }) => {
            assert_eq!((path.as_path(), error.kind()), (nowhere, std::io::ErrorKind::NotFound));
        }
        other => panic!("there is no such file, but: {other:?}"),
    }
}
