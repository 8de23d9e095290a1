//! The way through a proxy: [`Proxy`], what it may answer, and the machines that ask it.

mod connect;
mod rules;
mod socks5;

use std::fmt;

use bytes::BytesMut;
use bytestring::ByteString;
use http::{Response, StatusCode};

pub use rules::ProxyRules;

use super::error::{UrlError, is_transient};
use super::target::{Authority, Credentials, Target, host_and_port};
use connect::HttpConnect;
use socks5::{Address, Socks5};

/// A proxy that WebSockets go through.
///
/// | URL | what it speaks | who looks up the server's name |
/// |---|---|---|
/// | `http://proxy:3128` | HTTP CONNECT (RFC 9110 §9.3.6) | the proxy |
/// | `socks5h://proxy:1080` | SOCKS 5 (RFC 1928) | the proxy |
/// | `socks5://proxy:1080` | SOCKS 5 (RFC 1928) | this end |
///
/// The port is 80 for HTTP and 1080 for SOCKS unless it is stated. A user's name and password in the
/// URL are sent to the proxy (RFC 7617, RFC 1929), and shown by neither `{}` nor `{:?}`.
///
/// ```
/// use sockless_driver::Proxy;
///
/// let proxy = Proxy::new("socks5h://ada:secret@proxy.example.com")?;
/// assert_eq!(proxy.to_string(), "socks5h://proxy.example.com:1080");
/// # Ok::<(), sockless_driver::ParseProxyUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    pub(crate) host: String,
    pub(crate) port: u16,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5 { resolves: bool },
}

impl Proxy {
    /// The proxy at `url`, with or without `http://` before it.
    ///
    /// # Errors
    ///
    /// When it is no URL, has a scheme that is not in the table, or, for SOCKS, a name or a password
    /// longer than 255 bytes.
    pub fn new(url: &str) -> Result<Self, ParseProxyUrlError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => Kind::Http,
            "socks5" => Kind::Socks5 { resolves: false },
            "socks5h" => Kind::Socks5 { resolves: true },
            _ => return Err(ParseProxyUrlError::new("the scheme is not http, socks5 or socks5h")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(UrlError::Syntax.into());
        }
        let Authority { host, port, credentials } = Authority::parse(authority)?;
        let default_port = if kind == Kind::Http { 80 } else { 1080 };
        let too_long = |part: &[u8]| kind != Kind::Http && part.len() > 255;
        if credentials.as_ref().is_some_and(|it| too_long(&it.user) || too_long(&it.password)) {
            let why =
                "SOCKS has no room for a name or a password longer than 255 bytes (RFC 1929 2)";
            return Err(ParseProxyUrlError::new(why));
        }
        Ok(Self { kind, host, port: port.unwrap_or(default_port), credentials })
    }

    /// Whether the server's address has to be looked up here.
    pub(crate) fn wants_address(&self) -> bool {
        self.kind == Kind::Socks5 { resolves: false }
    }

    /// What asks the proxy for a way to `target`, at `addr` where the proxy wants one.
    pub(crate) fn tunnel(
        &self,
        target: &Target,
        addr: Option<std::net::SocketAddr>,
    ) -> Result<Tunnel, ProxyError> {
        Ok(match self.kind {
            Kind::Http => {
                Tunnel::Http(HttpConnect::new(&target.authority(), self.credentials.as_ref()))
            }
            Kind::Socks5 { .. } => {
                let address = match addr.map(|addr| addr.ip()).or_else(|| target.host.parse().ok())
                {
                    Some(ip) => Address::Ip(ip),
                    None => Address::name(&target.host)?,
                };
                Tunnel::Socks5(Socks5::new(&address, target.port, self.credentials.as_ref()))
            }
        })
    }
}

/// Without credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Socks5 { resolves: false } => "socks5",
            Kind::Socks5 { resolves: true } => "socks5h",
        };
        write!(f, "{scheme}://{}", host_and_port(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// A conversation with a proxy, until it has opened the way or refused to.
pub(crate) enum Tunnel {
    Http(HttpConnect),
    Socks5(Socks5),
}

impl Tunnel {
    /// The bytes to send; more may come with each [`poll`](Self::poll).
    pub(crate) fn outbound(&mut self) -> &mut BytesMut {
        match self {
            Self::Http(connect) => &mut connect.outbound,
            Self::Socks5(socks) => &mut socks.outbound,
        }
    }

    /// Takes what the proxy says out of `inbound`; `None` until there is a verdict.
    pub(crate) fn poll(&mut self, inbound: &mut BytesMut) -> Option<Result<(), ProxyError>> {
        let verdict = match self {
            Self::Http(connect) => connect.poll(inbound)?,
            Self::Socks5(socks) => socks.poll(inbound)?,
        };
        // The server cannot have spoken yet: in HTTP and in TLS the client begins.
        if verdict.is_ok() && !inbound.is_empty() {
            return Some(Err(ProxyError::Invalid("it says more than that the way is open")));
        }
        Some(verdict)
    }

    /// The head of the answer by which an HTTP proxy refused; its body is what follows in `inbound`.
    pub(crate) fn into_refusal(self) -> Option<Response<()>> {
        match self {
            Self::Http(connect) => connect.refusal,
            Self::Socks5(_) => None,
        }
    }
}

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
    /// [`ConnectError::Proxy`](super::ConnectError::Proxy).
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
            Self::HeadTooLong => write!(
                f,
                "the head of the proxy's answer is longer than {} bytes",
                connect::MAX_HEAD_LEN
            ),
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
    fn new(why: impl Into<ByteString>) -> Self {
        Self { variable: None, why: why.into() }
    }

    fn in_variable(self, name: &str) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies_are_taken_apart() {
        for (url, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("HTTP://u:p@proxy/", "http://proxy:80"),
            ("proxy:3128", "http://proxy:3128"),
            ("u:p@proxy:3128", "http://proxy:3128"),
            ("socks5://[2001:db8::1]", "socks5://[2001:db8::1]:1080"),
            ("socks5h://192.0.2.1:9050", "socks5h://192.0.2.1:9050"),
        ] {
            let proxy = Proxy::new(url).unwrap();
            assert_eq!(
                (proxy.to_string(), format!("{proxy:?}")),
                (shown.into(), format!("Proxy({shown})"))
            );
            assert_eq!(proxy.credentials.is_some(), url.contains('@'), "{url}");
        }
        let long = format!("socks5://{}:p@proxy", "u".repeat(256));
        for url in ["https://proxy", "", "http://", "http://pro xy", "http://proxy:x", &long] {
            let error = Proxy::new(url).unwrap_err();
            assert!(error.to_string().starts_with("the proxy's URL is invalid: "), "{error}");
        }
    }
}
