//! The client's half over HTTP/2 (RFC 8441): [`ExtendedConnect`].

use alloc::string::ToString;
use alloc::sync::Arc;

use bytestring::ByteString;
use http::header::{
    HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri, Version};

use super::client::{host_header, is_reserved, put_in_one_line, shown};
use super::error::{HandshakeError, RequestError};
use super::{Subprotocols, extensions, header_of};
use crate::config::Config;
use crate::connection::Negotiated;
use crate::extension::{Extensions, Params};

/// A WebSocket that a client asks for over HTTP/2, or a later version (RFC 8441 §5): the request for
/// an HTTP stack to send, and the check of the response that it brings back.
///
/// There is no key, and no `Upgrade`. The stack adds the pseudo-header `:protocol` with the value
/// [`PROTOCOL`](Self::PROTOCOL), which an [`http::Request`] does not hold, and may send the request
/// only to a server that announced `SETTINGS_ENABLE_CONNECT_PROTOCOL`. After a success the stream's
/// DATA is the frames, END_STREAM is the end of the transport, RST_STREAM its failure.
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
    /// The value of `:protocol`.
    pub const PROTOCOL: &'static str = "websocket";

    /// Makes an extended CONNECT of `request`, a GET of `ws://host/path` or `wss://host/path`, as
    /// [`ClientHandshake::new`](super::ClientHandshake::new) takes it, and offers the extensions of
    /// `config`. The request's headers, and what is attached to it, are kept.
    ///
    /// # Errors
    ///
    /// What the request has that cannot open a WebSocket, or that the handshake sets itself. Its
    /// version is to be left at its default; HTTP/2 may be named too.
    pub fn new(request: Request<()>, config: Arc<Config>) -> Result<Self, RequestError> {
        let (mut parts, ()) = request.into_parts();
        if parts.version != Version::HTTP_11 && parts.version != Version::HTTP_2 {
            return Err(RequestError::HttpVersion);
        }
        if parts.method != Method::GET {
            return Err(RequestError::MethodNotGet);
        }
        if let Some(name) = parts.headers.keys().find(|name| is_reserved(name)) {
            return Err(RequestError::HeaderReserved(name.clone()));
        }
        let offered = Subprotocols::offered(&parts.headers);
        let offered = offered.ok_or(RequestError::SubprotocolInvalid)?;
        put_in_one_line(&offered, &mut parts.headers);

        parts.uri = http_uri(&parts.uri)?;
        parts.method = Method::CONNECT;
        parts.version = Version::HTTP_2;
        parts.headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        if let Some(offers) = header_of(config.extensions.offers()) {
            parts.headers.insert(SEC_WEBSOCKET_EXTENSIONS, offers);
        }
        Ok(Self { request: Request::from_parts(parts, ()), offered, config })
    }

    /// The request to send: a CONNECT whose URI has a scheme, an authority and a path.
    pub fn request(&self) -> &Request<()> {
        &self.request
    }

    /// Checks the response: what RFC 6455 §4.1 asks of it, and RFC 8441 §5 does not take back.
    ///
    /// # Errors
    ///
    /// [`Rejected`](HandshakeError::Rejected) when its status is no success, and what it names that
    /// was not offered.
    pub fn check<B>(&self, response: &Response<B>) -> Result<Negotiated, HandshakeError> {
        let headers = response.headers();
        if !response.status().is_success() {
            let mut head = Response::new(());
            *head.status_mut() = response.status();
            *head.version_mut() = response.version();
            *head.headers_mut() = headers.clone();
            return Err(HandshakeError::Rejected(head.into()));
        }
        negotiated(&self.offered, &self.config.extensions, headers)
    }
}

/// Does not show the request, which may hold cookies and passwords.
impl core::fmt::Debug for ExtendedConnect {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ExtendedConnect").field("offered", &self.offered).finish_non_exhaustive()
    }
}

/// What a server chose of what was offered, in any version of HTTP.
pub(super) fn negotiated(
    subprotocols: &Subprotocols,
    offers: &Extensions,
    headers: &HeaderMap,
) -> Result<Negotiated, HandshakeError> {
    let answers = extensions(headers).ok_or(HandshakeError::ExtensionsInvalid)?;
    let unoffered = |params: Params| HandshakeError::ExtensionUnoffered(params.to_string().into());
    let extensions = offers.confirm(answers).map_err(unoffered)?;
    Ok(Negotiated { subprotocol: chosen(subprotocols, headers)?, extensions })
}

/// One of those `offered`, or none: which of a server's silence and its wrong choice is an error is
/// settled by RFC 6455 §4.1.
fn chosen(
    offered: &Subprotocols,
    headers: &HeaderMap,
) -> Result<Option<ByteString>, HandshakeError> {
    // §11.3.4: it comes once, and is a token and no list.
    let mut chosen = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let (Some(first), second) = (chosen.next(), chosen.next()) else {
        return Ok(None);
    };
    match offered.iter().find(|offered| first == offered) {
        Some(offered) if second.is_none() => Ok(Some(ByteString::from(offered))),
        _ => Err(HandshakeError::SubprotocolUnoffered(shown(second.unwrap_or(first).as_bytes()))),
    }
}

/// The URI as HTTP/2 has it: `http` for `ws` and `https` for `wss` (RFC 8441 §5), an authority
/// without the scheme's own port, and a path that is not empty.
fn http_uri(uri: &Uri) -> Result<Uri, RequestError> {
    let authority = host_header(uri)?;
    let is_secure = uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("wss"));
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let scheme = if is_secure { Scheme::HTTPS } else { Scheme::HTTP };
    let built = Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query(path);
    built.build().map_err(|_| RequestError::AuthorityInvalid(authority.as_str().into()))
}
