//! The server's negotiation, for any HTTP parser: [`UpgradeRequest`].

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use bytestring::ByteString;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};

use super::error::UpgradeError;
use super::negotiation::{Subprotocols, extensions, extensions_header};
use super::{accept_key, head, lists};
use crate::connection::Negotiated;
use crate::extension::{Agreed, Extensions, Params};

/// A request to open a WebSocket that has been checked against RFC 6455 §4.2.1 or RFC 8441 §5.
///
/// It is made from a request that [`ServerHandshake`](super::ServerHandshake) or another HTTP server
/// has parsed. Select a subprotocol and extensions, then [`accept`](Self::accept) it; or drop it and
/// send any other response.
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
#[derive(Debug)]
pub struct UpgradeRequest {
    /// `None` over HTTP/2, which does not use it.
    key: Option<Key>,
    offered: Subprotocols,
    selected: Option<ByteString>,
    offers: Vec<Params>,
    agreed: Vec<Agreed>,
}

impl UpgradeRequest {
    /// Checks a request of HTTP/1.1. The body of `request` is not examined.
    ///
    /// # Errors
    ///
    /// An [`UpgradeError`] for the first rule that the request breaks, in this order: the method, the
    /// version of HTTP, whether it is an upgrade, and the headers of the handshake.
    pub fn from_request<B>(request: &Request<B>) -> Result<Self, UpgradeError> {
        let headers = request.headers();
        match request.version() {
            Version::HTTP_11 if request.method() != Method::GET => {
                return Err(UpgradeError::MethodNotGet);
            }
            Version::HTTP_11 => {}
            _ => return Err(UpgradeError::HttpVersion),
        }
        match (lists(headers, &CONNECTION, "upgrade"), lists(headers, &UPGRADE, "websocket")) {
            (true, true) => {}
            (true, false) => return Err(UpgradeError::UpgradeMissing),
            (false, true) => return Err(UpgradeError::ConnectionMissing),
            (false, false) => return Err(UpgradeError::upgrade_required(request)),
        }
        let host = head::check_host(headers, request.version());
        host.map_err(|_| UpgradeError::HostInvalid)?;
        if has_body(headers) {
            return Err(UpgradeError::BodyUnexpected);
        }
        check_version(headers)?;
        let key = Some(Key::from_headers(headers)?);
        Self::with_key(key, headers)
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

    fn with_key(key: Option<Key>, headers: &HeaderMap) -> Result<Self, UpgradeError> {
        let offered = Subprotocols::offered(headers).ok_or(UpgradeError::SubprotocolInvalid)?;
        let offers = extensions(headers).ok_or(UpgradeError::ExtensionsInvalid)?;
        Ok(Self { key, offered, selected: None, offers, agreed: Vec::new() })
    }

    /// Returns the subprotocols that the client offers, in its order of preference and without
    /// repetition.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.offered.iter()
    }

    /// Selects the first subprotocol of the client's list that is in `supported`, and returns it; `None`
    /// if there is no such subprotocol. The client's order of preference decides. Names are
    /// case-sensitive.
    ///
    /// Without a selection the connection has no subprotocol; the client may then close it.
    ///
    /// ```
    /// # use sockless_core::handshake::UpgradeRequest;
    /// # let request = http::Request::get("/").header("Host", "example.com")
    /// #     .header("Upgrade", "websocket").header("Connection", "Upgrade")
    /// #     .header("Sec-WebSocket-Version", "13")
    /// #     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    /// #     .header("Sec-WebSocket-Protocol", "chat.v1, chat.v2").body(())?;
    /// let mut upgrade = UpgradeRequest::from_request(&request)?;
    /// assert_eq!(upgrade.subprotocols().collect::<Vec<_>>(), ["chat.v1", "chat.v2"]);
    /// assert_eq!(upgrade.select(&["chat.v2", "chat.v1"]), Some("chat.v1"));
    /// assert_eq!(upgrade.select_server_preference(&["chat.v2", "chat.v1"]), Some("chat.v2"));
    /// assert_eq!(upgrade.accept().1.subprotocol.as_deref(), Some("chat.v2"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn select(&mut self, supported: &[&str]) -> Option<&str> {
        let selected = self.offered.iter().find(|offered| supported.contains(offered));
        self.selected = selected.map(ByteString::from);
        self.selected.as_deref()
    }

    /// Selects the first subprotocol of `supported` that the client offers, and returns it; `None` if
    /// there is no such subprotocol. The server's order of preference decides.
    pub fn select_server_preference(&mut self, supported: &[&str]) -> Option<&str> {
        let selected = supported.iter().find(|&&ours| self.offered.iter().any(|one| one == ours));
        self.selected = selected.map(|&selected| ByteString::from(selected));
        self.selected.as_deref()
    }

    /// Returns the extensions that the client offers, in its order of preference. One extension may be
    /// offered several times with different parameters.
    pub fn extensions(&self) -> &[Params] {
        &self.offers
    }

    /// Selects the extensions that both ends support: for each of `ours`, the first offer that it
    /// accepts. The other offers are declined, and the handshake goes on.
    pub fn select_extensions(&mut self, ours: &Extensions) {
        self.agreed = ours.answer(&self.offers);
    }

    /// Accepts the request: returns the response to send and the result of the negotiation.
    ///
    /// The response is a 101 with `Sec-WebSocket-Accept` (over HTTP/2 a 200), the selected subprotocol and
    /// the selected extensions. Other headers may be added to it, such as cookies.
    pub fn accept(self) -> (Response<()>, Negotiated) {
        let mut response = Response::new(());
        if let Some(Key(key)) = self.key {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, value(accept_key(&key)));
        }
        if let Some(selected) = &self.selected {
            let selected = value(String::from(&**selected));
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, selected);
        }
        if let Some(agreed) = extensions_header(self.agreed.iter().map(Agreed::params)) {
            response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, agreed);
        }
        (response, Negotiated { subprotocol: self.selected, extensions: self.agreed })
    }
}

/// Returns `true` if a request asks to open a WebSocket, well formed or not: a server answers such a
/// request with the error of [`UpgradeRequest`] rather than with a web page.
///
/// That is a GET of HTTP/1.1 with `websocket` in its `Upgrade` header, which other versions of HTTP
/// ignore (RFC 9110 §7.8), or a CONNECT of HTTP/2 or later (RFC 8441 §4). The pseudo-header `:protocol`
/// of a CONNECT is not part of an [`http::Request`]: a server whose HTTP stack accepts extended CONNECT
/// must check in that stack that it is [`ExtendedConnect::PROTOCOL`](super::ExtendedConnect::PROTOCOL),
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
        (&Method::GET, Version::HTTP_11) => lists(request.headers(), &UPGRADE, "websocket"),
        (&Method::CONNECT, version) => version >= Version::HTTP_2,
        _ => false,
    }
}

/// The header value `text`, which must be base64 or tokens: those are always valid.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("visible ASCII is a header's value")
}

/// True if bytes other than frames follow the head. Every value except a zero length counts: requests
/// are smuggled where a server interprets such a header in another way than a proxy.
fn has_body(headers: &HeaderMap) -> bool {
    let lengths = headers.get_all(CONTENT_LENGTH);
    headers.contains_key(TRANSFER_ENCODING) || lengths.iter().any(|length| length != "0")
}

/// Checks the version (RFC 6455 §4.2.1), which must occur once (§11.3.5).
fn check_version(headers: &HeaderMap) -> Result<(), UpgradeError> {
    let mut versions = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    match (versions.next(), versions.next()) {
        (Some(version), None) if version == "13" => Ok(()),
        _ => Err(UpgradeError::VersionUnsupported),
    }
}

/// A valid `Sec-WebSocket-Key` in base64, as it was received: the response is computed from that text.
#[derive(Clone, Debug)]
struct Key([u8; 24]);

/// Some clients choose 22 characters at random, so that bits are set which belong to no byte. RFC 4648
/// §3.5 leaves it to the decoder whether to accept them, and the response does not depend on them.
const DECODER: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_allow_trailing_bits(true));

impl Key {
    /// Parses the key (RFC 6455 §4.2.1), which must occur once (§11.3.1).
    fn from_headers(headers: &HeaderMap) -> Result<Self, UpgradeError> {
        let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
        let key = keys.next().ok_or(UpgradeError::KeyMissing)?;
        let key = <[u8; 24]>::try_from(key.as_bytes()).map_err(|_| UpgradeError::KeyInvalid)?;
        let mut nonce = [0; 18];
        match (DECODER.decode_slice(key, &mut nonce), keys.next()) {
            (Ok(16), None) => Ok(Self(key)),
            _ => Err(UpgradeError::KeyInvalid),
        }
    }
}
