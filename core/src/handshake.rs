//! The opening handshake (RFC 6455 §4), both roles: bytes and `http` types in, bytes and an open
//! [`Connection`](crate::Connection) out.
//!
//! | you have | take |
//! |---|---|
//! | a server's transport | [`ServerHandshake`], then [`UpgradeRequest`] |
//! | a request that a host parsed (hyper, an HTTP/2 stack, a simulator) | [`UpgradeRequest`] |
//! | a client's transport | [`ClientHandshake`] |
//! | a client's HTTP/2 stack | [`ExtendedConnect`] |
//!
//! Both halves read at most [`Config::max_head_len`](crate::Config::max_head_len) bytes and
//! [`MAX_HEADERS`] header lines, have until
//! [`Config::opening_timeout`](crate::Config::opening_timeout), and judge bytes, not segments: the
//! verdict is the same however a head was cut on its way. What follows a head stays in the buffer,
//! where the connection finds it: it is the first frames.
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
//! // The client asks.
//! let request = http::Request::get("ws://example.com/chat")
//!     .header("Sec-WebSocket-Protocol", "chat.v2, chat.v1")
//!     .body(())?;
//! let mut client = ClientHandshake::new(request, Seed::new([7; 32]), config.clone(), now)?;
//! let mut wire = BytesMut::new();
//! wire.put(client.outbound());
//!
//! // The server reads, selects and accepts.
//! let mut server = ServerHandshake::new(config.clone(), now);
//! let request = server.poll_request(&mut wire).expect("a whole head has come")?;
//! assert_eq!(request.uri().path(), "/chat");
//! let mut upgrade = UpgradeRequest::from_request(&request)?;
//! assert_eq!(upgrade.select(&["chat.v1", "chat.v2"]), Some("chat.v2"));
//! let (response, negotiated) = upgrade.accept();
//! let mut server = server.accept(&response, negotiated, config, now);
//! wire.put(server.outbound());
//!
//! // The client checks what came back, and both are open.
//! let (client, response) = client.poll_response(&mut wire, now).expect("a whole head has come")?;
//! assert_eq!(response.status(), 101);
//! # let _ = client;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytestring::ByteString;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL};
use sha1::{Digest, Sha1};

use crate::extension::{Params, is_token_byte};

mod client;
mod encode;
mod error;
mod extended;
mod head;
mod host_port;
mod scan;
mod server;
#[cfg(test)]
mod tests;
mod text;
mod upgrade;

pub use client::ClientHandshake;
pub use encode::{encode_request, encode_response};
pub use error::{HandshakeError, HeadError, HeadRule, RequestError, UpgradeError};
pub use extended::ExtendedConnect;
pub use host_port::HostPort;
pub use server::ServerHandshake;
pub use text::text_response;
pub use upgrade::{UpgradeRequest, is_upgrade_request};

/// The most header lines that a head may have.
///
/// Bytes are what bounds a head ([`Config::max_head_len`](crate::Config::max_head_len)); this bounds the
/// work per byte. The lines are counted as their bytes come, before a parser makes anything of them.
///
/// It lies above the 100 that Apache and others let through by default, with room for what they and
/// the proxies behind them add: what one of them has admitted is not refused here.
pub const MAX_HEADERS: usize = 128;

/// The value of `Sec-WebSocket-Accept` that answers `key` (RFC 6455 §4.2.2).
fn accept_key(key: &[u8]) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// The elements of a header that is a comma-separated list, over all its lines in order.
///
/// Empty elements are passed over, as RFC 9110 §5.6.1.2 asks.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether a list contains `token`, whatever its case.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list(headers, name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// What `Sec-WebSocket-Extensions` lists, over all its lines; `None` when it does not conform to the
/// grammar, at which RFC 6455 §9.1 has the connection fail.
fn extensions(headers: &HeaderMap) -> Option<Vec<Params>> {
    let lines = headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
    let listed = Params::parse_list(lines.iter().map(HeaderValue::as_bytes))?;
    // It lists one at least, where it comes.
    (!listed.is_empty() || !headers.contains_key(SEC_WEBSOCKET_EXTENSIONS)).then_some(listed)
}

/// The value of `Sec-WebSocket-Extensions` that lists `params`; `None` when there are none.
fn header_of<P: core::borrow::Borrow<Params>>(
    params: impl Iterator<Item = P>,
) -> Option<HeaderValue> {
    let listed: Vec<String> = params.map(|params| params.borrow().to_string()).collect();
    // Tokens, and what stands between them, are a header's value.
    (!listed.is_empty()).then(|| listed.join(", ").try_into().ok())?
}

/// What a client offers in `Sec-WebSocket-Protocol`, in its order of preference.
///
/// Holds the lines of the header and splits them when asked, so that it weighs what they weigh.
#[derive(Clone, Debug, Default)]
struct Subprotocols(Vec<ByteString>);

impl Subprotocols {
    /// The offer of a request; `None` when it is not a list of at least one token, all of them
    /// different (RFC 6455 §4.1).
    fn offered(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let lines = lines.map(|line| line.to_str().ok().map(ByteString::from));
        let offered = Self(lines.collect::<Option<_>>()?);

        let mut sorted: Vec<&str> = offered.iter().collect();
        // Sorted, since to compare each with each is quadratic in what a stranger sends.
        sorted.sort_unstable();
        let distinct = sorted.windows(2).all(|pair| pair[0] != pair[1]);
        let tokens = sorted.iter().all(|element| element.bytes().all(is_token_byte));
        let meant = offered.0.is_empty() || !sorted.is_empty();
        (distinct && tokens && meant).then_some(offered)
    }

    /// The list as one header, if it came in several: they mean the same (RFC 9110 §5.3), but there
    /// are servers that look at the first only.
    fn in_one_line(&self) -> Option<HeaderValue> {
        if self.0.len() < 2 {
            return None;
        }
        HeaderValue::from_str(&self.iter().collect::<Vec<_>>().join(", ")).ok()
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .flat_map(|line| line.split(','))
            .map(|element| element.trim_matches([' ', '\t']))
            .filter(|element| !element.is_empty())
    }
}
