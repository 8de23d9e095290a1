//! Errors of proxies and of their URLs: [`ProxyError`] and [`ParseProxyUrlError`].

use bytestring::ByteString;
use http::StatusCode;
use thiserror::Error;

use crate::client::status::is_transient;
use crate::client::target::UrlError;

/// The number of bytes of heads that a proxy may send, interim responses included.
pub(super) const MAX_HEAD_LEN: usize = 16 << 10;

/// The reason for which a proxy did not open a tunnel to the server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The proxy requires credentials, but its URL does not contain any.
    #[error(
        "the proxy requires authentication, but its URL has no credentials: add them as in \
         http://user:password@host"
    )]
    AuthenticationRequired,
    /// The proxy rejected the credentials of its URL.
    #[error("the proxy rejected the user name and the password of its URL")]
    CredentialsRejected,
    /// The proxy ended the transport before it had answered.
    #[error("the proxy ended the transport before it had answered")]
    Eof,
    /// The head of the proxy's response is longer than 16 KiB.
    #[error("the head of the proxy's response is longer than {MAX_HEAD_LEN} bytes")]
    HeadTooLong,
    /// The server's name is longer than 255 bytes, which SOCKS cannot express (RFC 1928 §5).
    #[error("the server's name is longer than 255 bytes, the limit of SOCKS (RFC 1928 5)")]
    HostTooLong,
    /// The proxy's response violates the protocol that the scheme of its URL names.
    #[error("the proxy's response is invalid: {0}")]
    Invalid(&'static str),
    /// The proxy answered CONNECT with this status, not with 2xx.
    /// [`ConnectError::Proxy`](crate::ConnectError::Proxy) has the whole response.
    #[error("the proxy answered CONNECT with {0}, not with 2xx")]
    Rejected(StatusCode),
    /// The proxy answered a SOCKS request with this code, not with 0 (RFC 1928 §6).
    #[error("the proxy answered {0}, {meaning} (RFC 1928 6)", meaning = meaning(*.0))]
    SocksRejected(u8),
}

impl ProxyError {
    pub(in crate::client) fn is_transient(&self) -> bool {
        match self {
            Self::Eof => true,
            Self::Rejected(status) => is_transient(*status),
            // All except "not allowed by ruleset" and what the proxy does not support.
            Self::SocksRejected(code) => matches!(code, 1 | 3..=6),
            _ => false,
        }
    }

    /// Returns true if the proxy may reach another address of the same server.
    pub(in crate::client) fn is_address_specific(&self) -> bool {
        matches!(self, Self::SocksRejected(1 | 3..=6 | 8))
    }
}

/// Returns the meaning of a SOCKS reply (RFC 1928 §6).
fn meaning(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "an unassigned code",
    }
}

/// The error of a URL that does not name a proxy.
///
/// Its text does not show the URL, which may contain a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the proxy's URL{} is invalid: {fault}", location(.variable))]
pub struct ParseProxyUrlError {
    variable: Option<ByteString>,
    #[source]
    fault: ProxyUrlFault,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum ProxyUrlFault {
    #[error("a user name or a password for SOCKS is limited to 255 bytes (RFC 1929 2)")]
    CredentialsTooLong,
    #[error("expected the scheme http, https, socks5 or socks5h")]
    SchemeUnsupported,
    #[error("expected the form http://host:port, without spaces")]
    Syntax,
    #[error(transparent)]
    Url(UrlError),
}

impl ParseProxyUrlError {
    pub(super) fn in_variable(self, name: &str) -> Self {
        Self { variable: Some(name.into()), ..self }
    }

    /// Returns the name of the environment variable with the URL; `None` for a URL that the program
    /// passed.
    pub fn variable(&self) -> Option<&str> {
        self.variable.as_deref()
    }
}

impl From<ProxyUrlFault> for ParseProxyUrlError {
    fn from(fault: ProxyUrlFault) -> Self {
        Self { variable: None, fault }
    }
}

impl From<UrlError> for ParseProxyUrlError {
    fn from(error: UrlError) -> Self {
        Self::from(match error {
            UrlError::Syntax | UrlError::HostMissing => ProxyUrlFault::Syntax,
            error => ProxyUrlFault::Url(error),
        })
    }
}

fn location(variable: &Option<ByteString>) -> String {
    variable.as_ref().map_or(String::new(), |variable| format!(" in {variable}"))
}
