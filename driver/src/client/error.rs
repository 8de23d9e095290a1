//! Errors of opening a connection: [`ConnectError`], with the step that failed and the server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, Version};
use sockless_core::Escaped;
use sockless_core::handshake::{ClientRequestError, HandshakeError};

use super::destination::Destination;
use super::excerpt::{Excerpt, FirstLine};
use super::proxy::{ParseProxyUrlError, ProxyError};
use super::redirect::RedirectError;
use super::status::is_transient;
use super::target::UrlError;
#[cfg(feature = "rustls")]
use crate::tls::TlsError;

/// The error of a connection that could not be opened.
///
/// Its `{}` form is one line with the step that failed, the server, and the reason. Neither `{}`
/// nor `{:?}` shows credentials, those of a URL included, and text from the peer is escaped in
/// both.
///
/// ```no_run
/// use sockless::ConnectError;
///
/// # async fn example() {
/// match sockless::connect("ws://example.com/chat").await {
///     Ok(session) => drop(session),
///     Err(ConnectError::Rejected { response, .. }) if response.status() == 401 => {
///         eprintln!("the token has expired");
///     }
///     Err(error) if error.is_transient() => eprintln!("{error}; trying again later"),
///     Err(error) => eprintln!("{error}"),
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The TLS transport negotiated another protocol than `http/1.1` by ALPN (RFC 7301), such as
    /// `h2`. This only happens to a transport that the program opened: [`Connect`](super::Connect)
    /// itself offers `http/1.1` only.
    Alpn {
        /// The server.
        destination: Destination,
        /// The protocol that was negotiated.
        protocol: Bytes,
    },
    /// No address of the server, or of the proxy, accepted a connection.
    Dial {
        /// The server.
        destination: Destination,
        /// The addresses that were tried, in the order in which they failed.
        attempts: Vec<DialAttempt>,
    },
    /// The server's response is not a valid handshake.
    Handshake {
        /// The server.
        destination: Destination,
        /// The fault of the response.
        error: HandshakeError,
    },
    /// A header or a subprotocol that was added to the request is not valid in HTTP.
    HeaderInvalid(http::Error),
    /// The proxy did not open a tunnel to the server.
    Proxy {
        /// The server, and the proxy.
        destination: Destination,
        /// The reason.
        error: ProxyError,
        /// The response with which an HTTP proxy rejected CONNECT, with the part of its body that
        /// arrived within a second, up to 64 KiB. `None` if the proxy sent no such response.
        response: Option<Box<Response<Bytes>>>,
    },
    /// TLS with the proxy failed, whose URL is `https:`.
    #[cfg(feature = "rustls")]
    ProxyTls {
        /// The server, and the proxy.
        destination: Destination,
        /// The reason.
        error: TlsError,
    },
    /// The URL of a proxy is invalid, in a setting or in an environment variable.
    ProxyUrlInvalid(ParseProxyUrlError),
    /// The server sent a redirect that is not followed.
    Redirect {
        /// The server that sent the redirect.
        destination: Destination,
        /// The reason.
        error: RedirectError,
    },
    /// The server sent another response than 101 (over HTTP/2, than a success), and it is not a
    /// redirect that is followed.
    Rejected {
        /// The server.
        destination: Destination,
        /// The response, with the part of its body that arrived before the deadline of
        /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout), up to 64 KiB. If
        /// its length is unknown, only the part that arrived within a second; so over HTTP/2.
        response: Box<Response<Bytes>>,
        /// True if that is the whole body.
        complete: bool,
    },
    /// The request cannot open a WebSocket, such as one with a header that the handshake sets
    /// itself.
    RequestInvalid(ClientRequestError),
    /// The name of the server or of the proxy could not be resolved to an address.
    Resolve {
        /// The server.
        destination: Destination,
        /// The name that was looked up.
        name: String,
        /// The resolver's error.
        error: io::Error,
    },
    /// A setting of [`Connect`](super::Connect) was used for a connection to which it does not
    /// apply: see [`Connect::with_opener`](super::Connect::with_opener).
    SettingUnsupported {
        /// The method of `Connect`.
        setting: &'static str,
    },
    /// [`Config::opening_timeout`](sockless_core::Config::opening_timeout) passed, which covers all
    /// steps.
    Timeout {
        /// The server.
        destination: Destination,
        /// The step that was not finished.
        step: ConnectStep,
        /// The value of the setting.
        timeout: Duration,
        /// The addresses that were tried without success, if the step is
        /// [`Connect`](ConnectStep::Connect).
        attempts: Vec<DialAttempt>,
    },
    /// TLS with the server failed.
    #[cfg(feature = "rustls")]
    Tls {
        /// The server.
        destination: Destination,
        /// The reason.
        error: TlsError,
    },
    /// The URL is `wss:`, but this build has no TLS (feature `tls`), or there are no trusted
    /// certificates: no connector was set, and the features `platform-verifier` and `webpki-roots`
    /// are off.
    TlsUnavailable {
        /// The server.
        destination: Destination,
    },
    /// The transport failed after it had been opened.
    Transport {
        /// The server.
        destination: Destination,
        /// The step that was not finished.
        step: ConnectStep,
        /// The transport's error.
        error: io::Error,
    },
    /// The URL is not a WebSocket URL.
    UrlInvalid(UrlError),
}

impl ConnectError {
    /// Returns true if the same connection may succeed at another time:
    ///
    /// * the server or the proxy could not be reached, the deadline passed, or the transport
    ///   failed;
    /// * the server or the proxy answered 408, 425, 429 or 5xx, except for 501, 505, 506, 508 and
    ///   510, which describe how a server is set up;
    /// * a SOCKS proxy could not reach the server (RFC 1928 §6: codes 1 and 3 to 6);
    /// * TLS was cut off or corrupted, the peer aborted it with `internal_error`, `user_canceled`,
    ///   `close_notify` or `bad_record_mac`, or its certificate is not valid yet.
    ///
    /// All other errors, of a URL, a request, a handshake or a certificate, are permanent.
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
            Self::Tls { error, .. } | Self::ProxyTls { error, .. } => error.is_transient(),
            Self::Alpn { .. }
            | Self::HeaderInvalid(_)
            | Self::ProxyUrlInvalid(_)
            | Self::Redirect { .. }
            | Self::RequestInvalid(_)
            | Self::SettingUnsupported { .. }
            | Self::TlsUnavailable { .. }
            | Self::UrlInvalid(_) => false,
        }
    }

    /// Returns the server with which a step failed; `None` if nothing was dialled.
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
            Self::Tls { destination, .. } | Self::ProxyTls { destination, .. } => Some(destination),
            Self::HeaderInvalid(_)
            | Self::ProxyUrlInvalid(_)
            | Self::RequestInvalid(_)
            | Self::SettingUnsupported { .. }
            | Self::UrlInvalid(_) => None,
        }
    }

    /// Returns the reason for metrics: one of a few words.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "resolve",
            Self::Dial { .. } => "dial",
            Self::Timeout { .. } => "timeout",
            Self::Transport { .. } => "transport",
            Self::Rejected { .. } => "rejected",
            Self::Redirect { .. } => "redirect",
            Self::Handshake { .. } => "handshake",
            Self::Proxy { .. } => "proxy",
            #[cfg(feature = "rustls")]
            Self::ProxyTls { .. } => "proxy",
            #[cfg(feature = "rustls")]
            Self::Tls { .. } => "tls",
            Self::Alpn { .. } | Self::TlsUnavailable { .. } => "tls",
            Self::HeaderInvalid(_)
            | Self::ProxyUrlInvalid(_)
            | Self::RequestInvalid(_)
            | Self::SettingUnsupported { .. }
            | Self::UrlInvalid(_) => "invalid",
        }
    }

    /// Returns the error of a transport that failed after it had been opened. An error within TLS
    /// is an error of TLS: in TLS 1.3, the client's handshake is complete before the server rejects
    /// the client's certificate (RFC 8446 §2).
    pub(super) fn of_transport(
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
}

/// Text from the peer is escaped.
impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(Text(self)).fmt(f)
    }
}

/// The text of an error, in which text from the peer is not escaped yet.
struct Text<'a>(&'a ConnectError);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ConnectError::*;
        match self.0 {
            Alpn { destination, protocol } => write!(
                f,
                "expected http/1.1 in TLS with {destination}, but \"{}\" was negotiated by ALPN: \
                 offer http/1.1 only, or no protocol, when the TLS transport is opened",
                protocol.escape_ascii()
            ),
            Dial { destination, attempts } => {
                write!(f, "cannot reach {destination}")?;
                write_attempts(f, attempts)
            }
            Handshake { destination, error } => {
                write!(f, "the opening handshake with {destination} failed: {error}")
            }
            HeaderInvalid(error) => {
                write!(f, "a header or a subprotocol of the request is invalid: {error}")
            }
            Proxy { destination, error, response } => {
                let body = response.as_ref().map_or(&[][..], |response| response.body());
                write!(f, "cannot reach {destination}: {error}{}", Excerpt(body))
            }
            #[cfg(feature = "rustls")]
            ProxyTls { destination, error } => {
                write!(f, "cannot reach {destination}: TLS with the proxy failed: {error}")
            }
            ProxyUrlInvalid(error) => error.fmt(f),
            Redirect { destination, error } => {
                write!(f, "{destination} sent a redirect that is not followed: {error}")
            }
            Rejected { destination, response, .. } => {
                let expected = match response.version() < Version::HTTP_2 {
                    true => "101 Switching Protocols",
                    false => "200 OK",
                };
                let line = FirstLine(response.body());
                write!(f, "{destination} answered {}, not {expected}{line}", response.status())
            }
            RequestInvalid(error) => write!(f, "the request cannot open a WebSocket: {error}"),
            Resolve { destination, name, error } => {
                write!(f, "cannot reach {destination}: resolving {name} failed: {error}")
            }
            SettingUnsupported { setting } => write!(
                f,
                "Connect::{setting} does not apply to a connection over HTTP/2: remove the call, and \
                 configure the HTTP/2 connection instead"
            ),
            Timeout { destination, step, timeout, attempts } => {
                write!(f, "opening_timeout = {timeout:?} passed while {step} {destination}")?;
                write_attempts(f, attempts)
            }
            #[cfg(feature = "rustls")]
            Tls { destination, error } => write!(f, "TLS with {destination} failed: {error}"),
            TlsUnavailable { destination } => {
                let missing = if cfg!(feature = "rustls") {
                    "Connect::tls, or the feature `platform-verifier` or `webpki-roots`"
                } else {
                    "the feature `tls`"
                };
                write!(f, "TLS with {destination} is not available: wss requires {missing}")
            }
            Transport { destination, step, error } => {
                write!(f, "the transport failed while {step} {destination}: {error}")
            }
            UrlInvalid(error) => write!(f, "not a WebSocket URL: {error}"),
        }
    }
}

fn write_attempts(f: &mut fmt::Formatter<'_>, attempts: &[DialAttempt]) -> fmt::Result {
    for (index, attempt) in attempts.iter().enumerate() {
        let separator = if index == 0 { ": " } else { "; " };
        write!(f, "{separator}{attempt}")?;
    }
    Ok(())
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Dial { attempts, .. } => match attempts.last() {
                Some(attempt) => Some(&attempt.error),
                None => None,
            },
            Self::Handshake { error, .. } => Some(error),
            Self::HeaderInvalid(error) => Some(error),
            Self::Proxy { error, .. } => Some(error),
            Self::ProxyUrlInvalid(error) => Some(error),
            Self::Redirect { error, .. } => Some(error),
            Self::RequestInvalid(error) => Some(error),
            Self::Resolve { error, .. } | Self::Transport { error, .. } => Some(error),
            #[cfg(feature = "rustls")]
            Self::Tls { error, .. } | Self::ProxyTls { error, .. } => Some(error),
            Self::UrlInvalid(error) => Some(error),
            Self::Alpn { .. }
            | Self::Rejected { .. }
            | Self::SettingUnsupported { .. }
            | Self::Timeout { .. }
            | Self::TlsUnavailable { .. } => None,
        }
    }
}

/// An address that was tried without success.
#[derive(Debug)]
#[non_exhaustive]
pub struct DialAttempt {
    /// The address.
    pub addr: SocketAddr,
    /// The error of the attempt; one that was still pending at the deadline has the kind
    /// [`TimedOut`](io::ErrorKind::TimedOut).
    pub error: io::Error,
}

impl fmt::Display for DialAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.addr, Escaped(&self.error))
    }
}

/// The steps of opening a connection, in their order.
///
/// Each has a `{}` form to which the server can be appended, such as `connecting to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectStep {
    /// Resolving the name of the server or of the proxy.
    Resolve,
    /// Connecting to one of the addresses.
    Connect,
    /// Asking the proxy for a tunnel to the server.
    Proxy,
    /// Negotiating TLS.
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
            Self::Proxy => "asking the proxy for a tunnel to",
            Self::Tls => "negotiating TLS with",
            Self::Request => "sending the request to",
            Self::Response => "waiting for the response of",
        })
    }
}

#[cfg(test)]
mod tests;
