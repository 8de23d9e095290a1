//! Which servers `--ca` and `--insecure` trust, and the certificate of `--cert`.

use std::path::Path;
use std::sync::Arc;

use sockless::tls::TlsConnector;
use sockless::tls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use sockless::tls::rustls::crypto::{self, CryptoProvider};
use sockless::tls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use sockless::tls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::exit::Failure;

/// Trusts the certificate authorities in a file of PEM.
pub(crate) fn trusting(file: &Path) -> Result<TlsConnector, Failure> {
    let failure = |error: &dyn std::fmt::Display| {
        Failure::usage(format_args!("--ca: {}: {error}", file.display()))
    };
    let pem = std::fs::read(file).map_err(|error| failure(&error))?;
    TlsConnector::trusting_pem(&pem).map_err(|error| failure(&error))
}

/// Trusts the servers that the operating system trusts.
pub(crate) fn trusting_as_the_system() -> Result<TlsConnector, Failure> {
    TlsConnector::platform().map_err(|error| Failure::usage(format_args!("--cert: {error}")))
}

/// Presents a certificate, with a private key, of files of PEM.
pub(crate) fn presenting(
    connector: TlsConnector,
    cert: &Path,
    key: &Path,
) -> Result<TlsConnector, Failure> {
    connector.client_certificate_files(cert, key).map_err(|error| {
        let (cert, key) = (cert.display(), key.display());
        Failure::usage(format_args!("--cert {cert}, --key {key}: {error}"))
    })
}

/// Trusts every server.
pub(crate) fn accepting_all() -> TlsConnector {
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAll(provider)))
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).alpn(["http/1.1"])
}

/// Checks signatures, but not who issued a certificate and for which name.
#[derive(Debug)]
struct AcceptAll(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
