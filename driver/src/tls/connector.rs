//! TLS on the client's side: [`TlsConnector`].

use std::fmt;
use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "platform-verifier")]
use std::sync::OnceLock;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, WantsVerifier};

use super::stream::TlsStream;
use super::{HTTP_1_1, TlsError, protocol_list, provider, read};
use crate::runtime::Io;

/// The client's side of TLS: the certificates that it trusts, and the protocols that it offers.
///
/// Clones share the session tickets, with which a later connection resumes an earlier one: by
/// default the last 8 of each of 32 servers, which may make each of up to 64 KiB.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sockless::tls::TlsConnector;
///
/// // A server with a certificate authority of its own.
/// let connector = TlsConnector::trusting_pem(&std::fs::read("ca.pem")?)?;
/// let session = sockless::connect("wss://chat.internal/").tls(connector).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
}

impl TlsConnector {
    /// Returns a connector that trusts the certificates that the operating system trusts. The first
    /// one is kept, and later calls return clones of it.
    ///
    /// # Errors
    ///
    /// [`TlsError::ProviderMissing`] if no cryptography is available; [`TlsError::Config`] if the
    /// operating system's verifier is not available.
    #[cfg(feature = "platform-verifier")]
    pub fn platform() -> Result<Self, TlsError> {
        use rustls_platform_verifier::BuilderVerifierExt;

        static SHARED: OnceLock<TlsConnector> = OnceLock::new();
        if let Some(shared) = SHARED.get() {
            return Ok(shared.clone());
        }
        let made = Self::make(builder()?.with_platform_verifier().map_err(TlsError::Config)?);
        Ok(SHARED.get_or_init(|| made).clone())
    }

    /// Creates a connector that trusts the certificates that the operating system trusts, and the
    /// certificate authorities in `pem` (RFC 7468): for programs that reach public servers and those
    /// of their own network. On Android it is not available.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockless::tls::TlsConnector;
    ///
    /// let connector = TlsConnector::platform_and_pem(&std::fs::read("ca.pem")?)?;
    /// let session = sockless::connect("wss://example.com/chat").tls(connector).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`platform`](Self::platform) and of [`trusting_pem`](Self::trusting_pem).
    #[cfg(all(feature = "platform-verifier", not(target_os = "android")))]
    pub fn platform_and_pem(pem: &[u8]) -> Result<Self, TlsError> {
        use rustls_platform_verifier::Verifier;

        let verifier = Verifier::new_with_extra_roots(certificates(pem)?, provider()?);
        let verifier = Arc::new(verifier.map_err(TlsError::Config)?);
        Ok(Self::make(builder()?.dangerous().with_custom_certificate_verifier(verifier)))
    }

    /// Creates a connector that trusts the certificate authorities of Mozilla, as they were when
    /// the program was compiled.
    ///
    /// # Errors
    ///
    /// [`TlsError::ProviderMissing`] if no cryptography is available.
    #[cfg(feature = "webpki-roots")]
    pub fn webpki_roots() -> Result<Self, TlsError> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Ok(Self::make(builder()?.with_root_certificates(roots)))
    }

    /// Creates a connector that trusts only the certificate authorities in `pem` (RFC 7468): for
    /// servers with an authority of their own.
    ///
    /// # Errors
    ///
    /// * [`TlsError::Pem`] if `pem` has no certificate, or is not valid PEM.
    /// * [`TlsError::Config`] if a certificate is not valid.
    /// * [`TlsError::ProviderMissing`] if no cryptography is available.
    pub fn trusting_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(TlsError::Config)?;
        }
        Ok(Self::make(builder()?.with_root_certificates(roots)))
    }

    fn make(builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> Self {
        Self::from(Arc::new(builder.with_no_client_auth())).alpn([HTTP_1_1])
    }

    /// Sets the certificate that is sent to servers that request one, as PEM (RFC 7468): the chain
    /// with the client's own certificate first, and its private key. Default: none.
    ///
    /// # Errors
    ///
    /// * [`TlsError::Pem`] if `chain` has no certificate or `key` no private key.
    /// * [`TlsError::Config`] if the key does not belong to the certificate, or is of an unknown
    ///   kind.
    pub fn client_certificate_pem(mut self, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| TlsError::Pem { expected: "private key", error })?;
        let provider = self.config.crypto_provider();
        let certified = CertifiedKey::from_der(certificates(chain)?, key, provider);
        let certified = SingleCertAndKey::from(certified.map_err(TlsError::Config)?);
        Arc::make_mut(&mut self.config).client_auth_cert_resolver = Arc::new(certified);
        Ok(self)
    }

    /// Sets the client's certificate as [`client_certificate_pem`](Self::client_certificate_pem)
    /// does, of files. Both may be the same file.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use sockless::tls::TlsConnector;
    ///
    /// let connector = TlsConnector::trusting_pem(&std::fs::read("ca.pem")?)?
    ///     .client_certificate_files("client.pem", "client.key")?;
    /// # drop(connector);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`client_certificate_pem`](Self::client_certificate_pem), and [`TlsError::File`] if
    /// a file cannot be read.
    pub fn client_certificate_files(
        self,
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        self.client_certificate_pem(&read(chain.as_ref())?, &read(key.as_ref())?)
    }

    /// Replaces the protocols that are offered by ALPN (RFC 7301), in order of preference. An empty
    /// list offers none. Default: `http/1.1`, or those of the config from which this was made.
    ///
    /// The negotiated protocol is in [`Io::tls`] of the connection. A server that knows ALPN and
    /// supports none of the protocols rejects the connection.
    ///
    /// This applies to [`connect`](Self::connect). [`Connect`](crate::Connect) speaks HTTP/1.1
    /// only: if anything is offered here, it offers `http/1.1` alone.
    #[must_use]
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols = protocol_list(protocols);
        self
    }

    /// Returns a connector that offers `http/1.1` alone, if this one offers anything.
    pub(crate) fn for_http_1(&self) -> Self {
        let offered = &self.config.alpn_protocols;
        if offered.is_empty() || *offered == [HTTP_1_1.as_bytes()] {
            return self.clone();
        }
        self.clone().alpn([HTTP_1_1])
    }

    /// Performs the TLS handshake over `transport` with the server `host`, and returns the
    /// encrypted transport.
    ///
    /// `host` is a domain name or an IP address, without brackets, for which the server's
    /// certificate must be valid. There is no deadline: the caller has to set one.
    ///
    /// Cancel-safe: dropping the future drops the transport.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the handshake fails, which drops the transport.
    pub async fn connect(
        &self,
        host: &str,
        transport: Box<dyn Io>,
    ) -> Result<Box<dyn Io>, TlsError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::NameInvalid { host: host.to_owned() })?;
        let connection =
            ClientConnection::new(self.config.clone(), name).map_err(TlsError::Config)?;
        TlsStream::handshake(connection, transport).await
    }
}

/// Creates a connector with a config of rustls.
impl From<Arc<ClientConfig>> for TlsConnector {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }
}

/// Returns the config of rustls, for another library that connects by TLS.
impl From<TlsConnector> for Arc<ClientConfig> {
    fn from(connector: TlsConnector) -> Self {
        connector.config
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}

/// The certificates in `pem`, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let invalid = |error| TlsError::Pem { expected: "certificate", error };
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(invalid)?;
    match certificates.is_empty() {
        true => Err(invalid(rustls::pki_types::pem::Error::NoItemsFound)),
        false => Ok(certificates),
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)
}
