//! `--cert` and `--key`: a server that requires a certificate of its clients.

use std::process::{Command, Output};
use std::sync::{Arc, mpsc};

use sockless::tls::TlsAcceptor;
use sockless::tls::rustls::pki_types::PrivateKeyDer;
use sockless::tls::rustls::pki_types::pem::PemObject;
use sockless::tls::rustls::server::WebPkiClientVerifier;
use sockless::tls::rustls::{RootCertStore, ServerConfig, crypto};
use sockless::{Router, Session, websocket};

type Identity = rcgen::CertifiedKey<rcgen::KeyPair>;

#[test]
fn a_client_presents_its_certificate() {
    let client = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["stranger".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // The certificate and the key may be in one file.
    let both = file("client.pem", client.cert.pem() + &client.signing_key.serialize_pem());
    let cert = file("stranger.pem", stranger.cert.pem());
    let key = file("stranger.key", stranger.signing_key.serialize_pem());
    let url = serve(acceptor(&client));

    let welcome = connect(&["--cert", &both, "--key", &both, &url]);
    let stderr = String::from_utf8_lossy(&welcome.stderr);
    assert_eq!(
        (welcome.status.code(), &welcome.stdout[..]),
        (Some(0), &b"hello\n"[..]),
        "{stderr}"
    );
    assert_eq!(connect(&["--cert", &cert, "--key", &key, &url]).status.code(), Some(3));
    assert_eq!(connect(&[&url]).status.code(), Some(3));

    let mismatch = connect(&["--cert", &cert, "--key", &both, &url]);
    let stderr = String::from_utf8_lossy(&mismatch.stderr);
    assert_eq!(mismatch.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--cert") && stderr.contains("stranger.pem"), "{stderr}");
    assert_eq!(connect(&["--cert", &cert, &url]).status.code(), Some(2), "without a key");
}

/// A server's TLS that accepts the certificate of `client` alone.
fn acceptor(client: &Identity) -> TlsAcceptor {
    let server = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(client.cert.der().clone()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let key = PrivateKeyDer::from_pem_slice(server.signing_key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(vec![server.cert.der().clone()], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

/// Echoes until the test's process ends. Returns the URL.
fn serve(acceptor: TlsAcceptor) -> String {
    let (addr, bound) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = sockless::bind("127.0.0.1:0").await.unwrap().tls(acceptor);
            addr.send(server.local_addr().unwrap()).unwrap();
            server.serve(Router::new().route("/", websocket(echo))).await;
        });
    });
    format!("wss://{}/", bound.recv().unwrap())
}

async fn echo(mut session: Session) {
    while let Ok(message) = session.recv().await {
        if session.send(message).await.is_err() {
            break;
        }
    }
}

fn connect(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockless"));
    command.args(["connect", "--no-proxy", "--insecure", "-x", "hello", "-n", "1"]);
    command.args(arguments).output().unwrap()
}
