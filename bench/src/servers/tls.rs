//! TLS of the servers: one certificate, one config and one library for all of them.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::Result;

pub use tokio_rustls::server::TlsStream;

/// A listener of a server, and its TLS if it encrypts.
pub struct Listener {
    pub tcp: TcpListener,
    pub acceptor: Option<TlsAcceptor>,
}

impl Listener {
    /// The listener of a server that does not encrypt.
    pub fn plain(self) -> Result<TcpListener> {
        match self.acceptor {
            None => Ok(self.tcp),
            Some(_) => Err("the server does not support --tls".into()),
        }
    }
}

/// A config with a new certificate, and session tickets: without them rustls keeps the last 256 sessions.
pub fn config() -> Result<Arc<ServerConfig>> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())?;
    config.ticketer = ring::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// The streams of a server that encrypts.
pub type Encrypted = TlsStream<TcpStream>;
