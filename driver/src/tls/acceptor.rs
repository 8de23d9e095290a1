//! TLS on the server's side: [`TlsAcceptor`].

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, ServerConfig, ServerConnection};
use sockless_core::{Escaped, Instant};

use super::stream::TlsStream;
use super::{HTTP_1_1, TlsError, protocol_list, provider, read, ticketer};
use crate::runtime::{Io, Runtime, timeout};

/// The server's side of TLS: its certificate, and the protocols that it offers.
///
/// Clones share both, so a program that keeps a clone can replace the certificate while a server
/// runs. Existing connections keep the old certificate; new ones get the new certificate.
///
/// A client that connects again resumes its session (RFC 8446 §2.2), which saves both sides the
/// signature and the certificate. With the feature `ring` or `aws-lc-rs` and a certificate as PEM,
/// the client keeps the whole session, encrypted: any number of clients can resume for 6 to 12
/// hours, and the server has no memory for it. Replacing the certificate ends that. Otherwise the
/// config decides; by default rustls keeps the last 256 sessions.
///
/// ```no_run
/// # async fn example(router: sockless::Router) -> Result<(), Box<dyn std::error::Error>> {
/// use sockless::tls::TlsAcceptor;
///
/// let acceptor = TlsAcceptor::from_pem_files("chain.pem", "key.pem")?;
/// let server = sockless::bind("0.0.0.0:443").await?.tls(acceptor.clone());
/// tokio::spawn(server.serve(router));
/// // Later, when the files have been renewed:
/// acceptor.reload_pem_files("chain.pem", "key.pem")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsAcceptor {
    configs: Arc<RwLock<Configs>>,
}

/// The config for [`TlsAcceptor::accept`], and the one for the servers of this crate.
#[derive(Clone)]
struct Configs {
    given: Arc<ServerConfig>,
    /// Without the protocols that this crate's servers do not speak.
    spoken: Arc<ServerConfig>,
}

impl From<Arc<ServerConfig>> for Configs {
    fn from(config: Arc<ServerConfig>) -> Self {
        let given = without_early_data(config);
        Self { spoken: spoken_only(&given), given }
    }
}

impl TlsAcceptor {
    /// Creates an acceptor of a certificate chain and its private key, both as PEM (RFC 7468), with
    /// the server's own certificate first. Offers `http/1.1` by ALPN. Clients are not asked for a
    /// certificate: for that, convert a `ServerConfig` of rustls with a verifier of clients.
    ///
    /// # Errors
    ///
    /// * [`TlsError::Pem`] if `chain` has no certificate or `key` no private key.
    /// * [`TlsError::Config`] if the key does not belong to the certificate, or is of an unknown
    ///   kind.
    /// * [`TlsError::ProviderMissing`] if no cryptography is available.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let config = config_from_pem(chain, key, vec![HTTP_1_1.into()])?;
        Ok(Self::from(Arc::new(config)))
    }

    /// Creates an acceptor as [`from_pem`](Self::from_pem) does, of files. Both may be the same
    /// file.
    ///
    /// # Errors
    ///
    /// Those of [`from_pem`](Self::from_pem), and [`TlsError::File`] if a file cannot be read.
    pub fn from_pem_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        Self::from_pem(&read(chain.as_ref())?, &read(key.as_ref())?)
    }

    /// Replaces the protocols that are offered by ALPN (RFC 7301), in order of preference, for all
    /// clones. An empty list offers none. Default: `http/1.1`, or those of the config from which
    /// this was made.
    ///
    /// A client that offers only other protocols is rejected. The negotiated protocol is in
    /// [`Io::tls`] of the connection.
    ///
    /// [`Server::tls`](crate::Server::tls) speaks HTTP/1.1 only: if anything is offered here, it
    /// offers `http/1.1` alone, and rejects a client that offers only `h2`. A server of hyper
    /// speaks both, on connections of [`accept`](Self::accept).
    #[must_use]
    pub fn alpn<P: AsRef<[u8]>>(self, protocols: impl IntoIterator<Item = P>) -> Self {
        let mut config = ServerConfig::clone(&self.config());
        config.alpn_protocols = protocol_list(protocols);
        self.replace(Arc::new(config));
        self
    }

    /// Replaces the config for new connections, for all clones. Early data is switched off: it
    /// could be replayed.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.configs.write().unwrap_or_else(PoisonError::into_inner) = config.into();
    }

    /// Replaces the certificate chain and the private key for new connections, for all clones. The
    /// offered protocols stay the same.
    ///
    /// # Errors
    ///
    /// Those of [`from_pem`](Self::from_pem); the old certificate stays in use then.
    pub fn reload_pem(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let config = config_from_pem(chain, key, self.config().alpn_protocols.clone())?;
        self.replace(Arc::new(config));
        Ok(())
    }

    /// Replaces them as [`reload_pem`](Self::reload_pem) does, by files.
    ///
    /// # Errors
    ///
    /// Those of [`from_pem_files`](Self::from_pem_files); the old certificate stays in use then.
    pub fn reload_pem_files(
        &self,
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<(), TlsError> {
        self.reload_pem(&read(chain.as_ref())?, &read(key.as_ref())?)
    }

    /// Performs the TLS handshake over `transport`, and returns the encrypted transport.
    ///
    /// There is no deadline: the caller has to set one. [`Server::tls`](crate::Server::tls) applies
    /// the one of the opening handshake.
    ///
    /// Cancel-safe: dropping the future drops the transport.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the handshake fails, which drops the transport.
    pub async fn accept(&self, transport: Box<dyn Io>) -> Result<Box<dyn Io>, TlsError> {
        accept(self.config(), transport).await
    }

    /// Performs the TLS handshake by `deadline`, for a server that speaks HTTP/1.1. Failures are
    /// logged.
    pub(crate) async fn accept_by(
        self,
        deadline: Instant,
        transport: Box<dyn Io>,
        runtime: Arc<dyn Runtime>,
        peer: Option<SocketAddr>,
    ) -> Option<Box<dyn Io>> {
        let mut timer = runtime.timer(deadline);
        let accepting = accept(self.configs().spoken, transport);
        match timeout(&mut *timer, accepting).await {
            Some(Ok(transport)) => return Some(transport),
            Some(Err(TlsError::Protocol(error @ Error::NoApplicationProtocol))) => tracing::debug!(
                %error,
                ?peer,
                "the TLS handshake failed: the client does not offer http/1.1 by ALPN, and this server speaks \
                 no other protocol"
            ),
            Some(Err(error)) => {
                tracing::debug!(error = %Escaped(&error), ?peer, "the TLS handshake failed");
            }
            None => tracing::debug!(?peer, "opening_timeout passed during the TLS handshake"),
        }
        None
    }

    fn config(&self) -> Arc<ServerConfig> {
        self.configs().given
    }

    fn configs(&self) -> Configs {
        self.configs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(
    config: Arc<ServerConfig>,
    transport: Box<dyn Io>,
) -> Result<Box<dyn Io>, TlsError> {
    let connection = ServerConnection::new(config).map_err(TlsError::Config)?;
    TlsStream::handshake(connection, transport).await
}

/// Creates an acceptor with a config of rustls. Early data is switched off: see
/// [`TlsAcceptor::replace`].
impl From<Arc<ServerConfig>> for TlsAcceptor {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self { configs: Arc::new(RwLock::new(config.into())) }
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

fn config_from_pem(
    chain: &[u8],
    key: &[u8],
    alpn_protocols: Vec<Vec<u8>>,
) -> Result<ServerConfig, TlsError> {
    let no_chain = |error| TlsError::Pem { expected: "certificate", error };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(no_chain)?;
    if chain.is_empty() {
        return Err(no_chain(rustls::pki_types::pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| TlsError::Pem { expected: "private key", error })?;
    let mut config = ServerConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Config)?;
    config.alpn_protocols = alpn_protocols;
    if let Some(ticketer) = ticketer()? {
        config.ticketer = ticketer;
    }
    Ok(config)
}

/// Switches off early data: an attacker who has recorded it can replay it (RFC 8446 §8), which must
/// not happen to a request for a WebSocket (RFC 8470 §4). Clients send it after the handshake
/// instead.
fn without_early_data(mut config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    if config.max_early_data_size > 0 {
        Arc::make_mut(&mut config).max_early_data_size = 0;
    }
    config
}

/// Offers `http/1.1` alone if anything is offered, since a client with which another protocol, such
/// as `h2`, was negotiated would be answered in HTTP/1.1.
fn spoken_only(config: &Arc<ServerConfig>) -> Arc<ServerConfig> {
    let mut config = Arc::clone(config);
    let offered = &config.alpn_protocols;
    if offered.iter().any(|protocol| protocol != HTTP_1_1.as_bytes()) {
        Arc::make_mut(&mut config).alpn_protocols = vec![HTTP_1_1.into()];
    }
    config
}
