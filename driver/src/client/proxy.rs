//! The way through a proxy: [`Proxy`], what it may answer, and the machines that ask it.

mod error;
mod http_connect;
mod rules;
mod socks5;

use std::fmt;

use bytes::BytesMut;
use http::Response;

pub use error::{ParseProxyUrlError, ProxyError};
pub use rules::ProxyRules;

use super::target::{Authority, Credentials, Target, UrlError, host_and_port};
use http_connect::HttpConnect;
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
