//! The opening handshake (RFC 6455 §4, RFC 8441) of servers and clients: bytes and headers in, bytes and
//! an open [`Connection`](crate::Connection) out.
//!
//! | You have | Use |
//! |---|---|
//! | the transport of a server | [`ServerHandshake`], then [`UpgradeRequest`] |
//! | a request that another HTTP server parsed | [`UpgradeRequest`] |
//! | the transport of a client | [`ClientHandshake`] |
//! | the HTTP/2 stack of a client | [`ExtendedConnect`] |
//! | a request and a response of others | [`ServerHandshake`], [`ResponseReader`], then `Negotiated::from_exchange` |
//!
//! Requests and responses are either those of the crate `http`, with the feature `http`, or
//! [`RequestHead`] and [`ResponseHead`], which need no `std`. Both give the same results:
//!
//! | To | with `http` | without `std` |
//! |---|---|---|
//! | receive a request | `ServerHandshake::poll_request` | [`ServerHandshake::poll_head`] |
//! | check it | `UpgradeRequest::from_request` | [`UpgradeRequest::from_head`], [`from_headers`](UpgradeRequest::from_headers) |
//! | accept it | `UpgradeRequest::accept`, `ServerHandshake::accept` | [`UpgradeRequest::accept_head`], [`ServerHandshake::accept_head`] |
//! | answer an error | `UpgradeError::response` | [`UpgradeError::encoded_response`] |
//! | answer another request | [`encode_response`] | [`ResponseHead::encode`] |
//! | send a request | `ClientHandshake::new` | [`ClientHandshake::with_headers`] |
//! | receive the response | `ClientHandshake::poll_response` | [`ClientHandshake::poll_head`] |
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
#![cfg_attr(feature = "http", doc = "```")]
#![cfg_attr(not(feature = "http"), doc = "```ignore")]
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
#![cfg_attr(
    not(feature = "http"),
    doc = "
[`ExtendedConnect`]: https://docs.rs/sockless-core/latest/sockless_core/handshake/struct.ExtendedConnect.html
[`encode_response`]: https://docs.rs/sockless-core/latest/sockless_core/handshake/fn.encode_response.html
[`is_upgrade_request`]: https://docs.rs/sockless-core/latest/sockless_core/handshake/fn.is_upgrade_request.html
[`text_response`]: https://docs.rs/sockless-core/latest/sockless_core/handshake/fn.text_response.html"
)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;

#[cfg(feature = "http")]
mod adapter;
mod borrowed;
mod client;
mod encode;
mod error;
mod fields;
mod grant;
mod head;
mod heads;
mod host_port;
mod negotiation;
mod observed;
mod request;
mod scan;
mod server;
#[cfg(all(test, feature = "http"))]
mod tests;
mod upgrade;

#[cfg(feature = "http")]
pub use adapter::{
    ExtendedConnect, encode_request, encode_response, extension_answers, is_upgrade_request,
    text_response,
};
pub use borrowed::BorrowedRequest;
pub use client::{ClientHandshake, RawOpened};
pub use error::{
    ClientRequestError, HandshakeError, HeadError, HeadRule, InvalidHeader, UpgradeError,
};
use grant::AcceptKey;
pub use grant::Grant;
pub use heads::{RequestHead, ResponseHead};
pub use host_port::HostPort;
pub use observed::ResponseReader;
pub use server::ServerHandshake;
pub use upgrade::UpgradeRequest;

/// The largest number of header lines that a head may have: 128.
///
/// The size of a head is limited in bytes by [`Config::max_head_len`](crate::Config::max_head_len); this
/// constant limits the work per byte. Lines are counted as their bytes arrive, before they are parsed.
///
/// The limit is above the 100 lines that Apache and other servers allow by default, with room for what
/// they and other proxies add, so that a request which passed one of them is not rejected here.
pub const MAX_HEADERS: usize = 128;

/// The value of `Sec-WebSocket-Accept` that answers `key` (RFC 6455 §4.2.2).
fn accept_key(key: &[u8]) -> AcceptKey {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let mut digest = Sha1::new();
    digest.update(key);
    digest.update(GUID);
    let mut text = [0; 28];
    // 20 bytes are 28 characters of base64.
    let written = STANDARD.encode_slice(digest.digest().bytes(), &mut text);
    debug_assert_eq!(written, Ok(text.len()));
    AcceptKey(text)
}
