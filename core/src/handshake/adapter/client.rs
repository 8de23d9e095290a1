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
use crate::extension::Params;
use crate::handshake::client::{Answer, ClientHandshake, Offered, RawOpened};
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
/// assert!(handshake.outbound().chunk().starts_with(
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
        Self::for_request(request, None, seed, config, now)
    }

    /// Starts the handshake of a proxy, which passes on the `offers` of its own client instead of those of
    /// `config`: [`UpgradeRequest::extensions`](crate::handshake::UpgradeRequest::extensions) returns them.
    ///
    /// Finish it with [`poll_raw_response`](Self::poll_raw_response), and give the server's
    /// [`extension_answers`](crate::handshake::extension_answers) to [`UpgradeRequest::pass_extensions`](crate::handshake::UpgradeRequest::pass_extensions).
    ///
    /// ```
    /// use bytes::{BufMut, BytesMut};
    /// use sockless_core::extension::Params;
    /// use sockless_core::handshake::{ClientHandshake, UpgradeRequest, extension_answers};
    /// use sockless_core::{Config, Instant, Seed};
    ///
    /// # fn request_of_the_client() -> http::Request<()> {
    /// #     http::Request::get("/").header("Host", "example.com").header("Upgrade", "websocket")
    /// #         .header("Connection", "Upgrade").header("Sec-WebSocket-Version", "13")
    /// #         .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    /// #         .header("Sec-WebSocket-Extensions", "x-new; level=9").body(()).unwrap()
    /// # }
    /// # fn response_of_the_server(request: &[u8]) -> BytesMut {
    /// #     use sockless_core::handshake::ServerHandshake;
    /// #     let mut server = ServerHandshake::new(Default::default(), Instant::EPOCH);
    /// #     let request = server.poll_request(&mut BytesMut::from(request)).unwrap().unwrap();
    /// #     let mut upgrade = UpgradeRequest::from_request(&request).unwrap();
    /// #     assert_eq!(upgrade.extensions(), [Params::new("x-new").with("level", "9")]);
    /// #     upgrade.pass_extensions(vec![Params::new("x-new").with("level", "5")]);
    /// #     let (response, _) = upgrade.accept();
    /// #     let mut raw = server.accept_raw(&response, Default::default());
    /// #     let mut bytes = BytesMut::new();
    /// #     bytes.put(raw.outbound());
    /// #     bytes
    /// # }
    /// let (seed, now) = (Seed::new([7; 32]), Instant::EPOCH);
    /// let mut upgrade = UpgradeRequest::from_request(&request_of_the_client())?;
    ///
    /// let request = http::Request::get("ws://upstream.example.com/").body(())?;
    /// let offers = upgrade.extensions().to_vec();
    /// let mut client = ClientHandshake::with_offers(request, offers, seed, Default::default(), now)?;
    /// let mut wire = BytesMut::new();
    /// wire.put(client.outbound());
    ///
    /// let mut inbound = response_of_the_server(&wire);
    /// let upstream = client.poll_raw_response(&mut inbound).expect("the head is complete")?;
    /// let answers = extension_answers(&upstream.response).expect("it was checked");
    /// assert_eq!(answers, [Params::new("x-new").with("level", "5")]);
    /// upgrade.pass_extensions(answers);
    /// let (response, _) = upgrade.accept();
    /// assert_eq!(response.headers()["Sec-WebSocket-Extensions"], "x-new; level=5");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_offers(
        request: Request<()>,
        offers: Vec<Params>,
        seed: Seed,
        config: Arc<Config>,
        now: Instant,
    ) -> Result<Self, ClientRequestError> {
        Self::for_request(request, Some(offers), seed, config, now)
    }

    fn for_request(
        request: Request<()>,
        passed: Option<Vec<Params>>,
        seed: Seed,
        config: Arc<Config>,
        now: Instant,
    ) -> Result<Self, ClientRequestError> {
        let CheckedRequest { parts, host, offered } =
            CheckedRequest::new(request, &[Version::HTTP_11])?;
        let mut line = Vec::with_capacity(512);
        request_line(&mut line, &parts.method, &parts.uri);
        let offered = Offered { subprotocols: offered, passed };
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
    /// invalid, incomplete at the end of the transport, or late. [`HandshakeError::ExtensionUnknown`] if offers
    /// were [passed on](Self::with_offers) and the server selected one, since no codec decodes its messages.
    /// Each later call returns it again.
    pub fn poll_response(
        &mut self,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Result<(Connection, Response<()>), HandshakeError>> {
        self.poll(inbound, now, parse_response)
    }

    /// Takes the server's response out of `inbound` and returns an open connection of frames; `None` while the
    /// head is incomplete.
    ///
    /// As [`poll_response`](Self::poll_response). The connection accepts the reserved bits of the extensions
    /// that were agreed on; all bits, if offers were [passed on](Self::with_offers) and the server selected one.
    ///
    /// # Errors
    ///
    /// As [`poll_response`](Self::poll_response).
    pub fn poll_raw_response(
        &mut self,
        inbound: &mut BytesMut,
    ) -> Option<Result<RawOpened<Response<()>>, HandshakeError>> {
        self.poll_raw(inbound, parse_response)
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
