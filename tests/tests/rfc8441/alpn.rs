//! Both versions of HTTP behind one TLS acceptor, as ALPN settles it (RFC 7301).

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use sockless_core::Config;
use sockless_driver::{ClientConnection, Session};
use sockless_hyper::Mount;
use sockless_routing::{Router, websocket};
use sockless_tokio::TokioTransport;
use tokio::io::{DuplexStream, duplex};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::on::runtime;

/// Accepts any number of connections, of either version.
#[derive(Clone)]
struct Port {
    acceptor: TlsAcceptor,
    mount: Mount,
    certificate: CertificateDer<'static>,
}

impl Port {
    fn new(mount: Mount) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["server.test".to_owned()]).unwrap();
        let certificate = cert.der().clone();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { acceptor: Arc::new(config).into(), mount, certificate }
    }

    /// A client's end, which offers `protocols`.
    async fn connect(&self, protocols: &[&str]) -> TlsStream<DuplexStream> {
        let (near, far) = duplex(16 << 10);
        let server = self.clone();
        tokio::spawn(async move {
            let stream = server.acceptor.accept(far).await.unwrap();
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http2().enable_connect_protocol();
            let io = TokioIo::new(stream);
            let _ = builder.serve_connection_with_upgrades(io, server.mount).await;
        });
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect("server.test".try_into().unwrap(), near).await.unwrap()
    }
}

fn settled(stream: &TlsStream<DuplexStream>) -> Option<&[u8]> {
    stream.get_ref().1.alpn_protocol()
}

#[tokio::test(start_paused = true)]
async fn one_port_speaks_both_versions() {
    let tell = async |session: Session| {
        session.send(format!("{:?}", session.request().as_http().version())).await
    };
    let port = Port::new(Mount::new(Router::new().route("/", websocket(tell)), runtime()));

    for offered in [&["h2", "http/1.1"][..], &["h2"]] {
        let stream = port.connect(offered).await;
        assert_eq!(settled(&stream), Some(&b"h2"[..]));
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (sender, connection) =
            builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..2 {
            let url = "wss://server.test/";
            let mut session = sockless_hyper::connect(&sender, url, runtime()).await.unwrap();
            assert_eq!(session.recv().await.unwrap().as_text(), Some("HTTP/2.0"));
        }
    }

    for offered in [&["http/1.1"][..], &[]] {
        let stream = port.connect(offered).await;
        assert_ne!(settled(&stream), Some(&b"h2"[..]));
        let transport = Box::new(TokioTransport::new(stream));
        let request = Request::get("wss://server.test/").body(()).unwrap();
        let config = Arc::new(Config::default());
        let connected =
            ClientConnection::handshake(transport, request, config, runtime()).await.unwrap();
        assert_eq!(connected.spawn().recv().await.unwrap().as_text(), Some("HTTP/1.1"));
    }
}
