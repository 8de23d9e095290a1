//! The error of a TLS handshake, or of its settings: [`TlsError`].

use std::io;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, InvalidMessage};
use sockless_core::Escaped;
use thiserror::Error;

/// The error of a TLS handshake, or of its settings.
///
/// Its text escapes what the peer has written, such as the names in its certificate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer's certificate is rejected: it is expired, not trusted, or not for the server's
    /// name.
    #[error("the peer's certificate is rejected: {}", Escaped(.0))]
    Certificate(CertificateError),
    /// The settings are invalid: the key does not belong to the certificate, for example.
    #[error("the TLS settings are invalid: {0}")]
    Config(#[source] rustls::Error),
    /// The peer closed the connection before the TLS handshake was complete.
    #[error("the peer closed the connection during the TLS handshake")]
    Cut,
    /// A file with a certificate or a key cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        error: io::Error,
    },
    /// The server's host is neither a domain name nor an IP address, so no certificate can be valid
    /// for it.
    #[error("expected a domain name or an IP address as the TLS server name, found {host:?}")]
    NameInvalid {
        /// The host.
        host: String,
    },
    /// The peer speaks another protocol than TLS, such as plain HTTP.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// A text that must contain certificates or a key as PEM (RFC 7468) does not.
    #[error("expected a {expected} in PEM: {error}")]
    Pem {
        /// The expected item.
        expected: &'static str,
        /// The error of the parser.
        #[source]
        error: rustls::pki_types::pem::Error,
    },
    /// The peer violated the protocol, or has no version or cipher suite in common with this end.
    #[error("the TLS handshake failed: {}", Escaped(.0))]
    Protocol(#[source] rustls::Error),
    /// There is no cryptography provider: neither the feature `ring` nor `aws-lc-rs` is enabled,
    /// and the program has not installed one with rustls.
    #[error(
        "there is no cryptography provider for TLS: enable the feature `ring` or `aws-lc-rs`, or install \
         a provider of rustls"
    )]
    ProviderMissing,
    /// The peer rejected the handshake with an alert (RFC 8446 §6.2): it does not trust this end's
    /// certificate, or supports none of the offered protocols, for example.
    #[error("the peer rejected the TLS handshake with the alert {0:?}{hint}", hint = hint(*.0))]
    Refused(AlertDescription),
    /// The transport failed before the TLS handshake was complete.
    #[error("the transport failed during the TLS handshake: {}", Escaped(.0))]
    Transport(#[source] io::Error),
}

impl TlsError {
    /// Converts an error of rustls during the handshake.
    pub(super) fn of_handshake(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::Certificate(error),
            rustls::Error::AlertReceived(alert) => Self::Refused(alert),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            error => Self::Protocol(error),
        }
    }

    /// Returns the error of TLS in that of a transport, after the handshake was complete on this
    /// side.
    pub(crate) fn within(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.source()?.downcast_ref::<rustls::Error>()?;
        Some(Self::of_handshake(error.clone()))
    }

    /// True if a later attempt may succeed, as for `ConnectError::is_transient`.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Cut | Self::Transport(_) => true,
            // The clock of this device may not be set yet.
            Self::Certificate(error) => matches!(
                error,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
            ),
            // The data was damaged in transit.
            Self::Protocol(error) => matches!(error, rustls::Error::DecryptError),
            Self::Refused(alert) => matches!(
                alert,
                AlertDescription::BadRecordMac
                    | AlertDescription::CloseNotify
                    | AlertDescription::InternalError
                    | AlertDescription::UserCanceled
            ),
            Self::Config(_)
            | Self::File { .. }
            | Self::NameInvalid { .. }
            | Self::NotTls
            | Self::Pem { .. }
            | Self::ProviderMissing => false,
        }
    }
}

/// The change that an alert asks for, if that is clear.
fn hint(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => {
            ": it requires a certificate, which the rustls config of this end must have"
        }
        AlertDescription::NoApplicationProtocol => {
            ": it supports none of the protocols that were offered by ALPN, and a WebSocket needs http/1.1"
        }
        AlertDescription::ProtocolVersion => ": it supports none of the offered versions of TLS",
        AlertDescription::UnknownCA => ": it does not trust the issuer of this end's certificate",
        AlertDescription::UnrecognisedName => {
            ": it has no certificate for the requested server name"
        }
        _ => "",
    }
}
