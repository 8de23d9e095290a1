//! The server that a connection goes to, and the way to it: [`Destination`].

use std::fmt;
use std::net::SocketAddr;

use sockless_core::Escaped;

use super::target::{Target, host_and_port};

/// The server that a connection goes to, the proxy on the way if there is one, and the address that
/// was reached.
///
/// Its `{}` form is one line for a log, such as `example.com:80 (192.0.2.1:80)` or
/// `example.com:443 through http://proxy:3128 (192.0.2.2:3128)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    host: String,
    port: u16,
    addr: Option<SocketAddr>,
    proxy: Option<String>,
}

impl Destination {
    pub(super) fn new(target: &Target, proxy: Option<String>) -> Self {
        Self { host: target.host.clone(), port: target.port, addr: None, proxy }
    }

    /// Returns the server that a URI names, for a transport that was opened elsewhere.
    pub(super) fn from_uri(uri: &http::Uri) -> Self {
        let host = uri.host().unwrap_or_default();
        let default_port = match uri.scheme_str() {
            Some("https" | "wss") => 443,
            _ => 80,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { host, port: uri.port_u16().unwrap_or(default_port), addr: None, proxy: None }
    }

    /// Returns the server's name or address. An IPv6 address has no brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address that was reached: the server's, or the proxy's if there is one. `None`
    /// if no address was reached, and for a transport that the program opened.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Returns the URL of the proxy, without credentials; `None` for a direct connection.
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    pub(super) fn set_addr(&mut self, addr: SocketAddr) {
        self.addr = Some(addr);
    }
}

/// The host is escaped, since a redirect may have set it.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = host_and_port(&self.host, self.port);
        Escaped(&named).fmt(f)?;
        if let Some(proxy) = &self.proxy {
            write!(f, " through {proxy}")?;
        }
        match self.addr {
            Some(addr) if addr.to_string() != named => write!(f, " ({addr})"),
            _ => Ok(()),
        }
    }
}
