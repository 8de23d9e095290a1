//! The opening handshake of a client over HTTP/1.1: [`ClientHandshake`].

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BytesMut};
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};

use super::adapter::CheckedRequest;
use super::error::{ClientRequestError, HandshakeError, HeadError};
use super::head::parse_response;
use super::negotiation::{Subprotocols, extensions_header, negotiated};
use super::scan::{HeadReader, Kind};
use super::{accept_key, encode, list, lists};
use crate::config::Config;
use crate::connection::{Connection, Negotiated};
use crate::extension::Extensions;
use crate::outbound::Outbound;
use crate::seed::{MaskKeys, Seed};
use crate::time::Instant;

/// The opening handshake of a client over HTTP/1.1: sends the request, checks the response, and returns
/// an open connection.
///
/// Send [`outbound`](Self::outbound), then pass received bytes to
/// [`poll_response`](Self::poll_response) until it returns a result. Meanwhile report the end of the
/// transport with [`handle_eof`](Self::handle_eof), and call [`handle_timeout`](Self::handle_timeout)
/// at [`poll_timeout`](Self::poll_timeout).
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
/// let seed = Seed::new([7; 32]); // in production: 32 random bytes of the operating system
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
    /// The value that `Sec-WebSocket-Accept` must have.
    accept: String,
    offered: Subprotocols,
    outbound: Outbound,
    failed: Option<HandshakeError>,
}

impl ClientHandshake {
    /// Starts the handshake for `request`, a GET of `ws://host/path` or `wss://host/path`; the response
    /// must arrive within [`Config::opening_timeout`] from `now`.
    ///
    /// The headers of the request are sent too, such as `Origin`, `Cookie`, `Authorization` and
    /// `Sec-WebSocket-Protocol`; subprotocols in several lines are sent in one. The caller resolves the
    /// host, connects, uses TLS for `wss`, and follows redirects.
    ///
    /// Two parts of a URI are not sent: a fragment, which RFC 6455 §3 forbids and [`http::Uri`] drops
    /// when it is parsed, and the zone of an IPv6 address, as in `ws://[fe80::1%25eth0]/`, which has a
    /// meaning on this machine only (RFC 6874 §4).
    ///
    /// # Errors
    ///
    /// A [`ClientRequestError`] if the request cannot open a WebSocket, or has a header that belongs to
    /// the handshake: `Host`, `Connection`, `Upgrade`, those of RFC 6455 §11.3 except
    /// `Sec-WebSocket-Protocol`, and those of a body.
    pub fn new(
        request: Request<()>,
        seed: Seed,
        config: Arc<Config>,
        now: Instant,
    ) -> Result<Self, ClientRequestError> {
        let CheckedRequest { parts, host, offered } =
            CheckedRequest::new(request, &[Version::HTTP_11])?;
        let (nonce, seed) = nonce_and_seed(seed);
        let key = STANDARD.encode(nonce);
        let mut outbound = Outbound::default();
        outbound.push_head(&request_head(&parts, &host, &key, &config.extensions));
        let reader = HeadReader::new(Kind::Response, &config, now);
        let accept = accept_key(key.as_bytes());
        Ok(Self { reader, config, seed, accept, offered, outbound, failed: None })
    }

    /// Returns the bytes to send, a [`bytes::Buf`].
    pub fn outbound(&mut self) -> &mut Outbound {
        &mut self.outbound
    }

    /// Takes the server's response out of `inbound` and returns the open connection; `None` while the
    /// head is incomplete.
    ///
    /// It takes exactly the head: the bytes after a 101 are the first frames, and those after a
    /// [`Rejected`](HandshakeError::Rejected) response are its body. Interim responses are skipped
    /// (RFC 9110 §15.2); they count towards the limit for the head. Between calls only append to
    /// `inbound`. Once it has returned a connection it returns `None`.
    ///
    /// # Errors
    ///
    /// A [`HandshakeError`] if the server rejects the request or breaks RFC 6455 §4.1, or if the head is
    /// invalid, incomplete at the end of the transport, or late. Each later call returns it again.
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

    /// Reports that the transport has ended: [`poll_response`](Self::poll_response) returns
    /// [`HandshakeError::Eof`] if the head is incomplete.
    pub fn handle_eof(&mut self) {
        self.reader.handle_eof();
    }

    /// Reports the time: once the deadline has passed, [`poll_response`](Self::poll_response) returns
    /// [`HandshakeError::Timeout`] if the head is incomplete. Spurious calls are allowed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.reader.handle_timeout(now);
    }

    /// Returns the time to call [`handle_timeout`](Self::handle_timeout); `None` once the handshake has
    /// succeeded or failed.
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
        // RFC 6455 §4.1 requires the value to be a match, so it cannot list another protocol as well.
        let is_websocket = |name: &[u8]| name.eq_ignore_ascii_case(b"websocket");
        if !lists(headers, &UPGRADE, "websocket") || !list(headers, &UPGRADE).all(is_websocket) {
            return Err(HandshakeError::UpgradeMissing);
        }
        if !lists(headers, &CONNECTION, "upgrade") {
            return Err(HandshakeError::ConnectionMissing);
        }
        // §11.3.3: the header cannot be repeated.
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
        // A server may respond before the last byte of the request is written.
        while self.outbound.has_remaining() {
            let chunk = self.outbound.chunk();
            connection.raw.outbound.push_head(chunk);
            let len = chunk.len();
            self.outbound.advance(len);
        }
        connection
    }
}

/// Omits the request, which may contain cookies and passwords.
impl fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientHandshake");
        shown.field("reader", &self.reader).field("offered", &self.offered);
        shown.field("failed", &self.failed).finish_non_exhaustive()
    }
}

/// The nonce of the key, and the seed of the masking keys.
///
/// The two do not share a seed: the nonce is sent unencrypted, and would reveal the first four masking
/// keys, which must be unpredictable (RFC 6455 §5.3).
fn nonce_and_seed(seed: Seed) -> ([u8; 16], Seed) {
    let mut stream = MaskKeys::new(seed);
    (stream.bytes(), Seed::new(stream.bytes()))
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
    if let Some(offers) = extensions_header(extensions.offers()) {
        encode::write_header(&mut out, &SEC_WEBSOCKET_EXTENSIONS, offers.as_bytes());
    }
    encode::write_headers(&mut out, &request.headers, |_| true);
    out.extend_from_slice(b"\r\n");
    out
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.3: masking keys cannot be derived from what is on the wire.
    #[test]
    fn the_nonce_is_independent_of_the_masking_keys() {
        let (nonce, seed) = nonce_and_seed(Seed::new([7; 32]));
        let mut masks = MaskKeys::new(seed);
        for _ in 0..16 {
            let mask = masks.next_key();
            assert!(nonce.windows(4).all(|window| window != mask));
        }
    }

    #[test]
    fn equal_seeds_give_equal_keys() {
        let drawn = |byte| nonce_and_seed(Seed::new([byte; 32]));
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }
}
