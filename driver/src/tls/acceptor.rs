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
use super::{HTTP_1_1, TlsError, protocol_list, provider};
use crate::runtime::{Io, Runtime, timeout};

/// Makes TLS connections of what clients open: with which certificate, and what it offers.
///
/// Clones share all of it, so that a certificate can be replaced while a server has a clone:
/// connections that are there keep theirs, new ones get the new.
///
/// ```no_run
/// use std::path::Path;
/// use sockless_driver::tls::{TlsAcceptor, TlsError};
///
/// # fn example(server: sockless_driver::Server) -> Result<(), TlsError> {
/// let (chain, key) = (Path::new("chain.pem"), Path::new("key.pem"));
/// let acceptor = TlsAcceptor::from_pem_files(chain, key)?;
/// let server = server.tls(acceptor.clone());
/// // Later, once the files are new:
/// acceptor.reload_pem_files(chain, key)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsAcceptor {
    configs: Arc<RwLock<Configs>>,
}

/// One config for whoever asks, and one for a server of our own.
#[derive(Clone)]
struct Configs {
    given: Arc<ServerConfig>,
    /// Without the protocols that our own server does not speak.
    spoken: Arc<ServerConfig>,
}

impl From<Arc<ServerConfig>> for Configs {
    fn from(config: Arc<ServerConfig>) -> Self {
        let given = without_early_data(config);
        Self { spoken: spoken_only(&given), given }
    }
}

impl TlsAcceptor {
    /// Serves with the certificate chain and the private key in these texts of PEM (RFC 7468), the
    /// server's own certificate first, and asks clients for none. Offers `http/1.1` by ALPN.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`] when one of them is not there or not sound PEM, [`TlsError::Config`] when the
    /// key is not the certificate's or of no kind that is known, [`TlsError::ProviderMissing`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let config = config_from_pem(chain, key, vec![HTTP_1_1.into()])?;
        Ok(Self::from(Arc::new(config)))
    }

    /// The same from files; both may be one.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem), and [`TlsError::File`] when one cannot be read.
    pub fn from_pem_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        Self::from_pem(&read(chain.as_ref())?, &read(key.as_ref())?)
    }

    /// Replaces the protocols that are offered by ALPN (RFC 7301), most wanted first, for all clones;
    /// none offers nothing. Default: `http/1.1`, or what a config of the caller's own says.
    ///
    /// A client that offers others only is refused. Which one was taken stands in [`Io::tls`] of the
    /// connection.
    ///
    /// [`Server::tls`](crate::Server::tls) speaks HTTP/1.1 whatever is agreed on, and so agrees on nothing
    /// but `http/1.1`, where anything is offered here: a client that offers `h2` alone is refused. A server
    /// of hyper's speaks both, on connections of [`accept`](Self::accept).
    #[must_use]
    pub fn alpn<P: AsRef<[u8]>>(self, protocols: impl IntoIterator<Item = P>) -> Self {
        let mut config = ServerConfig::clone(&self.config());
        config.alpn_protocols = protocol_list(protocols);
        self.replace(Arc::new(config));
        self
    }

    /// Serves connections that are yet to come with `config`, on all clones.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.configs.write().unwrap_or_else(PoisonError::into_inner) = config.into();
    }

    /// Serves connections that are yet to come with this certificate, on all clones; the protocols stay
    /// the same.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem); then nothing has changed.
    pub fn reload_pem(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let config = config_from_pem(chain, key, self.config().alpn_protocols.clone())?;
        self.replace(Arc::new(config));
        Ok(())
    }

    /// The same from files.
    ///
    /// # Errors
    ///
    /// As [`from_pem_files`](Self::from_pem_files); then nothing has changed.
    pub fn reload_pem_files(
        &self,
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<(), TlsError> {
        self.reload_pem(&read(chain.as_ref())?, &read(key.as_ref())?)
    }

    /// Makes a TLS connection of `transport`.
    ///
    /// It waits as long as the client does: the caller has the deadline.
    /// [`Server::tls`](crate::Server::tls) keeps to the one for the opening handshake.
    ///
    /// Cancel-safe: dropping the future drops the transport.
    ///
    /// # Errors
    ///
    /// [`TlsError`] says what failed, and whose fault it is. The transport is dropped.
    pub async fn accept(&self, transport: Box<dyn Io>) -> Result<Box<dyn Io>, TlsError> {
        accept(self.config(), transport).await
    }

    /// The same by `deadline`, for a host that speaks HTTP/1.1: what goes wrong is logged.
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
                "the TLS handshake failed: the client offers protocols by ALPN, but not http/1.1, the only \
                 one that this server speaks"
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

/// Takes a config of the caller's own, but for early data: see [`TlsAcceptor::replace`].
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
    let no_chain = |error| TlsError::Pem { what: "certificate", error };
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(no_chain)?;
    if chain.is_empty() {
        return Err(no_chain(rustls::pki_types::pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| TlsError::Pem { what: "private key", error })?;
    let mut config = ServerConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Config)?;
    config.alpn_protocols = alpn_protocols;
    Ok(config)
}

/// Early data can be replayed by whoever recorded it (RFC 8446 §8), and a request for a WebSocket is
/// not one that may be (RFC 8470 §4): a client that offers some sends it after the handshake instead.
fn without_early_data(mut config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    if config.max_early_data_size > 0 {
        Arc::make_mut(&mut config).max_early_data_size = 0;
    }
    config
}

/// A client that was promised another protocol, such as `h2`, would be answered in HTTP/1.1. Who offers
/// nothing promises nothing.
fn spoken_only(config: &Arc<ServerConfig>) -> Arc<ServerConfig> {
    let mut config = Arc::clone(config);
    let offered = &config.alpn_protocols;
    if offered.iter().any(|protocol| protocol != HTTP_1_1.as_bytes()) {
        Arc::make_mut(&mut config).alpn_protocols = vec![HTTP_1_1.into()];
    }
    config
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::File { path: path.to_owned(), error })
}
