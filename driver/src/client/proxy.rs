//! Proxies: [`Proxy`], [`ProxyRules`], and the negotiation of tunnels through them.

mod error;
mod http_connect;
mod rules;
mod socks5;

use std::fmt;
use std::net::SocketAddr;

use bytes::BytesMut;
use http::Response;

pub use error::{ParseProxyUrlError, ProxyError};
pub use rules::ProxyRules;

use super::credentials::Credentials;
use super::target::{Authority, Target, host_and_port};
use error::ProxyUrlFault;
use http_connect::HttpConnect;
use socks5::{Address, Socks5};

/// The URL of a proxy, for [`Connect::proxy`](super::Connect::proxy).
///
/// | URL | protocol | the server's name is resolved by |
/// |---|---|---|
/// | `http://proxy:3128` | HTTP CONNECT (RFC 9110 §9.3.6) | the proxy |
/// | `https://proxy:443` | HTTP CONNECT over TLS with the proxy | the proxy |
/// | `socks5h://proxy:1080` | SOCKS 5 (RFC 1928) | the proxy |
/// | `socks5://proxy:1080` | SOCKS 5 (RFC 1928) | this process |
///
/// The default port is 80 for HTTP, 443 for HTTP over TLS, and 1080 for SOCKS. TLS with the proxy
/// uses the connector of [`Connect::tls`](super::Connect::tls), as TLS with the server does. A user name and a password in the URL are
/// sent to the proxy (RFC 7617, RFC 1929); neither `{}` nor `{:?}` shows them.
///
/// ```
/// use sockless::Proxy;
///
/// let proxy = Proxy::new("socks5h://ada:secret@proxy.example.com")?;
/// assert_eq!(proxy.to_string(), "socks5h://proxy.example.com:1080");
/// # Ok::<(), sockless::ParseProxyUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    pub(super) host: String,
    pub(super) port: u16,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Https,
    Socks5 { resolves: bool },
}

impl Proxy {
    /// Parses the URL of a proxy. `http://` may be left out.
    ///
    /// # Errors
    ///
    /// Returns an error if `url` is not a URL, has a scheme that is not in the table above, or has,
    /// for SOCKS, a user name or a password of more than 255 bytes.
    pub fn new(url: &str) -> Result<Self, ParseProxyUrlError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => Kind::Http,
            "https" => Kind::Https,
            "socks5" => Kind::Socks5 { resolves: false },
            "socks5h" => Kind::Socks5 { resolves: true },
            _ => return Err(ProxyUrlFault::SchemeUnsupported.into()),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(ProxyUrlFault::Syntax.into());
        }
        let Authority { host, port, credentials } = Authority::parse(authority)?;
        let default_port = match kind {
            Kind::Http => 80,
            Kind::Https => 443,
            Kind::Socks5 { .. } => 1080,
        };
        let is_socks = matches!(kind, Kind::Socks5 { .. });
        let too_long = |part: &[u8]| is_socks && part.len() > 255;
        if credentials.as_ref().is_some_and(|it| too_long(&it.user) || too_long(&it.password)) {
            return Err(ProxyUrlFault::CredentialsTooLong.into());
        }
        Ok(Self { kind, host, port: port.unwrap_or(default_port), credentials })
    }

    /// Returns true if the proxy itself is reached over TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.kind == Kind::Https
    }

    /// Returns true if the proxy takes the server's address, which has to be resolved here.
    pub(super) fn takes_address(&self) -> bool {
        self.kind == Kind::Socks5 { resolves: false }
    }

    /// Returns the negotiation of a tunnel to `target`, by its address if there is one.
    pub(super) fn tunnel(
        &self,
        target: &Target,
        addr: Option<SocketAddr>,
    ) -> Result<Tunnel, ProxyError> {
        let credentials = self.credentials.as_ref();
        Ok(match self.kind {
            Kind::Http | Kind::Https => {
                Tunnel::Http(HttpConnect::new(&target.authority(), credentials))
            }
            Kind::Socks5 { .. } => {
                let ip = addr.map(|addr| addr.ip()).or_else(|| target.host.parse().ok());
                let address = match ip {
                    Some(ip) => Address::Ip(ip),
                    None => Address::name(&target.host)?,
                };
                Tunnel::Socks5(Socks5::new(&address, target.port, credentials))
            }
        })
    }
}

/// Does not show credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Https => "https",
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

/// The negotiation of a tunnel, until the proxy has opened or rejected it.
pub(super) enum Tunnel {
    Http(HttpConnect),
    Socks5(Socks5),
}

impl Tunnel {
    /// Returns the bytes to send. Each [`poll`](Self::poll) may add more.
    pub(super) fn outbound(&mut self) -> &mut BytesMut {
        match self {
            Self::Http(connect) => &mut connect.outbound,
            Self::Socks5(socks) => &mut socks.outbound,
        }
    }

    /// Takes the proxy's bytes out of `inbound`. Returns `None` until there is a verdict.
    pub(super) fn poll(&mut self, inbound: &mut BytesMut) -> Option<Result<(), ProxyError>> {
        let verdict = match self {
            Self::Http(connect) => connect.poll(inbound)?,
            Self::Socks5(socks) => socks.poll(inbound)?,
        };
        // The server cannot have sent anything yet: in HTTP and in TLS the client begins.
        if verdict.is_ok() && !inbound.is_empty() {
            return Some(Err(ProxyError::Invalid(
                "it sent more than the confirmation of the tunnel",
            )));
        }
        Some(verdict)
    }

    /// Returns the head of the response with which an HTTP proxy rejected the tunnel. Its body
    /// follows in `inbound`.
    pub(super) fn into_rejection(self) -> Option<Response<()>> {
        match self {
            Self::Http(connect) => connect.rejection,
            Self::Socks5(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies_are_parsed() {
        for (url, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("HTTP://u:p@proxy/", "http://proxy:80"),
            ("https://u:p@proxy", "https://proxy:443"),
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
        for url in ["ftp://proxy", "", "http://", "http://pro xy", "http://proxy:x", &long] {
            let error = Proxy::new(url).unwrap_err();
            assert!(error.to_string().starts_with("the proxy's URL is invalid: "), "{error}");
        }
    }
}
