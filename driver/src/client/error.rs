//! Why there is no connection: [`ConnectError`], with the step that failed and whom it was taken with.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use sockless_core::Escaped;
use sockless_core::handshake::{ClientRequestError, HandshakeError};

use super::destination::Destination;
use super::excerpt::Excerpt;
use super::proxy::{ParseProxyUrlError, ProxyError};
use super::redirect::RedirectError;
use super::status::is_transient;
use super::target::UrlError;
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
        destination: Destination,
        /// The protocol that both ends agreed on.
        protocol: Bytes,
    },
    /// No address of the host could be reached.
    Dial {
        /// Who was to be reached.
        destination: Destination,
        /// Every address that was tried, in the order in which they failed.
        attempts: Vec<DialAttempt>,
    },
    /// The server's answer is no handshake.
    Handshake {
        /// Who answered.
        destination: Destination,
        /// What is wrong with the answer.
        error: HandshakeError,
    },
    /// The proxy gave no way to the server.
    Proxy {
        /// Who was to be reached, and through which proxy.
        destination: Destination,
        /// What the proxy said.
        error: ProxyError,
        /// The answer of an HTTP proxy that refused CONNECT: its head, and of its body what came
        /// within a second, up to 64 KiB. `None` where it did not come to a refusal over HTTP.
        response: Option<Box<Response<Bytes>>>,
    },
    /// The URL of a proxy is none, given or in the environment.
    ProxyUrlInvalid(ParseProxyUrlError),
    /// The server's redirect is not followed.
    Redirect {
        /// Who redirects.
        destination: Destination,
        /// Why it is not followed.
        error: RedirectError,
    },
    /// The server answered something else than 101, and no redirect that was to be followed.
    Rejected {
        /// Who answered.
        destination: Destination,
        /// The whole answer; of its body, what came by the deadline of
        /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout), up to 64 KiB. Where the
        /// answer does not state where its body ends, which is then the end of the transport, what
        /// came within a second.
        response: Box<Response<Bytes>>,
        /// Whether that is all of the body.
        complete: bool,
    },
    /// A header or a subprotocol cannot stand in a request.
    HeaderInvalid(http::Error),
    /// The request is none for a WebSocket.
    RequestInvalid(ClientRequestError),
    /// A name has no address, or nobody could say which.
    Resolve {
        /// Who was to be reached.
        destination: Destination,
        /// The name that was looked up: the server's or the proxy's.
        name: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout) passed, which all steps share.
    Timeout {
        /// Who was to be reached.
        destination: Destination,
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
        destination: Destination,
        /// Why there is none.
        error: TlsError,
    },
    /// The URL is `wss:`, and this build has no TLS, the feature `tls` being off, or TLS that trusts
    /// nobody, the features `platform-verifier` and `webpki-roots` being off and no connector given.
    TlsUnavailable {
        /// Who was to be reached.
        destination: Destination,
    },
    /// The transport failed after it had been opened.
    Transport {
        /// Who is at the other end.
        destination: Destination,
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
            | Self::ProxyUrlInvalid(_)
            | Self::Redirect { .. }
            | Self::HeaderInvalid(_)
            | Self::RequestInvalid(_)
            | Self::TlsUnavailable { .. }
            | Self::UrlInvalid(_) => false,
        }
    }

    /// A transport that failed after it had been opened. What TLS has to say of it is an error of TLS:
    /// in TLS 1.3 a client is through before the server refuses what it showed (RFC 8446 §2).
    pub(crate) fn of_transport(
        destination: Destination,
        step: ConnectStep,
        error: io::Error,
    ) -> Self {
        #[cfg(feature = "rustls")]
        if let Some(error) = TlsError::within(&error) {
            return Self::Tls { destination, error };
        }
        Self::Transport { destination, step, error }
    }

    /// Whom the failed step was taken with; `None` when it did not come to that.
    pub fn destination(&self) -> Option<&Destination> {
        match self {
            Self::Alpn { destination, .. }
            | Self::Dial { destination, .. }
            | Self::Handshake { destination, .. }
            | Self::Proxy { destination, .. }
            | Self::Redirect { destination, .. }
            | Self::Rejected { destination, .. }
            | Self::Resolve { destination, .. }
            | Self::Timeout { destination, .. }
            | Self::TlsUnavailable { destination }
            | Self::Transport { destination, .. } => Some(destination),
            #[cfg(feature = "rustls")]
            Self::Tls { destination, .. } => Some(destination),
            Self::ProxyUrlInvalid(_)
            | Self::HeaderInvalid(_)
            | Self::RequestInvalid(_)
            | Self::UrlInvalid(_) => None,
        }
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
            Alpn { destination, protocol } => write!(
                f,
                "the TLS connection with {destination} was agreed on for \"{}\" (ALPN), not for http/1.1, \
                 which is spoken here: offer http/1.1 only, or nothing, where it is made",
                protocol.escape_ascii()
            ),
            Dial { destination, attempts } => {
                write!(f, "cannot reach {destination}")?;
                write_attempts(f, attempts)
            }
            Handshake { destination, error } => {
                write!(f, "the opening handshake with {destination} failed: {error}")
            }
            Proxy { destination, error, response } => {
                let body = response.as_ref().map_or(&[][..], |response| response.body());
                write!(f, "cannot reach {destination}: {error}{}", Excerpt(body))
            }
            ProxyUrlInvalid(error) => error.fmt(f),
            Redirect { destination, error } => write!(f, "{destination} redirects: {error}"),
            Rejected { destination, response, .. } => {
                write!(
                    f,
                    "{destination} answered {}, not 101 Switching Protocols",
                    response.status()
                )
            }
            HeaderInvalid(error) => write!(f, "the request cannot be made: {error}"),
            RequestInvalid(error) => write!(f, "the request cannot be made: {error}"),
            Resolve { destination, name, error } => {
                write!(f, "cannot reach {destination}: no address of {name}: {error}")
            }
            Timeout { destination, step, timeout, attempts } => {
                write!(f, "opening_timeout = {timeout:?} passed while {step} {destination}")?;
                write_attempts(f, attempts)
            }
            #[cfg(feature = "rustls")]
            Tls { destination, error } => write!(f, "no TLS with {destination}: {error}"),
            TlsUnavailable { destination } => {
                let missing = if cfg!(feature = "rustls") {
                    "Connect::tls, or the feature `platform-verifier` or `webpki-roots`"
                } else {
                    "the feature `tls`"
                };
                write!(f, "no TLS with {destination}: wss needs {missing}")
            }
            Transport { destination, step, error } => {
                write!(f, "the transport failed while {step} {destination}: {error}")
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
            Self::ProxyUrlInvalid(error) => Some(error),
            Self::Redirect { error, .. } => Some(error),
            Self::HeaderInvalid(error) => Some(error),
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

#[cfg(test)]
mod tests;
