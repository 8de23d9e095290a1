//! The client's handshake over the types of the crate `http`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::BytesMut;
use http::{Request, Response, Version};

use super::encode::request_line;
use super::parse::parse_response;
use super::request::CheckedRequest;
use crate::config::Config;
use crate::connection::Connection;
use crate::handshake::client::{Answer, ClientHandshake};
use crate::handshake::error::{ClientRequestError, HandshakeError};
use crate::handshake::fields::Fields;
use crate::seed::Seed;
use crate::time::Instant;

/// # With the types of the crate `http`
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
        let mut line = Vec::with_capacity(512);
        request_line(&mut line, &parts.method, &parts.uri);
        Ok(Self::start(line, &host, &parts.headers, offered, seed, config, now))
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
        self.poll(inbound, now, parse_response)
    }
}

impl Answer for Response<()> {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }

    fn is_http_11(&self) -> bool {
        self.version() == Version::HTTP_11
    }

    fn headers(&self) -> &impl Fields {
        self.headers()
    }

    fn rejected(self) -> HandshakeError {
        HandshakeError::Rejected(self.into())
    }
}
