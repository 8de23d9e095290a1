//! The server's negotiation, for any HTTP parser: [`UpgradeRequest`].

use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::error::UpgradeError;
use super::fields::{
    CONNECTION, CONTENT_LENGTH, Fields, HOST, Name, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, Seldom, TRANSFER_ENCODING, UPGRADE,
};
use super::heads::{RequestHead, ResponseHead};
use super::negotiation::{Subprotocols, extensions, extensions_value};
use super::{Grant, accept_key, head};
use crate::connection::Negotiated;
use crate::extension::{Agreed, Extensions, Params};

/// A request to open a WebSocket that has been checked against RFC 6455 §4.2.1 or RFC 8441 §5.
///
/// It is made from a request that [`ServerHandshake`](super::ServerHandshake) or another HTTP server
/// has parsed. Select a subprotocol and extensions, then [`accept_head`](Self::accept_head) it; or drop it and
/// send any other response.
///
/// ```
/// use sockless_core::handshake::{UpgradeError, UpgradeRequest};
///
/// let mut headers: Vec<(&str, &[u8])> = vec![
///     ("Host", b"example.com"),
///     ("Upgrade", b"websocket"),
///     ("Connection", b"keep-alive, Upgrade"),
///     ("Sec-WebSocket-Version", b"13"),
///     ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
/// ];
/// let (response, negotiated) = UpgradeRequest::from_headers(&headers)?.accept_head();
/// assert_eq!(response.status(), 101);
/// let accept = response.header("Sec-WebSocket-Accept");
/// assert_eq!(accept, Some(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..]));
/// assert_eq!(negotiated.subprotocol, None);
///
/// // An error has the response to send.
/// headers.pop();
/// let error = UpgradeRequest::from_headers(&headers).unwrap_err();
/// assert_eq!(error, UpgradeError::KeyMissing);
/// assert!(error.encoded_response().starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UpgradeRequest {
    /// `None` over HTTP/2, which does not use it.
    pub(super) key: Option<Key>,
    offered: Subprotocols,
    pub(super) selected: Option<ByteString>,
    offers: Vec<Params>,
    pub(super) agreed: Vec<Agreed>,
    /// Answers that are passed on, without codecs.
    passed: Vec<Params>,
}

impl UpgradeRequest {
    /// Checks a request that [`ServerHandshake::poll_head`](super::ServerHandshake::poll_head) returned.
    ///
    /// # Errors
    ///
    /// An [`UpgradeError`] for the first rule that the request breaks, in this order: the version of HTTP,
    /// the method, whether it is an upgrade, and the headers of the handshake.
    pub fn from_head(head: &RequestHead) -> Result<Self, UpgradeError> {
        match head.is_http_11 {
            true if head.method != "GET" => Err(UpgradeError::MethodNotGet),
            true => Self::from_fields(&head.lines),
            false => Err(UpgradeError::HttpVersion),
        }
    }

    /// Checks the headers of a GET of HTTP/1.1 that the caller has parsed. Names are compared without
    /// case; values have no spaces around them.
    ///
    /// # Errors
    ///
    /// An [`UpgradeError`] for the first rule that the request breaks: whether it is an upgrade, then the
    /// headers of the handshake.
    pub fn from_headers(headers: &[(&str, &[u8])]) -> Result<Self, UpgradeError> {
        Self::from_fields(headers)
    }

    /// Checks the headers of a GET of HTTP/1.1.
    pub(super) fn from_fields(headers: &(impl Fields + ?Sized)) -> Result<Self, UpgradeError> {
        let seen = Seen::among(headers);
        match (seen.connection, seen.upgrade) {
            (true, true) => {}
            (true, false) => return Err(UpgradeError::UpgradeMissing),
            (false, true) => return Err(UpgradeError::ConnectionMissing),
            (false, false) => return Err(UpgradeError::required(headers)),
        }
        head::check_one_host(seen.host).map_err(|_| UpgradeError::HostInvalid)?;
        if seen.has_body {
            return Err(UpgradeError::BodyUnexpected);
        }
        if seen.version != Seldom::Once(b"13") {
            return Err(UpgradeError::VersionUnsupported);
        }
        let key = Some(Key::from_header(seen.key)?);
        match seen.negotiates {
            true => Self::with_key(key, headers),
            // The most frequent case, in which nothing is to be parsed.
            false => Self::with_key(key, &[] as &[(&str, &[u8])]),
        }
    }

    pub(super) fn with_key(
        key: Option<Key>,
        headers: &(impl Fields + ?Sized),
    ) -> Result<Self, UpgradeError> {
        let offered = Subprotocols::offered(headers).ok_or(UpgradeError::SubprotocolInvalid)?;
        let offers = extensions(headers).ok_or(UpgradeError::ExtensionsInvalid)?;
        let (agreed, passed) = (Vec::new(), Vec::new());
        Ok(Self { key, offered, selected: None, offers, agreed, passed })
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
    /// # let headers: [(&str, &[u8]); 6] = [("Host", b"a"), ("Upgrade", b"websocket"),
    /// #     ("Connection", b"Upgrade"), ("Sec-WebSocket-Version", b"13"),
    /// #     ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    /// #     ("Sec-WebSocket-Protocol", b"chat.v1, chat.v2")];
    /// let mut upgrade = UpgradeRequest::from_headers(&headers)?;
    /// assert_eq!(upgrade.subprotocols().collect::<Vec<_>>(), ["chat.v1", "chat.v2"]);
    /// assert_eq!(upgrade.select(&["chat.v2", "chat.v1"]), Some("chat.v1"));
    /// assert_eq!(upgrade.select_server_preference(&["chat.v2", "chat.v1"]), Some("chat.v2"));
    /// assert_eq!(upgrade.accept_head().1.subprotocol.as_deref(), Some("chat.v2"));
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
        self.passed = Vec::new();
    }

    /// Selects the extensions with exactly these answers, for a proxy that passes on those of another server. The
    /// result of the negotiation contains no codecs for them, so that
    /// [`RawConnection::accept_rsv`](crate::RawConnection::accept_rsv) decides which bits are accepted.
    ///
    /// `ClientHandshake::with_offers` has an example.
    pub fn pass_extensions(&mut self, answers: Vec<Params>) {
        self.agreed = Vec::new();
        self.passed = answers;
    }

    /// Accepts the request: returns the response to send and the result of the negotiation.
    ///
    /// The response is a 101 with `Sec-WebSocket-Accept`, the selected subprotocol and the selected
    /// extensions. Other headers may be added to it, such as cookies.
    pub fn accept_head(self) -> (ResponseHead, Negotiated) {
        let (grant, negotiated) = self.grant();
        let mut head = ResponseHead::new(grant.status());
        let line = |(name, value): (&Name, &[u8])| {
            (ByteString::from_static(name.text), Bytes::copy_from_slice(value))
        };
        head.lines.0.extend(grant.lines().map(line));
        (head, negotiated)
    }

    /// Accepts the request, as [`accept_head`](Self::accept_head) does: returns the response in a form that takes little
    /// memory, and the result of the negotiation.
    pub fn grant(self) -> (Grant, Negotiated) {
        let answers = self.agreed.iter().map(Agreed::params).chain(&self.passed);
        let grant = Grant {
            accept: self.key.as_ref().map(|Key(key)| accept_key(key)),
            subprotocol: self.selected.clone(),
            extensions: extensions_value(answers),
        };
        (grant, Negotiated { subprotocol: self.selected, extensions: self.agreed })
    }
}

/// The headers of a handshake, found in one pass over all lines.
#[derive(Default)]
struct Seen<'a> {
    /// `Connection` lists `upgrade`.
    connection: bool,
    /// `Upgrade` lists `websocket`.
    upgrade: bool,
    host: Seldom<'a>,
    /// Bytes other than frames follow the head. Every value except a zero length counts: requests are
    /// smuggled where a server interprets such a header in another way than a proxy.
    has_body: bool,
    version: Seldom<'a>,
    key: Seldom<'a>,
    /// Subprotocols or extensions are offered.
    negotiates: bool,
}

impl<'a> Seen<'a> {
    fn among(headers: &'a (impl Fields + ?Sized)) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers.lines() {
            // The length tells most names apart.
            match name.len() {
                4 if HOST.is(name) => seen.host.add(value),
                7 if UPGRADE.is(name) => seen.upgrade |= lists(value, b"websocket"),
                10 if CONNECTION.is(name) => seen.connection |= lists(value, b"upgrade"),
                14 if CONTENT_LENGTH.is(name) => seen.has_body |= value != b"0",
                17 if SEC_WEBSOCKET_KEY.is(name) => seen.key.add(value),
                17 if TRANSFER_ENCODING.is(name) => seen.has_body = true,
                21 if SEC_WEBSOCKET_VERSION.is(name) => seen.version.add(value),
                22 | 24 => {
                    seen.negotiates |=
                        SEC_WEBSOCKET_PROTOCOL.is(name) || SEC_WEBSOCKET_EXTENSIONS.is(name);
                }
                _ => {}
            }
        }
        seen
    }
}

/// True if the value lists `token`, compared without case.
fn lists(value: &[u8], token: &[u8]) -> bool {
    let is_token = |element: &[u8]| element.trim_ascii().eq_ignore_ascii_case(token);
    // Most lists have one element.
    value.eq_ignore_ascii_case(token)
        || value.len() > token.len() && value.split(|&byte| byte == b',').any(is_token)
}

/// Checks the version (RFC 6455 §4.2.1), which must occur once (§11.3.5).
#[cfg(feature = "http")]
pub(super) fn check_version(headers: &(impl Fields + ?Sized)) -> Result<(), UpgradeError> {
    let mut versions = headers.all(&SEC_WEBSOCKET_VERSION);
    match (versions.next(), versions.next()) {
        (Some(b"13"), None) => Ok(()),
        _ => Err(UpgradeError::VersionUnsupported),
    }
}

/// A valid `Sec-WebSocket-Key` in base64, as it was received: the response is computed from that text.
#[derive(Clone, Debug)]
pub(super) struct Key([u8; 24]);

impl Key {
    /// Parses the key (RFC 6455 §4.2.1), which must occur once (§11.3.1).
    ///
    /// 16 bytes are 22 characters of base64. Some clients choose them at random, so that bits of the last one are set which
    /// belong to no byte. RFC 4648 §3.5 leaves it to the decoder whether to accept them, and the response does not depend
    /// on them.
    fn from_header(key: Seldom<'_>) -> Result<Self, UpgradeError> {
        let key = match key {
            Seldom::Never => return Err(UpgradeError::KeyMissing),
            Seldom::Once(key) => <[u8; 24]>::try_from(key).map_err(|_| UpgradeError::KeyInvalid)?,
            Seldom::Repeated => return Err(UpgradeError::KeyInvalid),
        };
        let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        match key.strip_suffix(b"==") {
            Some(digits) if digits.iter().all(is_digit) => Ok(Self(key)),
            _ => Err(UpgradeError::KeyInvalid),
        }
    }
}
