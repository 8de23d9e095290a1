//! Why there is no TLS: [`TlsError`].

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, InvalidMessage};
use sockless_core::Escaped;

/// Why there is no TLS connection, or no settings for one: what failed, and whose fault it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer's certificate is not accepted: not valid for the name, not trusted, expired.
    Certificate(CertificateError),
    /// The settings contradict themselves: a key that is not the certificate's, for example.
    Config(rustls::Error),
    /// The peer ended the connection before the TLS handshake was through.
    Cut,
    /// A file with a certificate or a key cannot be read.
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The host is neither a domain name nor an address, so that no certificate can be for it.
    NameInvalid {
        /// The host that was asked for.
        host: String,
    },
    /// The peer speaks something other than TLS, such as plain HTTP.
    NotTls,
    /// A text that should hold certificates or a key in PEM (RFC 7468) does not.
    Pem {
        /// What it should have held.
        what: &'static str,
        /// What is wrong with it.
        error: rustls::pki_types::pem::Error,
    },
    /// The peer broke the rules of TLS, or has no version or cipher in common with us.
    Protocol(rustls::Error),
    /// No cryptography: neither the feature `ring` nor `aws-lc-rs` is on, and the program has installed
    /// none with rustls.
    ProviderMissing,
    /// The peer refused, and said why in an alert (RFC 8446 §6.2): it does not accept our certificate,
    /// or none of our protocols, for example.
    Refused(AlertDescription),
    /// The transport failed before the TLS handshake was through.
    Transport(io::Error),
}

impl TlsError {
    /// What an error of rustls during the handshake means.
    pub(super) fn of_handshake(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::Certificate(error),
            rustls::Error::AlertReceived(alert) => Self::Refused(alert),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            error => Self::Protocol(error),
        }
    }

    /// What TLS reported through a transport, after the handshake was through on this side.
    pub(crate) fn within(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.source()?.downcast_ref::<rustls::Error>()?;
        Some(Self::of_handshake(error.clone()))
    }

    /// Whether the same may well succeed at another time: see
    /// [`ConnectError::is_transient`](crate::ConnectError::is_transient).
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Cut | Self::Transport(_) => true,
            // The clock of a device may not be set yet.
            Self::Certificate(error) => matches!(
                error,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
            ),
            // Damaged on its way.
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

/// What the peer wrote, such as the names in its certificate, is escaped.
impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => {
                write!(f, "the peer's certificate is not accepted: {}", Escaped(error))
            }
            Self::Config(error) => write!(f, "the TLS settings are not sound: {error}"),
            Self::Cut => f.write_str("the peer ended the connection during the TLS handshake"),
            Self::File { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::NameInvalid { host } => {
                write!(f, "no certificate can be for the host {host:?}: it is no name or address")
            }
            Self::NotTls => f.write_str("the peer does not speak TLS"),
            Self::Pem { what, error } => write!(f, "there is no {what} in the PEM: {error}"),
            Self::Protocol(error) => write!(f, "the TLS handshake failed: {}", Escaped(error)),
            Self::ProviderMissing => f.write_str(
                "there is no cryptography for TLS: switch on the feature `ring` or `aws-lc-rs`, or \
                 install a provider of rustls",
            ),
            Self::Refused(alert) => {
                write!(f, "the peer refused the TLS handshake, with the alert {alert:?}")?;
                f.write_str(hint(*alert))
            }
            Self::Transport(error) => {
                write!(f, "the transport failed during the TLS handshake: {}", Escaped(error))
            }
        }
    }
}

/// What an alert asks to be changed, where that is clear.
fn hint(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => {
            ": it wants a certificate, which the rustls config of this end has to hold"
        }
        AlertDescription::NoApplicationProtocol => {
            ": it takes none of the protocols that were offered (ALPN), and a WebSocket needs http/1.1"
        }
        AlertDescription::ProtocolVersion => ": it takes none of the versions of TLS on offer",
        AlertDescription::UnknownCA => ": it does not trust who issued the certificate of this end",
        AlertDescription::UnrecognisedName => {
            ": it has no certificate for the name that was asked for"
        }
        _ => "",
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) | Self::Protocol(error) => Some(error),
            Self::File { error, .. } | Self::Transport(error) => Some(error),
            Self::Pem { error, .. } => Some(error),
            Self::Certificate(_)
            | Self::Cut
            | Self::NameInvalid { .. }
            | Self::NotTls
            | Self::ProviderMissing
            | Self::Refused(_) => None,
        }
    }
}
