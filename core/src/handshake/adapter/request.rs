//! The caller's request for a WebSocket, checked for any version of HTTP: [`CheckedRequest`].

use alloc::borrow::Cow;
use alloc::string::String;

use http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::{Method, Request, Uri, Version};

use crate::handshake::HostPort;
use crate::handshake::error::ClientRequestError;
use crate::handshake::negotiation::Subprotocols;
use crate::handshake::request::check_headers;

/// A GET of `ws://host/path` or `wss://host/path` without headers that belong to the handshake.
pub(in crate::handshake) struct CheckedRequest {
    /// The request; subprotocols that were offered in several lines are in one.
    pub(in crate::handshake) parts: Parts,
    /// The value of `Host`, or of `:authority`.
    pub(in crate::handshake) host: String,
    /// The subprotocols that the request offers.
    pub(in crate::handshake) offered: Subprotocols,
}

impl CheckedRequest {
    /// Checks `request`, whose version must be one of `versions`.
    pub(in crate::handshake) fn new(
        request: Request<()>,
        versions: &[Version],
    ) -> Result<Self, ClientRequestError> {
        let (mut parts, ()) = request.into_parts();
        if !versions.contains(&parts.version) {
            return Err(ClientRequestError::HttpVersion);
        }
        if parts.method != Method::GET {
            return Err(ClientRequestError::MethodNotGet);
        }
        let host = host_header(&parts.uri)?;
        let offered = check_headers(&parts.headers)?;
        if let Some(listed) = offered.in_one_line() {
            // Tokens and their separators are valid in a header value.
            let mut line = HeaderValue::try_from(listed).expect("a header value");
            let mut lines = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
            // The line is sensitive if one of them is.
            line.set_sensitive(lines.any(HeaderValue::is_sensitive));
            parts.headers.insert(SEC_WEBSOCKET_PROTOCOL, line);
        }
        Ok(Self { parts, host, offered })
    }
}

/// The value of `Host`: the port only if it is not the default of the scheme (RFC 6455 §4.1), and an
/// IPv6 address without its zone, which has a meaning on this machine only (RFC 6874 §4).
fn host_header(uri: &Uri) -> Result<String, ClientRequestError> {
    let scheme = uri.scheme_str().unwrap_or_default();
    let default_port = match () {
        () if scheme.eq_ignore_ascii_case("ws") => 80,
        () if scheme.eq_ignore_ascii_case("wss") => 443,
        () => return Err(ClientRequestError::SchemeUnsupported),
    };
    let authority = uri.authority().ok_or(ClientRequestError::SchemeUnsupported)?.as_str();
    let bare = without_zone(authority);
    let invalid = || ClientRequestError::AuthorityInvalid(authority.into());
    let HostPort { host, port } = HostPort::parse(&bare).ok_or_else(invalid)?;
    match port {
        Some(port) if port != default_port => Ok(alloc::format!("{host}:{port}")),
        _ => Ok(String::from(host)),
    }
}

/// An authority without the zone of its IPv6 address, as in `[fe80::1%25eth0]`.
fn without_zone(authority: &str) -> Cow<'_, str> {
    let zone = authority.find('%').zip(authority.find(']')).filter(|(start, end)| start < end);
    match zone {
        Some((start, end)) => [&authority[..start], &authority[end..]].concat().into(),
        None => authority.into(),
    }
}
