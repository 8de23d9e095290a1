//! The opening handshake of a server on a transport: [`ServerHandshake`].

use alloc::sync::Arc;

use bytes::BytesMut;

use super::encode;
use super::error::HeadError;
use super::head::parse_request;
use super::heads::{RequestHead, ResponseHead};
use super::scan::{HeadReader, Kind};
use crate::config::Config;
use crate::connection::{Connection, Negotiated};
use crate::time::Instant;

/// The opening handshake of a server over HTTP/1.1: reads a request from the bytes of a transport, and
/// returns an open connection once the request is accepted.
///
/// Pass received bytes to [`poll_head`](Self::poll_head) until it returns a request or an error, or to
/// `poll_request` for the types of the crate `http`. Meanwhile report the end of the transport with [`handle_eof`](Self::handle_eof), and call
/// [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout). The request may be
/// any request of HTTP/1.1: [`UpgradeRequest`](super::UpgradeRequest) checks whether it is an upgrade
/// and negotiates, and [`accept_head`](Self::accept_head) opens the connection. To reject it, drop the
/// handshake and send the bytes of [`ResponseHead::encode`], or of an error's `encoded_response`.
///
/// ```
/// use std::sync::Arc;
///
/// use bytes::{Buf, BytesMut};
/// use sockless_core::handshake::{ServerHandshake, UpgradeRequest};
/// use sockless_core::{Config, Instant};
///
/// let (config, now) = (Arc::new(Config::default()), Instant::EPOCH);
/// let mut handshake = ServerHandshake::new(config.clone(), now);
/// let mut inbound = BytesMut::from(
///     "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
/// );
/// let head = handshake.poll_head(&mut inbound).expect("the head is complete")?;
/// let (response, negotiated) = UpgradeRequest::from_head(&head)?.accept_head();
/// let mut connection = handshake.accept_head(&response, negotiated, config, now);
/// assert!(connection.outbound().chunk().starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ServerHandshake {
    pub(super) reader: HeadReader,
}

impl ServerHandshake {
    /// Starts to wait for a request, whose head has at most [`Config::max_head_len`] bytes and must be
    /// complete within [`Config::opening_timeout`] from `now`.
    ///
    /// The handshake uses only these two settings of `config`. The settings of the connection are passed
    /// to [`accept_head`](Self::accept_head), once the request is known.
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
    pub fn poll_head(&mut self, inbound: &mut BytesMut) -> Option<Result<RequestHead, HeadError>> {
        let request = self.reader.poll(inbound, parse_request)?;
        self.reader.finish();
        Some(request)
    }

    /// Reports that the transport has ended: [`poll_head`](Self::poll_head) returns
    /// [`HeadError::Eof`] if the head is incomplete.
    pub fn handle_eof(&mut self) {
        self.reader.handle_eof();
    }

    /// Reports the time: once the deadline has passed, [`poll_head`](Self::poll_head) returns
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
    /// `head` and `negotiated` come from
    /// [`UpgradeRequest::accept_head`](super::UpgradeRequest::accept_head). The headers of `head` are sent,
    /// its status is ignored. Pass the inbound buffer on to the connection with the bytes that are left in
    /// it.
    pub fn accept_head(
        self,
        head: &ResponseHead,
        negotiated: Negotiated,
        config: Arc<Config>,
        now: Instant,
    ) -> Connection {
        let mut connection = Connection::server(negotiated, config, now);
        connection.raw.outbound.push_head(&encode::switching_protocols(&head.lines));
        connection
    }
}
