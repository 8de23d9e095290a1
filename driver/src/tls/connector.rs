//! TLS on the client's side: [`TlsConnector`].

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "platform-verifier")]
use std::sync::OnceLock;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, WantsVerifier};

use super::stream::TlsStream;
use super::{HTTP_1_1, TlsError, protocol_list, provider};
use crate::runtime::Io;

/// Makes TLS connections to servers: whom it trusts, and what it offers. Clones share the tickets by
/// which a later connection resumes an earlier one.
///
/// ```no_run
/// # #[cfg(feature = "webpki-roots")]
/// # async fn example(
/// #     transport: Box<dyn sockless_driver::Io>,
/// # ) -> Result<(), sockless_driver::tls::TlsError> {
/// use sockless_driver::tls::TlsConnector;
///
/// let connector = TlsConnector::webpki_roots()?.alpn(["h2", "http/1.1"]);
/// let transport = connector.connect("example.com", transport).await?;
/// let alpn = transport.tls().expect("it is TLS").alpn;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
}

impl TlsConnector {
    /// Trusts whom the operating system trusts. What is made first is shared by all later calls.
    ///
    /// # Errors
    ///
    /// [`TlsError::ProviderMissing`]; [`TlsError::Config`] when the operating system's verifier cannot
    /// be had.
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

    /// Trusts whom Mozilla trusts, as compiled into the program.
    ///
    /// # Errors
    ///
    /// [`TlsError::ProviderMissing`].
    #[cfg(feature = "webpki-roots")]
    pub fn webpki_roots() -> Result<Self, TlsError> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Ok(Self::make(builder()?.with_root_certificates(roots)))
    }

    /// Trusts the authorities whose certificates are in `pem` (RFC 7468), and nobody else: for servers
    /// with a certificate authority of their own.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`] when there is no certificate or one that is not sound PEM,
    /// [`TlsError::Config`] when one is not sound itself, [`TlsError::ProviderMissing`].
    pub fn trusting_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let invalid = |error| TlsError::Pem { what: "certificate", error };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(invalid)?).map_err(TlsError::Config)?;
        }
        if roots.is_empty() {
            return Err(invalid(rustls::pki_types::pem::Error::NoItemsFound));
        }
        Ok(Self::make(builder()?.with_root_certificates(roots)))
    }

    fn make(builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> Self {
        Self::from(Arc::new(builder.with_no_client_auth())).alpn([HTTP_1_1])
    }

    /// Replaces the protocols that are offered by ALPN (RFC 7301), most wanted first; none offers
    /// nothing. Default: `http/1.1`, or what a config of the caller's own says.
    ///
    /// Which of them the server took stands in [`Io::tls`] of the connection. A server that wants none
    /// of them refuses, unless it does not know ALPN.
    ///
    /// It holds for [`connect`](Self::connect). [`Connect`](crate::Connect) speaks HTTP/1.1, and offers
    /// `http/1.1` alone where this would offer anything.
    #[must_use]
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols = protocol_list(protocols);
        self
    }

    /// This one for HTTP/1.1: where it offers something, it offers that alone, so that nothing else can
    /// be agreed on.
    pub(crate) fn for_http_1(&self) -> Self {
        let offered = &self.config.alpn_protocols;
        if offered.is_empty() || *offered == [HTTP_1_1.as_bytes()] {
            return self.clone();
        }
        self.clone().alpn([HTTP_1_1])
    }

    /// Makes a TLS connection of `transport`, to the server `host`: a name or an address, without
    /// brackets. The certificate has to be for it.
    ///
    /// It waits as long as the server does: the caller has the deadline.
    ///
    /// Cancel-safe: dropping the future drops the transport.
    ///
    /// # Errors
    ///
    /// [`TlsError`] says what failed, and whose fault it is. The transport is dropped.
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

/// Takes a config of the caller's own as it is.
impl From<Arc<ClientConfig>> for TlsConnector {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)
}
