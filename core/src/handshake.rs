//! The opening handshake (RFC 6455 §4, RFC 8441) of servers and clients: bytes and `http` types in,
//! bytes and an open [`Connection`](crate::Connection) out.
//!
//! | You have | Use |
//! |---|---|
//! | the transport of a server | [`ServerHandshake`], then [`UpgradeRequest`] |
//! | a request that another HTTP server parsed | [`UpgradeRequest`] |
//! | the transport of a client | [`ClientHandshake`] |
//! | the HTTP/2 stack of a client | [`ExtendedConnect`] |
//!
//! [`ServerHandshake`] and [`ClientHandshake`] read at most
//! [`Config::max_head_len`](crate::Config::max_head_len) bytes and [`MAX_HEADERS`] header lines, within
//! [`Config::opening_timeout`](crate::Config::opening_timeout). The result does not depend on how the
//! bytes of a head were split on their way. The bytes after a head stay in the buffer: they are the first
//! frames, and the connection reads them from there.
//!
//! Requests that are not upgrades, and errors, are answered with [`encode_response`];
//! [`is_upgrade_request`], [`text_response`] and [`HostPort`] help a server to do so.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::{BufMut, BytesMut};
//! use sockless_core::handshake::{ClientHandshake, ServerHandshake, UpgradeRequest};
//! use sockless_core::{Config, Instant, Seed};
//!
//! let config = Arc::new(Config::default());
//! let now = Instant::EPOCH;
//!
//! // The client sends its request.
//! let request = http::Request::get("ws://example.com/chat")
//!     .header("Sec-WebSocket-Protocol", "chat.v2, chat.v1")
//!     .body(())?;
//! let mut client = ClientHandshake::new(request, Seed::new([7; 32]), config.clone(), now)?;
//! let mut wire = BytesMut::new();
//! wire.put(client.outbound());
//!
//! // The server reads it, selects a subprotocol and accepts.
//! let mut server = ServerHandshake::new(config.clone(), now);
//! let request = server.poll_request(&mut wire).expect("the head is complete")?;
//! assert_eq!(request.uri().path(), "/chat");
//! let mut upgrade = UpgradeRequest::from_request(&request)?;
//! assert_eq!(upgrade.select(&["chat.v1", "chat.v2"]), Some("chat.v2"));
//! let (response, negotiated) = upgrade.accept();
//! let mut server = server.accept(&response, negotiated, config, now);
//! wire.put(server.outbound());
//!
//! // The client checks the response; now both ends are open.
//! let (client, response) = client.poll_response(&mut wire, now).expect("the head is complete")?;
//! assert_eq!(response.status(), 101);
//! # let _ = client;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::HeaderName;
use sha1::{Digest, Sha1};

mod adapter;
mod client;
mod encode;
mod error;
mod head;
mod host_port;
mod negotiation;
mod scan;
mod server;
#[cfg(test)]
mod tests;
mod upgrade;

pub use adapter::{ExtendedConnect, text_response};
pub use client::ClientHandshake;
pub use encode::{encode_request, encode_response};
pub use error::{ClientRequestError, HandshakeError, HeadError, HeadRule, UpgradeError};
pub use host_port::HostPort;
pub use server::ServerHandshake;
pub use upgrade::{UpgradeRequest, is_upgrade_request};

/// The largest number of header lines that a head may have: 128.
///
/// The size of a head is limited in bytes by [`Config::max_head_len`](crate::Config::max_head_len); this
/// constant limits the work per byte. Lines are counted as their bytes arrive, before they are parsed.
///
/// The limit is above the 100 lines that Apache and other servers allow by default, with room for what
/// they and other proxies add, so that a request which passed one of them is not rejected here.
pub const MAX_HEADERS: usize = 128;

/// The value of `Sec-WebSocket-Accept` that answers `key` (RFC 6455 §4.2.2).
fn accept_key(key: &[u8]) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// The elements of a header that is a comma-separated list, over all its lines in order.
///
/// Skips empty elements, as RFC 9110 §5.6.1.2 requires.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// True if a list contains `token`, compared without case.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list(headers, name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}
