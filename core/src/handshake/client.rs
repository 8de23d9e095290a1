//! The client's half: [`ClientHandshake`].

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BytesMut};
use bytestring::ByteString;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};

use super::error::{HandshakeError, HeadError, RequestError};
use super::extended::negotiated;
use super::head::parse_response;
use super::scan::{HeadReader, Kind};
use super::{HostPort, Subprotocols, accept_key, encode, header_of, list, lists};
use crate::config::Config;
use crate::connection::{Connection, Negotiated};
use crate::extension::Extensions;
use crate::outbound::Outbound;
use crate::seed::{MaskKeys, Seed};
use crate::time::Instant;

/// The client's half of the opening handshake: the request out, the response in, and with it an open
/// connection.
///
/// Send [`outbound`](Self::outbound), then feed [`poll_response`](Self::poll_response) until it
/// gives a verdict; while it does not, tell of the transport's end with
/// [`handle_eof`](Self::handle_eof) and call [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says so.
///
/// ```
/// use std::sync::Arc;
///
/// use sockless_core::handshake::ClientHandshake;
/// use sockless_core::{Config, Instant, Seed};
///
/// let request = http::Request::get("wss://example.com/chat")
///     .header("Origin", "https://example.com")
///     .header("Sec-WebSocket-Protocol", "chat.v2, chat.v1")
///     .body(())?;
/// let seed = Seed::new([7; 32]); // in production from the operating system
/// let config = Arc::new(Config::default());
/// let mut handshake = ClientHandshake::new(request, seed, config, Instant::EPOCH)?;
/// assert!(bytes::Buf::chunk(handshake.outbound()).starts_with(
///     b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
/// ));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ClientHandshake {
    reader: HeadReader,
    config: Arc<Config>,
    seed: Seed,
    /// The only right value of `Sec-WebSocket-Accept`.
    accept: String,
    offered: Subprotocols,
    outbound: Outbound,
    failed: Option<HandshakeError>,
}

impl ClientHandshake {
    /// Asks for `request`, a GET of `ws://host/path` or `wss://host/path`, and awaits the answer
    /// until [`Config::opening_timeout`] from `now`.
    ///
    /// The request's own headers are sent too, such as `Origin`, `Cookie`, `Authorization` and
    /// `Sec-WebSocket-Protocol`. To dial the host, to speak TLS for `wss`, and to follow a redirect
    /// is the caller's. A fragment in the URI, which RFC 6455 §3 forbids, cannot be refused here:
    /// [`http::Uri`] drops it when it is made, and it is not sent. Nor is the zone of an IPv6 address,
    /// as in `ws://[fe80::1%25eth0]/`, which is only for dialling it (RFC 6874 §4). Subprotocols that
    /// stand in several lines are sent in one.
    ///
    /// # Errors
    ///
    /// What the request has that cannot open a WebSocket, or that the handshake sets itself: `Host`,
    /// `Connection`, `Upgrade`, the other headers of RFC 6455 §11.3, and a body's.
    pub fn new(
        request: Request<()>,
        seed: Seed,
        config: Arc<Config>,
        now: Instant,
    ) -> Result<Self, RequestError> {
        let (mut request, ()) = request.into_parts();
        if request.version != Version::HTTP_11 {
            return Err(RequestError::HttpVersion);
        }
        if request.method != Method::GET {
            return Err(RequestError::MethodNotGet);
        }
        let host = host_header(&request.uri)?;
        if let Some(name) = request.headers.keys().find(|name| is_reserved(name)) {
            return Err(RequestError::HeaderReserved(name.clone()));
        }
        let offered = Subprotocols::offered(&request.headers);
        let offered = offered.ok_or(RequestError::SubprotocolInvalid)?;
        put_in_one_line(&offered, &mut request.headers);

        let (nonce, seed) = nonce_and_seed(seed);
        let key = STANDARD.encode(nonce);
        let mut outbound = Outbound::default();
        outbound.push_head(&request_head(&request, &host, &key, &config.extensions));
        let reader = HeadReader::new(Kind::Response, &config, now);
        let accept = accept_key(key.as_bytes());
        Ok(Self { reader, config, seed, accept, offered, outbound, failed: None })
    }

    /// The bytes to send, a [`bytes::Buf`].
    pub fn outbound(&mut self) -> &mut Outbound {
        &mut self.outbound
    }

    /// Takes the server's answer out of `inbound`; `None` until its head is whole.
    ///
    /// It takes exactly the head: what follows a 101 is the first frames, and what follows a
    /// [`Rejected`](HandshakeError::Rejected) is its body. Interim responses on the way are passed
    /// over (RFC 9110 §15.2), within the one limit for the head. Between calls only append to
    /// `inbound`. After the connection there is nothing more to come; an error comes again with each
    /// call.
    pub fn poll_response(
        &mut self,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Result<(Connection, Response<()>), HandshakeError>> {
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let response = loop {
            match self.reader.poll(inbound, parse_response)? {
                Ok(response) if is_interim(response.status()) => {}
                verdict => break verdict,
            }
        };
        self.reader.finish();
        let opened = response.map_err(HandshakeError::from).and_then(|response| {
            let negotiated = self.check(&response)?;
            Ok((self.open(negotiated, now), response))
        });
        self.failed = opened.as_ref().err().cloned();
        Some(opened)
    }

    /// The transport will deliver nothing more: unless a whole head is there,
    /// [`poll_response`](Self::poll_response) gives [`HandshakeError::Eof`].
    pub fn handle_eof(&mut self) {
        self.reader.handle_eof();
    }

    /// The deadline may have passed: if so, and unless a whole head is there,
    /// [`poll_response`](Self::poll_response) gives [`HandshakeError::Timeout`]. A spurious call does
    /// no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.reader.handle_timeout(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` once the answer has
    /// come or has failed to.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reader.poll_timeout()
    }

    /// The checks of RFC 6455 §4.1, in its order.
    fn check(&self, response: &Response<()>) -> Result<Negotiated, HandshakeError> {
        let headers = response.headers();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(HandshakeError::Rejected(response.clone().into()));
        }
        if response.version() != Version::HTTP_11 {
            return Err(HandshakeError::Head(HeadError::VersionUnsupported));
        }
        // "A value that is not a match": nothing else may stand beside it.
        let is_websocket = |name: &[u8]| name.eq_ignore_ascii_case(b"websocket");
        if !lists(headers, &UPGRADE, "websocket") || !list(headers, &UPGRADE).all(is_websocket) {
            return Err(HandshakeError::UpgradeMissing);
        }
        if !lists(headers, &CONNECTION, "upgrade") {
            return Err(HandshakeError::ConnectionMissing);
        }
        // §11.3.3: it comes once.
        let mut accepts = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
        let accept = accepts.next().ok_or(HandshakeError::AcceptMissing)?;
        if *accept != *self.accept || accepts.next().is_some() {
            return Err(HandshakeError::AcceptMismatch);
        }
        negotiated(&self.offered, &self.config.extensions, headers)
    }

    fn open(&mut self, negotiated: Negotiated, now: Instant) -> Connection {
        let (seed, config) = (self.seed.clone(), self.config.clone());
        let mut connection = Connection::client(negotiated, seed, config, now);
        // A server may answer before the last byte of the request is written.
        while self.outbound.has_remaining() {
            let chunk = self.outbound.chunk();
            connection.raw.outbound.push_head(chunk);
            let len = chunk.len();
            self.outbound.advance(len);
        }
        connection
    }
}

/// Does not show the request, which may hold cookies and passwords.
impl fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientHandshake");
        shown.field("reader", &self.reader).field("offered", &self.offered);
        shown.field("failed", &self.failed).finish_non_exhaustive()
    }
}

/// Replaces the lines in which subprotocols are offered by a single one, where there are several. It is
/// sensitive if one of them was.
pub(super) fn put_in_one_line(offered: &Subprotocols, headers: &mut HeaderMap) {
    if let Some(mut line) = offered.in_one_line() {
        let mut lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        line.set_sensitive(lines.any(HeaderValue::is_sensitive));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, line);
    }
}

/// The value of `Host`: the port only where it is not the scheme's own (RFC 6455 §4.1), and an IPv6
/// address without its zone, which means something on this machine only (RFC 6874 §4).
pub(super) fn host_header(uri: &Uri) -> Result<String, RequestError> {
    let scheme = uri.scheme_str().unwrap_or_default();
    let default_port = match () {
        () if scheme.eq_ignore_ascii_case("ws") => 80,
        () if scheme.eq_ignore_ascii_case("wss") => 443,
        () => return Err(RequestError::SchemeUnsupported),
    };
    let authority = uri.authority().ok_or(RequestError::SchemeUnsupported)?;
    let invalid = || RequestError::AuthorityInvalid(authority.as_str().into());
    let authority = without_zone(authority.as_str());
    let HostPort { host, port } = HostPort::parse(&authority).ok_or_else(invalid)?;
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

/// What the handshake sets itself, what it does not offer, and what a GET of RFC 6455 cannot have: a
/// body.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    [
        CONNECTION,
        CONTENT_LENGTH,
        HOST,
        SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(name)
}

/// The nonce of the key, and the seed of the masks.
///
/// Not the same seed for both: the nonce travels in the clear, and would be the first four masking
/// keys, which nobody may foretell (RFC 6455 §5.3).
fn nonce_and_seed(seed: Seed) -> ([u8; 16], Seed) {
    let mut stream = MaskKeys::new(seed);
    let nonce = stream.nonce();
    let mut derived = [0; 32];
    derived[..16].copy_from_slice(&stream.nonce());
    derived[16..].copy_from_slice(&stream.nonce());
    (nonce, Seed::new(derived))
}

fn request_head(request: &Parts, host: &str, key: &str, extensions: &Extensions) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    encode::request_line(&mut out, &request.method, &request.uri);
    for (name, value) in [
        (HOST, host),
        (UPGRADE, "websocket"),
        (CONNECTION, "Upgrade"),
        (SEC_WEBSOCKET_KEY, key),
        (SEC_WEBSOCKET_VERSION, "13"),
    ] {
        encode::write_header(&mut out, &name, value.as_bytes());
    }
    if let Some(offers) = header_of(extensions.offers()) {
        encode::write_header(&mut out, &SEC_WEBSOCKET_EXTENSIONS, offers.as_bytes());
    }
    encode::write_headers(&mut out, &request.headers, |_| true);
    out.extend_from_slice(b"\r\n");
    out
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// A value as an error shows it: no byte of a terminal's escape among it.
pub(super) fn shown(value: &[u8]) -> ByteString {
    alloc::format!("{}", value.escape_ascii()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who sees the key on the wire must not know a mask by it (RFC 6455 §5.3).
    #[test]
    fn the_nonce_tells_nothing_about_the_masks() {
        let (nonce, seed) = nonce_and_seed(Seed::new([7; 32]));
        let mut masks = MaskKeys::new(seed);
        for _ in 0..16 {
            let mask = masks.next_key();
            assert!(nonce.windows(4).all(|window| window != mask));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_key() {
        let drawn = |byte| nonce_and_seed(Seed::new([byte; 32]));
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }
}
