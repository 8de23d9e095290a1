//! The errors of the opening handshake, one type for each party that can cause them: the peer's bytes
//! ([`HeadError`]), the client's request as a server sees it ([`UpgradeError`]), the server's response
//! ([`HandshakeError`]), the caller's own request ([`ClientRequestError`]).

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;
use thiserror::Error;

use super::MAX_HEADERS;
use super::fields::{
    ALLOW, CONNECTION, Fields, Name, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use super::heads::ResponseHead;
use crate::escape::Escaped;

/// The HTTP/1.1 head of the peer is missing, too long or malformed.
///
/// The error is final: each later poll returns it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The transport ended before the head was complete.
    #[error("the transport ended before the HTTP head was complete")]
    Eof,
    /// The head breaks a rule of HTTP/1.1.
    #[error("{rule} (found after {at} bytes)")]
    Invalid {
        /// The rule.
        rule: HeadRule,
        /// The number of bytes of the head that had been read when the violation was found.
        at: usize,
    },
    /// The first byte cannot begin an HTTP head: usually the peer speaks TLS.
    #[error("{}", not_http(*first))]
    NotHttp {
        /// The first byte.
        first: u8,
    },
    /// The memory for the head could not be allocated.
    #[error("the HTTP head could not be stored: out of memory")]
    OutOfMemory,
    /// Not a single byte of a request arrived within
    /// [`Config::opening_timeout`](crate::Config::opening_timeout): a connection that was opened in
    /// advance, or a health probe. It gets no response.
    #[error("no byte arrived within opening_timeout")]
    Silent,
    /// The head was not complete within
    /// [`Config::opening_timeout`](crate::Config::opening_timeout).
    #[error("the HTTP head was not complete within opening_timeout")]
    Timeout,
    /// The head is longer than [`Config::max_head_len`](crate::Config::max_head_len).
    #[error("the head is longer than max_head_len = {max} bytes; shorter cookies may help")]
    TooLong {
        /// The limit in bytes.
        max: usize,
    },
    /// The head has more than [`MAX_HEADERS`] header lines.
    #[error("the head has more than {MAX_HEADERS} header lines")]
    TooManyHeaders,
    /// The peer uses another version of HTTP, such as HTTP/2 without having negotiated it.
    #[error("expected HTTP/1.1 or HTTP/1.0, got another version of HTTP")]
    VersionUnsupported,
}

fn not_http(first: u8) -> &'static str {
    match first {
        // Handshake and alert records, and the length byte of the oldest hello (RFC 8446 §5.1).
        0x15 | 0x16 | 0x80.. => "expected HTTP, got TLS: one end uses wss, the other ws",
        _ => "expected HTTP, got another protocol",
    }
}

impl HeadError {
    /// Returns the encoded response that a server sends before it closes the transport; `None` if the peer
    /// is gone, or has sent nothing that could be answered.
    ///
    /// The status is 400, 408, 431, 503 or 505.
    pub fn encoded_response(&self) -> Option<Bytes> {
        Some(ResponseHead::text(self.status()?, &[], self))
    }

    pub(super) fn status(&self) -> Option<u16> {
        Some(match self {
            Self::Eof | Self::Silent => return None,
            Self::Invalid { .. } | Self::NotHttp { .. } => 400,
            Self::Timeout => 408,
            Self::TooLong { .. } | Self::TooManyHeaders => 431,
            Self::OutOfMemory => 503,
            Self::VersionUnsupported => 505,
        })
    }
}

/// The rule of HTTP/1.1 that a head breaks; see [`HeadError::Invalid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeadRule {
    /// A carriage return is not followed by a line feed (RFC 9112 §2.2).
    #[error("a carriage return is not followed by a line feed (RFC 9112 2.2)")]
    BareCr,
    /// A line feed does not follow a carriage return. RFC 9112 §2.2 allows a parser to accept it as the
    /// end of a line, but where two parsers disagree, one of them can be deceived.
    #[error("a line feed does not follow a carriage return (RFC 9112 2.2)")]
    BareLf,
    /// `Content-Length` is not one decimal number, or is combined with `Transfer-Encoding`
    /// (RFC 9112 §6.3): where two parsers disagree on the end of a request, one of them can be deceived.
    #[error(
        "Content-Length must be one decimal number, once, and not beside Transfer-Encoding \
         (RFC 9112 6.3)"
    )]
    ContentLength,
    /// A control character (RFC 9110 §5.5).
    #[error("the control character {0:#04x} (RFC 9110 5.5)")]
    ControlByte(u8),
    /// A line begins with a space or a tab, as folded values did (RFC 9112 §5.2).
    #[error("a header line begins with a space: folded values are obsolete (RFC 9112 5.2)")]
    Folded,
    /// The name of a header is not a token, or a space precedes its colon (RFC 9112 §5.1).
    #[error("the name of a header is not a token (RFC 9112 5.1)")]
    HeaderName,
    /// The value of `Host` is not a host with an optional port (RFC 9112 §3.2).
    #[error("the value of Host is not a host with an optional port (RFC 9112 3.2)")]
    HostInvalid,
    /// An HTTP/1.1 request has no `Host` (RFC 9112 §3.2).
    #[error("the request has no Host header (RFC 9112 3.2)")]
    HostMissing,
    /// The request has more than one `Host` (RFC 9112 §3.2).
    #[error("the request has more than one Host header (RFC 9112 3.2)")]
    HostRepeated,
    /// The first line is not a request line (RFC 9112 §3).
    #[error("the first line is not a method, a target and a version (RFC 9112 3)")]
    RequestLine,
    /// The first line is not a status line (RFC 9112 §4).
    #[error("the first line is not a version and a status (RFC 9112 4)")]
    StatusLine,
    /// The form of the request target does not fit the method (RFC 9112 §3.2), or the target has a
    /// character that is not allowed in a URI (RFC 3986 §2).
    #[error("the request target is not valid (RFC 9112 3.2)")]
    Target,
}

/// A client's request does not ask for a WebSocket, or is malformed (RFC 6455 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The request has a body, whose bytes could be mistaken for frames. Status 400.
    ///
    /// RFC 9110 §9.3.1 gives the body of a GET no meaning, and recommends to reject it because it is
    /// used for request smuggling. `Content-Length: 0` means that there is no body.
    #[error(
        "an upgrade request cannot have a body: leave out Content-Length and Transfer-Encoding"
    )]
    BodyUnexpected,
    /// The request has `Upgrade: websocket` but not `Connection: Upgrade`. Status 426.
    #[error(
        "the request has no `Connection: Upgrade`: a proxy in between has to pass it on (nginx: \
         proxy_set_header Connection \"upgrade\")"
    )]
    ConnectionMissing,
    /// The request does not have exactly one valid `Host`. Status 400.
    #[error("the request needs one Host header with a host and an optional port (RFC 9112 3.2)")]
    HostInvalid,
    /// The version of HTTP has no upgrade. Status 400.
    ///
    /// The status is not 505, which is about the *major* version (RFC 9110 §15.6.6), and not 426: since
    /// servers ignore the `Upgrade` of an HTTP/1.0 request (RFC 9110 §7.8), repeating the request with
    /// it would not help.
    #[error(
        "a WebSocket opens by GET over HTTP/1.1 or by extended CONNECT over HTTP/2; a proxy in \
         between may use HTTP/1.0 and need to use HTTP/1.1 (nginx: proxy_http_version 1.1)"
    )]
    HttpVersion,
    /// `Sec-WebSocket-Extensions` does not conform to its grammar. Status 400.
    #[error("Sec-WebSocket-Extensions must list at least one extension (RFC 6455 9.1)")]
    ExtensionsInvalid,
    /// `Sec-WebSocket-Key` is not 16 bytes of base64, or is repeated. Status 400.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64, once (RFC 6455 4.2.1)")]
    KeyInvalid,
    /// The request has no `Sec-WebSocket-Key`. Status 400.
    #[error("the request has no Sec-WebSocket-Key (RFC 6455 4.2.1)")]
    KeyMissing,
    /// The method is not GET. Status 405.
    #[error("a WebSocket opens with the method GET (RFC 6455 4.2.1)")]
    MethodNotGet,
    /// The request does not ask for an upgrade. Status 426.
    #[error("this is a WebSocket: open it with a WebSocket client, such as a browser's WebSocket")]
    NotUpgrade,
    /// `Sec-WebSocket-Protocol` is not a list of at least one token without repetition. Status 400.
    #[error("Sec-WebSocket-Protocol must list distinct tokens, at least one (RFC 6455 4.1)")]
    SubprotocolInvalid,
    /// The request has `Connection: Upgrade` but not `Upgrade: websocket`. Status 426.
    #[error(
        "the request has no `Upgrade: websocket` (RFC 6455 4.2.1): a proxy in between has to pass it \
         on (nginx: proxy_set_header Upgrade $http_upgrade)"
    )]
    UpgradeMissing,
    /// The request has a `Sec-WebSocket-Key`, but neither `Upgrade` nor `Connection: Upgrade`: a proxy
    /// has removed them, as it does unless it is configured for WebSockets (RFC 9110 §7.6.1).
    /// Status 426.
    #[error(
        "the request looks like a WebSocket handshake whose Upgrade and Connection headers a proxy \
         removed: have it pass them on (nginx: proxy_http_version 1.1; proxy_set_header Upgrade \
         $http_upgrade; proxy_set_header Connection \"upgrade\")"
    )]
    UpgradeRemoved,
    /// `Sec-WebSocket-Version` is not 13, once. Status 426.
    #[error("Sec-WebSocket-Version must be 13, once (RFC 6455 4.2.1)")]
    VersionUnsupported,
}

impl UpgradeError {
    /// The error for a GET of HTTP/1.1 that does not ask for an upgrade.
    pub(super) fn required(headers: &(impl Fields + ?Sized)) -> Self {
        match headers.contains(&SEC_WEBSOCKET_KEY) {
            true => Self::UpgradeRemoved,
            false => Self::NotUpgrade,
        }
    }

    /// Returns `true` if the handshake itself is malformed, which no WebSocket client causes; `false` if
    /// it was sent to the wrong place, in another version, or through a proxy that changed it.
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::BodyUnexpected
            | Self::ExtensionsInvalid
            | Self::HostInvalid
            | Self::KeyInvalid
            | Self::KeyMissing
            | Self::SubprotocolInvalid => true,
            Self::ConnectionMissing
            | Self::HttpVersion
            | Self::MethodNotGet
            | Self::NotUpgrade
            | Self::UpgradeMissing
            | Self::UpgradeRemoved
            | Self::VersionUnsupported => false,
        }
    }

    /// Returns the encoded response to send: the status, the headers that the status requires, and one
    /// line of text.
    pub fn encoded_response(&self) -> Bytes {
        let fields = self.fields().iter().map(|&(name, value)| (name.text, value));
        ResponseHead::text(self.status(), &fields.collect::<Vec<_>>(), self)
    }

    pub(super) fn status(&self) -> u16 {
        match self {
            Self::MethodNotGet => 405,
            Self::ConnectionMissing
            | Self::NotUpgrade
            | Self::UpgradeMissing
            | Self::UpgradeRemoved
            | Self::VersionUnsupported => 426,
            _ => 400,
        }
    }

    /// The headers that the status requires.
    pub(super) fn fields(&self) -> &'static [(&'static Name, &'static str)] {
        // RFC 9110 §15.5.6.
        const METHOD: &[(&Name, &str)] = &[(&ALLOW, "GET")];
        // RFC 9110 §15.5.22, and for the version RFC 6455 §4.4.
        const UPGRADE_REQUIRED: &[(&Name, &str)] =
            &[(&UPGRADE, "websocket"), (&CONNECTION, "Upgrade"), (&SEC_WEBSOCKET_VERSION, "13")];
        match self.status() {
            405 => METHOD,
            426 => UPGRADE_REQUIRED,
            _ => &[],
        }
    }
}

/// The opening handshake of a client failed: the server rejected it, answered wrongly, or did not
/// answer.
///
/// The error is final: each later poll returns it again.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// `Sec-WebSocket-Accept` does not match the key that was sent (RFC 6455 §4.1).
    #[error(
        "the server's Sec-WebSocket-Accept does not match the key that was sent (RFC 6455 4.1)"
    )]
    AcceptMismatch,
    /// The 101 has no `Sec-WebSocket-Accept` (RFC 6455 §4.1).
    #[error("the server's 101 has no Sec-WebSocket-Accept (RFC 6455 4.1)")]
    AcceptMissing,
    /// The 101 has no `Connection: Upgrade` (RFC 6455 §4.1).
    #[error("the server's 101 has no `Connection: Upgrade` (RFC 6455 4.1)")]
    ConnectionMissing,
    /// The status is not 101, as an error of [`poll_head`](super::ClientHandshake::poll_head). The part of
    /// the response's body that has arrived stays in the inbound buffer.
    #[error("the server answered {}, not 101 Switching Protocols", .0.status())]
    Declined(Box<ResponseHead>),
    /// The transport ended before the server's response was complete.
    #[error("the transport ended before the server's response was complete")]
    Eof,
    /// The server selected an extension that was not offered, or not with these parameters
    /// (RFC 6455 §4.1).
    #[error(
        "the server selected the extension \"{}\", which was not offered like this (RFC 6455 4.1)",
        Escaped(.0)
    )]
    ExtensionNotOffered(ByteString),
    /// The ends agreed on an extension that this program does not know, or cannot observe.
    #[error(
        "the extension \"{}\" was agreed on, which cannot be decoded here: add it to the known extensions",
        Escaped(.0)
    )]
    ExtensionUnknown(ByteString),
    /// The server's `Sec-WebSocket-Extensions` does not conform to its grammar.
    #[error("the server's Sec-WebSocket-Extensions does not conform to its grammar (RFC 6455 9.1)")]
    ExtensionsInvalid,
    /// The response is not a valid HTTP/1.1 head.
    #[error("the server's response is invalid: {0}")]
    Head(#[source] HeadError),
    /// The status is not 101, or over HTTP/2 not a success. The part of the response's body that has
    /// arrived stays in the inbound buffer.
    #[cfg(feature = "http")]
    #[error("the server answered {}, not {}", .0.status(), super::adapter::success(.0))]
    Rejected(Box<http::Response<()>>),
    /// The server selected a subprotocol that was not offered (RFC 6455 §4.1).
    #[error(
        "the server selected the subprotocol \"{}\", which was not offered (RFC 6455 4.1)",
        Escaped(.0)
    )]
    SubprotocolNotOffered(ByteString),
    /// The response was not complete within
    /// [`Config::opening_timeout`](crate::Config::opening_timeout).
    #[error("the server did not answer within opening_timeout")]
    Timeout,
    /// The 101 has no `Upgrade: websocket`, or upgrades to another protocol as well (RFC 6455 §4.1).
    #[error("the server's 101 has no `Upgrade: websocket` (RFC 6455 4.1)")]
    UpgradeMissing,
}

impl From<HeadError> for HandshakeError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Eof => Self::Eof,
            HeadError::Silent | HeadError::Timeout => Self::Timeout,
            error => Self::Head(error),
        }
    }
}

/// The request that the caller passed to a client's handshake cannot open a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientRequestError {
    /// The authority of the URI is not a host with an optional port (RFC 6455 §3).
    ///
    /// A user name and a password belong into an `Authorization` header.
    #[error(
        "the URI's authority must be a host with an optional port, not \"{}\" (RFC 6455 3)",
        Escaped(.0)
    )]
    AuthorityInvalid(ByteString),
    /// The name of the header is not a token, or its value has a byte that no header can have, such as the
    /// end of a line (RFC 9110 §5).
    #[error("the header \"{}\" must be a token with a value without control characters", Escaped(.0))]
    HeaderInvalid(ByteString),
    /// The handshake sets this header itself, or an upgrade request cannot have it.
    #[error("the header {0} cannot be set: it belongs to the handshake")]
    HeaderReserved(ByteString),
    /// The version of the request is not HTTP/1.1, the default of `http::Request`.
    #[error("the request's version must be left at HTTP/1.1")]
    HttpVersion,
    /// The method is not GET (RFC 6455 §4.1).
    #[error("the request's method must be GET (RFC 6455 4.1)")]
    MethodNotGet,
    /// The scheme of the URI is not `ws` or `wss` (RFC 6455 §3).
    #[error("the URI must be ws://host/path or wss://host/path (RFC 6455 3)")]
    SchemeUnsupported,
    /// `Sec-WebSocket-Protocol` is not a list of at least one token without repetition
    /// (RFC 6455 §4.1).
    #[error("Sec-WebSocket-Protocol must list distinct tokens, at least one (RFC 6455 4.1)")]
    SubprotocolInvalid,
    /// The target does not begin with `/`, or has a character that must be percent-encoded.
    #[error(
        "the target must be a path with an optional query, percent-encoded, not \"{}\" (RFC 9112 3.2)",
        Escaped(.0)
    )]
    TargetInvalid(ByteString),
}

/// A header that cannot be added to a [`ResponseHead`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the header \"{}\" must be a token with a value without control characters, and not one that states \
     the length of a body",
    Escaped(.0)
)]
pub struct InvalidHeader(pub(super) ByteString);
