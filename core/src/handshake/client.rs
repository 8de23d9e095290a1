//! The opening handshake of a client over HTTP/1.1: [`ClientHandshake`].

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};

use super::error::{ClientRequestError, HandshakeError, HeadError, HeadRule};
use super::fields::{CONNECTION, Fields, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use super::head::parse_response;
use super::heads::ResponseHead;
use super::negotiation::{Subprotocols, extensions_value, negotiated};
use super::observed::offered_answers;
use super::request::{self, CheckedHeaders};
use super::scan::{HeadReader, Kind};
use super::{AcceptKey, accept_key, encode};
use crate::config::Config;
use crate::connection::{Connection, Negotiated};
use crate::extension::Params;
use crate::frame::Rsv;
use crate::outbound::{Outbound, Queue};
use crate::raw::RawConnection;
use crate::seed::{MaskKeys, Seed};
use crate::time::Instant;

/// The opening handshake of a client over HTTP/1.1: sends the request, checks the response, and returns
/// an open connection.
///
/// Send [`outbound`](Self::outbound), then pass received bytes to [`poll_head`](Self::poll_head) until it
/// returns a result, or to `poll_response` for the types of the crate `http`. Meanwhile report the end of
/// the transport with [`handle_eof`](Self::handle_eof), and call [`handle_timeout`](Self::handle_timeout)
/// at [`poll_timeout`](Self::poll_timeout).
///
/// ```
/// use std::sync::Arc;
///
/// use sockless_core::handshake::ClientHandshake;
/// use sockless_core::{Config, Instant, Seed};
///
/// let headers: [(&str, &[u8]); 1] = [("Sec-WebSocket-Protocol", b"chat.v2, chat.v1")];
/// let seed = Seed::new([7; 32]); // in production: 32 random bytes
/// let config = Arc::new(Config::default());
/// let mut handshake =
///     ClientHandshake::with_headers("example.com", "/chat", &headers, seed, config, Instant::EPOCH)?;
/// assert!(handshake.outbound().chunk().starts_with(
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
    accept: AcceptKey,
    offered: Offered,
    outbound: Queue,
    failed: Option<HandshakeError>,
}

/// The offers of a request.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) subprotocols: Subprotocols,
    /// The extensions that are passed on, in place of those of the settings.
    pub(super) passed: Option<Vec<Params>>,
}

/// The result of a client's handshake for frames: see [`ClientHandshake::poll_raw_head`].
#[derive(Debug)]
#[non_exhaustive]
pub struct RawOpened<R> {
    /// The open connection of frames.
    pub connection: RawConnection,
    /// What was agreed on, for a caller that puts messages on top, by [`Connection::from_raw`], or decodes
    /// them, by [`MessageCodec`](crate::extension::MessageCodec).
    pub negotiated: Negotiated,
    /// The server's response.
    pub response: R,
}

impl ClientHandshake {
    /// Starts the handshake for a GET of `target`, a path with an optional query, on `host`, which has a
    /// port unless it is the default of the scheme. The response must arrive within
    /// [`Config::opening_timeout`] from `now`.
    ///
    /// The `headers` are sent too, such as `Origin`, `Cookie`, `Authorization` and
    /// `Sec-WebSocket-Protocol`. The caller resolves the host, connects, uses TLS where that is wanted, and
    /// follows redirects. `seed` supplies the nonce of the key too.
    ///
    /// # Errors
    ///
    /// A [`ClientRequestError`] if `host` is not a host with an optional port, `target` does not begin with
    /// `/` or has a character that must be percent-encoded, or a header is invalid or belongs to the
    /// handshake: `Host`, `Connection`, `Upgrade`, those of RFC 6455 §11.3 except `Sec-WebSocket-Protocol`,
    /// and those of a body.
    pub fn with_headers(
        host: &str,
        target: &str,
        headers: &[(&str, &[u8])],
        seed: Seed,
        config: Arc<Config>,
        now: Instant,
    ) -> Result<Self, ClientRequestError> {
        let CheckedHeaders { offered, in_one_line } = request::check(host, target, headers)?;
        let line = [b"GET ", target.as_bytes(), b" HTTP/1.1\r\n"].concat();
        let offered = offered.into();
        Ok(match in_one_line {
            None => Self::start(line, host, headers, offered, seed, config, now),
            Some(lines) => Self::start(line, host, &lines, offered, seed, config, now),
        })
    }

    /// Starts the handshake for a request that has been checked and begins with the bytes `first_line`.
    pub(super) fn start(
        mut first_line: Vec<u8>,
        host: &str,
        headers: &(impl Fields + ?Sized),
        offered: Offered,
        seed: Seed,
        config: Arc<Config>,
        now: Instant,
    ) -> Self {
        let (nonce, seed) = nonce_and_seed(seed);
        let key = STANDARD.encode(nonce);
        let offers = match &offered.passed {
            Some(offers) => extensions_value(offers.iter()),
            None => extensions_value(config.extensions.offers()),
        };
        first_line.reserve(512);
        encode::upgrade_headers(&mut first_line, host, &key, offers.as_deref(), headers);
        let mut outbound = Queue::default();
        outbound.push_head(&first_line);
        let reader = HeadReader::new(Kind::Response, &config, now);
        let accept = accept_key(key.as_bytes());
        Self { reader, config, seed, accept, offered, outbound, failed: None }
    }

    /// Returns the bytes to send, a [`bytes::Buf`].
    pub fn outbound(&mut self) -> Outbound<'_> {
        Outbound(&mut self.outbound)
    }

    /// Takes the server's response out of `inbound` and returns the open connection; `None` while the
    /// head is incomplete.
    ///
    /// It takes exactly the head: the bytes after a 101 are the first frames, and those after a
    /// [`Declined`](HandshakeError::Declined) response are its body. Interim responses are skipped
    /// (RFC 9110 §15.2); they count towards the limit for the head. Between calls only append to
    /// `inbound`. Once it has returned a connection it returns `None`.
    ///
    /// # Errors
    ///
    /// A [`HandshakeError`] if the server rejects the request or breaks RFC 6455 §4.1, or if the head is
    /// invalid, incomplete at the end of the transport, or late. Each later call returns it again.
    pub fn poll_head(
        &mut self,
        inbound: &mut BytesMut,
        now: Instant,
    ) -> Option<Result<(Connection, ResponseHead), HandshakeError>> {
        self.poll(inbound, now, parse_response)
    }

    /// Takes the server's response out of `inbound` and returns an open connection of frames; `None` while the
    /// head is incomplete.
    ///
    /// As [`poll_head`](Self::poll_head). The connection accepts the reserved bits of the extensions that were
    /// agreed on; all bits, if offers were passed on and the server selected one.
    ///
    /// # Errors
    ///
    /// As [`poll_head`](Self::poll_head).
    pub fn poll_raw_head(
        &mut self,
        inbound: &mut BytesMut,
    ) -> Option<Result<RawOpened<ResponseHead>, HandshakeError>> {
        self.poll_raw(inbound, parse_response)
    }

    /// Takes the response out of `inbound` in the type that `parse` returns.
    pub(super) fn poll<A: Answer>(
        &mut self,
        inbound: &mut BytesMut,
        now: Instant,
        parse: fn(&Bytes) -> Result<A, HeadRule>,
    ) -> Option<Result<(Connection, A), HandshakeError>> {
        self.poll_verdict(inbound, parse, |this, answer| {
            let (negotiated, undecoded) = this.check(&answer)?;
            if let Some(params) = undecoded.first() {
                return Err(HandshakeError::ExtensionUnknown(params.to_string().into()));
            }
            Ok((Connection::from_raw(this.open(), negotiated, now), answer))
        })
    }

    /// Takes the response out of `inbound` in the type that `parse` returns, for frames.
    pub(super) fn poll_raw<A: Answer>(
        &mut self,
        inbound: &mut BytesMut,
        parse: fn(&Bytes) -> Result<A, HeadRule>,
    ) -> Option<Result<RawOpened<A>, HandshakeError>> {
        self.poll_verdict(inbound, parse, |this, response| {
            let (negotiated, undecoded) = this.check(&response)?;
            let mut rsv =
                negotiated.extensions.iter().fold(Rsv::NONE, |all, one| all.union(one.rsv()));
            if !undecoded.is_empty() {
                rsv = Rsv::RSV1.union(Rsv::RSV2).union(Rsv::RSV3);
            }
            let mut connection = this.open();
            connection.accept_rsv(rsv);
            Ok(RawOpened { connection, negotiated, response })
        })
    }

    /// Takes the response out of `inbound`, and has `open` judge a 101.
    fn poll_verdict<A: Answer, T>(
        &mut self,
        inbound: &mut BytesMut,
        parse: fn(&Bytes) -> Result<A, HeadRule>,
        open: impl FnOnce(&mut Self, A) -> Result<T, HandshakeError>,
    ) -> Option<Result<T, HandshakeError>> {
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let answer = loop {
            match self.reader.poll(inbound, parse)? {
                Ok(answer) if is_interim(answer.status()) => {}
                verdict => break verdict,
            }
        };
        self.reader.finish();
        let opened = answer.map_err(HandshakeError::from).and_then(|answer| {
            if answer.status() != 101 {
                return Err(answer.rejected());
            }
            open(self, answer)
        });
        self.failed = opened.as_ref().err().cloned();
        Some(opened)
    }

    /// Reports that the transport has ended: [`poll_head`](Self::poll_head) returns
    /// [`HandshakeError::Eof`] if the head is incomplete.
    pub fn handle_eof(&mut self) {
        self.reader.handle_eof();
    }

    /// Reports the time: once the deadline has passed, [`poll_head`](Self::poll_head) returns
    /// [`HandshakeError::Timeout`] if the head is incomplete. Spurious calls are allowed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.reader.handle_timeout(now);
    }

    /// Returns the time to call [`handle_timeout`](Self::handle_timeout); `None` once the handshake has
    /// succeeded or failed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reader.poll_timeout()
    }

    /// The checks of a 101. The second result are the answers to offers that were passed on, for which there
    /// are no codecs.
    fn check(&self, answer: &impl Answer) -> Result<(Negotiated, Vec<Params>), HandshakeError> {
        let headers = answer.headers();
        check_upgrade(answer, self.accept.as_str())?;
        let Offered { subprotocols, passed } = &self.offered;
        let Some(offers) = passed else {
            let negotiated = negotiated(subprotocols, &self.config.extensions, headers)?;
            return Ok((negotiated, Vec::new()));
        };
        let answers = offered_answers(offers, headers)?;
        let subprotocol = subprotocols.selected(headers)?;
        Ok((Negotiated { subprotocol, extensions: Vec::new() }, answers))
    }

    fn open(&mut self) -> RawConnection {
        let mut connection = RawConnection::client(self.seed.clone(), self.config.clone());
        // A server may respond before the last byte of the request is written.
        while self.outbound.remaining() > 0 {
            let chunk = self.outbound.chunk();
            connection.outbound.push_head(chunk);
            let len = chunk.len();
            self.outbound.advance(len);
        }
        connection
    }
}

impl From<Subprotocols> for Offered {
    fn from(subprotocols: Subprotocols) -> Self {
        Self { subprotocols, passed: None }
    }
}

/// The checks of a 101 of RFC 6455 §4.1, in its order, with `accept` as the value of `Sec-WebSocket-Accept`.
pub(super) fn check_upgrade(answer: &impl Answer, accept: &str) -> Result<(), HandshakeError> {
    let headers = answer.headers();
    if !answer.is_http_11() {
        return Err(HandshakeError::Head(HeadError::VersionUnsupported));
    }
    // RFC 6455 §4.1 requires the value to be a match, so it cannot list another protocol as well.
    let is_websocket = |name: &[u8]| name.eq_ignore_ascii_case(b"websocket");
    if !headers.lists(&UPGRADE, "websocket") || !headers.list(&UPGRADE).all(is_websocket) {
        return Err(HandshakeError::UpgradeMissing);
    }
    if !headers.lists(&CONNECTION, "upgrade") {
        return Err(HandshakeError::ConnectionMissing);
    }
    // §11.3.3: the header cannot be repeated.
    let mut accepts = headers.all(&SEC_WEBSOCKET_ACCEPT);
    let given = accepts.next().ok_or(HandshakeError::AcceptMissing)?;
    if given != accept.as_bytes() || accepts.next().is_some() {
        return Err(HandshakeError::AcceptMismatch);
    }
    Ok(())
}

/// A response, in one of the types in which callers receive it.
pub(super) trait Answer {
    fn status(&self) -> u16;
    fn is_http_11(&self) -> bool;
    fn headers(&self) -> &impl Fields;
    /// The error that says that its status is not 101.
    fn rejected(self) -> HandshakeError;
}

impl Answer for ResponseHead {
    fn status(&self) -> u16 {
        self.status
    }

    fn is_http_11(&self) -> bool {
        self.is_http_11
    }

    fn headers(&self) -> &impl Fields {
        &self.lines
    }

    fn rejected(self) -> HandshakeError {
        HandshakeError::Declined(self.into())
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

pub(super) fn is_interim(status: u16) -> bool {
    matches!(status, 100..200) && status != 101
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
