//! Upgrade requests in the types of the crate `http`.

use http::{Method, Request, Response, Version};

use crate::connection::Negotiated;
use crate::handshake::error::UpgradeError;
use crate::handshake::fields::{self, Fields};
use crate::handshake::upgrade::{UpgradeRequest, check_version};

/// # With the types of the crate `http`
///
/// ```
/// use sockless_core::handshake::{UpgradeError, UpgradeRequest};
///
/// let request = http::Request::get("/chat")
///     .header("Host", "example.com")
///     .header("Upgrade", "websocket")
///     .header("Connection", "keep-alive, Upgrade")
///     .header("Sec-WebSocket-Version", "13")
///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .body(())?;
/// let (response, negotiated) = UpgradeRequest::from_request(&request)?.accept();
/// assert_eq!(response.status(), 101);
/// assert_eq!(response.headers()["Sec-WebSocket-Accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// assert_eq!(negotiated.subprotocol, None);
///
/// // An error has the response to send.
/// let request = http::Request::get("/chat").body(())?;
/// let error = UpgradeRequest::from_request(&request).unwrap_err();
/// assert_eq!(error, UpgradeError::NotUpgrade);
/// assert_eq!(error.response().status(), 426);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl UpgradeRequest {
    /// Checks a request of HTTP/1.1. The body of `request` is not examined.
    ///
    /// # Errors
    ///
    /// An [`UpgradeError`] for the first rule that the request breaks, in this order: the method, the
    /// version of HTTP, whether it is an upgrade, and the headers of the handshake.
    pub fn from_request<B>(request: &Request<B>) -> Result<Self, UpgradeError> {
        match request.version() {
            Version::HTTP_11 if request.method() != Method::GET => Err(UpgradeError::MethodNotGet),
            Version::HTTP_11 => Self::from_fields(request.headers()),
            _ => Err(UpgradeError::HttpVersion),
        }
    }

    /// Checks an extended CONNECT of HTTP/2 or later (RFC 8441 §5).
    ///
    /// The caller must have checked that its `:protocol` is `websocket`: that pseudo-header is not part of
    /// an [`http::Request`]. The request has no key and no `Upgrade`, and [`accept`](Self::accept) returns
    /// a 200 instead of a 101.
    ///
    /// # Errors
    ///
    /// [`HttpVersion`](UpgradeError::HttpVersion) if it is not a CONNECT of HTTP/2 or later; otherwise an
    /// [`UpgradeError`] for the first rule that the request breaks.
    pub fn from_extended_connect<B>(request: &Request<B>) -> Result<Self, UpgradeError> {
        if request.version() < Version::HTTP_2 || request.method() != Method::CONNECT {
            return Err(UpgradeError::HttpVersion);
        }
        check_version(request.headers())?;
        Self::with_key(None, request.headers())
    }

    /// Accepts the request: returns the response to send and the result of the negotiation.
    ///
    /// The response is a 101 with `Sec-WebSocket-Accept` (over HTTP/2 a 200), the selected subprotocol and
    /// the selected extensions. Other headers may be added to it, such as cookies.
    pub fn accept(self) -> (Response<()>, Negotiated) {
        let (grant, negotiated) = self.grant();
        (grant.response(), negotiated)
    }
}

/// Returns `true` if a request asks to open a WebSocket, well formed or not: a server answers such a
/// request with the error of [`UpgradeRequest`] rather than with a web page.
///
/// That is a GET of HTTP/1.1 with `websocket` in its `Upgrade` header, which other versions of HTTP
/// ignore (RFC 9110 §7.8), or a CONNECT of HTTP/2 or later (RFC 8441 §4). The pseudo-header `:protocol`
/// of a CONNECT is not part of an [`http::Request`]: a server whose HTTP stack accepts extended CONNECT
/// must check in that stack that it is [`ExtendedConnect::PROTOCOL`](crate::handshake::ExtendedConnect::PROTOCOL),
/// and reject a CONNECT without it, before it asks this function.
///
/// ```
/// use sockless_core::handshake::is_upgrade_request;
///
/// let request = http::Request::get("/").header("Upgrade", "WebSocket").body(())?;
/// assert!(is_upgrade_request(&request)); // although Sec-WebSocket-Key is missing
/// assert!(!is_upgrade_request(&http::Request::get("/").body(())?));
/// # Ok::<(), http::Error>(())
/// ```
pub fn is_upgrade_request<B>(request: &Request<B>) -> bool {
    match (request.method(), request.version()) {
        (&Method::GET, Version::HTTP_11) => request.headers().lists(&fields::UPGRADE, "websocket"),
        (&Method::CONNECT, version) => version >= Version::HTTP_2,
        _ => false,
    }
}
