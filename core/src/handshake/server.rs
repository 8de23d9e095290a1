//! The opening handshake of a server on a transport: [`ServerHandshake`].

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

/// The opening handshake of a server over HTTP/1.1: reads a request from the bytes of a transport, and
/// returns an open connection once the request is accepted.
///
/// Pass received bytes to [`poll_request`](Self::poll_request) until it returns a request or an error.
/// Meanwhile report the end of the transport with [`handle_eof`](Self::handle_eof), and call
/// [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout). The request may be
/// any request of HTTP/1.1: [`UpgradeRequest`](super::UpgradeRequest) checks whether it is an upgrade
/// and negotiates, and [`accept`](Self::accept) opens the connection. To reject it, drop the handshake
/// and send the bytes of [`encode_response`](super::encode_response).
///
/// The [module](super) shows a handshake that succeeds. One that fails:
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
/// // The deadline passes, and the head is incomplete.
/// handshake.handle_timeout(handshake.poll_timeout().expect("a deadline"));
/// let error = handshake.poll_request(&mut inbound).expect("a result").unwrap_err();
/// let answer = encode_response(&error.response().expect("a response"));
/// assert!(answer.starts_with(b"HTTP/1.1 408 Request Timeout\r\n"));
/// ```
#[derive(Clone, Debug)]
pub struct ServerHandshake {
    reader: HeadReader,
}

impl ServerHandshake {
    /// Starts to wait for a request, whose head has at most [`Config::max_head_len`] bytes and must be
    /// complete within [`Config::opening_timeout`] from `now`.
    ///
    /// The handshake uses only these two settings of `config`. The settings of the connection are passed
    /// to [`accept`](Self::accept), once the request is known.
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        Self { reader: HeadReader::new(Kind::Request, &config, now) }
    }

    /// Replaces the deadline, for servers whose opening began before the request, such as with a TLS
    /// handshake.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.reader.set_deadline(deadline);
        self
    }

    /// Takes the request out of `inbound`; returns `None` while its head is incomplete.
    ///
    /// It takes exactly the head. The bytes that follow are the first frames, or the body of a request
    /// that is not an upgrade, and stay in `inbound`. Between calls only append to `inbound`. Once it has
    /// returned a request it returns `None`.
    ///
    /// # Errors
    ///
    /// A [`HeadError`] if the head is malformed, too long, incomplete at the end of the transport, or
    /// late. Each later call returns it again and takes nothing.
    pub fn poll_request(
        &mut self,
        inbound: &mut BytesMut,
    ) -> Option<Result<Request<()>, HeadError>> {
        let request = self.reader.poll(inbound, parse_request)?;
        self.reader.finish();
        Some(request)
    }

    /// Reports that the transport has ended: [`poll_request`](Self::poll_request) returns
    /// [`HeadError::Eof`] if the head is incomplete.
    pub fn handle_eof(&mut self) {
        self.reader.handle_eof();
    }

    /// Reports the time: once the deadline has passed, [`poll_request`](Self::poll_request) returns
    /// [`HeadError::Timeout`] if the head is incomplete. Spurious calls are allowed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.reader.handle_timeout(now);
    }

    /// Returns the time to call [`handle_timeout`](Self::handle_timeout); `None` once the request has
    /// arrived or failed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reader.poll_timeout()
    }

    /// Opens the connection, whose outbound bytes begin with the 101, with the settings in `config`.
    ///
    /// `response` and `negotiated` come from [`UpgradeRequest::accept`](super::UpgradeRequest::accept).
    /// The headers of `response` are sent, its status is ignored. Pass the inbound buffer on to the
    /// connection with the bytes that are left in it.
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
