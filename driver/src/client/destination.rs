//! The server that a connection goes to, and the way to it: [`Destination`].

use std::fmt;
use std::net::SocketAddr;

use sockless_core::Escaped;

use super::target::{Target, host_and_port};

/// The other end of a connection to be: the server, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    host: String,
    port: u16,
    pub(crate) addr: Option<SocketAddr>,
    proxy: Option<String>,
}

impl Destination {
    pub(crate) fn new(target: &Target, proxy: Option<String>) -> Self {
        Self { host: target.host.clone(), port: target.port, addr: None, proxy }
    }

    /// The peer that a URI names, where somebody else found the way to it.
    pub(crate) fn named_by(uri: &http::Uri) -> Self {
        let host = uri.host().unwrap_or_default();
        let default_port = match uri.scheme_str() {
            Some("https" | "wss") => 443,
            _ => 80,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { host, port: uri.port_u16().unwrap_or(default_port), addr: None, proxy: None }
    }

    /// The server's name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address that was reached: the server's, or the proxy's when there is one. `None` when none
    /// was, and for a stream of the caller's own.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// The proxy on the way, as its URL without credentials.
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }
}

/// Such as `example.com:80 (192.0.2.1:80)`. A redirect's host is escaped.
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
