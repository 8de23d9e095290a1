//! The caller's request for a WebSocket, checked.

use alloc::vec::Vec;

use bytestring::ByteString;

use super::HostPort;
use super::error::ClientRequestError;
use super::fields::{
    CONNECTION, CONTENT_LENGTH, Fields, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use super::head::is_path;
use super::heads::{Lines, is_header};
use super::negotiation::Subprotocols;

/// Headers of a request that do not belong to the handshake.
pub(super) struct CheckedHeaders {
    /// The subprotocols that the request offers.
    pub(super) offered: Subprotocols,
    /// The headers to send instead, if subprotocols are offered in several lines: they are in one.
    pub(super) in_one_line: Option<Lines>,
}

/// Checks a request that is not in the types of the crate `http`.
pub(super) fn check(
    host: &str,
    target: &str,
    headers: &[(&str, &[u8])],
) -> Result<CheckedHeaders, ClientRequestError> {
    HostPort::parse(host).ok_or_else(|| ClientRequestError::AuthorityInvalid(host.into()))?;
    if !target.starts_with('/') || !is_path(target) {
        return Err(ClientRequestError::TargetInvalid(target.into()));
    }
    for &(name, value) in headers {
        if !is_header(name, value) {
            return Err(ClientRequestError::HeaderInvalid(name.into()));
        }
    }
    let offered = check_headers(headers)?;
    let in_one_line = offered.in_one_line().map(|line| {
        let others = headers.iter().filter(|(name, _)| !SEC_WEBSOCKET_PROTOCOL.is(name));
        let others = others.map(|&(name, value)| (name.into(), value.to_vec().into()));
        let line = (ByteString::from_static(SEC_WEBSOCKET_PROTOCOL.text), line.into());
        Lines(others.chain([line]).collect::<Vec<_>>())
    });
    Ok(CheckedHeaders { offered, in_one_line })
}

/// Checks that no header belongs to the handshake, and returns the subprotocols that are offered.
pub(super) fn check_headers(
    headers: &(impl Fields + ?Sized),
) -> Result<Subprotocols, ClientRequestError> {
    if let Some((name, _)) = headers.lines().find(|(name, _)| is_reserved(name)) {
        return Err(ClientRequestError::HeaderReserved(name.into()));
    }
    Subprotocols::offered(headers).ok_or(ClientRequestError::SubprotocolInvalid)
}

/// The headers that the handshake sets, those that only a server sends, and those of a body, which a
/// GET of RFC 6455 cannot have.
fn is_reserved(name: &str) -> bool {
    [
        &CONNECTION,
        &CONTENT_LENGTH,
        &HOST,
        &SEC_WEBSOCKET_ACCEPT,
        &SEC_WEBSOCKET_EXTENSIONS,
        &SEC_WEBSOCKET_KEY,
        &SEC_WEBSOCKET_VERSION,
        &TRANSFER_ENCODING,
        &UPGRADE,
    ]
    .iter()
    .any(|reserved| reserved.is(name))
}
