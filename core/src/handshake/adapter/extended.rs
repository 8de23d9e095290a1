//! The opening handshake of a client over HTTP/2 (RFC 8441): [`ExtendedConnect`].

use alloc::sync::Arc;

use http::header::{HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_VERSION};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri, Version};

use super::observed::head_of;
use super::request::CheckedRequest;
use crate::config::Config;
use crate::connection::Negotiated;
use crate::handshake::error::{ClientRequestError, HandshakeError};
use crate::handshake::negotiation::{Subprotocols, extensions_value, negotiated};

/// The opening handshake of a client over HTTP/2 or later (RFC 8441 §5): makes the request that an HTTP
/// stack sends, and checks the response that the stack receives.
///
/// There is no key and no `Upgrade`. The stack adds the pseudo-header `:protocol` with the value
/// [`PROTOCOL`](Self::PROTOCOL), which is not part of an [`http::Request`], and may send the request only
/// to a server that announced `SETTINGS_ENABLE_CONNECT_PROTOCOL`. After a success the DATA of the stream
/// are the frames, END_STREAM is the end of the transport, and RST_STREAM its failure.
///
/// ```
/// use std::sync::Arc;
///
/// use sockless_core::handshake::ExtendedConnect;
///
/// let request = http::Request::get("wss://example.com/chat?room=1")
///     .header("Sec-WebSocket-Protocol", "chat.v2, chat.v1")
///     .body(())?;
/// let connect = ExtendedConnect::new(request, Arc::default())?;
/// assert_eq!(connect.request().method(), http::Method::CONNECT);
/// assert_eq!(connect.request().uri(), "https://example.com/chat?room=1");
/// assert_eq!(connect.request().headers()["Sec-WebSocket-Version"], "13");
///
/// let response = http::Response::builder()
///     .version(http::Version::HTTP_2)
///     .header("Sec-WebSocket-Protocol", "chat.v1")
///     .body(())?;
/// assert_eq!(connect.check(&response)?.subprotocol.as_deref(), Some("chat.v1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ExtendedConnect {
    request: Request<()>,
    offered: Subprotocols,
    config: Arc<Config>,
}

impl ExtendedConnect {
    /// The value of the pseudo-header `:protocol`.
    pub const PROTOCOL: &'static str = "websocket";

    /// Turns `request`, a GET of `ws://host/path` or `wss://host/path`, into an extended CONNECT that
    /// offers the extensions of `config`.
    ///
    /// The request's headers and [extensions](Request::extensions) are kept;
    /// [`ClientHandshake::new`](crate::handshake::ClientHandshake::new) has the details.
    ///
    /// # Errors
    ///
    /// A [`ClientRequestError`] if the request cannot open a WebSocket, or has a header that belongs to
    /// the handshake. Its version must be HTTP/1.1, the default, or HTTP/2.
    pub fn new(request: Request<()>, config: Arc<Config>) -> Result<Self, ClientRequestError> {
        let CheckedRequest { mut parts, host, offered } =
            CheckedRequest::new(request, &[Version::HTTP_11, Version::HTTP_2])?;
        parts.uri = http_uri(&parts.uri, &host)?;
        parts.method = Method::CONNECT;
        parts.version = Version::HTTP_2;
        parts.headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        if let Some(offers) = extensions_value(config.extensions.offers()) {
            let offers = HeaderValue::try_from(offers).expect("tokens are a header value");
            parts.headers.insert(SEC_WEBSOCKET_EXTENSIONS, offers);
        }
        Ok(Self { request: Request::from_parts(parts, ()), offered, config })
    }

    /// Returns the request to send: a CONNECT whose URI has a scheme, an authority and a path.
    pub fn request(&self) -> &Request<()> {
        &self.request
    }

    /// Checks the response against RFC 6455 §4.1, as amended by RFC 8441 §5.
    ///
    /// # Errors
    ///
    /// [`Rejected`](HandshakeError::Rejected) if the status is not a success,
    /// [`SubprotocolNotOffered`](HandshakeError::SubprotocolNotOffered),
    /// [`ExtensionNotOffered`](HandshakeError::ExtensionNotOffered) or
    /// [`ExtensionsInvalid`](HandshakeError::ExtensionsInvalid).
    pub fn check<B>(&self, response: &Response<B>) -> Result<Negotiated, HandshakeError> {
        let headers = response.headers();
        if !response.status().is_success() {
            return Err(HandshakeError::Rejected(head_of(response).into()));
        }
        negotiated(&self.offered, &self.config.extensions, headers)
    }
}

/// Omits the request, which may contain cookies and passwords.
impl core::fmt::Debug for ExtendedConnect {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ExtendedConnect").field("offered", &self.offered).finish_non_exhaustive()
    }
}

/// The URI of an extended CONNECT: `http` for `ws` and `https` for `wss` (RFC 8441 §5), an authority
/// without the default port of the scheme, and a path that is not empty.
fn http_uri(uri: &Uri, authority: &str) -> Result<Uri, ClientRequestError> {
    let is_secure = uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("wss"));
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let scheme = if is_secure { Scheme::HTTPS } else { Scheme::HTTP };
    let built = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
    built.build().map_err(|_| ClientRequestError::AuthorityInvalid(authority.into()))
}
