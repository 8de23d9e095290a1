//! Why there is no connection: [`ConnectError`], with the step that failed and whom it was taken with.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use sockless_core::Escaped;
use sockless_core::handshake::{HandshakeError, RequestError};

use super::excerpt::Excerpt;
use super::proxy::{ParseProxyUrlError, ProxyError};
use super::redirect::RedirectError;
use super::target::{Target, host_and_port};
#[cfg(feature = "rustls")]
use crate::tls::TlsError;

/// Why there is no connection: which step failed, with whom, and why.
///
/// No text of it, neither `{}` nor `{:?}`, has credentials in it, those of a URL included. What a peer
/// wrote is escaped in both.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The TLS connection was agreed on for another protocol than `http/1.1` (ALPN, RFC 7301), such as
    /// `h2`: a request of HTTP/1.1 would not be understood. Only a transport of the caller's own comes
    /// to that, since [`Connect`](super::Connect) offers nothing else on those that it makes.
    Alpn {
        /// Who is at the other end.
        peer: Destination,
        /// The protocol that both ends agreed on.
        protocol: Bytes,
    },
    /// No address of the host could be reached.
    Dial {
        /// Who was to be reached.
        peer: Destination,
        /// Every address that was tried, in the order in which they failed.
        attempts: Vec<DialAttempt>,
    },
    /// The server's answer is no handshake.
    Handshake {
        /// Who answered.
        peer: Destination,
        /// What is wrong with the answer.
        error: HandshakeError,
    },
    /// The proxy gave no way to the server.
    Proxy {
        /// Who was to be reached, and through which proxy.
        peer: Destination,
        /// What the proxy said.
        error: ProxyError,
        /// The answer of an HTTP proxy that refused CONNECT: its head, and of its body what came
        /// within a second, up to 64 KiB. `None` where it did not come to a refusal over HTTP.
        response: Option<Box<Response<Bytes>>>,
    },
    /// The URL of a proxy is none, given or in the environment.
    ProxyUrl(ParseProxyUrlError),
    /// The server's redirect is not followed.
    Redirect {
        /// Who redirects.
        peer: Destination,
        /// Why it is not followed.
        error: RedirectError,
    },
    /// The server answered something else than 101, and no redirect that was to be followed.
    Rejected {
        /// Who answered.
        peer: Destination,
        /// The whole answer; of its body, what came by the deadline of
        /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout), up to 64 KiB. Where the
        /// answer does not state where its body ends, which is then the end of the transport, what
        /// came within a second.
        response: Box<Response<Bytes>>,
        /// Whether that is all of the body.
        complete: bool,
    },
    /// A header or a subprotocol cannot stand in a request.
    Request(http::Error),
    /// The request is none for a WebSocket.
    RequestInvalid(RequestError),
    /// A name has no address, or nobody could say which.
    Resolve {
        /// Who was to be reached.
        peer: Destination,
        /// The name that was looked up: the server's or the proxy's.
        name: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout) passed, which all steps share.
    Timeout {
        /// Who was to be reached.
        peer: Destination,
        /// What was being done then.
        step: ConnectStep,
        /// The setting's value.
        timeout: Duration,
        /// The addresses that had been tried without success by then.
        attempts: Vec<DialAttempt>,
    },
    /// There is no TLS connection with the server.
    #[cfg(feature = "rustls")]
    Tls {
        /// Who was to be reached.
        peer: Destination,
        /// Why there is none.
        error: TlsError,
    },
    /// The URL is `wss:`, and this build has no TLS, the feature `tls` being off, or TLS that trusts
    /// nobody, the features `platform-verifier` and `webpki-roots` being off and no connector given.
    TlsUnavailable {
        /// Who was to be reached.
        peer: Destination,
    },
    /// The transport failed after it had been opened.
    Transport {
        /// Who is at the other end.
        peer: Destination,
        /// What was being done then.
        step: ConnectStep,
        /// What the transport said.
        error: io::Error,
    },
    /// The URL is none for a WebSocket.
    UrlInvalid(UrlError),
}

impl ConnectError {
    /// Whether the same may well succeed at another time. It may when
    ///
    /// * nobody could be reached, a deadline passed or a transport broke off,
    /// * the server or the proxy answered 408, 425, 429 or 5xx, except for 501, 505, 506, 508 and 510,
    ///   which are about how a server is set up,
    /// * a SOCKS proxy could not reach the server (RFC 1928 §6: 1 and 3 to 6),
    /// * TLS was cut off or damaged on its way, the peer refused it for a reason of its own
    ///   (`internal_error`, `user_canceled`, `close_notify`, `bad_record_mac`), or its certificate is not
    ///   valid yet.
    ///
    /// What is wrong with a URL, a request, a handshake, a certificate or the lack of one stays wrong.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Dial { .. }
            | Self::Resolve { .. }
            | Self::Timeout { .. }
            | Self::Transport { .. } => true,
            Self::Handshake { error, .. } => {
                matches!(error, HandshakeError::Eof | HandshakeError::Timeout)
            }
            Self::Proxy { error, .. } => error.is_transient(),
            Self::Rejected { response, .. } => is_transient(response.status()),
            #[cfg(feature = "rustls")]
            Self::Tls { error, .. } => error.is_transient(),
            Self::Alpn { .. }
            | Self::ProxyUrl(_)
            | Self::Redirect { .. }
            | Self::Request(_)
            | Self::RequestInvalid(_)
            | Self::TlsUnavailable { .. }
            | Self::UrlInvalid(_) => false,
        }
    }

    /// A transport that failed after it had been opened. What TLS has to say of it is an error of TLS:
    /// in TLS 1.3 a client is through before the server refuses what it showed (RFC 8446 §2).
    pub(crate) fn of_transport(peer: Destination, step: ConnectStep, error: io::Error) -> Self {
        #[cfg(feature = "rustls")]
        if let Some(error) = TlsError::within(&error) {
            return Self::Tls { peer, error };
        }
        Self::Transport { peer, step, error }
    }

    /// Whom the failed step was taken with; `None` when it did not come to that.
    pub fn peer(&self) -> Option<&Destination> {
        match self {
            Self::Alpn { peer, .. }
            | Self::Dial { peer, .. }
            | Self::Handshake { peer, .. }
            | Self::Proxy { peer, .. }
            | Self::Redirect { peer, .. }
            | Self::Rejected { peer, .. }
            | Self::Resolve { peer, .. }
            | Self::Timeout { peer, .. }
            | Self::TlsUnavailable { peer }
            | Self::Transport { peer, .. } => Some(peer),
            #[cfg(feature = "rustls")]
            Self::Tls { peer, .. } => Some(peer),
            Self::ProxyUrl(_)
            | Self::Request(_)
            | Self::RequestInvalid(_)
            | Self::UrlInvalid(_) => None,
        }
    }
}

/// Whether a status says that another time may be better (RFC 9110 §15, RFC 6585 §4). What the server
/// does not support, and how it is set up, stays: 501, 505, 506, 508 and 510.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    match status.as_u16() {
        501 | 505 | 506 | 508 | 510 => false,
        408 | 425 | 429 => true,
        _ => status.is_server_error(),
    }
}

/// What a peer wrote is escaped.
impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(Text(self)).fmt(f)
    }
}

/// The text of an error, with what peers wrote as they wrote it.
struct Text<'a>(&'a ConnectError);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ConnectError::*;
        match self.0 {
            Alpn { peer, protocol } => write!(
                f,
                "the TLS connection with {peer} was agreed on for \"{}\" (ALPN), not for http/1.1, \
                 which is spoken here: offer http/1.1 only, or nothing, where it is made",
                protocol.escape_ascii()
            ),
            Dial { peer, attempts } => {
                write!(f, "cannot reach {peer}")?;
                write_attempts(f, attempts)
            }
            Handshake { peer, error } => {
                write!(f, "the opening handshake with {peer} failed: {error}")
            }
            Proxy { peer, error, response } => {
                let body = response.as_ref().map_or(&[][..], |response| response.body());
                write!(f, "cannot reach {peer}: {error}{}", Excerpt(body))
            }
            ProxyUrl(error) => error.fmt(f),
            Redirect { peer, error } => write!(f, "{peer} redirects: {error}"),
            Rejected { peer, response, .. } => {
                write!(f, "{peer} answered {}, not 101 Switching Protocols", response.status())
            }
            Request(error) => write!(f, "the request cannot be made: {error}"),
            RequestInvalid(error) => write!(f, "the request cannot be made: {error}"),
            Resolve { peer, name, error } => {
                write!(f, "cannot reach {peer}: no address of {name}: {error}")
            }
            Timeout { peer, step, timeout, attempts } => {
                write!(f, "opening_timeout = {timeout:?} passed while {step} {peer}")?;
                write_attempts(f, attempts)
            }
            #[cfg(feature = "rustls")]
            Tls { peer, error } => write!(f, "no TLS with {peer}: {error}"),
            TlsUnavailable { peer } => {
                let missing = if cfg!(feature = "rustls") {
                    "Connect::tls, or the feature `platform-verifier` or `webpki-roots`"
                } else {
                    "the feature `tls`"
                };
                write!(f, "no TLS with {peer}: wss needs {missing}")
            }
            Transport { peer, step, error } => {
                write!(f, "the transport failed while {step} {peer}: {error}")
            }
            UrlInvalid(error) => write!(f, "the URL is none for a WebSocket: {error}"),
        }
    }
}

fn write_attempts(f: &mut fmt::Formatter<'_>, attempts: &[DialAttempt]) -> fmt::Result {
    for (index, DialAttempt { addr, error }) in attempts.iter().enumerate() {
        let separator = if index == 0 { ": " } else { "; " };
        write!(f, "{separator}{addr}: {error}")?;
    }
    Ok(())
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve { error, .. } | Self::Transport { error, .. } => Some(error),
            Self::Dial { attempts, .. } => match attempts.last() {
                Some(attempt) => Some(&attempt.error),
                None => None,
            },
            Self::Handshake { error, .. } => Some(error),
            Self::Proxy { error, .. } => Some(error),
            Self::ProxyUrl(error) => Some(error),
            Self::Redirect { error, .. } => Some(error),
            Self::Request(error) => Some(error),
            Self::RequestInvalid(error) => Some(error),
            Self::UrlInvalid(error) => Some(error),
            #[cfg(feature = "rustls")]
            Self::Tls { error, .. } => Some(error),
            Self::Alpn { .. }
            | Self::Rejected { .. }
            | Self::Timeout { .. }
            | Self::TlsUnavailable { .. } => None,
        }
    }
}

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

/// An address that was tried in vain.
#[derive(Debug)]
pub struct DialAttempt {
    /// The address.
    pub addr: SocketAddr,
    /// What trying it failed with.
    pub error: io::Error,
}

/// The steps to a connection, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectStep {
    /// Looking up the addresses of the name.
    Resolve,
    /// Connecting to one of the addresses.
    Connect,
    /// Asking the proxy for a way to the server.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// Sending the request.
    Request,
    /// Waiting for the response.
    Response,
}

impl fmt::Display for ConnectStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolving",
            Self::Connect => "connecting to",
            Self::Proxy => "asking the proxy for a way to",
            Self::Tls => "shaking hands over TLS with",
            Self::Request => "sending the request to",
            Self::Response => "waiting for the response of",
        })
    }
}

/// What is wrong with the URL of a WebSocket (RFC 6455 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UrlError {
    /// The name or the password has a `%` without two hexadecimal digits, a control character, or, in
    /// the name, a colon.
    CredentialsInvalid,
    /// There is no host.
    HostMissing,
    /// The port is no number up to 65535.
    PortInvalid,
    /// The scheme is not `ws` or `wss`.
    SchemeUnsupported,
    /// It is no URL at all.
    Syntax,
    /// The IPv6 address has a zone identifier, as in `[fe80::1%25eth0]` (RFC 6874).
    ZoneUnsupported,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CredentialsInvalid => "the user's name or password is not encoded right",
            Self::HostMissing => "there is no host",
            Self::PortInvalid => "the port is no number up to 65535",
            Self::SchemeUnsupported => "the scheme is not ws or wss",
            Self::Syntax => "it is not of the form ws://host:port/path",
            Self::ZoneUnsupported => {
                "its IPv6 address has a zone (RFC 6874), which is not supported: leave it out, and \
                 for a link-local address connect a stream and pass it to Connect::transport"
            }
        })
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests;
