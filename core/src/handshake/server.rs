//! The server's half: [`ServerHandshake`].

use alloc::sync::Arc;

use bytes::BytesMut;
use http::{Request, Response};

use super::encode;
use super::error::HeadError;
use super::head::parse_request;
use super::scan::{HeadReader, Kind};
use crate::config::Config;
use crate::connection::{Connection, Negotiated};
use crate::raw::RawConnection;
use crate::time::Instant;

/// The server's half of the opening handshake on a transport: bytes in, a request out, and with the
/// answer to it an open connection.
///
/// The request may be any of HTTP/1.1: whether it is an upgrade is what
/// [`UpgradeRequest`](super::UpgradeRequest) knows. Feed [`poll_request`](Self::poll_request) until
/// it gives one; while it does not, report the transport's end with
/// [`handle_eof`](Self::handle_eof) and call [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says so. To refuse, drop it and send what
/// [`encode_response`](super::encode_response) writes.
///
/// ```
/// use std::sync::Arc;
///
/// use bytes::BytesMut;
/// use sockless_core::handshake::{ServerHandshake, encode_response};
/// use sockless_core::{Config, Instant};
///
/// let mut handshake = ServerHandshake::new(Arc::new(Config::default()), Instant::EPOCH);
/// let mut inbound = BytesMut::from("GET / HTTP/1.1\r\n");
/// assert!(handshake.poll_request(&mut inbound).is_none());
/// // The deadline passes, and half a head is all that came.
/// handshake.handle_timeout(handshake.poll_timeout().expect("it has one"));
/// let error = handshake.poll_request(&mut inbound).expect("a verdict").unwrap_err();
/// let answer = encode_response(&error.response().expect("somebody is there to read it"));
/// assert!(answer.starts_with(b"HTTP/1.1 408 Request Timeout\r\n"));
/// ```
#[derive(Clone, Debug)]
pub struct ServerHandshake {
    reader: HeadReader,
}

impl ServerHandshake {
    /// Awaits a request, whose head has at most [`Config::max_head_len`] bytes, until
    /// [`Config::opening_timeout`] from `now`.
    ///
    /// These two settings of `config` are all that the handshake uses: those of the connection are
    /// given to [`accept`](Self::accept), when it is known what was asked for.
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        Self { reader: HeadReader::new(Kind::Request, &config, now) }
    }

    /// Awaits the request until `deadline` instead: for hosts whose opening began earlier, such as with
    /// a TLS handshake.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.reader.set_deadline(deadline);
        self
    }

    /// Takes one request out of `inbound`; `None` until its head is whole.
    ///
    /// It takes exactly the head. What follows is the first frames, or the body of a request that is
    /// no upgrade, and stays for whom it concerns. Between calls only append to `inbound`. After a
    /// request there is none any more; an error comes again with each call, and takes nothing.
    pub fn poll_request(
        &mut self,
        inbound: &mut BytesMut,
    ) -> Option<Result<Request<()>, HeadError>> {
        let request = self.reader.poll(inbound, parse_request)?;
        self.reader.finish();
        Some(request)
    }

    /// The transport will deliver nothing more: unless a whole head is there,
    /// [`poll_request`](Self::poll_request) gives [`HeadError::Eof`].
    pub fn handle_eof(&mut self) {
        self.reader.handle_eof();
    }

    /// The deadline may have passed: if so, and unless a whole head is there,
    /// [`poll_request`](Self::poll_request) gives [`HeadError::Timeout`]. A spurious call does no
    /// harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.reader.handle_timeout(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` once the request has
    /// come or has failed to.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reader.poll_timeout()
    }

    /// Opens the connection, whose outbound bytes begin with the 101, with the settings in `config`.
    ///
    /// `response` and `negotiated` are those of
    /// [`UpgradeRequest::accept`](super::UpgradeRequest::accept); of the response the headers are
    /// sent. The inbound buffer goes on to the connection with what is left in it.
    pub fn accept(
        self,
        response: &Response<()>,
        negotiated: Negotiated,
        config: Arc<Config>,
        now: Instant,
    ) -> Connection {
        let mut connection = Connection::server(negotiated, config, now);
        connection.raw.outbound.push_head(&encode::switching_protocols(response));
        connection
    }

    /// Opens a connection of frames, whose outbound bytes begin with the 101, with the settings in
    /// `config`.
    pub fn accept_raw(self, response: &Response<()>, config: Arc<Config>) -> RawConnection {
        let mut connection = RawConnection::server(config);
        connection.outbound.push_head(&encode::switching_protocols(response));
        connection
    }
}
