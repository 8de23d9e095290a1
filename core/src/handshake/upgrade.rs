//! The negotiation: [`UpgradeRequest`], for hosts that parsed the head themselves as for ours.

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

/// A valid upgrade request (RFC 6455 §4.2.1): to hold one is to know that it was checked.
///
/// Made from a request that [`ServerHandshake`](super::ServerHandshake) read, or a host with an HTTP
/// parser of its own. [`accept`](Self::accept) it, or drop it and answer what you like.
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
/// // Whatever is wrong, the error knows the answer.
/// let request = http::Request::get("/chat").body(())?;
/// let error = UpgradeRequest::from_request(&request).unwrap_err();
/// assert_eq!(error, UpgradeError::NotUpgrade);
/// assert_eq!(error.response().status(), 426);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UpgradeRequest {
    /// None over HTTP/2, which has no use for it.
    key: Option<Key>,
    offered: Subprotocols,
    selected: Option<ByteString>,
    offers: Vec<Params>,
    agreed: Vec<Agreed>,
}

impl UpgradeRequest {
    /// Checks a request of HTTP/1.1. Its body, if the host has one, is not looked at.
    ///
    /// # Errors
    ///
    /// The first rule that the request breaks. The order is that in which an answer helps: the
    /// method, the version of HTTP, whether it is an upgrade at all, then its details.
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

    /// Checks an extended CONNECT of HTTP/2 (RFC 8441 §5), whose `:protocol` the host has found to
    /// be `websocket`: that pseudo-header is not part of an [`http::Request`].
    ///
    /// It has no key and no `Upgrade`; [`accept`](Self::accept) gives 200 instead of 101.
    ///
    /// # Errors
    ///
    /// [`HttpVersion`](UpgradeError::HttpVersion) when it is no CONNECT of HTTP/2 or later, and what
    /// else the request breaks.
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

    /// The subprotocols that the client offers, in its order of preference; no two are the same.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.offered.iter()
    }

    /// Selects the first subprotocol of the client's list that is `supported`, and remembers it;
    /// the client's preference decides. Case matters.
    ///
    /// Without a selection the connection has no subprotocol, which a client may take or leave.
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

    /// Selects the first of `supported` that the client offers, and remembers it; the server's
    /// preference decides.
    pub fn select_server_preference(&mut self, supported: &[&str]) -> Option<&str> {
        let selected = supported.iter().find(|&&ours| self.offered.iter().any(|one| one == ours));
        self.selected = selected.map(|&selected| ByteString::from(selected));
        self.selected.as_deref()
    }

    /// The extensions that the client offers, in its order of preference; one may be offered several
    /// times, with other parameters.
    pub fn extensions(&self) -> &[Params] {
        &self.offers
    }

    /// Agrees to the extensions that both want, and remembers them: of each of ours the first offer
    /// that it answers. What none of ours answers is declined, which fails nothing.
    pub fn select_extensions(&mut self, ours: &Extensions) {
        self.agreed = ours.answer(&self.offers);
    }

    /// Accepts: the response to send, a 101 with `Sec-WebSocket-Accept`, the selected
    /// subprotocol and the selected extensions, and what was settled.
    ///
    /// Headers may be added to the response, such as cookies.
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

/// Base64 and tokens are values of a header.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("visible ASCII is a header's value")
}

/// Whether bytes follow the head that are not frames. Whatever the header says but zero counts: to
/// understand it better than a proxy did is how requests are smuggled.
fn has_body(headers: &HeaderMap) -> bool {
    let lengths = headers.get_all(CONTENT_LENGTH);
    headers.contains_key(TRANSFER_ENCODING) || lengths.iter().any(|length| length != "0")
}

/// RFC 6455 §4.2.1, and §11.3.5 for its coming once.
fn check_version(headers: &HeaderMap) -> Result<(), UpgradeError> {
    let mut versions = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    match (versions.next(), versions.next()) {
        (Some(version), None) if version == "13" => Ok(()),
        _ => Err(UpgradeError::VersionUnsupported),
    }
}

/// A valid `Sec-WebSocket-Key`, in base64 as it came: that is what the answer is made of.
#[derive(Clone, Debug)]
struct Key([u8; 24]);

/// Some clients pick 22 letters at random, and so leave bits set that belong to no byte. RFC 4648
/// §3.5 leaves it to the decoder, and the answer does not depend on them.
const DECODER: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_allow_trailing_bits(true));

impl Key {
    /// RFC 6455 §4.2.1, and §11.3.1 for its coming once.
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
