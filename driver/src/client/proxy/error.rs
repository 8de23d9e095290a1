//! Errors of proxies and of their URLs: [`ProxyError`] and [`ParseProxyUrlError`].

use std::fmt;

use bytestring::ByteString;
use http::StatusCode;

use crate::client::status::is_transient;
use crate::client::target::UrlError;

/// The most that a proxy may say before the way is open, interim responses included.
pub(super) const MAX_HEAD_LEN: usize = 16 << 10;

/// Why a proxy gave no way to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// It wants to know who asks, and its URL has no name and password.
    AuthenticationRequired,
    /// It does not take the name and the password.
    CredentialsRefused,
    /// It ended the transport before it had answered.
    Eof,
    /// The head of its answer is longer than 16 KiB.
    HeadTooLong,
    /// SOCKS has no room for a name longer than 255 bytes (RFC 1928 §5).
    HostTooLong,
    /// What it says is not the protocol that its URL names, or breaks a rule of it.
    Invalid(&'static str),
    /// It answered CONNECT with this status, not 2xx. The whole answer stands in
    /// [`ConnectError::Proxy`](crate::ConnectError::Proxy).
    Refused(StatusCode),
    /// It answered a SOCKS request with this code, not 0 (RFC 1928 §6).
    SocksRefused(u8),
}

impl ProxyError {
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Eof => true,
            Self::Refused(status) => is_transient(*status),
            // All but "not allowed by ruleset" and what it does not support.
            Self::SocksRefused(code) => matches!(code, 1 | 3..=6),
            _ => false,
        }
    }

    /// Whether another address of the same server may do better.
    pub(crate) fn is_of_the_address(&self) -> bool {
        matches!(self, Self::SocksRefused(1 | 3..=6 | 8))
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthenticationRequired => {
                f.write_str("the proxy wants a name and a password, which its URL has not")
            }
            Self::CredentialsRefused => f.write_str("the proxy refuses the name and the password"),
            Self::Eof => f.write_str("the proxy ended the transport before it had answered"),
            Self::HeadTooLong => {
                write!(f, "the head of the proxy's answer is longer than {} bytes", MAX_HEAD_LEN)
            }
            Self::HostTooLong => {
                f.write_str("SOCKS has no room for a name longer than 255 bytes (RFC 1928 5)")
            }
            Self::Invalid(what) => write!(f, "the proxy's answer is invalid: {what}"),
            Self::Refused(status) => write!(f, "the proxy answered CONNECT with {status}"),
            Self::SocksRefused(code) => {
                let meaning = match code {
                    1 => "general failure",
                    2 => "not allowed by its rules",
                    3 => "network unreachable",
                    4 => "host unreachable",
                    5 => "connection refused",
                    6 => "TTL expired",
                    7 => "command not supported",
                    8 => "address type not supported",
                    _ => "a code of its own",
                };
                write!(f, "the proxy answered {code}, {meaning} (RFC 1928 6)")
            }
        }
    }
}

impl std::error::Error for ProxyError {}

/// The URL of a proxy is none. Its text does not show the URL, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseProxyUrlError {
    variable: Option<ByteString>,
    why: ByteString,
}

impl ParseProxyUrlError {
    pub(super) fn new(why: impl Into<ByteString>) -> Self {
        Self { variable: None, why: why.into() }
    }

    pub(super) fn in_variable(self, name: &str) -> Self {
        Self { variable: Some(name.into()), ..self }
    }

    /// The environment variable that the URL stands in; `None` for one that was given.
    pub fn variable(&self) -> Option<&str> {
        self.variable.as_deref()
    }
}

impl From<UrlError> for ParseProxyUrlError {
    fn from(error: UrlError) -> Self {
        Self::new(match error {
            UrlError::Syntax => "it is not of the form http://host:port".to_owned(),
            error => error.to_string(),
        })
    }
}

impl fmt::Display for ParseProxyUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.variable {
            Some(variable) => write!(f, "the proxy's URL in {variable} is invalid: {}", self.why),
            None => write!(f, "the proxy's URL is invalid: {}", self.why),
        }
    }
}

impl std::error::Error for ParseProxyUrlError {}
