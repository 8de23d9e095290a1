//! Responses to requests of others: [`ResponseReader`].

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::client::{Answer, is_interim};
use super::error::{HandshakeError, HeadError, HeadRule};
use super::fields::Fields;
use super::head::parse_response;
use super::heads::ResponseHead;
use super::negotiation::extensions;
use super::scan::{HeadReader, Kind};
use crate::config::Config;
use crate::extension::Params;
use crate::time::Instant;

/// Reads the response of a server to a request that was not made here: for proxies that pass both on, and for observers.
///
/// A request is read by [`ServerHandshake`](super::ServerHandshake), and `Negotiated::from_exchange` returns what the two
/// ends agreed on.
///
/// ```
/// use bytes::BytesMut;
/// use sockless_core::handshake::ResponseReader;
/// use sockless_core::{Config, Instant};
///
/// let mut reader = ResponseReader::new(&Config::default(), Instant::EPOCH);
/// let mut inbound = BytesMut::from("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nwhat?");
/// let response = reader.poll_head(&mut inbound).expect("the head is complete")?;
/// assert_eq!(response.status(), 404);
/// assert_eq!(inbound, "what?");
/// # Ok::<(), sockless_core::handshake::HeadError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResponseReader(HeadReader);

impl ResponseReader {
    /// Starts to wait for a response, whose head has at most [`Config::max_head_len`] bytes and must be complete within
    /// [`Config::opening_timeout`] from `now`.
    pub fn new(config: &Config, now: Instant) -> Self {
        Self(HeadReader::new(Kind::Response, config, now))
    }

    /// Takes the response out of `inbound`; returns `None` while its head is incomplete.
    ///
    /// It takes exactly the head, and those of interim responses before it, which are skipped (RFC 9110 §15.2) and
    /// count towards the limit. Between calls only append to `inbound`. Once it has returned a response it returns
    /// `None`.
    ///
    /// # Errors
    ///
    /// A [`HeadError`] if the head is malformed, too long, incomplete at the end of the transport, or late. Each later
    /// call returns it again and takes nothing.
    pub fn poll_head(&mut self, inbound: &mut BytesMut) -> Option<Result<ResponseHead, HeadError>> {
        self.poll(inbound, parse_response)
    }

    /// Takes the response out of `inbound` in the type that `parse` returns.
    pub(super) fn poll<A: Answer>(
        &mut self,
        inbound: &mut BytesMut,
        parse: fn(&Bytes) -> Result<A, HeadRule>,
    ) -> Option<Result<A, HeadError>> {
        let response = loop {
            match self.0.poll(inbound, parse)? {
                Ok(response) if is_interim(response.status()) => {}
                response => break response,
            }
        };
        self.0.finish();
        Some(response)
    }

    /// Reports that the transport has ended: [`poll_head`](Self::poll_head) returns [`HeadError::Eof`] if the
    /// head is incomplete.
    pub fn handle_eof(&mut self) {
        self.0.handle_eof();
    }

    /// Reports the time: once the deadline has passed, [`poll_head`](Self::poll_head) returns
    /// [`HeadError::Timeout`] if the head is incomplete. Spurious calls are allowed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }

    /// Returns the time to call [`handle_timeout`](Self::handle_timeout); `None` once the response has arrived or
    /// failed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }
}

/// The extensions that a response selects, each of which must be among `offers` by its name.
pub(super) fn offered_answers(
    offers: &[Params],
    headers: &(impl Fields + ?Sized),
) -> Result<Vec<Params>, HandshakeError> {
    let answers = extensions(headers).ok_or(HandshakeError::ExtensionsInvalid)?;
    let is_offered = |answer: &Params| offers.iter().any(|offer| offer.name() == answer.name());
    match answers.iter().find(|answer| !is_offered(answer)) {
        Some(answer) => Err(HandshakeError::ExtensionNotOffered(answer.to_string().into())),
        None => Ok(answers),
    }
}
