//! The server's handshake over the types of the crate `http`.

use alloc::sync::Arc;

use bytes::BytesMut;
use http::{Request, Response};

use super::parse::parse_request;
use crate::config::Config;
use crate::connection::{Connection, Negotiated};
use crate::handshake::encode;
use crate::handshake::error::HeadError;
use crate::handshake::server::ServerHandshake;
use crate::raw::RawConnection;
use crate::time::Instant;

/// # With the types of the crate `http`
///
/// The [module](crate::handshake) shows a handshake that succeeds. One that fails:
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
impl ServerHandshake {
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

    /// Opens the connection, whose outbound bytes begin with the 101, with the settings in `config`.
    ///
    /// `response` and `negotiated` come from [`UpgradeRequest::accept`](crate::handshake::UpgradeRequest::accept).
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
        connection.raw.outbound.push_head(&encode::switching_protocols(response.headers()));
        connection
    }

    /// Opens a connection of frames, whose outbound bytes begin with the 101, with the settings in
    /// `config`.
    pub fn accept_raw(self, response: &Response<()>, config: Arc<Config>) -> RawConnection {
        let mut connection = RawConnection::server(config);
        connection.outbound.push_head(&encode::switching_protocols(response.headers()));
        connection
    }
}
