//! Settings of the program's own: older versions, clients that show a certificate.

use std::io::ErrorKind;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use sockless_driver::tls::{TlsAcceptor, TlsConnector, rustls};
use sockless_sim::{Link, Sim};

use crate::support::*;
use sockless_tests::certificates::{Authority, Identity};

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    Arc::new(roots)
}

fn parse(identity: &Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::from_pem_slice(identity.chain.as_bytes()).unwrap();
    (vec![chain], PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap())
}

/// A server that asks for certificates of `theirs`.
fn asking(authority: &Authority, theirs: &Authority) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(theirs), provider.clone());
    let (chain, key) = parse(&authority.issue(NAME));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

fn client() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}

#[test]
fn the_older_version_carries_the_same() {
    Sim::check(0..10, |sim| async move {
        sim.allow_nondeterminism();
        let authority = Authority::new();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS12])
            .unwrap()
            .with_root_certificates(roots(&authority))
            .with_no_client_auth();
        let ends = (acceptor(&authority.issue(NAME)), TlsConnector::from(Arc::new(config)));
        let link = Link::default().short_reads(700).short_writes(900);
        let (client, server) = shake_hands(&sim, &ends, &link).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        let data: Vec<u8> = (0..50_000).map(|i| (i / 3) as u8).collect();
        let reading = async {
            let mut got = Vec::new();
            while got.len() < data.len() {
                got.extend_from_slice(&read(&mut *server, 9000).await.unwrap());
            }
            got
        };
        let (wrote, got) = smol::future::zip(write_all(&mut *client, &data), reading).await;
        wrote.unwrap();
        assert!(got == data);
        shutdown(&mut *server).await.unwrap();
        assert_eq!(read(&mut *client, 100).await.unwrap(), "");
    });
}

#[test]
fn a_client_shows_who_it_is() {
    let sim = Sim::new(1);
    sim.run(async {
        let (authority, theirs) = (Authority::new(), Authority::new());
        let identity = theirs.issue_to_client("ada.example.com");
        let (chain, key) = parse(&identity);
        let config = client().with_root_certificates(roots(&authority));
        let config = config.with_client_auth_cert(chain.clone(), key).unwrap();
        let ends = (asking(&authority, &theirs), TlsConnector::from(Arc::new(config)));
        let (client, server) = shake_hands(&sim, &ends, &Link::default()).await;
        let (client, server) = (client.unwrap(), server.unwrap());
        assert_eq!(server.tls().unwrap().peer_certificates, [&chain[0][..]]);
        assert_eq!(client.tls().unwrap().peer_certificates.len(), 1);
    });
}

/// In TLS 1.3 a client is through before the server has seen what it shows (RFC 8446 §2).
#[test]
fn a_client_that_shows_nothing_learns_why_it_is_refused() {
    let sim = Sim::new(1);
    sim.run(async {
        let authority = Authority::new();
        let ends = (asking(&authority, &Authority::new()), connector(&authority));
        let (client, server) = shake_hands(&sim, &ends, &Link::default()).await;
        let error = server.err().expect("it wants a certificate");
        assert!(error.to_string().contains("peer sent no certificates"), "{error}");
        let error = read(&mut *client.unwrap(), 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("CertificateRequired"), "{error}");
    });
}

/// Early data could have been recorded and sent again.
#[test]
fn early_data_is_not_taken() {
    let sim = Sim::new(1);
    sim.run(async {
        let authority = Authority::new();
        let (chain, key) = parse(&authority.issue(NAME));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config = config.unwrap();
        config.max_early_data_size = 1000;
        let mut early = client().with_root_certificates(roots(&authority)).with_no_client_auth();
        early.enable_early_data = true;
        let ends =
            (TlsAcceptor::from(Arc::new(config)), TlsConnector::from(Arc::new(early.clone())));
        let (client, server) = shake_hands(&sim, &ends, &Link::default()).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        write_all(&mut *server, b"with it comes a ticket").await.unwrap();
        read(&mut *client, 100).await.unwrap();

        let name = NAME.try_into().unwrap();
        let mut resuming = rustls::ClientConnection::new(Arc::new(early), name).unwrap();
        assert!(resuming.early_data().is_none(), "the ticket allows none");
    });
}
